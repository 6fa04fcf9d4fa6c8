//! Which ids cannot be in the log, without asking it.
//!
//! Ids that senders mint by the clock (UUIDv7) grow: nearly each new one is greater than all in the
//! log but the last few. So it is enough to remember those, and the greatest of all before them.
//! Every other id is looked up in the log. A wrong guess would not let an event in twice, since the
//! log itself has each id once; it would refuse a batch.

use std::{
    collections::{HashSet, VecDeque},
    ops::Range,
};

use crate::event::{EventId, Timestamp};

/// The ids that are remembered one by one. About 3 MB.
const REMEMBERED: usize = 65_536;
/// How far ahead of the host's clock ids may be minted to be judged here, in microseconds: a year.
/// Random ids hardly ever lie between its start and then.
const AHEAD: i64 = 365 * 86_400 * 1_000_000;

/// What is remembered of the ids in the log.
pub(super) struct Recent {
    /// Only ids from here are judged.
    range: Range<EventId>,
    /// No id by the clock that is greater than this one, and in the range, is in the log, except
    /// for those that are remembered.
    floor: EventId,
    remembered: HashSet<EventId>,
    oldest_first: VecDeque<EventId>,
    limit: usize,
}

/// The ids that a host that starts `now` can judge.
pub(super) fn range(now: Timestamp) -> Range<EventId> {
    let end = Timestamp::from_micros(now.micros().saturating_add(AHEAD)).unwrap_or(now);
    EventId::least_at(now)..EventId::least_at(end)
}

impl Recent {
    /// For a log in whose `range` `greatest` is the greatest id by the clock.
    pub(super) fn new(range: Range<EventId>, greatest: Option<EventId>) -> Self {
        let floor = greatest.unwrap_or(range.start);
        Self {
            range,
            floor,
            remembered: HashSet::new(),
            oldest_first: VecDeque::new(),
            limit: REMEMBERED,
        }
    }

    /// Whether the log certainly does not have this id, and nobody has been told of it.
    pub(super) fn excludes(&self, id: EventId) -> bool {
        self.judges(id) && id > self.floor && !self.remembered.contains(&id)
    }

    /// This id is on its way into the log.
    pub(super) fn add(&mut self, id: EventId) {
        if !self.judges(id) || !self.remembered.insert(id) {
            return;
        }
        self.oldest_first.push_back(id);
        if self.oldest_first.len() > self.limit
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.remembered.remove(&oldest);
            self.floor = self.floor.max(oldest);
        }
    }

    fn judges(&self, id: EventId) -> bool {
        id.is_by_the_clock() && self.range.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Ids around now, some of them at random.
    fn id() -> impl Strategy<Value = EventId> {
        (0u64..64, 0u16..4, prop::bool::weighted(0.2)).prop_map(|(time, rest, random)| {
            let version = if random { '4' } else { '7' };
            let time = (1_700_000_000_000 + time) & 0xffff_ffff_ffff;
            let text = format!("{time:012x}{version}00080000000000000{rest:02x}");
            let (a, b) = text.split_at(8);
            let (b, c) = b.split_at(4);
            let (c, d) = c.split_at(4);
            let (d, e) = d.split_at(4);
            format!("{a}-{b}-{c}-{d}-{e}").parse().unwrap()
        })
    }

    proptest! {
        #[test]
        fn never_excludes_what_is_in_the_log(
            before in prop::collection::vec(id(), 0..20),
            later in prop::collection::vec(id(), 0..60),
            start in 0i64..40,
            limit in 1usize..10,
        ) {
            let start = Timestamp::from_micros((1_700_000_000_000 + start) * 1000).unwrap();
            let range = range(start);
            let by_the_clock = before.iter().filter(|id| id.is_by_the_clock());
            let greatest = by_the_clock.filter(|id| range.contains(id)).max().copied();
            let mut recent = Recent::new(range, greatest);
            recent.limit = limit;
            let mut log: HashSet<EventId> = before.into_iter().collect();
            for id in later {
                if log.contains(&id) {
                    prop_assert!(!recent.excludes(id), "{} is in the log", id);
                }
                log.insert(id);
                recent.add(id);
            }
        }
    }

    #[test]
    fn ids_that_grow_need_no_question() {
        let mut recent = Recent::new(range(Timestamp::now()), None);
        for _ in 0..1000 {
            let id = EventId::mint();
            assert!(recent.excludes(id), "{id}");
            recent.add(id);
            assert!(!recent.excludes(id), "{id}");
        }
    }
}
