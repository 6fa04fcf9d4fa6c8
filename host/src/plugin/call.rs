//! What is said between the host and a plugin, in the host's own types, whatever the version of
//! the contract.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use thiserror::Error;

use super::logging::Words;
use crate::event::{Cause, Event, EventPriority, LogEntry};

/// The most events of one call.
pub(super) const BATCH: usize = 64;
/// A call ends a batch early once its messages and data are larger, in bytes.
pub(super) const BATCH_BYTES: usize = 1 << 20;
/// The longest reason of a drop, in bytes; the rest is cut.
pub(super) const MAX_REASON: usize = 1024;

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
}

/// A call into a guest, or what stands for one that was not made.
#[derive(Debug, Clone)]
pub struct Call {
    /// SHA-256 of the component, hexadecimal.
    pub version: Arc<str>,
    /// What it was about lies among these of the events asked about.
    pub events: Range<usize>,
    /// How many of these it was about.
    pub count: usize,
    /// In the guest.
    pub took: Duration,
    /// What the guest said.
    pub words: Words,
    /// HTTP requests that it sent.
    pub requests: u32,
    /// Why it made the version before take over; that answers in other calls.
    pub left: Option<CallError>,
}

impl Call {
    /// About the first `count` events.
    pub(super) fn new(version: &Arc<str>, count: usize, took: Duration, words: Words) -> Self {
        let version = Arc::clone(version);
        Self { version, events: 0..count, count, took, words, requests: 0, left: None }
    }

    /// One event's share of the time.
    pub fn share(&self) -> Duration {
        self.took / u32::try_from(self.count).unwrap_or(u32::MAX).max(1)
    }
}

/// What came of events that a plugin was asked about.
#[derive(Debug)]
pub struct Answers<T> {
    /// One for each event, in their order, with the number of the call that it comes from.
    pub answers: Vec<(usize, Result<T, CallError>)>,
    /// The calls that these come from, and those that made a version leave.
    pub calls: Vec<Call>,
}

impl<T> Answers<T> {
    pub(super) fn with_capacity(events: usize) -> Self {
        Self { answers: Vec::with_capacity(events), calls: Vec::new() }
    }

    /// The answers alone.
    pub fn into_results(self) -> impl Iterator<Item = Result<T, CallError>> {
        self.answers.into_iter().map(|(_, answer)| answer)
    }

    /// A call about the next events.
    pub(super) fn add(
        &mut self,
        mut call: Call,
        answers: impl IntoIterator<Item = Result<T, CallError>>,
    ) {
        let (number, first) = (self.calls.len(), self.answers.len());
        self.answers.extend(answers.into_iter().map(|answer| (number, answer)));
        call.events = first..self.answers.len();
        self.calls.push(call);
    }

    /// A call that gave no answer, after which the version before gives all that are left: the call
    /// counts as one about all of these, so that each knows why.
    pub(super) fn leave(&mut self, mut call: Call, error: CallError, before: Self) {
        let (numbers, first) = (self.calls.len() + 1, self.answers.len());
        let behind = |events: Range<usize>| first + events.start..first + events.end;
        call.events = behind(0..before.answers.len());
        call.left = Some(error);
        self.calls.push(call);
        let calls = before.calls.into_iter();
        self.calls.extend(calls.map(|call| Call { events: behind(call.events.clone()), ..call }));
        let answers = before.answers.into_iter();
        self.answers.extend(answers.map(|(call, answer)| (numbers + call, answer)));
    }

    /// The same with other answers.
    pub(super) fn map<U>(self, change: impl Fn(T) -> U) -> Answers<U> {
        let answers = self.answers.into_iter();
        let answers = answers.map(|(call, answer)| (call, answer.map(&change)));
        Answers { answers: answers.collect(), calls: self.calls }
    }
}

/// A stored event on its way to a reaction.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The event and its envelope.
    pub entry: &'a LogEntry,
    /// From 1.
    pub attempt: u32,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn call(version: &str, count: usize) -> Call {
        Call::new(&version.into(), count, Duration::from_micros(6), Words::default())
    }

    #[test]
    fn answers_know_their_call_also_where_the_version_before_gives_them() {
        let mut told = Answers::with_capacity(6);
        told.add(call("new", 2), [Ok(1), Ok(2)]);
        let mut before = Answers::with_capacity(4);
        before.add(call("old", 3), [Ok(3), Ok(4), Ok(5)]);
        before.add(call("old", 1), [Ok(6)]);
        told.leave(call("new", 3), CallError::Trap("oh".into()), before);

        let by = |told: &Answers<i32>| -> Vec<(String, i32)> {
            let answers = told.answers.iter();
            let answer = |(at, answer): &(usize, Result<i32, CallError>)| {
                (told.calls[*at].version.to_string(), answer.clone().unwrap())
            };
            answers.map(answer).collect()
        };
        let expected = [("new", 1), ("new", 2), ("old", 3), ("old", 4), ("old", 5), ("old", 6)];
        assert_eq!(by(&told), expected.map(|(version, n)| (version.to_owned(), n)));
        let events: Vec<Range<usize>> = told.calls.iter().map(|call| call.events.clone()).collect();
        assert_eq!(events, [0..2, 2..6, 2..5, 5..6]);
        let left: Vec<bool> = told.calls.iter().map(|call| call.left.is_some()).collect();
        assert_eq!(left, [false, true, false, false]);
        assert_eq!(told.calls[0].share(), Duration::from_micros(3));
    }
}
