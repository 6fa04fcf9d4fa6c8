use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Priority, event_type, timestamp};

/// One event, already validated by the host: a plugin may rely on every bound given here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// A UUID, 36 characters, lower case.
    pub id: String,
    /// A name of [`event_type`], or `custom.<action>`.
    pub event_type: String,
    /// How much attention the event wants.
    pub priority: Priority,
    /// 1 to 128 characters of `[A-Za-z0-9_.:-]`.
    pub session_id: String,
    /// 1 to 64 characters of `[A-Za-z0-9_-]`.
    pub project_id: String,
    /// RFC 3339 in UTC, with microseconds: `2026-08-01T09:30:00.000000Z`.
    pub timestamp: String,
    /// For people. At most 8 192 bytes.
    pub message: String,
    /// JSON text. At most 262 144 bytes, depth at most 64; `null` when the sender gave none. Read
    /// it with [`Event::data`].
    pub data_json: String,
}

impl Event {
    /// Whether the event is of this type: `event.is(event_type::CI_FAILING)`.
    pub fn is(&self, event_type: &str) -> bool {
        self.event_type == event_type
    }

    /// `data` as a type of the plugin's own.
    ///
    /// # Errors
    ///
    /// When `data` has another shape than `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.data_json)
    }

    /// `data` as a JSON value. The host hands over valid JSON only; anything else reads as null.
    pub fn data_value(&self) -> Value {
        self.data().unwrap_or(Value::Null)
    }

    /// When the event happened, in microseconds since 1970-01-01T00:00:00Z. The host hands over
    /// valid timestamps only; anything else reads as 0.
    pub fn unix_micros(&self) -> i64 {
        timestamp::parse(&self.timestamp).unwrap_or(0)
    }

    /// The subject under which the host publishes the event, with the default prefix `ennio`
    /// whatever the host's configuration: patterns in a plugin's own configuration start with it.
    pub fn subject(&self) -> String {
        event_type::subject(self)
    }
}
