//! Sinks that fall far behind the log: said once when it begins, and once when it is over, in the log
//! and on the dashboard.
//!
//! A sink lags when more than 10 000 events are behind it, or when for 30 s it has not come to where the
//! log ended before. It has caught up when neither holds, with half as many events: so one that stays
//! around the bound is not told of again and again.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::operator::Operator;
use crate::{
    dashboard::{Board, Change, Lag},
    event::Seq,
};

/// Behind by more events than this, a sink lags.
const EVENTS: u64 = 10_000;
/// So it does when it has not come past a place for so long that the log had then.
const TIME: Duration = Duration::from_secs(30);
/// The time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Looks at the sinks until it is dropped.
pub(super) struct Lookout(JoinHandle<()>);

impl Lookout {
    pub(super) fn start(operator: Arc<Operator>, board: Board) -> Self {
        Self(tokio::spawn(async move {
            let mut sinks = BTreeMap::<String, Sink>::new();
            loop {
                tokio::time::sleep(LOOK).await;
                look(&mut sinks, &operator.cursors(), operator.bus.head(), &board);
            }
        }))
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn look(sinks: &mut BTreeMap<String, Sink>, cursors: &[(String, Seq)], head: Seq, board: &Board) {
    let now = Instant::now();
    // One that is gone lags no more, and nobody waits for it.
    sinks.retain(|name, _| cursors.iter().any(|(there, _)| there == name));
    for (cursor, seq) in cursors {
        let sink = sinks.entry(cursor.clone()).or_insert_with(|| Sink::new(head, now));
        let Some(turn) = sink.see(*seq, head, now) else { continue };
        let lag = Lag { cursor: cursor.clone(), seq: *seq, head };
        let behind = head.saturating_sub(*seq);
        match turn {
            Turn::Lags => {
                warn!("{cursor} lags: it is at seq {seq}, {behind} events behind the log");
                board.tell(Change::CursorLagging(lag));
            }
            Turn::CaughtUp => {
                info!("{cursor} has caught up, at seq {seq}");
                board.tell(Change::CursorCaughtUp(lag));
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Lags,
    CaughtUp,
}

/// What is remembered of one sink.
struct Sink {
    /// Where the log ended at some time, and that time: moved on when the sink has come past it.
    mark: (Seq, Instant),
    lags: bool,
}

impl Sink {
    fn new(head: Seq, now: Instant) -> Self {
        Self { mark: (head, now), lags: false }
    }

    /// The sink is at `seq`, and the log ends at `head`: whether that begins or ends a lag.
    fn see(&mut self, seq: Seq, head: Seq, now: Instant) -> Option<Turn> {
        let (place, since) = self.mark;
        let is_late = seq < place && now.duration_since(since) >= TIME;
        if seq >= place {
            self.mark = (head, now);
        }
        let behind = head.saturating_sub(seq);
        match self.lags {
            false if is_late || behind > EVENTS => {
                self.lags = true;
                Some(Turn::Lags)
            }
            true if seq >= place && behind <= EVENTS / 2 => {
                self.lags = false;
                Some(Turn::CaughtUp)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn too_many_events_or_too_long_a_time_begin_a_lag_and_half_as_many_end_it() {
        let start = Instant::now();
        let mut sink = Sink::new(0, start);
        assert_eq!(sink.see(0, 10_000, start), None);
        assert_eq!(sink.see(0, 10_001, start), Some(Turn::Lags));
        assert_eq!(sink.see(1, 10_001, start + SECOND), None, "told once");
        assert_eq!(sink.see(5_002, 10_001, start + SECOND), None, "not yet past the mark");
        assert_eq!(sink.see(10_001, 15_002, start + SECOND), None, "5 001 behind");
        assert_eq!(sink.see(15_002, 15_003, start + SECOND), Some(Turn::CaughtUp));
        assert_eq!(sink.see(15_003, 15_003, start + 100 * SECOND), None);
        // Three events behind, for a long time.
        assert_eq!(sink.see(15_003, 15_006, start + 100 * SECOND), None);
        assert_eq!(sink.see(15_003, 15_006, start + 129 * SECOND), None);
        assert_eq!(sink.see(15_003, 15_006, start + 130 * SECOND), Some(Turn::Lags));
        assert_eq!(sink.see(15_006, 15_006, start + 131 * SECOND), Some(Turn::CaughtUp));
    }

    #[test]
    fn a_sink_that_is_always_a_little_behind_does_not_lag() {
        let start = Instant::now();
        let mut sink = Sink::new(0, start);
        for n in 0..1_000u32 {
            let head = Seq::from(n) * 100;
            assert_eq!(sink.see(head.saturating_sub(100), head, start + n * SECOND), None, "{n}");
        }
    }
}
