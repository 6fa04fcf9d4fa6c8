//! Reactions: what plugins do after an event is in the log.
//!
//! Each reaction plugin follows the log with a cursor of its own, so a slow one holds up nobody
//! else, and one that was away goes on where it stopped. What it emits and the move of its cursor
//! are one transaction; the ids of what it emits derive from the event, so running a reaction
//! again changes nothing. What fails is tried again with back-off; what keeps failing becomes a
//! dead letter, and the cursor moves on.
//!
//! A new plugin starts at the log's end.
//!
//! Commands that a reaction gives to the host are carried out before its cursor moves: at least
//! once. One that is refused makes the event a dead letter.
//!
//! Knows `event`, `store`, `bus`, `plugin`, `pipeline` and the names of commands. May not know who listens to what it emits.

pub(crate) mod decision;
mod positions;
mod supervisor;
mod worker;

pub use positions::Positions;
pub use supervisor::Reactions;

use crate::event::PluginName;

/// The name under which the place of a reaction in the log is kept.
pub(crate) fn cursor_of(plugin: &PluginName) -> String {
    format!("reaction/{plugin}")
}
