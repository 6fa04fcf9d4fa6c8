//! One subscriber's way through the log.

use std::{
    collections::VecDeque,
    iter::Peekable,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use thiserror::Error;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{
    event::{LogEntry, Selection, Seq},
    store::{Gap, MAX_PAGE, Query, Reader, StoreError},
};

use super::Bus;

/// Why a subscription yields nothing more, or not now.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum SubscriptionError {
    /// The host is shutting down; everything committed was delivered.
    #[error("the host is shutting down")]
    Closed,
    /// These events are gone from the log, and this subscription has not seen them: retention came
    /// first. Told once, in the order of the log; asking again goes on behind them. Whether they would
    /// have been chosen nobody knows any more.
    #[error("{count} events, from seq {from} to {to}, were pruned before they were read", count = .0.count, from = .0.from, to = .0.to)]
    Pruned(Gap),
    /// What was missed cannot be read at the moment; asking again tries again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Places of the log that are looked at together.
const STRETCH: Seq = 1 << 16;

/// Yields chosen events, each once, in the order of the log.
pub struct Subscription {
    selection: Selection,
    reader: Reader,
    live: Option<broadcast::Receiver<Arc<LogEntry>>>,
    head: Arc<AtomicU64>,
    /// Counts, for all subscriptions of the bus.
    lagged: Arc<AtomicU64>,
    /// Everything up to here was yielded or is not chosen.
    position: Seq,
    /// The log has to be read up to here before live events make sense again.
    behind_until: Seq,
    /// Read from the log, not yet yielded.
    page: VecDeque<Found>,
    /// What `position` becomes once `page` is empty.
    page_end: Seq,
}

impl Subscription {
    pub(super) fn new(bus: &Bus, selection: Selection, after: Option<Seq>) -> Self {
        // First listen, then look where the log ends: what comes in between is seen twice and
        // recognised by its place; the other way round it would be missed.
        let live = bus.live.upgrade().map(|live| live.subscribe());
        let head = bus.head();
        // A place that the log has not reached yet means "from now on".
        let position = after.map_or(head, |after| after.min(head));
        Self {
            selection,
            reader: bus.reader.clone(),
            live,
            head: Arc::clone(&bus.head),
            lagged: Arc::clone(&bus.lagged),
            position,
            behind_until: head,
            page: VecDeque::new(),
            page_end: position,
        }
    }

    /// The last place that this subscription is done with: events up to and with it were yielded
    /// or are not chosen.
    pub fn position(&self) -> Seq {
        self.position
    }

    /// The next chosen event. Nothing is lost when the future is dropped before it is ready.
    ///
    /// # Errors
    /// [`SubscriptionError::Closed`] when the host shuts down, after everything committed was
    /// yielded; [`SubscriptionError::Pruned`] when something comes next that is gone;
    /// [`SubscriptionError::Store`] when what was missed cannot be read.
    pub async fn next(&mut self) -> Result<Arc<LogEntry>, SubscriptionError> {
        loop {
            match self.page.pop_front() {
                Some(Found::Entry(entry)) => {
                    self.position = entry.seq;
                    return Ok(entry);
                }
                Some(Found::Gap(gap)) => {
                    self.position = gap.to;
                    return Err(SubscriptionError::Pruned(gap));
                }
                None => {}
            }
            self.position = self.position.max(self.page_end);
            if self.position < self.behind_until {
                self.read_page().await?;
                continue;
            }
            let Some(live) = &mut self.live else { return Err(SubscriptionError::Closed) };
            match live.recv().await {
                Ok(entry) if entry.seq <= self.position => {}
                Ok(entry) if entry.seq == self.position + 1 => {
                    self.position = entry.seq;
                    self.page_end = entry.seq;
                    if self.selection.matches(&entry) {
                        return Ok(entry);
                    }
                }
                Ok(entry) => self.behind_until = entry.seq,
                Err(RecvError::Lagged(_)) => {
                    self.lagged.fetch_add(1, Ordering::Relaxed);
                    self.behind_until = self.head.load(Ordering::Acquire);
                }
                Err(RecvError::Closed) => {
                    self.live = None;
                    self.behind_until = self.head.load(Ordering::Acquire);
                }
            }
        }
    }

    async fn read_page(&mut self) -> Result<(), StoreError> {
        let end = self.behind_until.min(self.position + STRETCH);
        let query = Query {
            selection: self.selection.clone(),
            after_seq: Some(self.position),
            before_seq: Some(end + 1),
            ..Query::default()
        };
        let page = self.reader.page(query, MAX_PAGE).await?;
        let end = page.next.unwrap_or(end);
        // After the page: what is neither in it nor here was not chosen.
        let gone = self.reader.gaps(self.position, end).await?;
        self.page_end = end;
        self.page = weave(page.entries, &gone);
        Ok(())
    }
}

/// What lies behind the position.
#[derive(Debug)]
enum Found {
    Entry(Arc<LogEntry>),
    Gap(Gap),
}

/// Events, and between any two of them one gap for all that is gone there. An event that was pruned
/// after it was read is not missed.
fn weave(entries: Vec<LogEntry>, gone: &[Gap]) -> VecDeque<Found> {
    let mut found = VecDeque::with_capacity(entries.len() + 1);
    let mut gone = gone.iter().copied().peekable();
    let mut begin = 0;
    for entry in entries {
        found.extend(between(&mut gone, begin, entry.seq).map(Found::Gap));
        begin = entry.seq + 1;
        found.push_back(Found::Entry(Arc::new(entry)));
    }
    found.extend(between(&mut gone, begin, Seq::MAX).map(Found::Gap));
    found
}

/// All that is gone from `begin` on and before `end`, as one. A run that goes on past `end` is kept for
/// later.
fn between(gone: &mut Peekable<impl Iterator<Item = Gap>>, begin: Seq, end: Seq) -> Option<Gap> {
    let mut whole: Option<Gap> = None;
    while let Some(run) = gone.peek().copied().filter(|run| run.from < end) {
        let (from, to) = (run.from.max(begin), run.to.min(end - 1));
        if from <= to {
            let gap = whole.get_or_insert(Gap { from, to, count: 0 });
            gap.to = to;
            gap.count += to - from + 1;
        }
        if run.to >= end {
            break;
        }
        gone.next();
    }
    whole
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Runs and events over twenty places, against the places one by one.
        #[test]
        fn what_is_gone_is_told_once_and_between_the_right_events(
            gone in prop::collection::btree_set(1..20u64, 0..20),
            read in prop::collection::btree_set(1..20u64, 0..20),
        ) {
            let mut runs: Vec<Gap> = Vec::new();
            for seq in &gone {
                match runs.last_mut() {
                    Some(run) if run.to + 1 == *seq => (run.to, run.count) = (*seq, run.count + 1),
                    _ => runs.push(Gap { from: *seq, to: *seq, count: 1 }),
                }
            }
            let mut told = BTreeSet::new();
            let mut left = runs.into_iter().peekable();
            let mut begin = 0;
            for end in read.iter().copied().chain([u64::MAX]) {
                let expected: Vec<Seq> = gone
                    .iter()
                    .copied()
                    .filter(|seq| (begin..end).contains(seq) && !read.contains(seq))
                    .collect();
                let gap = between(&mut left, begin, end);
                prop_assert_eq!(gap.is_some(), !expected.is_empty());
                if let Some(gap) = gap {
                    prop_assert_eq!(Some(&gap.from), expected.first());
                    prop_assert_eq!(Some(&gap.to), expected.last());
                    prop_assert_eq!(gap.count, expected.len() as u64);
                    prop_assert!(expected.into_iter().all(|seq| told.insert(seq)));
                }
                begin = end.saturating_add(1);
            }
            let missed: BTreeSet<Seq> = gone.difference(&read).copied().collect();
            prop_assert_eq!(told, missed);
        }
    }
}
