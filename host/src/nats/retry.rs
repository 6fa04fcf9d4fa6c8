//! When to try again after a session has ended. A function of how it ended; nothing here waits.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// As it was told to, or because the log was closed: no further session.
    Stopped,
    /// There was or is no connection, and why.
    Lost(String),
    /// There is a connection, but what was under way is not stored, and why; sending it again helps, at
    /// once or as soon as a cluster has found a leader.
    Interrupted(String),
    /// There is a connection, but the server, a stream or the log refuses something, and why.
    Held(String),
}

/// The back-off between sessions. Each wait is the step's length plus a random part of the same
/// length, so that the hosts that lost one server do not come back to it at the same moment.
#[derive(Debug)]
pub(super) struct Retry {
    lost: ExponentialBackoff,
    held: ExponentialBackoff,
}

/// Steps of 0.1 s to 4 s: a server that comes back is noticed within eight seconds.
const LOST: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(4))
    .without_max_times()
    .with_jitter();

/// Steps of 1 s to 5 s: what refuses waits for a person, or for consumers to make room, and each
/// try costs the server a connection.
const HELD: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(1))
    .with_max_delay(Duration::from_secs(5))
    .without_max_times()
    .with_jitter();

impl Retry {
    pub(super) fn new() -> Self {
        Self { lost: LOST.build(), held: HELD.build() }
    }

    /// The wait before the next session; `None` when there is to be none. A session that moved the
    /// cursor starts the steps anew.
    pub(super) fn after(&mut self, end: &End, moved: bool) -> Option<Duration> {
        if moved {
            *self = Self::new();
        }
        match end {
            End::Stopped => None,
            // Neither series ends; the longest step stands in for the type's `None`.
            End::Lost(_) | End::Interrupted(_) => {
                Some(self.lost.next().unwrap_or(Duration::from_secs(4)))
            }
            End::Held(_) => Some(self.held.next().unwrap_or(Duration::from_secs(5))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_cap_and_never_end() {
        for (end, least, most) in [
            (End::Lost(String::new()), 100, 8_000),
            (End::Interrupted(String::new()), 100, 8_000),
            (End::Held(String::new()), 1_000, 10_000),
        ] {
            let mut retry = Retry::new();
            let waits: Vec<_> = (0..200).map(|_| retry.after(&end, false).unwrap()).collect();
            let bounds = Duration::from_millis(least)..=Duration::from_millis(most);
            assert!(waits.iter().all(|wait| bounds.contains(wait)), "{waits:?}");
            assert!(waits[0] <= Duration::from_millis(2 * least));
            assert!(waits[20..].iter().all(|wait| *wait >= Duration::from_millis(most / 2)));
            let jitter = waits[20..].iter().collect::<std::collections::HashSet<_>>();
            assert!(jitter.len() > 100, "waits at the cap differ");
            assert!(retry.after(&end, true).unwrap() <= Duration::from_millis(2 * least));
        }
    }

    #[test]
    fn nothing_follows_a_stop() {
        assert_eq!(Retry::new().after(&End::Stopped, true), None);
    }
}
