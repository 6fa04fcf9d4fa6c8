//! How long an event waits for its next attempt: exponential back-off with full jitter and a cap. A
//! plain function of its arguments, chance included.

use std::time::Duration;

/// The longest possible wait before the second attempt; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(200);
/// The longest possible wait.
const LAST: Duration = Duration::from_secs(60);
/// The longest wait that a plugin itself can ask for.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(3_600);

/// The wait after attempt `number` (from 1) failed: a random share of what doubles with each attempt,
/// so that events that failed together do not come back together; at least what the plugin asked for.
/// `chance` is from 0 to 1, each as likely.
pub(super) fn pause(number: u32, asked: Option<Duration>, chance: f64) -> Duration {
    let doublings = number.saturating_sub(1).min(31);
    let longest = FIRST.saturating_mul(1 << doublings).min(LAST);
    longest.mul_f64(chance.clamp(0.0, 1.0)).max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_wait_doubles_up_to_its_cap() {
        let longest = |number| pause(number, None, 1.0).as_millis();
        let waits: Vec<_> = (1..=11).map(longest).collect();
        let expected = [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000];
        assert_eq!(waits, expected);
        assert_eq!(longest(u32::MAX), 60_000);
    }

    #[test]
    fn a_plugin_can_ask_for_a_longer_wait_but_not_for_ever() {
        let seconds = Duration::from_secs;
        assert_eq!(pause(9, Some(seconds(1)), 1.0), Duration::from_millis(51_200));
        assert_eq!(pause(9, Some(seconds(90)), 1.0), seconds(90));
        assert_eq!(pause(1, Some(Duration::MAX), 0.5), LONGEST_ASKED);
    }

    proptest! {
        #[test]
        fn the_jitter_is_full(number in 1..200u32, chance in 0.0..1.0f64) {
            let longest = pause(number, None, 1.0).as_secs_f64();
            let wait = pause(number, None, chance).as_secs_f64();
            prop_assert!((wait - longest * chance).abs() < 1e-6, "from nothing to the longest");
        }
    }
}
