//! One round: find what has to go, have it deleted step by step, give space back.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;
use tracing::info;

use super::{
    Holder,
    policy::{Cause, Policy, ago},
    status::Held,
};
use crate::{
    event::{Seq, Timestamp},
    span::Span,
    store::{Aged, Space, Store, StoreError},
};

/// Events that one step deletes at most: as many as a commit adds.
const STEP: usize = 512;
/// A step is complete once its messages and data are larger, in bytes, as a batch is.
const STEP_BYTES: u64 = 4 << 20;
/// Events that a round deletes before it says so and the next one begins.
const ROUND: usize = 256 * STEP;
/// Events that are looked at together.
const LOOK: usize = 4096;
/// Pages of 4 KiB that one step gives back at most.
const VACUUM_STEP: u32 = 256;
/// Free space that is always kept, in bytes.
const SLACK: u64 = 4 << 20;

/// What a round has brought.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Events deleted, by the rule or limit that said so.
    pub(super) pruned: BTreeMap<String, u64>,
    /// For whom it waits.
    pub(super) held: Option<Held>,
    /// The room that the log takes then.
    pub(super) space: Option<Space>,
    /// Why it ended early.
    pub(super) error: Option<StoreError>,
    /// Events deleted in all.
    events: usize,
}

impl Outcome {
    /// Whether the round has done what one may, and there may be more to do.
    pub(super) fn is_full(&self) -> bool {
        self.events >= ROUND
    }
}

/// Keeps a log to its policy.
pub(super) struct Keeper {
    policy: Policy,
    store: Arc<Store>,
    stop: watch::Receiver<bool>,
    /// For each age: everything up to here that had to go for it is gone. A new host looks at the log
    /// from its beginning.
    done: BTreeMap<Span, Seq>,
    said_that_it_cannot_shrink: bool,
}

/// The slowest cursor.
struct Hold {
    cursor: String,
    at: Seq,
}

impl Keeper {
    pub(super) fn new(policy: Policy, store: Arc<Store>, stop: watch::Receiver<bool>) -> Self {
        Self { policy, store, stop, done: BTreeMap::new(), said_that_it_cannot_shrink: false }
    }

    /// Brings the log in line with the policy as it is at `now`. Ends early when it is told to stop, or
    /// has done much.
    pub(super) async fn round(&mut self, now: Timestamp, holders: &[Holder]) -> Outcome {
        let mut outcome = Outcome::default();
        if let Err(e) = self.work(now, holders, &mut outcome).await {
            outcome.error = Some(e);
        }
        outcome.space = self.store.reader().space().await.ok();
        outcome
    }

    async fn work(
        &mut self,
        now: Timestamp,
        holders: &[Holder],
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let hold = self.hold(holders).await?;
        for age in self.policy.ages() {
            self.prune_old(now, age, hold.as_ref(), outcome).await?;
        }
        self.prune_many(hold.as_ref(), outcome).await?;
        self.prune_large(outcome).await?;
        self.give_back().await
    }

    fn ends(&self, outcome: &Outcome) -> bool {
        *self.stop.borrow() || outcome.is_full()
    }

    async fn hold(&self, holders: &[Holder]) -> Result<Option<Hold>, StoreError> {
        let mut slowest: Option<Hold> = None;
        for Holder { cursor, begins_at_zero } in holders {
            let saved = self.store.reader().done_until(cursor.clone()).await?;
            let Some(at) = saved.or(begins_at_zero.then_some(0)) else { continue };
            if slowest.as_ref().is_none_or(|slowest| at < slowest.at) {
                slowest = Some(Hold { cursor: cursor.clone(), at });
            }
        }
        Ok(slowest)
    }

    /// What may become `age` old and no older. Each event is looked at once, when it has that age.
    async fn prune_old(
        &mut self,
        now: Timestamp,
        age: Span,
        hold: Option<&Hold>,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let moment = ago(now, age).and_then(|then| Timestamp::from_micros(then.micros() + 1));
        let Some(moment) = moment else { return Ok(()) };
        let aged = self.store.reader().place_before(moment).await?;
        let until = wait(hold, aged, outcome);
        let mut done = self.done.get(&age).copied().unwrap_or(0);
        while done < until && !self.ends(outcome) {
            let events = self.store.reader().aged(done, until, LOOK).await?;
            let next = match events.last() {
                Some(last) if events.len() == LOOK => last.seq,
                _ => until,
            };
            // One of a clock that was ahead is too young by its own time. It stays, until the log is
            // looked at from its beginning, or another limit takes it.
            let old = events.into_iter().filter_map(|event| {
                let cause = self.policy.too_old(&event, now)?;
                Some((event, cause))
            });
            let old: Vec<_> = old.collect();
            if !self.prune(old, outcome).await? {
                return Ok(());
            }
            done = next;
            self.done.insert(age, done);
        }
        Ok(())
    }

    /// The oldest of too many.
    async fn prune_many(
        &self,
        hold: Option<&Hold>,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let Some(most) = self.policy.max_events() else { return Ok(()) };
        let (kept, _) = self.store.reader().kept_and_pruned().await?;
        let mut excess = usize::try_from(kept.saturating_sub(most)).unwrap_or(usize::MAX);
        while excess > 0 && !self.ends(outcome) {
            let oldest = self.store.reader().aged(0, Seq::MAX, excess.min(STEP)).await?;
            let Some(last) = oldest.last() else { return Ok(()) };
            let until = wait(hold, last.seq, outcome);
            let free = oldest.into_iter().take_while(|event| event.seq <= until);
            let free: Vec<_> = free.map(|event| (event, Cause::Events)).collect();
            if free.is_empty() {
                return Ok(());
            }
            excess = excess.saturating_sub(free.len());
            self.prune(free, outcome).await?;
        }
        Ok(())
    }

    /// The oldest of what is too large, whoever has not come to it yet.
    async fn prune_large(&self, outcome: &mut Outcome) -> Result<(), StoreError> {
        let Some(most) = self.policy.max_size() else { return Ok(()) };
        while self.store.reader().space().await?.used > most && !self.ends(outcome) {
            let oldest = self.store.reader().aged(0, Seq::MAX, STEP).await?;
            let oldest: Vec<_> = oldest.into_iter().map(|event| (event, Cause::Size)).collect();
            if oldest.is_empty() {
                return Ok(());
            }
            self.prune(oldest, outcome).await?;
        }
        Ok(())
    }

    /// Deletes these events, in steps. `false` when the round ended before they did.
    async fn prune(
        &self,
        mut events: Vec<(Aged, Cause)>,
        outcome: &mut Outcome,
    ) -> Result<bool, StoreError> {
        while !events.is_empty() {
            if self.ends(outcome) {
                return Ok(false);
            }
            let rest = events.split_off(step(&events));
            let places = events.iter().map(|(event, _)| event.seq).collect();
            let gone = self.store.prune(places).await?;
            outcome.events += gone.len();
            for (event, cause) in events {
                if gone.binary_search(&event.seq).is_ok() {
                    let name = self.policy.name(cause).to_owned();
                    *outcome.pruned.entry(name).or_default() += 1;
                }
            }
            events = rest;
        }
        Ok(true)
    }

    /// Gives free space back, past what the events to come will use.
    async fn give_back(&mut self) -> Result<(), StoreError> {
        loop {
            let space = self.store.reader().space().await?;
            let keep = SLACK.max(space.used / 3);
            if space.free <= keep || *self.stop.borrow() {
                return Ok(());
            }
            if !space.shrinks {
                if !std::mem::replace(&mut self.said_that_it_cannot_shrink, true) {
                    info!(
                        "what is pruned is used again, but the file cannot shrink by itself \
                         (stop the host once for `ennio doctor --vacuum`)"
                    );
                }
                return Ok(());
            }
            self.store.vacuum(VACUUM_STEP).await?;
        }
    }
}

/// How many of these events make a step.
fn step(events: &[(Aged, Cause)]) -> usize {
    let mut bytes = 0;
    let of_step = events.iter().take(STEP).take_while(|(event, _)| {
        let fits = bytes < STEP_BYTES;
        bytes += event.bytes;
        fits
    });
    of_step.count()
}

/// How far retention may go that would go to `until`.
fn wait(hold: Option<&Hold>, until: Seq, outcome: &mut Outcome) -> Seq {
    let Some(hold) = hold.filter(|hold| hold.at < until) else { return until };
    let until = outcome.held.as_ref().map_or(until, |held| held.until.max(until));
    outcome.held = Some(Held { cursor: hold.cursor.clone(), at: hold.at, until });
    hold.at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_ends_with_512_events_or_4_mib_and_is_never_empty() {
        let events = |count: usize, bytes: u64| {
            let event = Aged {
                seq: 1,
                subject: "ennio.ci.a.failing".parse().unwrap(),
                priority: crate::event::EventPriority::Info,
                committed_at: Timestamp::now(),
                bytes,
            };
            vec![(event, Cause::Age); count]
        };
        assert_eq!(step(&events(2000, 100)), 512);
        assert_eq!(step(&events(2000, 1 << 20)), 4);
        assert_eq!(step(&events(3, 1 << 30)), 1);
        assert_eq!(step(&events(3, 0)), 3);
    }
}
