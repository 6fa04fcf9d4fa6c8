use ennio_plugin::kv::{Error, RecentMap, RecentPart};
use ennio_plugin::timestamp;
use serde::{Deserialize, Serialize};

/// What the buckets may take of the plugin's state: room for more than 10,000 projects with names of
/// usual length. Where there are more, those quiet for longest get a full bucket back, which is
/// what their quiet would have given them.
const BYTES: usize = 1 << 20;

/// A minute in microseconds: one token, times the tokens a minute, is worth this much time.
const MINUTE: i64 = 60 * timestamp::SECOND;

/// A timestamp may lie this far before the newest one of its project and still be the same stretch
/// of time, out of order. Further back, the newest one was wrong: a single event from the future
/// must not close the bucket until then.
const REORDERING: i64 = MINUTE;

/// How much a project may have.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) per_minute: u32,
    pub(crate) burst: u32,
}

/// A token bucket for each project, filled by the passing of event time.
pub(crate) struct Rates {
    pub(crate) limit: Limit,
    buckets: RecentMap<Bucket>,
}

impl Rates {
    pub(crate) fn open(limit: Limit) -> Result<Self, Error> {
        Ok(Rates { limit, buckets: RecentMap::open("rate", BYTES)? })
    }

    /// The buckets of a batch's projects.
    pub(crate) fn of<'p>(
        &self,
        projects: impl IntoIterator<Item = &'p str>,
    ) -> Result<Allowances<'_>, Error> {
        Ok(Allowances { limit: self.limit, buckets: self.buckets.part(projects)? })
    }
}

/// The buckets of some projects, to be saved when the batch is judged.
pub(crate) struct Allowances<'r> {
    pub(crate) limit: Limit,
    buckets: RecentPart<'r, Bucket>,
}

impl Allowances<'_> {
    /// Takes a token of the project, when there is one.
    pub(crate) fn allow(&mut self, project: &str, now: i64) -> Result<bool, Error> {
        self.buckets.update(project, |bucket| {
            bucket.get_or_insert_with(|| Bucket::full(self.limit, now)).take(self.limit, now)
        })
    }

    pub(crate) fn save(self) -> Result<(), Error> {
        self.buckets.save()
    }
}

/// Its level, in tokens of 1 / [`MINUTE`], which makes refilling exact; and the newest time seen.
#[derive(Serialize, Deserialize)]
struct Bucket(i64, i64);

impl Bucket {
    fn full(limit: Limit, now: i64) -> Self {
        Bucket(i64::from(limit.burst) * MINUTE, now)
    }

    fn take(&mut self, limit: Limit, now: i64) -> bool {
        let Bucket(level, newest) = self;
        let passed = now.saturating_sub(*newest);
        let gained = passed.max(0).saturating_mul(i64::from(limit.per_minute));
        *level = level.saturating_add(gained).min(i64::from(limit.burst) * MINUTE);
        if !(-REORDERING..=0).contains(&passed) {
            *newest = now;
        }
        let allowed = *level >= MINUTE;
        if allowed {
            *level -= MINUTE;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = timestamp::SECOND;

    fn allowed(per_minute: u32, burst: u32, times: impl IntoIterator<Item = i64>) -> Vec<bool> {
        let limit = Limit { per_minute, burst };
        let mut bucket = None;
        let mut take = |at| bucket.get_or_insert_with(|| Bucket::full(limit, at)).take(limit, at);
        times.into_iter().map(&mut take).collect()
    }

    fn count(answers: &[bool]) -> usize {
        answers.iter().filter(|allowed| **allowed).count()
    }

    #[test]
    fn in_the_long_run_the_rate_is_exact() {
        let an_hour = (0..36_000).map(|tenth| tenth * SECOND / 10);
        assert_eq!(count(&allowed(60, 5, an_hour)), 3_599 + 5);
    }

    #[test]
    fn a_burst_goes_through_and_quiet_earns_it_back() {
        let times = [[0; 20], [100 * SECOND; 20]].concat();
        let answers = allowed(60, 5, times);
        assert_eq!((count(&answers[..20]), count(&answers[20..])), (5, 5));
    }

    #[test]
    fn events_out_of_order_earn_nothing() {
        let swing = (0..1_000).map(|n| if n % 2 == 0 { 30 * SECOND } else { 0 });
        assert_eq!(count(&allowed(60, 2, swing)), 2);
    }

    #[test]
    fn one_event_from_the_future_does_not_close_the_bucket() {
        let times = [0, 86_400 * 365 * SECOND, SECOND, 2 * SECOND];
        let answers = allowed(60, 1, times);
        assert_eq!(answers, [true, true, false, true], "the clock is set back first");
    }

    #[test]
    fn a_smaller_burst_holds_at_once() {
        let mut bucket = Bucket::full(Limit { per_minute: 1, burst: 1_000 }, 0);
        let limit = Limit { per_minute: 1, burst: 2 };
        let answers: Vec<_> = (0..5).map(|_| bucket.take(limit, 0)).collect();
        assert_eq!(count(&answers), 2);
    }
}
