//! How an event came to be: from what came from outside, over each reaction, to itself.

use crate::{
    event::{Cause, EventId, LogEntry, MAX_HOPS, PluginName},
    store::Reader,
};

/// The chain of reactions that leads to an event.
pub(super) struct Chain {
    /// The event from outside; where the log does not have all any more, the earliest that is known.
    pub(super) root: EventId,
    /// Each event, as people name it, and the plugin that caused it; the first event first.
    links: Vec<(Option<PluginName>, String)>,
}

impl Chain {
    /// The chain that leads to `entry`. What cannot be read ends it, named by its id.
    pub(super) async fn of(entry: &LogEntry, reader: &Reader) -> Self {
        let name = |entry: &LogEntry| format!("{} {}", entry.event.event_type, entry.event.id);
        let mut root = entry.event.id;
        let mut text = name(entry);
        let mut cause = entry.caused_by.clone();
        let mut links = Vec::new();
        while let Some(Cause { event_id, plugin }) = cause
            && links.len() <= usize::from(MAX_HOPS)
        {
            links.push((Some(plugin), text));
            root = event_id;
            let before = reader.by_id(event_id).await.ok().flatten();
            text = before.as_ref().map_or_else(|| event_id.to_string(), name);
            cause = before.and_then(|before| before.caused_by);
        }
        links.push((None, text));
        links.reverse();
        Self { root, links }
    }

    /// On one line, for people.
    pub(super) fn to_line(&self) -> String {
        let links = self.links.iter().map(|(plugin, event)| match plugin {
            Some(plugin) => format!("{plugin}: {event}"),
            None => event.clone(),
        });
        links.collect::<Vec<_>>().join(" -> ")
    }
}
