//! What one version of a plugin is at work on: new events in the order of the log, events that it comes
//! back to, and the calls that are under way.
//!
//! Decides which call begins next; what comes of it is the worker's to commit. Calls run side by side,
//! as many as the sidecar says, but new events leave in the order of the log: so everything up to the
//! cursor is settled, and everything behind it is untouched, whatever dies when.
//!
//! May not know how anything is committed.

use std::{collections::VecDeque, sync::Arc};

use tokio::{
    task::{JoinError, JoinSet},
    time::Instant,
};
use tracing::warn;

use super::{
    call::{self, Outcome},
    queue::{Key, Queue, Way},
};
use crate::{
    control::Control,
    event::{LogEntry, ProjectId, Seq, SessionId},
    plugin::{Ordered, Plugin},
    store::{MAX_WAITING, Reader, StoreError},
};

pub(super) struct Desk {
    pub(super) queue: Queue,
    plugin: Arc<Plugin>,
    control: Arc<dyn Control>,
    reader: Reader,
    /// New events, none of them settled with the worker; the first is the next to be.
    new: VecDeque<New>,
    calls: JoinSet<Ended>,
    /// No call begins before.
    paused: Option<Instant>,
    /// The pause is over, and one call tells whether that was right.
    is_probing: bool,
    /// This version makes no more calls.
    is_leaving: bool,
    /// Whose turn it is, where both a new event and an old one could be tried.
    old_first: bool,
    /// So much waits that no new event is taken.
    is_full: bool,
}

struct New {
    entry: Arc<LogEntry>,
    key: Option<Key>,
    state: State,
}

enum State {
    Ready,
    UnderWay,
    Ended(Fate),
}

/// What is to become of a new event.
pub(super) enum Fate {
    /// It waits behind an earlier one of its key.
    Behind,
    /// It was tried.
    Tried(Outcome),
}

/// A call that has ended.
enum Ended {
    New { seq: Seq, outcome: Outcome },
    Again { seq: Seq, attempts: u32, found: Result<Option<Found>, StoreError> },
}

type Found = (Arc<LogEntry>, Outcome);

/// What came of an event that was come back to.
pub(super) struct Again {
    pub(super) seq: Seq,
    /// How often it had been tried before.
    pub(super) attempts: u32,
    /// With the event; `None` when the log does not have it any more.
    pub(super) found: Result<Option<Found>, StoreError>,
}

/// What the worker has to do after a call has ended.
pub(super) enum Next {
    /// Nothing but to look at the new events.
    New,
    /// Save what is done: the plugin is left alone for a while.
    Pause,
    /// Commit what came of an event that was come back to.
    Again(Again),
}

impl Desk {
    pub(super) fn new(plugin: &Arc<Plugin>, control: &Arc<dyn Control>, reader: &Reader) -> Self {
        Self {
            queue: Queue::default(),
            plugin: Arc::clone(plugin),
            control: Arc::clone(control),
            reader: reader.clone(),
            new: VecDeque::new(),
            calls: JoinSet::new(),
            paused: None,
            is_probing: false,
            is_leaving: false,
            old_first: true,
            is_full: false,
        }
    }

    /// What the sidecar keeps in order an event by.
    pub(super) fn key(&self, session: &SessionId, project: &ProjectId) -> Option<Key> {
        self.plugin.manifest().reaction.ordered.map(|ordered| match ordered {
            Ordered::Session => Key::from(session.as_str()),
            Ordered::Project => Key::from(project.as_str()),
        })
    }

    /// Whether another new event may be taken in. Where calls run side by side, some that have ended
    /// may wait for an earlier one.
    pub(super) fn has_room(&mut self) -> bool {
        let is_full = self.queue.len() >= MAX_WAITING;
        if is_full && !self.is_full {
            let name = self.plugin.name();
            warn!(
                "reaction {name}: {MAX_WAITING} events wait, no new ones are taken until some end"
            );
        }
        self.is_full = is_full;
        let window = match self.concurrency() {
            1 => 1,
            calls => calls * 2,
        };
        !is_full && !self.is_leaving && self.new.len() < window
    }

    pub(super) fn take_in(&mut self, entry: Arc<LogEntry>) {
        let key = self.key(&entry.event.session_id, &entry.event.project_id);
        self.new.push_back(New { entry, key, state: State::Ready });
    }

    /// The place before the first new event; `None` when there is none.
    pub(super) fn place(&self) -> Option<Seq> {
        self.new.front().map(|new| new.entry.seq.saturating_sub(1))
    }

    /// How often the sidecar has an event tried again.
    pub(super) fn retries(&self) -> u32 {
        self.plugin.manifest().reaction.retries.get()
    }

    pub(super) fn is_calling(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Makes no more calls.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// Whether [`Desk::begin`] would begin a call.
    pub(super) fn has_work(&self, now: Instant) -> bool {
        let is_new = self.new.iter().any(|new| matches!(new.state, State::Ready));
        self.may_begin(now) && (is_new || self.queue.next().is_some_and(|at| at <= now))
    }

    /// When to look again, if nothing else happens; `None`: then there is nothing to do either.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        match self.paused {
            _ if self.is_leaving => None,
            Some(until) => Some(until).filter(|_| self.calls.is_empty()),
            None => self.queue.next().filter(|_| self.has_hands()),
        }
    }

    /// Begins as many calls as may run.
    pub(super) fn begin(&mut self, now: Instant) {
        while self.may_begin(now) {
            if self.paused.take().is_some() {
                self.is_probing = true;
            }
            let begun = match self.old_first {
                true => self.begin_old(now) || self.begin_new(),
                false => self.begin_new() || self.begin_old(now),
            };
            if !begun {
                return;
            }
            self.old_first = !self.old_first;
        }
    }

    /// The next call that ends; `None` when none is under way.
    pub(super) async fn ended(&mut self) -> Option<Result<Next, JoinError>> {
        let ended = match self.calls.join_next().await? {
            Ok(ended) => ended,
            Err(e) => return Some(Err(e)),
        };
        Some(Ok(match ended {
            Ended::New { seq, outcome } => self.new_ended(seq, outcome),
            Ended::Again { seq, attempts, found: Ok(Some((entry, outcome))) } => {
                match self.counts(outcome) {
                    Ok(outcome) => {
                        Next::Again(Again { seq, attempts, found: Ok(Some((entry, outcome))) })
                    }
                    Err(next) => {
                        self.queue.put_back(seq, attempts, Instant::now());
                        next
                    }
                }
            }
            Ended::Again { seq, attempts, found } => Next::Again(Again { seq, attempts, found }),
        }))
    }

    /// Whether it is known what becomes of the first new event.
    pub(super) fn can_settle(&self) -> bool {
        self.new.front().is_some_and(|new| matches!(new.state, State::Ended(_)))
    }

    /// Takes the first new event, if what becomes of it is known. Its key holds back nothing by itself
    /// from then on.
    pub(super) fn settle(&mut self) -> Option<(Arc<LogEntry>, Option<Key>, Fate)> {
        let first = self.new.pop_front_if(|new| matches!(new.state, State::Ended(_)))?;
        let State::Ended(fate) = first.state else { return None };
        if matches!(fate, Fate::Tried(_)) {
            self.queue.end_new(first.key.as_ref());
        }
        Some((first.entry, first.key, fate))
    }

    fn concurrency(&self) -> usize {
        self.plugin.manifest().reaction.concurrency.get() as usize
    }

    fn has_hands(&self) -> bool {
        let calls = if self.is_probing { 1 } else { self.concurrency() };
        !self.is_leaving && self.calls.len() < calls
    }

    fn may_begin(&self, now: Instant) -> bool {
        match self.paused {
            // The calls that began before the pause say nothing about its end.
            Some(until) => until <= now && !self.is_leaving && self.calls.is_empty(),
            None => self.has_hands(),
        }
    }

    fn begin_new(&mut self) -> bool {
        for new in &mut self.new {
            if !matches!(new.state, State::Ready) {
                continue;
            }
            match self.queue.way(new.key.as_ref()) {
                Way::Busy => continue,
                Way::Behind => {
                    new.state = State::Ended(Fate::Behind);
                    continue;
                }
                Way::Free => {}
            }
            self.queue.begin_new(new.key.as_ref());
            new.state = State::UnderWay;
            let (plugin, control) = (Arc::clone(&self.plugin), Arc::clone(&self.control));
            let entry = Arc::clone(&new.entry);
            self.calls.spawn(async move {
                let outcome = call::attempt(&plugin, &control, &entry, 1).await;
                Ended::New { seq: entry.seq, outcome }
            });
            return true;
        }
        false
    }

    fn begin_old(&mut self, now: Instant) -> bool {
        let Some((seq, attempts)) = self.queue.start(now) else { return false };
        let (plugin, control) = (Arc::clone(&self.plugin), Arc::clone(&self.control));
        let reader = self.reader.clone();
        self.calls.spawn(async move {
            let found = match reader.at(seq).await {
                Ok(Some(entry)) => {
                    let entry = Arc::new(entry);
                    let outcome = call::attempt(&plugin, &control, &entry, attempts + 1).await;
                    Ok(Some((entry, outcome)))
                }
                Ok(None) => Ok(None),
                Err(e) => Err(e),
            };
            Ended::Again { seq, attempts, found }
        });
        true
    }

    fn new_ended(&mut self, seq: Seq, outcome: Outcome) -> Next {
        let (state, next) = match self.counts(outcome) {
            Ok(outcome) => (State::Ended(Fate::Tried(outcome)), Next::New),
            Err(next) => (State::Ready, next),
        };
        if let Some(new) = self.new.iter_mut().find(|new| new.entry.seq == seq) {
            if matches!(state, State::Ready) {
                self.queue.end_new(new.key.as_ref());
            }
            new.state = state;
        }
        next
    }

    /// The outcome of an attempt; or what is to be done, where it was none.
    fn counts(&mut self, outcome: Outcome) -> Result<Outcome, Next> {
        match outcome {
            Outcome::Quarantined(until) => {
                let until = Instant::from_std(until);
                self.paused = Some(self.paused.map_or(until, |paused| paused.max(until)));
                self.is_probing = false;
                Err(Next::Pause)
            }
            Outcome::RolledBack => {
                self.is_leaving = true;
                Err(Next::New)
            }
            Outcome::Done(_) | Outcome::Failed { .. } => {
                self.is_probing = false;
                Ok(outcome)
            }
        }
    }
}
