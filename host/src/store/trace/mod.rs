//! What is known of an event's way, and its telling.
//!
//! **What is written.** A row only where something differs from "kept, unchanged". Which plugins an
//! event met follows from the `lineups` (one row whenever the loaded filters and enrichers change) and
//! `reaction_versions` (the same for each reaction), since a subscription can be asked again later.
//! The column `steps` of an event says what filters and enrichers did (`stored`), `reaction_steps` and
//! `reaction_attempts` what reactions did, `plugin_calls` which calls said something or took long.
//! Everything is written in the transaction of what it is about, by `write`.
//!
//! **What is not.** What was in an event before a change, but for its priority and subject: an
//! enricher that masks a secret must not leave it here. What an event caused: the ids of what a
//! reaction emits derive from it, so they are looked up. When an event was published: only that it was
//! between two `marks` of the sink.
//!
//! `tell` makes a `story` of what `read` finds; `diff` makes a patch readable.
//!
//! Knows `event`. May not know who calls plugins, nor who asks.

mod diff;
mod read;
mod stored;
mod story;
mod tell;
mod write;

use std::{borrow::Cow, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

use crate::event::{EventPriority, PluginName, Seq, Subject, SubjectPattern, Timestamp};

pub(super) use read::attempts;
pub(super) use stored::{StoredOutcome, StoredStep, steps_column};
pub use story::{
    Difference, MAX_STORIES, Outcome, Passed, PassedCall, Published, Reaction, ReactionOutcome,
    Story, Trace,
};
pub(super) use tell::trace;
pub(super) use write::{Recorder, attempt_columns, delivered, last_lineup, reacted, reacts};

/// A call that takes as long is worth a row.
const SLOW: Duration = Duration::from_millis(10);

/// What a plugin is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Keeps or drops.
    Filter,
    /// Changes.
    Enricher,
    /// Acts after the commit.
    Reaction,
}

impl Role {
    /// The JSON name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Enricher => "enricher",
            Self::Reaction => "reaction",
        }
    }
}

/// A version of a plugin in one of its roles, as far as it decides which events it sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The plugin.
    pub plugin: PluginName,
    /// What it is called for.
    pub role: Role,
    /// Its own version, for people.
    pub version: String,
    /// SHA-256 of the component, hexadecimal.
    pub hash: Arc<str>,
    /// Its place among filters and enrichers.
    pub order: i32,
    /// The subjects that it sees.
    pub subscribe: Vec<SubjectPattern>,
    /// The least priority that it sees.
    pub min_priority: EventPriority,
}

impl Member {
    /// Whether it sees an event that is published there.
    fn wants(&self, subject: &Subject, priority: EventPriority) -> bool {
        priority >= self.min_priority && self.subscribe.iter().any(|p| p.matches(subject))
    }
}

/// The filters and enrichers that are loaded at one moment, in the order of their calls.
#[derive(Debug, PartialEq, Eq)]
pub struct Lineup(String);

impl Lineup {
    /// Of these.
    pub fn new(members: &[Member]) -> Self {
        Self(json(&members))
    }
}

/// How an event came through the filters and enrichers.
#[derive(Debug, Clone, Default)]
pub struct Passage {
    /// Those that it met, or would have if it were theirs; `None` where there is no pipeline.
    pub lineup: Option<Arc<Lineup>>,
    /// What they did, in their order, but for keeping it unchanged.
    pub steps: Vec<Step>,
    /// Calls that begin with this event and are worth a row.
    pub calls: Vec<PluginCall>,
}

/// What a filter or an enricher did with one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Who.
    pub plugin: PluginName,
    /// As what.
    pub role: Role,
    /// SHA-256 of the component that did it, hexadecimal.
    pub version: Arc<str>,
    /// The event's share of the call.
    pub took: Duration,
    /// What.
    pub did: Did,
}

/// What a plugin did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Did {
    /// Changed it.
    Changed(Change),
    /// Hid it, with the reason that the event carries.
    Dropped,
    /// Failed on it, for this reason.
    Failed(String),
}

/// What an enricher changed in one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// JSON: the changed members of priority, message and data.
    pub patch: String,
    /// The priority before, when that changed.
    pub was_priority: Option<EventPriority>,
    /// Where it would have been published before, when that changed.
    pub was_subject: Option<Subject>,
}

/// A call into a filter or an enricher.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginCall {
    /// Who was called.
    pub plugin: PluginName,
    /// As what.
    pub role: Role,
    /// How far behind the first of its events the last one stands.
    pub span: u64,
    /// How many events it was about.
    pub events: usize,
    /// What it came to.
    pub called: Called,
    /// Why it made the version before take over.
    pub error: Option<String>,
}

/// What a call into a guest came to, besides its answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Called {
    /// SHA-256 of the component, hexadecimal.
    #[serde(rename = "hash")]
    pub version: Arc<str>,
    /// In microseconds, as JSON.
    #[serde(rename = "took_us", serialize_with = "micros")]
    pub took: Duration,
    /// What the guest said, at most 16 lines and 4 096 bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Line>,
    /// Further lines, which only the host's log has.
    #[serde(skip_serializing_if = "is_zero")]
    pub unsaid: u64,
}

impl Called {
    /// Whether the call is worth a row by itself.
    pub fn is_notable(&self) -> bool {
        !self.said.is_empty() || self.unsaid > 0 || self.took >= SLOW
    }
}

/// A line that a guest said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// `trace`, `debug`, `info`, `warn`, `error` or `critical`.
    pub level: Cow<'static, str>,
    /// `stdout`, `stderr`, `host`, or what the guest named.
    pub context: String,
    /// What it said.
    pub message: String,
}

/// A reaction that is worth a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Reacted {
    /// Who reacted.
    pub plugin: PluginName,
    /// The event's place in the log.
    pub event_seq: Seq,
    /// Which attempt succeeded, from 1.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
    /// The call.
    pub called: Called,
    /// Events that it emitted.
    pub emitted: usize,
    /// Commands that it gave.
    pub commands: Vec<String>,
}

/// JSON text of what the host made itself: plain structs, whose writing cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn micros<S: Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(took.as_nanos() as f64 / 1e3)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests;
