//! Which ids cannot be in the log, without asking it, and which are on their way there.
//!
//! Ids that senders mint by the clock (UUIDv7) grow: nearly each new one is greater than all in the
//! log but the last few. So it is enough to remember those, and the greatest of all before them.
//! Every other id is looked up in the log. A wrong guess would not let an event in twice, since the
//! log itself has each id once; it would refuse a batch.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
};

use foldhash::fast::RandomState;

use crate::event::{EventId, Timestamp};

/// The ids that are remembered one by one, besides those on their way. About 2 MB.
const REMEMBERED: usize = 32_768;
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
    /// The batch that each went into the log with.
    remembered: HashMap<EventId, u64, RandomState>,
    oldest_first: VecDeque<(EventId, u64)>,
    limit: usize,
}

/// What is known of an id without the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// The log certainly does not have it, nor is it on its way there.
    New,
    /// It went with this batch, which may have been refused.
    Batch(u64),
    /// The log has to be asked.
    Nothing,
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
        let (remembered, oldest_first) = (HashMap::default(), VecDeque::new());
        Self { range, floor, remembered, oldest_first, limit: REMEMBERED }
    }

    /// What is known of `id`.
    pub(super) fn recall(&self, id: EventId) -> Memory {
        match self.remembered.get(&id) {
            Some(batch) => Memory::Batch(*batch),
            None if self.judges(id) && id > self.floor => Memory::New,
            None => Memory::Nothing,
        }
    }

    /// This id goes into the log with this batch.
    pub(super) fn add(&mut self, id: EventId, batch: u64) {
        self.remembered.insert(id, batch);
        self.oldest_first.push_back((id, batch));
    }

    /// Forgets the oldest, but none of a batch from `under_way` on.
    pub(super) fn forget(&mut self, under_way: u64) {
        while self.oldest_first.len() > self.limit
            && let Some((id, batch)) = self.oldest_first.pop_front_if(|(_, at)| *at < under_way)
        {
            // What came again with a later batch stays.
            if self.remembered.get(&id) == Some(&batch) {
                self.remembered.remove(&id);
            }
            if self.judges(id) {
                self.floor = self.floor.max(id);
            }
        }
    }

    fn judges(&self, id: EventId) -> bool {
        id.is_by_the_clock() && self.range.contains(&id)
    }
}

#[cfg(test)]
mod tests {
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
            let mut log: HashMap<EventId, Option<u64>> =
                before.into_iter().map(|id| (id, None)).collect();
            for (batch, id) in (0..).zip(later) {
                let under_way = batch - (batch % 4);
                match (recent.recall(id), log.get(&id)) {
                    (Memory::New, None) | (Memory::Nothing, _) => {}
                    (Memory::Batch(at), Some(Some(went))) if at == *went => {}
                    (memory, truth) => prop_assert!(false, "{id}: {memory:?}, but {truth:?}"),
                }
                if let Some(Some(went)) = log.get(&id) && *went >= under_way {
                    prop_assert_eq!(recent.recall(id), Memory::Batch(*went), "still on its way");
                }
                log.insert(id, Some(batch));
                recent.add(id, batch);
                recent.forget(under_way);
            }
        }
    }

    #[test]
    fn ids_that_grow_need_no_question() {
        let mut recent = Recent::new(range(Timestamp::now()), None);
        for batch in 0..1000 {
            let id = EventId::mint();
            assert_eq!(recent.recall(id), Memory::New);
            recent.add(id, batch);
            assert_eq!(recent.recall(id), Memory::Batch(batch));
        }
    }
}
