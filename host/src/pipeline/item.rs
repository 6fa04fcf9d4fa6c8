//! One event on its way through the stages, and what every stage does with it alike.

use std::mem::{replace, take};

use tracing::warn;

use crate::{
    event::{
        Category, Cause, Data, Digest, Draft, Dropped, Event, EventPriority, Message, Subject,
        Timestamp,
    },
    plugin::{CallError, OnError, Plugin},
    store::{Change, NewEntry},
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
    pub(super) changes: Vec<Change>,
    /// How plugins failed on it, for a rehearsal.
    pub(super) failures: Vec<String>,
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
            changes: Vec::new(),
            failures: Vec::new(),
            sent: Members::default(),
            digest,
            caused_by,
            hops,
        }
    }

    /// An enricher changes it. Tells whether that moved it to another subject.
    pub(super) fn change(&mut self, members: Members, change: Change) -> bool {
        let before = members.exchange(&mut self.event);
        self.sent = Members {
            priority: self.sent.priority.or(before.priority),
            message: self.sent.message.take().or(before.message),
            data: self.sent.data.take().or(before.data),
        };
        self.changes.push(change);
        self.find_subject()
    }

    /// As if no plugin had seen it yet.
    pub(super) fn reset(&mut self) {
        take(&mut self.sent).exchange(&mut self.event);
        self.find_subject();
        self.dropped = None;
        self.changes.clear();
        self.failures.clear();
    }

    /// Where a node's events go depends on their data, which may have changed. Tells whether they go
    /// elsewhere.
    fn find_subject(&mut self) -> bool {
        if self.event.event_type.category() != Category::Node {
            return false;
        }
        let subject = self.event.subject();
        subject != replace(&mut self.subject, subject.clone())
    }

    /// The event as it was sent.
    pub(super) fn sent(&self) -> Event {
        let mut event = self.event.clone();
        self.sent.clone().exchange(&mut event);
        event
    }

    pub(super) fn into_entry(self) -> NewEntry {
        NewEntry {
            event: self.event,
            subject: self.subject,
            digest: self.digest,
            caused_by: self.caused_by,
            hops: self.hops,
            dropped: self.dropped,
            changes: self.changes,
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
pub(super) fn on_error(plugin: &Plugin, item: &mut Item, error: &CallError) {
    // That it is left alone was said once, when it began.
    if !matches!(error, CallError::Quarantined(_)) {
        warn!(plugin = plugin.name().as_str(), event = %item.event.id, "plugin {error}");
    }
    item.failures.push(error.to_string());
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
