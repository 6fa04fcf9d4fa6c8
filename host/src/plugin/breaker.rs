//! The circuit breaker of one plugin: who keeps failing is left alone for a while.
//!
//! Without it, a plugin that traps on every event costs a fresh instance, or a whole deadline, for
//! each of them, and holds up all that come behind. A plain decision from what happened and the
//! time, which is an argument; a new version begins with a closed breaker of its own.

use std::time::{Duration, Instant};

/// This many failures in a row open it.
const IN_A_ROW: u32 = 5;
/// So does failing on at least half of the last events, looked at this many at a time.
const WINDOW: u32 = 64;
/// The first time of being left alone; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LAST_PAUSE: Duration = Duration::from_secs(300);

/// What may be done with a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Call it.
    Call,
    /// Call it with one event: its pause is over, and the answer decides.
    Probe,
    /// Leave it alone until then.
    Wait(Instant),
}

/// What a result changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    None,
    /// It is left alone from now on, for this long.
    Opened(Duration),
    /// A probe went well: it takes part again.
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Closed {
        in_a_row: u32,
        seen: u32,
        failed: u32,
    },
    Open {
        until: Instant,
        pause: Duration,
    },
    /// One probe is on its way.
    HalfOpen {
        pause: Duration,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Breaker(State);

const CLOSED: State = State::Closed { in_a_row: 0, seen: 0, failed: 0 };

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

impl Breaker {
    pub(super) const fn new() -> Self {
        Self(CLOSED)
    }

    /// What may be done now. After `Probe`, exactly one result is to be told.
    pub(super) fn leave(&mut self, now: Instant) -> Leave {
        match self.0 {
            State::Closed { .. } => Leave::Call,
            State::Open { until, .. } if now < until => Leave::Wait(until),
            State::Open { pause, .. } | State::HalfOpen { pause } => {
                self.0 = State::HalfOpen { pause };
                Leave::Probe
            }
        }
    }

    /// One event was answered.
    pub(super) fn succeeded(&mut self) -> Turn {
        match &mut self.0 {
            State::Closed { in_a_row, seen, failed } => {
                *in_a_row = 0;
                *seen += 1;
                if *seen >= WINDOW {
                    (*seen, *failed) = (0, 0);
                }
                Turn::None
            }
            State::HalfOpen { .. } => {
                self.0 = CLOSED;
                Turn::Closed
            }
            // Of a call that began before it opened.
            State::Open { .. } => Turn::None,
        }
    }

    /// The plugin failed on one event.
    pub(super) fn failed(&mut self, now: Instant) -> Turn {
        let pause = match &mut self.0 {
            State::Closed { in_a_row, seen, failed } => {
                *in_a_row += 1;
                *seen += 1;
                *failed += 1;
                let half_of_many = *seen >= WINDOW && *failed * 2 >= *seen;
                if *in_a_row < IN_A_ROW && !half_of_many {
                    if *seen >= WINDOW {
                        (*seen, *failed) = (0, 0);
                    }
                    return Turn::None;
                }
                FIRST_PAUSE
            }
            State::HalfOpen { pause } => (*pause * 2).min(LAST_PAUSE),
            State::Open { .. } => return Turn::None,
        };
        self.0 = State::Open { until: now + pause, pause };
        Turn::Opened(pause)
    }

    /// Whether it is left alone, or being probed.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.0, State::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opened() -> (Breaker, Instant) {
        let mut breaker = Breaker::new();
        let now = Instant::now();
        for _ in 1..IN_A_ROW {
            assert_eq!(breaker.failed(now), Turn::None);
        }
        assert_eq!(breaker.failed(now), Turn::Opened(FIRST_PAUSE));
        (breaker, now)
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_good_probe_closes_it() {
        let (mut breaker, now) = opened();
        assert_eq!(breaker.leave(now), Leave::Wait(now + FIRST_PAUSE));
        assert_eq!(breaker.leave(now + FIRST_PAUSE), Leave::Probe);
        assert_eq!(breaker.succeeded(), Turn::Closed);
        assert_eq!(breaker.leave(now), Leave::Call);
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_its_cap() {
        let (mut breaker, mut now) = opened();
        let mut pause = FIRST_PAUSE;
        for _ in 0..20 {
            now += pause;
            assert_eq!(breaker.leave(now), Leave::Probe);
            pause = (pause * 2).min(LAST_PAUSE);
            assert_eq!(breaker.failed(now), Turn::Opened(pause));
        }
        assert_eq!(pause, LAST_PAUSE);
    }

    #[test]
    fn one_poison_event_among_good_ones_never_opens_it() {
        let mut breaker = Breaker::new();
        for n in 0..10_000 {
            let turn =
                if n % 3 == 0 { breaker.failed(Instant::now()) } else { breaker.succeeded() };
            assert_eq!(turn, Turn::None, "event {n}");
        }
    }

    #[test]
    fn failing_on_every_other_event_opens_it() {
        let mut breaker = Breaker::new();
        let opened = (0..WINDOW).any(|n| {
            let turn =
                if n % 2 == 1 { breaker.failed(Instant::now()) } else { breaker.succeeded() };
            matches!(turn, Turn::Opened(_))
        });
        assert!(opened);
    }

    proptest! {
        #[test]
        fn an_open_breaker_lets_nobody_call_before_its_time(results in prop::collection::vec(any::<bool>(), 0..200)) {
            let now = Instant::now();
            let mut breaker = Breaker::new();
            for good in results {
                let turn = if good { breaker.succeeded() } else { breaker.failed(now) };
                if let Turn::Opened(pause) = turn {
                    prop_assert!(pause <= LAST_PAUSE);
                    prop_assert_eq!(breaker.leave(now), Leave::Wait(now + pause));
                }
                prop_assert_eq!(breaker.is_open(), breaker.leave(now) != Leave::Call);
            }
        }
    }
}
