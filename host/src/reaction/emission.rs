//! From what a guest wants emitted to drafts: the check at the border. A plain decision.

use crate::{
    event::{
        Data, Draft, EventError, EventId, EventType, LogEntry, MAX_HOPS, Message, ProjectId,
        Reason, SessionId, Subject,
    },
    plugin::{Emission, Plugin},
};

/// The drafts of everything that `plugin` wants emitted in reaction to `entry`, or why none of it
/// may be: a plugin's wish is granted whole or not at all.
pub(crate) fn drafts(
    plugin: &Plugin,
    entry: &LogEntry,
    emissions: Vec<Emission>,
) -> Result<Vec<Draft>, String> {
    if !emissions.is_empty() && entry.hops >= MAX_HOPS {
        return Err(format!(
            "the event is already {} reactions away from the outside, at most {MAX_HOPS} are allowed: \
             this looks like a loop",
            entry.hops
        ));
    }
    let drafts = emissions.into_iter().enumerate().map(|(index, emission)| {
        let Wish { draft, subject, is_granted } = wish(plugin, entry, index, emission)?;
        if !is_granted {
            plugin.count_denial();
            return Err(format!(
                "action {index}: not granted: emit {subject} (add a pattern for it to \
                 [capabilities] emit in {}.toml)",
                plugin.name()
            ));
        }
        Ok(draft)
    });
    drafts.collect()
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
    let mut draft = draft(entry, emission).map_err(|e| format!("action {index}: {e}"))?;
    draft.id = Some(EventId::of_reaction(entry.event.id, plugin.name(), index));
    let data = draft.data.clone().unwrap_or_default();
    let subject = Subject::of(&draft.event_type, &draft.project_id, &data);
    let granted = &plugin.manifest().capabilities.emit;
    let is_granted = granted.iter().any(|pattern| pattern.matches(&subject));
    Ok(Wish { draft, subject, is_granted })
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
