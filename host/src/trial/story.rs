//! What a plugin did with one event, and with all of them.

use serde::Serialize;

use super::difference::{Difference, by_path};
use crate::{
    event::{
        Data, Digest, Draft, Event, EventId, EventPriority, EventType, Message, ProjectId,
        SessionId, Subject,
    },
    plugin::Said,
};

/// What a plugin did with one event.
#[derive(Debug, Serialize)]
pub struct Story {
    /// Where the event stands in the input, from 1.
    pub line: u64,
    /// The event.
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// Where it would be published, as it was sent.
    pub subject: Subject,
    /// The plugin was called with it.
    pub seen: bool,
    /// Why it is hidden, when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
    /// What its sender would be told instead of a receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// What the plugin changed in it.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "changes")]
    pub changes: Vec<Difference>,
    /// What the plugin emits in reaction to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub emits: Vec<Emitted>,
    /// The commands that the plugin gives to the host in reaction to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Commanded>,
    /// How the plugin failed on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
    /// How often the plugin had to react; more than 1 after a failure that was worth a retry.
    #[serde(skip_serializing_if = "is_one")]
    pub attempts: u32,
    /// What the plugin said about it, where it is known that it was about this event.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
}

/// An event that a reaction wants emitted.
#[derive(Debug, Serialize)]
pub struct Emitted {
    /// The id that it always has.
    pub id: EventId,
    /// Where it would be published.
    pub subject: Subject,
    /// Whether the sidecar grants that.
    pub granted: bool,
    /// What happened.
    pub event_type: EventType,
    /// How much attention it wants.
    pub priority: EventPriority,
    /// The session it is about.
    pub session_id: SessionId,
    /// The project that owns it.
    pub project_id: ProjectId,
    /// For people.
    pub message: Message,
    /// Structured payload.
    pub data: Data,
}

impl Emitted {
    /// `event`, which is or would be published on `subject`.
    pub(super) fn of(event: Event, subject: Subject, granted: bool) -> Self {
        let Event { id, event_type, priority, session_id, project_id, message, data, .. } = event;
        Self { id, subject, granted, event_type, priority, session_id, project_id, message, data }
    }

    /// What a host would keep of its content: all of it is given but the time.
    pub(super) fn digest(&self) -> Digest {
        let Self { id, event_type, priority, session_id, project_id, message, data, .. } = self;
        let draft = Draft {
            id: Some(*id),
            event_type: event_type.clone(),
            priority: Some(*priority),
            session_id: session_id.clone(),
            project_id: project_id.clone(),
            timestamp: None,
            message: Some(message.clone()),
            data: Some(data.clone()),
        };
        draft.digest()
    }
}

/// A command that a reaction wants given to the host. A trial gives none.
#[derive(Debug, Serialize)]
pub struct Commanded {
    /// Its name, and the plugin that it is about.
    pub command: String,
    /// Whether the sidecar grants it.
    pub granted: bool,
}

impl Story {
    /// Whether the event would have fared otherwise without the plugin.
    pub fn is_news(&self) -> bool {
        self.dropped.is_some()
            || self.held.is_some()
            || !self.changes.is_empty()
            || !self.emits.is_empty()
            || !self.commands.is_empty()
            || !self.failures.is_empty()
            || self.attempts > 1
    }
}

/// What a plugin did with all events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Events of the input.
    pub events: u64,
    /// Events that the plugin was called with.
    pub seen: u64,
    /// Events that it hid.
    pub dropped: u64,
    /// Events that were not accepted because it failed on them.
    pub held: u64,
    /// Events that it changed.
    pub patched: u64,
    /// Events that it emitted, those that are not granted left out.
    pub emitted: u64,
    /// Events that it failed on.
    pub failed: u64,
}

impl Totals {
    pub(super) fn add(&mut self, story: &Story) {
        self.events += 1;
        self.seen += u64::from(story.seen);
        self.dropped += u64::from(story.dropped.is_some());
        self.held += u64::from(story.held.is_some());
        self.patched += u64::from(!story.changes.is_empty());
        self.failed += u64::from(!story.failures.is_empty());
        // Granted as a whole or not at all, and a failure is the only sign of the latter.
        if story.failures.is_empty() {
            self.emitted += story.emits.len() as u64;
        }
    }
}

/// What calling the plugin cost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Cost {
    /// Calls into the guest.
    pub calls: u64,
    /// Time in the guest a seen event, in microseconds: half of the events took no longer. An event
    /// of a batch took its part of the call.
    pub p50_us: f64,
    /// The same for 99 of 100 events.
    pub p99_us: f64,
    /// The instance's memory at the end, in bytes.
    pub memory_bytes: u64,
}

fn changes<S: serde::Serializer>(changes: &[Difference], to: S) -> Result<S::Ok, S::Error> {
    by_path(changes, to)
}

fn is_one(attempts: &u32) -> bool {
    *attempts == 1
}
