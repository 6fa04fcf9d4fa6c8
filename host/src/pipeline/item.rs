//! One event on its way through the stages, and what every stage does with it alike.

use std::{
    mem::{replace, take},
    sync::Arc,
};

use tracing::warn;

use crate::{
    event::{
        Category, Cause, Data, Digest, Draft, Dropped, Event, EventPriority, Message, Subject,
        Timestamp,
    },
    plugin::{Call, CallError, OnError, Plugin},
    store::{Change, Did, Lineup, NewEntry, Passage, Role, Step},
};

use super::messages::{Origin, PublishError};

/// The members of an event that an enricher may change: those that it does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) priority: Option<EventPriority>,
    pub(super) message: Option<Message>,
    pub(super) data: Option<Data>,
}

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Puts them into an event; those that were there.
    fn exchange(self, event: &mut Event) -> Self {
        Self {
            priority: self.priority.map(|new| replace(&mut event.priority, new)),
            message: self.message.map(|new| replace(&mut event.message, new)),
            data: self.data.map(|new| replace(&mut event.data, new)),
        }
    }
}

/// An event on its way through the stages.
pub(super) struct Item {
    pub(super) event: Event,
    pub(super) subject: Subject,
    pub(super) dropped: Option<Dropped>,
    pub(super) held: Option<PublishError>,
    /// What filters and enrichers did with it, but for keeping it unchanged.
    pub(super) steps: Vec<Step>,
    /// What enrichers changed, as it was before the first of them.
    sent: Members,
    digest: Digest,
    caused_by: Option<Cause>,
    hops: u8,
}

impl Item {
    pub(super) fn new(draft: Draft, digest: Digest, origin: &Origin, now: Timestamp) -> Self {
        let event = draft.into_event(now);
        let (caused_by, hops) = match origin {
            Origin::Outside => (None, 0),
            Origin::Reaction { cause, hops } => (Some(cause.clone()), *hops),
        };
        Self {
            subject: event.subject(),
            event,
            dropped: None,
            held: None,
            steps: Vec::new(),
            sent: Members::default(),
            digest,
            caused_by,
            hops,
        }
    }

    /// An enricher changes it: `members`, recorded as `patch`. Tells whether that moved it to another
    /// subject.
    pub(super) fn change(
        &mut self,
        plugin: &Plugin,
        call: &Call,
        members: Members,
        patch: String,
    ) -> bool {
        let before = members.exchange(&mut self.event);
        let was_priority = before.priority;
        self.sent = Members {
            priority: self.sent.priority.or(before.priority),
            message: self.sent.message.take().or(before.message),
            data: self.sent.data.take().or(before.data),
        };
        let was_subject = self.find_subject();
        let moved = was_subject.is_some();
        let change = Change { patch, was_priority, was_subject };
        self.step(plugin, Role::Enricher, call, Did::Changed(change));
        moved
    }

    /// A plugin did something with it.
    pub(super) fn step(&mut self, plugin: &Plugin, role: Role, call: &Call, did: Did) {
        let (plugin, version) = (plugin.name().clone(), Arc::clone(&call.version));
        self.steps.push(Step { plugin, role, version, took: call.share(), did });
    }

    /// As if no plugin had seen it yet.
    pub(super) fn reset(&mut self) {
        take(&mut self.sent).exchange(&mut self.event);
        self.find_subject();
        self.dropped = None;
        self.steps.clear();
    }

    /// Where a node's events go depends on their data, which may have changed. Where they went
    /// before, if they go elsewhere now.
    fn find_subject(&mut self) -> Option<Subject> {
        if self.event.event_type.category() != Category::Node {
            return None;
        }
        let subject = self.event.subject();
        (subject != self.subject).then(|| replace(&mut self.subject, subject))
    }

    /// The event as it was sent.
    pub(super) fn sent(&self) -> Event {
        let mut event = self.event.clone();
        self.sent.clone().exchange(&mut event);
        event
    }

    /// `lineup` is what it met.
    pub(super) fn into_entry(self, lineup: &Arc<Lineup>) -> NewEntry {
        let lineup = Some(Arc::clone(lineup));
        NewEntry {
            event: self.event,
            subject: self.subject,
            digest: self.digest,
            caused_by: self.caused_by,
            hops: self.hops,
            dropped: self.dropped,
            passage: Passage { lineup, steps: self.steps, calls: Vec::new() },
        }
    }
}

/// Which of the items that `plugin` subscribes to still run and are important enough for it.
pub(super) fn chosen(plugin: &Plugin, items: &[Item], subscribed: &[usize]) -> Vec<usize> {
    let runs = |item: &Item| {
        item.held.is_none()
            && item.dropped.is_none()
            && item.event.priority >= plugin.min_priority()
    };
    subscribed.iter().copied().filter(|at| items.get(*at).is_some_and(runs)).collect()
}

pub(super) fn events<'a>(items: &'a [Item], chosen: &[usize]) -> Vec<&'a Event> {
    chosen.iter().filter_map(|at| items.get(*at)).map(|item| &item.event).collect()
}

/// What the sidecar says about an event that the plugin failed on.
pub(super) fn on_error(
    plugin: &Plugin,
    role: Role,
    call: &Call,
    item: &mut Item,
    error: &CallError,
) {
    // That it is left alone was said once, when it began.
    if !matches!(error, CallError::Quarantined(_)) {
        warn!(plugin = plugin.name().as_str(), event = %item.event.id, "plugin {error}");
    }
    item.step(plugin, role, call, Did::Failed(error.to_string()));
    match plugin.manifest().on_error {
        OnError::Pass => {}
        OnError::Drop => {
            let reason = format!("the plugin {error}, and its sidecar says on_error = \"drop\"");
            item.dropped = Some(Dropped { by: plugin.name().clone(), reason });
        }
        OnError::Hold => {
            item.held = Some(PublishError::Held {
                plugin: plugin.name().clone(),
                reason: error.to_string(),
            });
        }
    }
}
