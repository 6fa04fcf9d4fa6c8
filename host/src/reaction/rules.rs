//! What the host does around a plugin's reactions, as the sidecar's rule says: tells that it has acted,
//! tells when nothing resolves it, and counts before the plugin sees an event at all.
//!
//! Plain functions: what is told, and what is asked of the log. The worker commits and asks.

use serde_json::{Map, Value, json};

use crate::{
    event::{
        Category, Draft, EventId, EventPriority, EventType, LogEntry, MAX_HOPS, Message,
        PluginName, Selection, Seq,
    },
    plugin::{CountedBy, Escalation, Plugin, Threshold},
    store::{Order, Query},
};

/// Whether an event that was reacted to makes the host tell of it. Of what tells of reactions itself
/// nothing is told, or two plugins that subscribe to everything would go on for ever.
pub(crate) fn is_told(entry: &LogEntry) -> bool {
    entry.event.event_type.category() != Category::Reactions && entry.hops < MAX_HOPS
}

/// Whether an event says that this plugin has acted: not for its own eyes.
pub(super) fn tells_of(entry: &LogEntry, plugin: &PluginName) -> bool {
    entry.event.event_type == EventType::ReactionTriggered
        && entry.caused_by.as_ref().is_some_and(|cause| cause.plugin == *plugin)
}

/// That `plugin` has acted on `entry`.
pub(super) fn triggered(plugin: &Plugin, entry: &LogEntry) -> Draft {
    let message = format!("{} reacted to {}", rule(plugin), entry.event.event_type);
    let id = EventId::of_triggered(entry.event.id, plugin.name());
    let priority = EventPriority::Info;
    report(plugin, entry, id, EventType::ReactionTriggered, priority, &message, Map::new())
}

/// That nothing has resolved what `plugin` acted on, for the `times`th time.
pub(super) fn escalated(plugin: &Plugin, entry: &LogEntry, times: u32) -> Draft {
    let message = format!("nothing has resolved {} since {}", entry.event.event_type, rule(plugin));
    let id = EventId::of_escalated(entry.event.id, plugin.name(), times);
    let raised = (0..times.min(3)).fold(entry.event.priority, |priority, _| priority.raised());
    let more = Map::from_iter([("times".to_owned(), Value::from(times))]);
    report(plugin, entry, id, EventType::ReactionEscalated, raised, &message, more)
}

fn report(
    plugin: &Plugin,
    entry: &LogEntry,
    id: EventId,
    event_type: EventType,
    priority: EventPriority,
    message: &str,
    more: Map<String, Value>,
) -> Draft {
    let event = &entry.event;
    let mut data = json!({
        "plugin": plugin.name().as_str(),
        "version": plugin.version(),
        "hash": &**plugin.hash(),
        "rule": rule(plugin),
        "event_id": event.id,
        "event_type": event.event_type.as_str(),
    });
    if let Value::Object(data) = &mut data {
        data.extend(more);
    }
    let mut draft = Draft::new(event_type, event.project_id.clone(), event.session_id.clone());
    draft.id = Some(id);
    draft.priority = Some(priority);
    // Both are far within their bounds.
    draft.message = Message::try_from(message.to_owned()).ok();
    draft.data = data.to_string().parse().ok();
    draft
}

fn rule(plugin: &Plugin) -> &str {
    match &plugin.manifest().reaction.rule {
        Some(rule) => rule.as_str(),
        None => plugin.name().as_str(),
    }
}

/// What resolves a reaction to `entry`.
pub(super) fn resolving(escalation: &Escalation, entry: &LogEntry) -> Query {
    let selection = Selection {
        patterns: escalation.resolved_by.clone(),
        project: Some(entry.event.project_id.clone()),
        session: Some(entry.event.session_id.clone()),
        ..Selection::default()
    };
    Query { selection, after_seq: Some(entry.seq), ..Query::default() }
}

/// What events have in common that are counted together with `entry`.
pub(super) fn counted_with(threshold: &Threshold, entry: &LogEntry) -> String {
    let event = &entry.event;
    match threshold.by {
        // Neither has a slash.
        CountedBy::Session => format!("{}/{}", event.project_id, event.session_id),
        CountedBy::Project => event.project_id.to_string(),
        CountedBy::Plugin => String::new(),
    }
}

/// The events before `entry` that are counted with it, the newest first: behind where the threshold
/// was last reached, and within its span.
pub(super) fn counted(
    plugin: &Plugin,
    threshold: &Threshold,
    entry: &LogEntry,
    reached: Option<Seq>,
) -> Query {
    let event = &entry.event;
    let by_project = threshold.by != CountedBy::Plugin;
    let by_session = threshold.by == CountedBy::Session;
    let selection = Selection {
        patterns: plugin.subscribe().to_vec(),
        min_priority: plugin.min_priority(),
        project: by_project.then(|| event.project_id.clone()),
        session: by_session.then(|| event.session_id.clone()),
        since: Some(event.timestamp.earlier(threshold.within.get())),
        ..Selection::default()
    };
    Query {
        selection,
        after_seq: reached,
        before_seq: Some(entry.seq),
        order: Order::Descending,
        ..Query::default()
    }
}
