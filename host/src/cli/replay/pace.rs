//! When an event is due: at once, or in the spacing in which history happened. Plain arithmetic;
//! nothing here waits.

use std::{str::FromStr, time::Duration};

use tokio::time::Instant;

use crate::event::Timestamp;

/// The longest wait: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How fast history goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Speed {
    /// As fast as it is taken.
    Max,
    /// So many times as fast as it happened; above 0.
    Times(f64),
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times = text.strip_suffix('x').and_then(|number| number.parse::<f64>().ok());
        times
            .filter(|times| times.is_finite() && *times > 0.0)
            .map(Self::Times)
            .ok_or_else(|| format!("{text:?} is no speed (write max, 1x, 10x, 0.5x)"))
    }
}

/// Keeps the spacing.
#[derive(Debug)]
pub(super) struct Pace {
    speed: Speed,
    /// When the first event happened, and when it was due.
    first: Option<(Timestamp, Instant)>,
    /// When the latest so far happened. An event that came late to the log happened before it, and
    /// goes out at once.
    latest: Timestamp,
}

impl Pace {
    pub(super) fn new(speed: Speed) -> Self {
        Self { speed, first: None, latest: Timestamp::now() }
    }

    /// When an event is due that happened then; `None` for at once.
    pub(super) fn due(&mut self, happened: Timestamp, now: Instant) -> Option<Instant> {
        let Speed::Times(times) = self.speed else { return None };
        let Some((first, begun)) = self.first else {
            (self.first, self.latest) = (Some((happened, now)), happened);
            return None;
        };
        self.latest = self.latest.max(happened);
        let spacing = self.latest.micros().saturating_sub(first.micros()).max(0) as f64;
        let wait = Duration::try_from_secs_f64(spacing / 1e6 / times).unwrap_or(LONGEST);
        let due = begun + wait.min(LONGEST);
        (due > now).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000).unwrap()
    }

    #[test]
    fn a_speed_is_max_or_a_multiple() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("10x".parse(), Ok(Speed::Times(10.0)));
        assert_eq!("0.5x".parse(), Ok(Speed::Times(0.5)));
        for wrong in ["", "x", "10", "0x", "-1x", "infx", "NaNx", "fast", "10 x"] {
            wrong.parse::<Speed>().expect_err(wrong);
        }
    }

    #[test]
    fn the_spacing_is_kept_and_divided_and_what_came_late_waits_for_nobody() {
        let begin = Instant::now();
        let mut pace = Pace::new(Speed::Times(10.0));
        assert_eq!(pace.due(at(100), begin), None);
        let due = pace.due(at(160), begin).unwrap();
        assert_eq!(due - begin, Duration::from_secs(6));
        // It happened before the last one, so its time is that of the last one.
        assert_eq!(pace.due(at(90), due), None);
        assert_eq!(pace.due(at(160), due), None);
        assert_eq!(pace.due(at(170), due).unwrap() - begin, Duration::from_secs(7));
        // Behind its time, it catches up.
        assert_eq!(pace.due(at(180), begin + Duration::from_secs(9)), None);
    }

    #[test]
    fn nothing_waits_at_full_speed_and_no_spacing_is_too_long() {
        let now = Instant::now();
        let mut pace = Pace::new(Speed::Max);
        assert!([0, 100, 1_000_000].iter().all(|second| pace.due(at(*second), now).is_none()));
        let mut pace = Pace::new(Speed::Times(1e-9));
        pace.due("0000-01-01T00:00:00Z".parse().unwrap(), now);
        assert!(pace.due("9999-12-31T00:00:00Z".parse().unwrap(), now).unwrap() > now);
    }
}
