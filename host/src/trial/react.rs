//! A reaction to one event, as a host has it react: tried as often, its answer checked at the same
//! border. Only the waits between two tries are left out, and nothing comes of the answer.

use super::story::{Commanded, Emitted};
use crate::{
    event::LogEntry,
    plugin::{Action, Delivery, Plugin, ReactError},
    reaction::decision::{self, Wish},
};

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Reacted {
    /// What the plugin wants emitted.
    pub(super) emits: Vec<Emitted>,
    /// What the plugin wants the host to do.
    pub(super) commands: Vec<Commanded>,
    /// Why a host would do nothing of that; empty when it would do all.
    pub(super) failures: Vec<String>,
    /// How often it was called.
    pub(super) attempts: u32,
}

/// Reacts to one event until it is done or given up. What the plugin writes is committed, as with
/// its cursor.
pub(super) async fn react(plugin: &Plugin, entry: &LogEntry) -> Reacted {
    let retries = plugin.manifest().reaction.retries.get();
    let mut reacted = Reacted { attempts: 1, ..Reacted::default() };
    loop {
        let delivery = Delivery { entry, attempt: reacted.attempts };
        match plugin.react(delivery).await.1 {
            Ok(actions) => {
                act(plugin, entry, actions, &mut reacted);
                break;
            }
            Err(ReactError::Retry { .. }) if reacted.attempts <= retries => reacted.attempts += 1,
            Err(e) => {
                reacted.failures.push(e.to_string());
                break;
            }
        }
    }
    // With the cursor, or with the dead letter.
    plugin.reaction_state().take().into_iter().for_each(|written| written.commit_in_memory());
    reacted
}

fn act(plugin: &Plugin, entry: &LogEntry, actions: Vec<Action>, reacted: &mut Reacted) {
    for (index, action) in actions.iter().enumerate() {
        let emission = match action {
            Action::Emit(emission) => emission.clone(),
            Action::Command(wish) => {
                if let Ok((command, granted)) = decision::command(plugin, wish) {
                    let command = command.to_string();
                    reacted.commands.push(Commanded { command, granted });
                }
                continue;
            }
        };
        let Ok(Wish { draft, subject, is_granted }) =
            decision::wish(plugin, entry, index, emission)
        else {
            continue;
        };
        let event = draft.into_event(entry.event.timestamp);
        reacted.emits.push(Emitted::of(event, subject, is_granted));
    }
    // The host's own verdict: all of them, or why none.
    if let Err(refusal) = decision::decide(plugin, entry, actions) {
        reacted.failures.push(refusal.reason);
    }
}
