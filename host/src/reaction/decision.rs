//! From what a guest wants done to drafts and commands: the check at the border. A plain decision.

use crate::{
    control::{Command, CommandName},
    event::{
        Data, Draft, EventError, EventId, EventType, LogEntry, MAX_HOPS, Message, ProjectId,
        Reason, SessionId, Subject,
    },
    plugin::{Action, CommandWish, Emission, Plugin},
};

/// What a plugin wants done in reaction to one event, checked and granted.
#[derive(Default)]
pub(crate) struct Decision {
    /// To be emitted.
    pub(crate) drafts: Vec<Draft>,
    /// To be given to the host.
    pub(crate) commands: Vec<Command>,
}

/// Why nothing of what a plugin wants is done.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// For people, with the way out.
    pub(crate) reason: String,
    /// It looks like a loop of reactions.
    pub(crate) is_loop: bool,
}

/// Everything that `plugin` wants done in reaction to `entry`, or why none of it may be: a plugin's
/// wish is granted whole or not at all.
pub(crate) fn decide(
    plugin: &Plugin,
    entry: &LogEntry,
    actions: Vec<Action>,
) -> Result<Decision, Refusal> {
    let emits = actions.iter().any(|action| matches!(action, Action::Emit(_)));
    if emits && entry.hops >= MAX_HOPS {
        let reason = format!(
            "the event is already {} reactions away from the outside, at most {MAX_HOPS} are allowed: \
             this looks like a loop",
            entry.hops
        );
        return Err(Refusal { reason, is_loop: true });
    }
    let mut decision = Decision::default();
    for (index, action) in actions.into_iter().enumerate() {
        let refused = |reason: String| {
            let reason = format!("action {index}: {reason}");
            Refusal { reason, is_loop: false }
        };
        match action {
            Action::Emit(emission) => {
                let draft = granted_draft(plugin, entry, index, emission).map_err(refused)?;
                decision.drafts.push(draft);
            }
            Action::Command(wish) => {
                decision.commands.push(granted_command(plugin, &wish).map_err(refused)?);
            }
        }
    }
    Ok(decision)
}

/// What a plugin wants emitted.
pub(crate) struct Wish {
    /// With the id that it always has.
    pub(crate) draft: Draft,
    /// Where it would be published.
    pub(crate) subject: Subject,
    /// Whether the sidecar grants that.
    pub(crate) is_granted: bool,
}

/// One of the things that `plugin` wants emitted in reaction to `entry`, or why it is no event.
pub(crate) fn wish(
    plugin: &Plugin,
    entry: &LogEntry,
    index: usize,
    emission: Emission,
) -> Result<Wish, String> {
    let mut draft = draft(entry, emission).map_err(|e| e.to_string())?;
    draft.id = Some(EventId::of_reaction(entry.event.id, plugin.name(), index));
    let data = draft.data.clone().unwrap_or_default();
    let subject = Subject::of(&draft.event_type, &draft.project_id, &data);
    let granted = &plugin.manifest().capabilities.emit;
    let is_granted = granted.iter().any(|pattern| pattern.matches(&subject));
    Ok(Wish { draft, subject, is_granted })
}

fn granted_draft(
    plugin: &Plugin,
    entry: &LogEntry,
    index: usize,
    emission: Emission,
) -> Result<Draft, String> {
    let Wish { draft, subject, is_granted } = wish(plugin, entry, index, emission)?;
    if is_granted {
        return Ok(draft);
    }
    plugin.count_denial();
    Err(format!(
        "not granted: emit {subject} (add a pattern for it to [capabilities] emit in {}.toml)",
        plugin.name()
    ))
}

/// A command that `plugin` wants given, and whether the sidecar grants it; or why it is none.
pub(crate) fn command(plugin: &Plugin, wish: &CommandWish) -> Result<(Command, bool), String> {
    let name: CommandName = wish.name.parse().map_err(|e| format!("{e}"))?;
    let command = Command::new(name, wish.plugin.as_deref()).map_err(|e| e.to_string())?;
    Ok((command, plugin.manifest().capabilities.commands.contains(&name)))
}

fn granted_command(plugin: &Plugin, wish: &CommandWish) -> Result<Command, String> {
    let (command, is_granted) = command(plugin, wish)?;
    if is_granted {
        return Ok(command);
    }
    plugin.count_denial();
    Err(format!(
        "not granted: command {command} (add commands = [\"{}\"] to [capabilities] in {}.toml)",
        command.name(),
        plugin.name()
    ))
}

fn draft(entry: &LogEntry, emission: Emission) -> Result<Draft, EventError> {
    let project_id = match emission.project_id {
        Some(text) => text.parse::<ProjectId>().map_err(field("project_id"))?,
        None => entry.event.project_id.clone(),
    };
    let session_id = match emission.session_id {
        Some(text) => text.parse::<SessionId>().map_err(field("session_id"))?,
        None => entry.event.session_id.clone(),
    };
    let event_type: EventType = emission.event_type.parse().map_err(field("event_type"))?;
    let mut draft = Draft::new(event_type, project_id, session_id);
    draft.priority = Some(emission.priority);
    draft.message = Some(Message::try_from(emission.message).map_err(field("message"))?);
    draft.data = Some(emission.data.parse::<Data>().map_err(field("data"))?);
    Ok(draft)
}

fn field(name: &'static str) -> impl Fn(Reason) -> EventError {
    move |reason| EventError::new(name, reason)
}
