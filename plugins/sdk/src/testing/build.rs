use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::{Event, Priority, timestamp};

/// The instant of an event that was given none: 2026-08-01T09:30:00Z.
const START: i64 = 1_785_576_600 * timestamp::SECOND;

/// An event of this type, with an id of its own, of priority `info`, in session `s-1` of project
/// `web`, at 2026-08-01T09:30:00Z, without message and data, until the builder is told otherwise.
pub fn event(event_type: &str) -> EventBuilder {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    EventBuilder {
        event: Event {
            id: format!("00000000-0000-7000-8000-{n:012x}"),
            event_type: event_type.into(),
            priority: Priority::Info,
            session_id: "s-1".into(),
            project_id: "web".into(),
            timestamp: timestamp::format(START),
            message: String::new(),
            data_json: "null".into(),
        },
    }
}

/// Makes an [`Event`]; [`event`] begins one.
#[derive(Clone, Debug)]
#[must_use]
pub struct EventBuilder {
    event: Event,
}

impl EventBuilder {
    /// Sets the id, a UUID of 36 characters.
    pub fn id(mut self, id: &str) -> Self {
        self.event.id = id.into();
        self
    }

    /// Sets the priority.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.event.priority = priority;
        self
    }

    /// Sets the session.
    pub fn session(mut self, session_id: &str) -> Self {
        self.event.session_id = session_id.into();
        self
    }

    /// Sets the project.
    pub fn project(mut self, project_id: &str) -> Self {
        self.event.project_id = project_id.into();
        self
    }

    /// Sets the time to this many seconds after (or before) 2026-08-01T09:30:00Z.
    pub fn at_second(mut self, second: i64) -> Self {
        self.event.timestamp = timestamp::format(START + second * timestamp::SECOND);
        self
    }

    /// Sets the message.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.event.message = message.into();
        self
    }

    /// Sets `data`.
    pub fn data(mut self, data: Value) -> Self {
        self.event.data_json = data.to_string();
        self
    }

    /// The event.
    pub fn build(self) -> Event {
        self.event
    }
}
