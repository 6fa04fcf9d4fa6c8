//! What an event is: types, ids, priority, subjects, patterns, and the JSON that carries them.
//!
//! Every type here is parsed once, at the edge, and cannot be wrong afterwards: a [`ProjectId`] is
//! a subject token, [`Data`] is valid JSON within its bounds, a [`Subject`] holds no wildcard. The
//! rooms behind this one therefore never check again.
//!
//! Knows nobody: no database, no network, no plugin.

mod data;
mod data_condition;
mod decimal;
mod draft;
mod entry;
mod error;
mod ids;
mod kind;
mod pattern;
mod priority;
mod reference;
mod selection;
mod subject;
mod text;
mod text_search;

pub(crate) use data::member_path;
pub use data::{Data, MAX_DATA_BYTES, MAX_DATA_DEPTH};
pub use data_condition::DataCondition;
pub use draft::{Digest, Draft};
pub use entry::{Cause, Dropped, Event, LogEntry, MAX_ACTIONS, MAX_HOPS, Seq};
pub use error::{EventError, Reason};
pub use ids::{EventId, LogId, NodeName, PluginName, ProjectId, SessionId};
pub use kind::{Category, EventType};
pub use pattern::{PatternError, SubjectPattern};
pub use priority::EventPriority;
pub use reference::EventRef;
pub use selection::Selection;
pub use subject::{ROOT, Subject};
pub use text::{MAX_MESSAGE_BYTES, Message, Timestamp};
pub use text_search::TextSearch;
pub(crate) use text_search::{Word, each_word};

#[cfg(test)]
mod tests;
