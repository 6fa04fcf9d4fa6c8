//! A trace as it is told: to programs as JSON, field by field.

use std::sync::Arc;

use serde::Serialize;

use super::{Called, Line, Role};
use crate::{
    event::{LogEntry, PluginName, Seq, Timestamp},
    store::reactions::Attempt,
};

pub use super::diff::Difference;

/// The most events of one trace, besides what the event came from; what is left out is counted.
pub const MAX_STORIES: usize = 100;

/// The way of one event, and what it came from.
#[derive(Debug, Serialize)]
pub struct Trace {
    /// What it came from, the first one first; empty for an event from outside.
    pub causes: Vec<LogEntry>,
    /// Its own way.
    #[serde(flatten)]
    pub story: Story,
}

/// The way of one event.
#[derive(Debug, Serialize)]
pub struct Story {
    /// The event, as it is in the log.
    pub event: LogEntry,
    /// The filters and enrichers that saw it, in their order.
    pub pipeline: Vec<Passed>,
    /// Where it went besides reactions; empty for an event that a filter hid.
    pub published: Vec<Published>,
    /// The reactions that it is for, by name.
    pub reactions: Vec<Reaction>,
}

/// How an event came past a filter or an enricher.
#[derive(Debug, Serialize)]
pub struct Passed {
    /// Who.
    pub plugin: PluginName,
    /// As what.
    pub role: Role,
    /// The plugin's own version; `None` where only the component is known.
    pub version: Option<String>,
    /// SHA-256 of the component, hexadecimal; `None` for what was not recorded.
    pub hash: Option<Arc<str>>,
    /// What it did.
    pub outcome: Outcome,
    /// Why it dropped the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Difference>,
    /// The event's share of the call's time, in microseconds; only known where something was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_us: Option<f64>,
    /// Calls about this event, perhaps among others, that said something, took 10 ms or longer, or
    /// made the version before take over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<PassedCall>,
}

/// What a filter or an enricher did with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It kept it, unchanged.
    Kept,
    /// It changed it.
    Changed,
    /// It hid it.
    Dropped,
    /// It failed on it, and its sidecar lets the event pass then.
    Failed,
    /// It failed on it, and its sidecar hides the event then.
    FailedDropped,
}

/// A call about some events, this one among them or between them.
#[derive(Debug, Serialize)]
pub struct PassedCall {
    /// The first event's place in the log.
    pub first_seq: Seq,
    /// The last event's.
    pub last_seq: Seq,
    /// How many of those between were in the call. More than one: it is not known which of them a
    /// line is about.
    pub events: u64,
    /// Time and words of the call.
    #[serde(flatten)]
    pub called: Called,
    /// Why it made the version before take over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How an event came out at a sink.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Published {
    /// The sink has it.
    Published {
        /// The sink: `nats`.
        sink: String,
        /// Not before.
        after: Timestamp,
        /// And not later; `None` when it was not recorded.
        by: Option<Timestamp>,
    },
    /// The sink has not come to it.
    Pending {
        /// The sink.
        sink: String,
    },
    /// The sink could not take it.
    Skipped {
        /// The sink.
        sink: String,
        /// Why.
        reason: String,
    },
}

/// How a reaction went.
#[derive(Debug, Serialize)]
pub struct Reaction {
    /// Who.
    pub plugin: PluginName,
    /// The plugin's own version; `None` where only the component is known.
    pub version: Option<String>,
    /// SHA-256 of the component, hexadecimal; `None` for what was not recorded.
    pub hash: Option<Arc<str>>,
    /// What came of it.
    pub outcome: ReactionOutcome,
    /// Which attempt succeeded, from 1; not recorded where nothing was to be done at the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// When it was done; not recorded where nothing was to be done at the first attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The call's time, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_us: Option<f64>,
    /// What the guest said, at most 16 lines and 4 096 bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Line>,
    /// Further lines, which only the host's log has.
    #[serde(skip_serializing_if = "super::is_zero")]
    pub unsaid: u64,
    /// The attempts that failed, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_attempts: Vec<Attempt>,
    /// When it may be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// The number of the dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<i64>,
    /// Commands that it gave to the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// What it emitted, each with its own way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub emitted: Vec<Story>,
    /// Events that it emitted and that are left out here, since the trace is long enough.
    #[serde(skip_serializing_if = "super::is_zero")]
    pub left_out: u64,
}

/// What came of a reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReactionOutcome {
    /// It has not come to the event, or not saved that it did.
    Pending,
    /// It is done, if only with seeing that nothing was to be done.
    Done,
    /// It comes back to the event.
    Waiting,
    /// It gave up.
    DeadLetter,
    /// It gave up, and somebody threw the dead letter away.
    Discarded,
}
