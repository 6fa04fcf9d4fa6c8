//! What is said between the host and a plugin, in the host's own types, whatever the version of
//! the contract.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::event::{Cause, Event, EventPriority, LogEntry};

/// The most events of one call.
pub(super) const BATCH: usize = 64;
/// A call ends a batch early once its messages and data are larger, in bytes.
pub(super) const BATCH_BYTES: usize = 1 << 20;
/// The longest reason of a drop, in bytes; the rest is cut.
pub(super) const MAX_REASON: usize = 1024;
/// The most actions of one reaction to one event.
pub(super) const MAX_ACTIONS: usize = 32;

/// A filter's answer to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Keep,
    /// It is hidden, for this reason.
    Drop(String),
}

/// What an enricher wants changed in one event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch {
    /// The new priority.
    pub priority: Option<EventPriority>,
    /// The new message, not yet checked.
    pub message: Option<String>,
    /// An RFC 7396 merge patch, not yet checked.
    pub data: Option<String>,
    /// SHA-256 of the component that made it, hexadecimal.
    pub version: Arc<str>,
}

/// A stored event on its way to a reaction.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The event and its envelope.
    pub entry: &'a LogEntry,
    /// From 1.
    pub attempt: u32,
}

/// What came of one reaction to one event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reacted {
    /// What it wants done.
    pub actions: Vec<Action>,
    /// How many HTTP requests it sent.
    pub requests: u32,
}

/// What a reaction wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// An event.
    Emit(Emission),
    /// A command to the host.
    Command(CommandWish),
}

/// A command that a reaction gives to the host, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandWish {
    /// The name of the command.
    pub name: String,
    /// The plugin that it is about.
    pub plugin: Option<String>,
}

/// An event that a reaction wants emitted, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// The name of its type.
    pub event_type: String,
    /// Its priority.
    pub priority: EventPriority,
    /// `None`: that of the event reacted to.
    pub session_id: Option<String>,
    /// `None`: that of the event reacted to.
    pub project_id: Option<String>,
    /// For people.
    pub message: String,
    /// JSON text.
    pub data: String,
}

/// Why a reaction did not react.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReactError {
    /// Worth another try: the guest asked for it, trapped, or took too long.
    #[error("{reason}")]
    Retry {
        /// What went wrong.
        reason: String,
        /// How long the guest wants to be left alone at least.
        after: Option<Duration>,
    },
    /// The guest says that another try is useless.
    #[error("{0}")]
    Fatal(String),
    /// The plugin was not called: it keeps failing, and is left alone until then.
    #[error("is left alone after repeated failures")]
    Quarantined(Instant),
    /// The version failed on its probation: the event is for the version that took over.
    #[error("{0}, and was rolled back")]
    RolledBack(String),
}

/// Why a call into a guest gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// The guest was stopped by its own fault.
    #[error("trapped: {0}")]
    Trap(String),
    /// The guest did not answer in time.
    #[error("missed its deadline of {} ms", .0.as_millis())]
    Deadline(Duration),
    /// The guest answered what the contract does not allow.
    #[error("answered nonsense: {0}")]
    Nonsense(String),
    /// The guest says that it failed on this event.
    #[error("failed: {0}")]
    Failed(String),
    /// No fresh instance could be made.
    #[error("cannot be started: {0}")]
    Start(String),
    /// The guest was not called: it keeps failing, and is left alone for this long yet.
    #[error("is left alone for {:.1} s after repeated failures", .0.as_secs_f64())]
    Quarantined(Duration),
}

impl CallError {
    /// Whether the guest broke down, rather than answered wrongly or was not asked.
    pub(super) fn is_breakdown(&self) -> bool {
        matches!(self, Self::Trap(_) | Self::Deadline(_) | Self::Start(_))
    }

    pub(super) fn quarantined(until: Instant) -> Self {
        Self::Quarantined(until.saturating_duration_since(Instant::now()))
    }
}

/// The event as borrowed strings for the guest, and those that have to be made.
pub(super) struct Lowered<'a> {
    pub(super) event: &'a Event,
    pub(super) id: String,
    pub(super) timestamp: String,
}

impl<'a> Lowered<'a> {
    pub(super) fn new(event: &'a Event) -> Self {
        Self { event, id: event.id.to_string(), timestamp: event.timestamp.to_string() }
    }
}

/// The cause as the contract has it.
pub(super) fn lower_cause(cause: &Cause) -> (String, String) {
    (cause.event_id.to_string(), cause.plugin.to_string())
}
