//! Where a candidate parts from history: for one event, and counted.

use serde::Serialize;

use super::{
    difference::{Difference, by_path, differences},
    story::Emitted,
};
use crate::event::{EventId, EventType, LogEntry, Seq, Subject};

/// One way in which the candidate would have decided otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It drops what history kept.
    Drops,
    /// It keeps what history dropped.
    Keeps,
    /// Both drop, for another reason.
    Reason,
    /// It changes the event otherwise.
    Patches,
    /// It emits otherwise in reaction to the event.
    Answers,
    /// It fails on the event.
    Fails,
    /// It fails on the event, which is refused for that.
    Holds,
}

/// An event that would have fared otherwise.
#[derive(Debug, Serialize)]
pub struct Deviation {
    /// Its place in the log.
    pub seq: Seq,
    /// Its id.
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// Where history published it.
    pub subject: Subject,
    /// In which ways; at least one.
    pub ways: Vec<Way>,
    /// Why it is hidden, on each side; `None` where it is not.
    #[serde(skip_serializing_if = "Sides::is_empty")]
    pub dropped: Sides<String>,
    /// The event behind the plugin: from history's to the candidate's.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "changes")]
    pub changes: Vec<Difference>,
    /// What is emitted in reaction to it, where the two part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<AnswerDeviation>,
    /// How the candidate failed on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

/// The same thing in history and from the candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sides<T> {
    /// In history.
    pub history: Option<T>,
    /// From the candidate.
    pub candidate: Option<T>,
}

impl<T> Sides<T> {
    /// The same, borrowed.
    pub fn as_ref(&self) -> Sides<&T> {
        Sides { history: self.history.as_ref(), candidate: self.candidate.as_ref() }
    }

    fn is_empty(&self) -> bool {
        self.history.is_none() && self.candidate.is_none()
    }
}

/// An emitted event that only one of the two emits, or each with another content.
#[derive(Debug, Serialize)]
pub struct AnswerDeviation {
    /// Its id, which derives from the event, the plugin and its number among the actions.
    pub id: EventId,
    /// What each side emits. History's is as the log has it.
    #[serde(flatten)]
    pub sides: Sides<Emitted>,
    /// Where both emit: from history's to the candidate's.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "changes")]
    pub changes: Vec<Difference>,
}

impl AnswerDeviation {
    /// `history` is the entry of the log, `candidate` what is emitted now.
    pub(super) fn new(id: EventId, history: Option<LogEntry>, candidate: Option<Emitted>) -> Self {
        let history = history.map(|entry| Emitted::of(entry.event, entry.subject, true));
        let mut changes = Vec::new();
        if let (Some(history), Some(candidate)) = (&history, &candidate) {
            let raw = |emitted| serde_json::value::to_raw_value(emitted);
            // Names and JSON that is JSON already: this cannot fail.
            if let (Ok(from), Ok(to)) = (raw(history), raw(candidate)) {
                differences("", &from, &to, &mut changes);
            }
        }
        Self { id, sides: Sides { history, candidate }, changes }
    }
}

/// What one side did with all events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Effects {
    /// Events that it hid.
    pub dropped: u64,
    /// Events that it changed.
    pub patched: u64,
    /// Events that it emitted something for.
    pub answered: u64,
    /// Events that it failed on. Not kept in the log, so always 0 for history.
    pub failed: u64,
}

impl Effects {
    pub(super) fn add(&mut self, other: Self) {
        self.dropped += other.dropped;
        self.patched += other.patched;
        self.answered += other.answered;
        self.failed += other.failed;
    }
}

/// All events, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Chosen events of the log.
    pub events: u64,
    /// Of these, events that the candidate was called with.
    pub seen: u64,
    /// Events that would have fared otherwise, in at least one way.
    pub different: u64,
    /// Per way, in how many events.
    pub ways: Ways,
    /// What history has of the plugin.
    pub history: Effects,
    /// What the candidate does.
    pub candidate: Effects,
    /// Commands that the candidate gives to the host. History does not keep them.
    pub commands: u64,
    /// Requests, events and commands that it was denied.
    pub denied: u64,
    /// Events that another plugin hid: the candidate did not see them.
    pub hidden: u64,
    /// Events of which an enricher has overwritten something for good: the candidate saw them as
    /// they are stored, and what it would have left alone does not show.
    pub as_stored: u64,
    /// Events that the reaction in the log has not come to: answers to them are not compared.
    pub unanswered: u64,
    /// Events whose answers retention has deleted from the log, some at least: they are not compared.
    pub answers_pruned: u64,
    /// Places that retention has emptied: of what was there nothing is known.
    pub pruned: u64,
}

/// A count of each [`Way`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "each is the Way of its name")]
pub struct Ways {
    pub drops: u64,
    pub keeps: u64,
    pub reason: u64,
    pub patches: u64,
    pub answers: u64,
    pub fails: u64,
    pub holds: u64,
}

impl Ways {
    /// Counts one more; how many there are then.
    pub(super) fn add(&mut self, way: Way) -> u64 {
        let count = match way {
            Way::Drops => &mut self.drops,
            Way::Keeps => &mut self.keeps,
            Way::Reason => &mut self.reason,
            Way::Patches => &mut self.patches,
            Way::Answers => &mut self.answers,
            Way::Fails => &mut self.fails,
            Way::Holds => &mut self.holds,
        };
        *count += 1;
        *count
    }
}

fn changes<S: serde::Serializer>(changes: &[Difference], to: S) -> Result<S::Ok, S::Error> {
    by_path(changes, to)
}
