use ennio_plugin::{RecentMap, timestamp};

/// The most projects whose allowance is remembered. One more, and the project quiet for longest
/// gets a full bucket back, which is what its quiet would have given it.
const PROJECTS: usize = 4_096;

/// A minute in microseconds: one token, times the tokens a minute, is worth this much time.
const MINUTE: i64 = 60 * timestamp::SECOND;

/// A timestamp may lie this far before the newest one of its project and still be the same stretch
/// of time, out of order. Further back, the newest one was wrong: a single event from the future
/// must not close the bucket until then.
const REORDERING: i64 = MINUTE;

/// A token bucket for each project, filled by the passing of event time.
pub(crate) struct Rates {
    pub(crate) per_minute: u32,
    pub(crate) burst: u32,
    buckets: RecentMap<String, Bucket>,
}

/// Tokens are counted in units of 1 / [`MINUTE`], which makes refilling exact.
struct Bucket {
    level: i64,
    newest: i64,
}

impl Rates {
    pub(crate) fn new(per_minute: u32, burst: u32) -> Self {
        Rates { per_minute, burst, buckets: RecentMap::new(PROJECTS) }
    }

    /// Takes a token of the project, when there is one.
    pub(crate) fn allow(&mut self, project: &str, now: i64) -> bool {
        let full = i64::from(self.burst) * MINUTE;
        let bucket = self
            .buckets
            .get_or_insert_with(project.to_owned(), || Bucket { level: full, newest: now });

        let passed = now.saturating_sub(bucket.newest);
        if passed > 0 {
            let gained = passed.saturating_mul(i64::from(self.per_minute));
            bucket.level = bucket.level.saturating_add(gained).min(full);
        }
        if !(-REORDERING..=0).contains(&passed) {
            bucket.newest = now;
        }

        let allowed = bucket.level >= MINUTE;
        if allowed {
            bucket.level -= MINUTE;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = timestamp::SECOND;

    fn allowed(rates: &mut Rates, times: impl IntoIterator<Item = i64>) -> usize {
        times.into_iter().filter(|at| rates.allow("web", *at)).count()
    }

    #[test]
    fn in_the_long_run_the_rate_is_exact() {
        let mut rates = Rates::new(60, 5);
        let an_hour = (0..36_000).map(|tenth| tenth * SECOND / 10);
        assert_eq!(allowed(&mut rates, an_hour), 3_599 + 5);
    }

    #[test]
    fn a_burst_goes_through_and_quiet_earns_it_back() {
        let mut rates = Rates::new(60, 5);
        assert_eq!(allowed(&mut rates, [0; 20]), 5);
        assert_eq!(allowed(&mut rates, [100 * SECOND; 20]), 5);
    }

    #[test]
    fn events_out_of_order_earn_nothing() {
        let mut rates = Rates::new(60, 2);
        let swing = (0..1_000).map(|n| if n % 2 == 0 { 30 * SECOND } else { 0 });
        assert_eq!(allowed(&mut rates, swing), 2);
    }

    #[test]
    fn one_event_from_the_future_does_not_close_the_bucket() {
        let mut rates = Rates::new(60, 1);
        assert!(rates.allow("web", 0));
        assert!(rates.allow("web", 86_400 * 365 * SECOND));
        assert!(!rates.allow("web", SECOND), "the clock is set back first");
        assert!(rates.allow("web", 2 * SECOND));
    }
}
