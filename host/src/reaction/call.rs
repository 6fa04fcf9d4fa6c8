//! One attempt of a reaction at one event, in a task of its own: call the plugin, check what it wants
//! at the border, carry out its commands. What it emits is left to the worker, which commits it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    control::{Command, Control, ControlError, Origin},
    event::{Draft, LogEntry},
    pipeline::called,
    plugin::{Delivery, Plugin, ReactError},
    store::Called,
};

use super::decision::{self, Refusal};

/// The longest reason that is kept, in bytes; the rest is cut.
const MAX_REASON: usize = 1024;

/// What came of an attempt.
pub(super) enum Outcome {
    /// The plugin has reacted.
    Done(Done),
    /// The attempt failed.
    Failed(Failure),
    /// No attempt: the plugin keeps failing and is left alone until then.
    Quarantined(Instant),
    /// No attempt that counts: the version before has taken over, and the event is for it.
    RolledBack,
}

/// An attempt that failed.
pub(super) struct Failure {
    /// Why.
    pub(super) reason: String,
    /// Whether another one may succeed.
    pub(super) may_retry: bool,
    /// Whether it looks like a loop of reactions.
    pub(super) is_loop: bool,
    /// How long the plugin wants to be left alone with this event, at least.
    pub(super) after: Option<Duration>,
    /// The call.
    pub(super) called: Box<Called>,
}

/// What a reaction to an event comes to.
pub(super) struct Done {
    /// To be emitted.
    pub(super) drafts: Vec<Draft>,
    /// That were carried out.
    pub(super) commands: Vec<String>,
    /// Whether the plugin did anything: emitted, gave a command, or sent a request.
    pub(super) has_acted: bool,
    /// The call.
    pub(super) called: Box<Called>,
}

/// Attempt `number` (from 1) of `plugin` at `entry`.
pub(super) async fn attempt(
    plugin: &Plugin,
    control: &Arc<dyn Control>,
    entry: &LogEntry,
    number: u32,
) -> Outcome {
    let (call, answer) = plugin.react(Delivery { entry, attempt: number }).await;
    let has_requested = call.requests > 0;
    let called = Box::new(called(call));
    let actions = match answer {
        Ok(actions) => actions,
        Err(ReactError::Retry { reason, after }) => return failed(called, reason, true, after),
        Err(ReactError::Fatal(reason)) => return failed(called, reason, false, None),
        Err(ReactError::Quarantined(until)) => return Outcome::Quarantined(until),
        Err(ReactError::RolledBack(_)) => return Outcome::RolledBack,
    };
    let has_acted = has_requested || !actions.is_empty();
    if !has_acted {
        let (drafts, commands) = (Vec::new(), Vec::new());
        return Outcome::Done(Done { drafts, commands, has_acted, called });
    }
    let decision = match decision::decide(plugin, entry, actions) {
        Ok(decision) => decision,
        Err(Refusal { reason, is_loop: true }) => return looping(called, reason),
        Err(Refusal { reason, is_loop: false }) => return failed(called, reason, false, None),
    };
    let commands = decision.commands.iter().map(ToString::to_string).collect();
    match command(plugin, control, decision.commands).await {
        Ok(()) => {
            plugin.count_changed(1);
            Outcome::Done(Done { drafts: decision.drafts, commands, has_acted, called })
        }
        Err(e) => failed(called, e.to_string(), matches!(e, ControlError::Unavailable(_)), None),
    }
}

/// What looks like a loop is tried once.
pub(super) fn looping(called: Box<Called>, reason: String) -> Outcome {
    Outcome::Failed(Failure { reason, may_retry: false, is_loop: true, after: None, called })
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

fn failed(
    called: Box<Called>,
    mut reason: String,
    may_retry: bool,
    after: Option<Duration>,
) -> Outcome {
    reason.truncate(reason.floor_char_boundary(MAX_REASON));
    Outcome::Failed(Failure { reason, may_retry, is_loop: false, after, called })
}
