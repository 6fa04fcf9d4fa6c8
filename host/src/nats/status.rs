//! How the publisher is doing, for whoever asks: `/readyz`, `/metrics`, a person.

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::message::Unsendable;
use crate::event::{Seq, Timestamp};

/// What the publisher is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NatsState {
    /// No connection; tried again with back-off.
    #[default]
    Away,
    /// Connected, and publishing whatever is committed.
    Publishing,
    /// The server is there, but refuses something, or the log cannot be read; tried again with
    /// back-off.
    Held,
    /// The publisher has ended.
    Stopped,
}

impl NatsState {
    /// The name in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Publishing => "publishing",
            Self::Held => "held",
            Self::Stopped => "stopped",
        }
    }
}

/// The publisher at one moment. Counts are since the host started, and at most 0.2 s old.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// What it is at.
    pub state: NatsState,
    /// The last event up to which all are confirmed and this is on disk. How far the publisher is
    /// behind is the log's head less this.
    pub cursor: Seq,
    /// Events handed to a connection, repetitions included.
    pub sent: u64,
    /// Events that a stream has acknowledged, repetitions included.
    pub acknowledged: u64,
    /// Of those, the ones that the stream had already.
    pub duplicates: u64,
    /// Events that cannot be published, for their size.
    pub skipped: u64,
    /// Connections made.
    pub connections: u64,
    /// The streams that cover something the host publishes. Empty: core NATS only.
    pub streams: Vec<String>,
    /// The last thing that went wrong, and when; kept when all is well again.
    pub last_error: Option<(Timestamp, String)>,
}

/// Reads the publisher's status. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NatsStatus(watch::Receiver<Snapshot>);

impl NatsStatus {
    /// The status now.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.0.borrow().clone();
        // The writing half goes with the publisher's task, however that ends.
        if self.0.has_changed().is_err() {
            snapshot.state = NatsState::Stopped;
        }
        snapshot
    }

    /// Returns with the first status that `condition` holds for; `None` when the publisher ends
    /// before.
    pub async fn wait_for(&self, condition: impl FnMut(&Snapshot) -> bool) -> Option<Snapshot> {
        self.0.clone().wait_for(condition).await.ok().map(|snapshot| snapshot.clone())
    }
}

/// The writing half.
#[derive(Debug)]
pub(super) struct Reporter(watch::Sender<Snapshot>);

/// What a session counts between two reports.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) duplicates: u64,
}

impl Reporter {
    pub(super) fn new() -> (Self, NatsStatus) {
        let (sender, receiver) = watch::channel(Snapshot::default());
        (Self(sender), NatsStatus(receiver))
    }

    pub(super) fn connected(&self, server: &str) {
        info!("connected to the NATS server {server}");
        self.0.send_modify(|now| {
            now.state = NatsState::Publishing;
            now.connections += 1;
        });
    }

    pub(super) fn covered_by(&self, streams: Vec<String>) {
        let mut before = streams.clone();
        self.0.send_modify(|now| std::mem::swap(&mut now.streams, &mut before));
        let gone: Vec<_> = before.iter().filter(|name| !streams.contains(name)).cloned().collect();
        if !gone.is_empty() {
            warn!(
                "streams no longer cover what is published: {} \
                 (what none covers is published at most once)",
                gone.join(", ")
            );
        }
        if streams != before {
            info!("streams that acknowledge what is published: [{}]", streams.join(", "));
        }
    }

    pub(super) fn progress(&self, cursor: Seq, counts: &mut Counts) {
        let counts = std::mem::take(counts);
        self.0.send_if_modified(|now| {
            let before = (now.cursor, now.sent, now.acknowledged);
            now.cursor = cursor;
            now.sent += counts.sent;
            now.acknowledged += counts.acknowledged;
            now.duplicates += counts.duplicates;
            before != (now.cursor, now.sent, now.acknowledged)
        });
    }

    pub(super) fn skipped(&self, seq: Seq, reason: &Unsendable) {
        let text = format!("event {seq} is not published: {reason}");
        error!("{text}");
        self.0.send_modify(|now| {
            now.skipped += 1;
            now.last_error = Some((Timestamp::now(), text));
        });
    }

    /// Something went wrong that does not end the session.
    pub(super) fn warn(&self, text: String) {
        let state = self.0.borrow().state;
        self.failed(state, text);
    }

    /// A session has ended. Logged once, however often the same thing happens.
    pub(super) fn failed(&self, state: NatsState, text: String) {
        let known = {
            let now = self.0.borrow();
            now.state == state && now.last_error.as_ref().is_some_and(|(_, last)| *last == text)
        };
        if !known {
            warn!("NATS {}: {text}", state.as_str());
        }
        self.0.send_modify(|now| {
            now.state = state;
            now.last_error = Some((Timestamp::now(), text));
        });
    }
}
