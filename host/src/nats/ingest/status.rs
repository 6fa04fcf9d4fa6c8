//! How the way in is doing, for whoever asks: `/v1/status`, `/readyz`, `/metrics`, a person.

use tokio::sync::watch;
use tracing::info;

use super::Ingest;
use crate::{event::Timestamp, nats::retry::End};

/// What the way in is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IngestState {
    /// No connection; tried again with back-off.
    #[default]
    Away,
    /// Takes events in.
    Listening,
    /// The server is there, but refuses something, or a stream is not what it has to be; tried again
    /// with back-off.
    Held,
    /// It has ended.
    Stopped,
}

impl IngestState {
    /// The name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Listening => "listening",
            Self::Held => "held",
            Self::Stopped => "stopped",
        }
    }
}

/// Messages by what became of them, since the host started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IngestCounts {
    /// Committed; those that a filter hides too.
    pub accepted: u64,
    /// In the log already.
    pub duplicate: u64,
    /// No event, or one whose id is taken.
    pub refused: u64,
    /// Not stored at that moment: a stream delivers it again.
    pub deferred: u64,
    /// Of all these, the ones that a stream had delivered before.
    pub redelivered: u64,
}

impl IngestCounts {
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("accepted", self.accepted),
            ("duplicate", self.duplicate),
            ("refused", self.refused),
            ("deferred", self.deferred),
            ("redelivered", self.redelivered),
        ]
    }
}

/// The way in at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IngestSnapshot {
    /// In which way.
    pub how: Ingest,
    /// What it is at.
    pub state: IngestState,
    /// What became of the messages.
    pub counts: IngestCounts,
    /// The last thing that went wrong, and when; kept when all is well again.
    pub last_error: Option<(Timestamp, String)>,
}

/// Reads the status. Cheap to clone.
#[derive(Debug, Clone)]
pub struct IngestStatus(watch::Receiver<IngestSnapshot>);

impl IngestStatus {
    /// The status now.
    pub fn snapshot(&self) -> IngestSnapshot {
        let mut snapshot = self.0.borrow().clone();
        if self.0.has_changed().is_err() {
            snapshot.state = IngestState::Stopped;
        }
        snapshot
    }
}

/// The writing half.
#[derive(Debug)]
pub(super) struct Report(watch::Sender<IngestSnapshot>);

impl Report {
    pub(super) fn new(how: Ingest) -> (Self, IngestStatus) {
        let (sender, receiver) =
            watch::channel(IngestSnapshot { how, ..IngestSnapshot::default() });
        (Self(sender), IngestStatus(receiver))
    }

    pub(super) fn listening(&self, to: &str) {
        info!("taking events in from {to}");
        self.0.send_modify(|now| now.state = IngestState::Listening);
    }

    pub(super) fn ended(&self, end: &End) {
        let (state, reason) = match end {
            End::Stopped => (IngestState::Stopped, None),
            End::Lost(reason) | End::Interrupted(reason) => (IngestState::Away, Some(reason)),
            End::Held(reason) => (IngestState::Held, Some(reason)),
        };
        self.0.send_modify(|now| {
            now.state = state;
            if let Some(reason) = reason {
                now.last_error = Some((Timestamp::now(), reason.clone()));
            }
        });
    }

    pub(super) fn failed(&self, reason: String) {
        self.0.send_modify(|now| now.last_error = Some((Timestamp::now(), reason)));
    }

    pub(super) fn count(&self, add: IngestCounts) {
        self.0.send_modify(|now| {
            let counts = &mut now.counts;
            counts.accepted += add.accepted;
            counts.duplicate += add.duplicate;
            counts.refused += add.refused;
            counts.deferred += add.deferred;
            counts.redelivered += add.redelivered;
        });
    }
}
