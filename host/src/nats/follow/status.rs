//! How the follower is doing, for whoever asks: `/readyz`, `/v1/status`, `/metrics`, a person.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::{
    event::{LogId, Seq, Timestamp},
    store::Missing,
};

/// What the follower is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FollowState {
    /// No connection, or none that leads to the stream; tried again with back-off.
    #[default]
    Away,
    /// It reads the stream.
    Following,
    /// It takes no more until somebody has changed something; looked at again with back-off.
    Held,
    /// It has ended.
    Stopped,
}

impl FollowState {
    /// The name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Following => "following",
            Self::Held => "held",
            Self::Stopped => "stopped",
        }
    }
}

/// The follower at one moment. Counts are since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FollowSnapshot {
    /// What it is at.
    pub state: FollowState,
    /// The stream that it reads.
    pub stream: String,
    /// The log that is followed; `None` until its first event came.
    pub origin: Option<LogId>,
    /// The last event that was taken; 0 for none.
    pub last: Seq,
    /// The stream's last sequence that was read; 0 for none.
    pub stream_seq: u64,
    /// Messages that the stream has behind that, as far as its server has told; exact while it follows.
    pub lag: u64,
    /// Events taken.
    pub taken: u64,
    /// Events that came again.
    pub repeated: u64,
    /// Messages of the stream that no host has sent.
    pub foreign: u64,
    /// How often events were missing, ever.
    pub gap_count: u64,
    /// The last of those times, 100 at most.
    pub gaps: Vec<Missing>,
    /// When it was last found that the stream had been made anew.
    pub reset_at: Option<Timestamp>,
    /// The last thing that went wrong, and when; kept when all is well again.
    pub last_error: Option<(Timestamp, String)>,
}

impl FollowSnapshot {
    /// How many gaps, for people.
    pub fn gaps_in_words(&self) -> String {
        match self.gap_count {
            1 => "1 gap".into(),
            count => format!("{count} gaps"),
        }
    }
}

/// Reads the follower's status. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FollowStatus(watch::Receiver<FollowSnapshot>);

impl FollowStatus {
    /// The status now.
    pub fn snapshot(&self) -> FollowSnapshot {
        let mut snapshot = self.0.borrow().clone();
        // The writing half goes with the follower's task, however that ends.
        if self.0.has_changed().is_err() {
            snapshot.state = FollowState::Stopped;
        }
        snapshot
    }
}

/// The writing half.
#[derive(Debug)]
pub(super) struct Reporter {
    now: watch::Sender<FollowSnapshot>,
    /// How the last session ended, and how many events had been taken then.
    ended: Mutex<Option<(FollowState, String, u64)>>,
}

impl Reporter {
    pub(super) fn new(stream: String) -> (Self, FollowStatus) {
        let (sender, receiver) =
            watch::channel(FollowSnapshot { stream, ..FollowSnapshot::default() });
        (Self { now: sender, ended: Mutex::default() }, FollowStatus(receiver))
    }

    /// A session reads the stream.
    pub(super) fn following(&self, server: &str, from: u64, lag: u64) {
        let is_again = self.ended(|ended, taken| {
            ended.as_ref().is_some_and(|(state, _, at)| *state == FollowState::Held && *at == taken)
        });
        self.now.send_modify(|now| {
            let text = format!(
                "following the NATS stream {} at {server} from its sequence {from}",
                now.stream
            );
            // What holds it is still there, as far as anybody knows.
            match is_again {
                true => debug!("{text}"),
                false => info!("{text}"),
            }
            now.state = FollowState::Following;
            now.lag = lag;
        });
    }

    /// How far it has come.
    pub(super) fn at(&self, origin: Option<LogId>, last: Seq, stream_seq: u64) {
        self.now.send_modify(|now| {
            (now.origin, now.last, now.stream_seq) = (origin, last, stream_seq);
        });
    }

    pub(super) fn took(&self, taken: usize, repeated: usize, lag: u64) {
        self.now.send_modify(|now| {
            now.taken += taken as u64;
            now.repeated += repeated as u64;
            now.lag = lag;
        });
    }

    /// A message that no host has sent; told once.
    pub(super) fn foreign(&self, subject: &str) {
        self.now.send_modify(|now| {
            if now.foreign == 0 {
                let stream = &now.stream;
                warn!(
                    "the NATS stream {stream} holds messages that no host has sent, like one on \
                     {subject}: they are passed over, and counted"
                );
            }
            now.foreign += 1;
        });
    }

    /// All gaps that are known.
    pub(super) fn gaps(&self, count: u64, gaps: Vec<Missing>) {
        self.now.send_modify(|now| (now.gap_count, now.gaps) = (count, gaps));
    }

    /// The stream is not the one that was read before.
    pub(super) fn reset(&self, text: String) {
        warn!("{text}");
        let at = Timestamp::now();
        self.now.send_modify(|now| {
            now.reset_at = Some(at);
            now.last_error = Some((at, text));
        });
    }

    /// Events are missing behind `after`, up to and with `until`.
    pub(super) fn missing(&self, after: Seq, until: Seq) {
        let text = match after {
            0 => format!(
                "the stream begins behind event {until}: what comes before is not in this log \
                 (start with an empty database where a stream has it all)"
            ),
            _ => format!(
                "events behind {after}, up to {until}, are missing: the stream has them no longer \
                 (its limits or somebody took them; the host's own log has them)"
            ),
        };
        error!("{text}");
        self.now.send_modify(|now| now.last_error = Some((Timestamp::now(), text)));
    }

    /// A session has ended. Logged once, however often the same thing happens.
    pub(super) fn failed(&self, state: FollowState, text: String) {
        let known = self.ended(|ended, taken| {
            let now = Some((state, text.clone(), taken));
            std::mem::replace(ended, now.clone()) == now
        });
        if !known {
            match state {
                FollowState::Held => error!("the follower is held: {text}"),
                _ => warn!("the follower is {}: {text}", state.as_str()),
            }
        }
        self.now.send_modify(|now| {
            now.state = state;
            now.last_error = Some((Timestamp::now(), text));
        });
    }

    /// Looks at how the last session ended, with how many events have been taken by now.
    fn ended<T>(&self, look: impl FnOnce(&mut Option<(FollowState, String, u64)>, u64) -> T) -> T {
        let taken = self.now.borrow().taken;
        look(&mut self.ended.lock().unwrap_or_else(PoisonError::into_inner), taken)
    }
}
