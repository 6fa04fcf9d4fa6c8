//! Reactions: what plugins do after an event is in the log.
//!
//! Each reaction plugin follows the log with a cursor of its own, so a slow one holds up nobody
//! else, and one that was away goes on where it stopped. What it decides about an event is one
//! transaction: what it emits, what it writes into its state, the rows of what waits, the cursor. The
//! ids of what it emits derive from the event, so running a reaction again changes nothing. What fails
//! waits for its next attempt while others go on; with `ordered` in the sidecar, those of the same
//! session or project wait as well. What keeps failing becomes a dead letter.
//!
//! `supervisor` keeps a `worker` for each plugin; it commits what its `desk` has done, which begins
//! each `call`. `queue` is the order of what is tried again, `backoff` the time until then, `decision`
//! the check of what a plugin wants. `progress` shows it all.
//!
//! `rules` is what the sidecar adds: counting before, telling and escalating after; `watch` is the worker
//! at that. `echo` and `chain`
//! end loops and name them.
//!
//! A new plugin starts at the log's end, or where its sidecar says.
//!
//! Commands that a reaction gives to the host are carried out before its cursor moves: at least
//! once. One that is refused makes the event a dead letter.
//!
//! Knows `event`, `store`, `bus`, `plugin`, `pipeline` and the names of commands. May not know who listens to what it emits.

mod backoff;
mod call;
mod chain;
pub(crate) mod decision;
mod desk;
mod echo;
mod progress;
mod queue;
mod rules;
mod supervisor;
mod watch;
mod worker;

pub use progress::Progress;
pub(crate) use rules::is_told;
pub use supervisor::Reactions;

use crate::event::PluginName;

/// The name under which the place of a reaction in the log is kept.
pub(crate) fn cursor_of(plugin: &PluginName) -> String {
    format!("reaction/{plugin}")
}
