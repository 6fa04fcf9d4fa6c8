//! What a host answers, as far as a client reads it.
//!
//! Read with leniency: a host may be newer than this command, so unknown members are passed over,
//! and names (of types, priorities, states) are kept as text.

use std::{borrow::Cow, collections::BTreeMap, fmt, path::PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{Category, Data, EventPriority, EventType, Seq, Subject};

/// An event in its envelope.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) event_type: String,
    pub(super) priority: String,
    pub(super) session_id: String,
    pub(super) project_id: String,
    pub(super) timestamp: String,
    #[serde(default)]
    pub(super) message: String,
    pub(super) data: Option<Box<RawValue>>,
    pub(super) seq: Seq,
    pub(super) caused_by: Option<Cause>,
    #[serde(default)]
    pub(super) hops: u8,
    pub(super) dropped_by: Option<String>,
    pub(super) drop_reason: Option<String>,
    pub(super) committed_at: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Cause {
    pub(super) event_id: String,
    pub(super) plugin: String,
}

impl Entry {
    pub(super) fn data(&self) -> &str {
        self.data.as_ref().map_or("null", |data| data.get())
    }

    pub(super) fn priority(&self) -> Option<EventPriority> {
        self.priority.parse().ok()
    }

    pub(super) fn category(&self) -> Option<Category> {
        self.event_type.parse::<EventType>().ok().map(|event_type| event_type.category())
    }

    /// Where it was published; its type, where this command does not know the type.
    pub(super) fn subject(&self) -> Cow<'_, str> {
        self.known_subject()
            .map_or(Cow::Borrowed(&*self.event_type), |subject| Cow::Owned(subject.to_string()))
    }

    fn known_subject(&self) -> Option<Subject> {
        let event_type = self.event_type.parse::<EventType>().ok()?;
        // No other category looks into the data.
        let data = match event_type.category() {
            Category::Node => self.data().parse().ok()?,
            _ => Data::default(),
        };
        Some(Subject::of(&event_type, &self.project_id.parse().ok()?, &data))
    }
}

/// `GET /v1/events`. Events stay text until somebody needs their fields.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) events: Vec<Box<RawValue>>,
    pub(super) next: Option<Seq>,
    #[serde(default)]
    pub(super) pruned: Option<Gone>,
}

/// `GET /v1/events/stats`.
#[derive(Debug, Deserialize)]
pub(super) struct Stats {
    pub(super) total: u64,
    pub(super) counts: Vec<Count>,
}

/// One group.
#[derive(Debug, Deserialize)]
pub(super) struct Count {
    pub(super) count: u64,
    #[serde(flatten)]
    names: BTreeMap<String, serde_json::Value>,
}

impl Count {
    /// The name that the group has under `by`.
    pub(super) fn group(&self, by: &str) -> &str {
        self.names.get(by).and_then(serde_json::Value::as_str).unwrap_or("unknown")
    }
}

/// What became of one event.
#[derive(Debug)]
pub(super) enum Outcome {
    Stored(Receipt),
    Refused(Problem),
}

#[derive(Debug, Deserialize)]
pub(super) struct Receipt {
    pub(super) id: String,
    pub(super) seq: Seq,
    pub(super) status: String,
}

impl Outcome {
    /// Reads a receipt or a problem.
    pub(super) fn parse(json: &str) -> serde_json::Result<Self> {
        serde_json::from_str(json)
            .map(Self::Stored)
            .or_else(|_| serde_json::from_str(json).map(Self::Refused))
    }
}

/// RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Problem {
    pub(super) title: String,
    pub(super) status: Option<u16>,
    pub(super) detail: Option<String>,
    pub(super) field: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.detail.as_ref().unwrap_or(&self.title);
        match &self.field {
            Some(field) if !text.contains(&**field) => write!(f, "{field}: {text}"),
            _ => f.write_str(text),
        }
    }
}

/// `GET /v1/plugins`.
#[derive(Debug, Deserialize)]
pub(super) struct Plugins {
    pub(super) plugins: Vec<Box<RawValue>>,
}

impl Plugins {
    pub(super) fn read(&self) -> serde_json::Result<Vec<Plugin>> {
        self.plugins.iter().map(|plugin| serde_json::from_str(plugin.get())).collect()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Plugin {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) roles: Vec<String>,
    pub(super) hash: Option<String>,
    pub(super) version: Option<String>,
    pub(super) order: i64,
    pub(super) loads: u64,
    pub(super) came_by: Option<String>,
    pub(super) mirrored: bool,
    pub(super) probation: Option<Probation>,
    pub(super) previous: Option<Previous>,
    pub(super) disabled: Option<Disabled>,
    pub(super) load_error: Option<String>,
    pub(super) events: u64,
    pub(super) events_changed: u64,
    pub(super) failures: u64,
    pub(super) denials: u64,
    pub(super) last_error: Option<String>,
    pub(super) time_seconds: f64,
    pub(super) cursor: Option<Seq>,
    pub(super) waiting: u64,
    pub(super) waiting_full: bool,
    pub(super) dead_letters: u64,
    pub(super) unresolved: u64,
}

/// What is left of a version's probation.
#[derive(Debug, Deserialize)]
pub(super) struct Probation {
    pub(super) events: u64,
    pub(super) seconds: f64,
}

/// The version that ran before.
#[derive(Debug, Deserialize)]
pub(super) struct Previous {
    pub(super) version: String,
}

/// Who took a plugin out of the flow.
#[derive(Debug, Deserialize)]
pub(super) struct Disabled {
    pub(super) since: String,
    pub(super) by: String,
}

/// `GET /v1/status`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) head: Seq,
    pub(super) dead_letters: u64,
    pub(super) database: Option<PathBuf>,
    pub(super) plugins_folder: Option<PathBuf>,
}

/// What a stream or page says of events that retention has deleted.
#[derive(Debug, Deserialize)]
pub(super) struct Gone {
    pub(super) from: Seq,
    pub(super) to: Seq,
    pub(super) count: u64,
}

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to, count } = self;
        write!(f, "{count} events, from seq {from} to {to}, are gone: retention was there first")
    }
}
