//! One attempt of a reaction at one event, in a task of its own: call the plugin, check what it wants
//! at the border, carry out its commands. What it emits is left to the worker, which commits it.

use std::{sync::Arc, time::Instant};

use crate::{
    control::{Command, Control, ControlError, Origin},
    event::{Draft, LogEntry},
    plugin::{Delivery, Plugin, ReactError},
};

use super::decision;

/// The longest reason that is kept, in bytes; the rest is cut.
const MAX_REASON: usize = 1024;

/// What came of an attempt.
pub(super) enum Outcome {
    /// The plugin has reacted, and wants this emitted.
    Done(Vec<Draft>),
    /// The attempt failed.
    Failed {
        /// Why.
        reason: String,
        /// Whether another one may succeed.
        may_retry: bool,
        /// How long the plugin wants to be left alone with this event, at least.
        after: Option<std::time::Duration>,
    },
    /// No attempt: the plugin keeps failing and is left alone until then.
    Quarantined(Instant),
    /// No attempt that counts: the version before has taken over, and the event is for it.
    RolledBack,
}

/// Attempt `number` (from 1) of `plugin` at `entry`.
pub(super) async fn attempt(
    plugin: &Plugin,
    control: &Arc<dyn Control>,
    entry: &LogEntry,
    number: u32,
) -> Outcome {
    let actions = match plugin.react(Delivery { entry, attempt: number }).await {
        Ok(actions) => actions,
        Err(ReactError::Retry { reason, after }) => return failed(reason, true, after),
        Err(ReactError::Fatal(reason)) => return failed(reason, false, None),
        Err(ReactError::Quarantined(until)) => return Outcome::Quarantined(until),
        Err(ReactError::RolledBack(_)) => return Outcome::RolledBack,
    };
    if actions.is_empty() {
        return Outcome::Done(Vec::new());
    }
    let decision = match decision::decide(plugin, entry, actions) {
        Ok(decision) => decision,
        Err(reason) => return failed(reason, false, None),
    };
    match command(plugin, control, decision.commands).await {
        Ok(()) => {
            plugin.count_changed(1);
            Outcome::Done(decision.drafts)
        }
        Err(e) => failed(e.to_string(), matches!(e, ControlError::Unavailable(_)), None),
    }
}

/// Gives the plugin's commands to the host, one after the other. Before the cursor moves, so that a
/// host that dies in between gives them again: each may be carried out more than once, and does no
/// harm then.
async fn command(
    plugin: &Plugin,
    control: &Arc<dyn Control>,
    commands: Vec<Command>,
) -> Result<(), ControlError> {
    for command in commands {
        control.execute(Origin::Plugin(plugin.name().clone()), command).await?;
    }
    Ok(())
}

fn failed(mut reason: String, may_retry: bool, after: Option<std::time::Duration>) -> Outcome {
    reason.truncate(reason.floor_char_boundary(MAX_REASON));
    Outcome::Failed { reason, may_retry, after }
}
