//! One reaction plugin's way through the log, and everything that becomes true on it.
//!
//! An event is settled when it is done, waits in the store, or is a dead letter. The cursor says that
//! everything up to it is settled; rows of events that wait, and of their attempts, change in the same
//! transaction, and so does what the plugin writes into its state. So when a commit fails, the plugin
//! goes back to where its cursor is on disk, and all the rest with it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedMutexGuard, watch},
    time::{Instant, sleep, sleep_until},
};
use tracing::{error, warn};

use crate::{
    bus::{Bus, SubscriptionError},
    clock::Clock,
    control::Control,
    event::{Cause, Draft, LogEntry, PluginName, Selection, Seq, Timestamp},
    pipeline::{Origin, Pipeline, PublishError, member},
    plugin::{Plugin, PluginSet, Start},
    store::{
        Attempt, DeadLetter, Effect, Gap, Reacted, Role, Store, StoreError, Waiting,
        state::{Bucket, Pending},
    },
};

use super::{
    backoff::{self, LONGEST_ASKED},
    call::{self, Done, Failure, Outcome},
    chain::Chain,
    desk::{Again, Desk, Fate, Next},
    echo::{self, Echo},
    progress::Progress,
    rules,
};

/// How often a cursor is saved while events need no action. What lies between is delivered again
/// after a crash, which by contract does no harm.
const SAVE_EVERY: Duration = Duration::from_millis(200);
/// What is written into a plugin's state between two savings, in bytes.
const SAVE_AT_BYTES: usize = 256 << 10;
/// Rows of events that wait behind others, between two savings.
const SAVE_AT_ROWS: usize = 256;
/// Before asking the store again after it failed.
const STORE_RETRY: Duration = Duration::from_secs(1);

pub(super) struct Worker {
    pub(super) name: PluginName,
    pub(super) plugins: watch::Receiver<Arc<PluginSet>>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) bus: Bus,
    pub(super) store: Arc<Store>,
    pub(super) pipeline: Pipeline,
    pub(super) control: Arc<dyn Control>,
    pub(super) progress: Progress,
    pub(super) bucket: Arc<Bucket>,
    /// Held while the bucket has writes that are not with the writer yet.
    pub(super) turn: Option<OwnedMutexGuard<()>>,
    /// Everything up to here is settled.
    pub(super) position: Seq,
    /// The cursor on disk.
    pub(super) saved: Seq,
    /// What becomes true with the next saving.
    pub(super) unsaved: Vec<Effect>,
    /// How often the plugin has answered its own events.
    pub(super) echo: Echo,
    pub(super) clock: Clock,
    /// When the next escalation is due.
    pub(super) due: Option<Timestamp>,
}

/// Why a worker left the log.
pub(super) enum Leave {
    /// The host or the plugin is going.
    Stop,
    /// Another version of the plugin is there.
    NewVersion,
    /// What was done since the cursor on disk could not be committed.
    Lost,
}

impl Worker {
    /// The name under which a plugin's place is kept.
    pub(super) fn cursor(&self) -> String {
        super::cursor_of(&self.name)
    }

    pub(super) async fn run(mut self, start: Option<Seq>) {
        let start = match start {
            Some(start) => Some(start),
            None => self.start().await,
        };
        let Some(start) = start else { return };
        (self.position, self.saved) = (start, start);
        while let Some(plugin) = self.current() {
            let leave = self.follow(&plugin).await;
            let lost = matches!(leave, Leave::Lost) || self.save().await.is_err();
            if lost {
                self.go_back();
            }
            if matches!(leave, Leave::Stop) {
                return;
            }
            if lost && self.wait(STORE_RETRY).await.is_err() {
                return;
            }
        }
    }

    /// Where to begin; a plugin without a cursor gets one where its sidecar says. `None` when it was
    /// told to stop, or the plugin is gone, before the store answered.
    pub(super) async fn start(&mut self) -> Option<Seq> {
        loop {
            match self.store.reader().cursor(&self.cursor()).await {
                Ok(Some(seq)) => return Some(seq),
                Ok(None) => match self.make_cursor().await {
                    Ok(start) => return start,
                    Err(e) => warn!("reaction {}: its cursor cannot be made: {e}", self.name),
                },
                Err(e) => warn!("reaction {}: its cursor cannot be read: {e}", self.name),
            }
            self.wait(STORE_RETRY).await.ok()?;
        }
    }

    async fn make_cursor(&self) -> Result<Option<Seq>, StoreError> {
        let Some(plugin) = self.current() else { return Ok(None) };
        let start = match plugin.manifest().reaction.start {
            Start::End => self.bus.head(),
            Start::Beginning => 0,
            Start::At(time) => self.store.reader().place_before(time).await?,
        };
        self.store.apply(vec![Effect::MoveCursor { name: self.cursor(), seq: start }]).await?;
        Ok(Some(start))
    }

    fn current(&self) -> Option<Arc<Plugin>> {
        self.plugins.borrow().reactions.iter().find(|plugin| *plugin.name() == self.name).cloned()
    }

    /// Reacts to event after event with one version of the plugin.
    async fn follow(&mut self, plugin: &Arc<Plugin>) -> Leave {
        match self.follow_until(plugin).await {
            Ok(leave) | Err(leave) => leave,
        }
    }

    async fn follow_until(&mut self, plugin: &Arc<Plugin>) -> Result<Leave, Leave> {
        let selection = Selection {
            patterns: plugin.subscribe().to_vec(),
            min_priority: plugin.min_priority(),
            ..Selection::default()
        };
        let mut events = self.bus.subscribe_after(selection, self.position);
        let member = member(plugin, Role::Reaction);
        self.unsaved.push(Effect::Reacts { from: self.position + 1, member });
        // Before the rows are read: a knock after that is heard.
        let mut knocks = self.progress.knocks();
        let mut has_knocked = true;
        let mut desk = Desk::new(plugin, &self.control, self.store.reader());
        self.due = self.next_escalation().await?;
        let mut save_at = Instant::now() + SAVE_EVERY;
        loop {
            self.settle(&mut desk).await?;
            self.position = self.position.max(desk.place().unwrap_or_else(|| events.position()));
            self.progress.set(&self.name, self.position);
            // The state of a plugin is taken between two of its calls.
            let can_save = !(plugin.is_stateful() && desk.is_calling());
            if can_save {
                let is_time = Instant::now() >= save_at;
                if is_time {
                    self.save().await?;
                }
                if is_time || !self.is_dirty() {
                    save_at = Instant::now() + SAVE_EVERY;
                }
                if has_knocked {
                    self.look_up(&mut desk).await?;
                    has_knocked = false;
                }
                if self.bucket.waiting() == 0 {
                    self.turn = None;
                }
            }
            let now = Instant::now();
            if plugin.is_stateful() && self.turn.is_none() && desk.has_work(now) {
                self.turn = Some(Arc::clone(self.bucket.turn()).lock_owned().await);
            }
            desk.begin(now);
            if desk.can_settle() {
                continue;
            }
            let has_room = desk.has_room();
            let wake_at = desk.wake_at();
            let escalation = self.due.map(|due| self.clock.reach(due));
            tokio::select! {
                biased;
                leave = self.leave(plugin) => {
                    desk.leave();
                    while let Some(ended) = desk.ended().await {
                        self.ended(&mut desk, ended).await?;
                    }
                    self.settle(&mut desk).await?;
                    return Ok(leave);
                }
                Some(ended) = desk.ended() => self.ended(&mut desk, ended).await?,
                () = sleep_until(save_at), if can_save => {}
                () = maybe(wake_at.map(sleep_until)) => {}
                () = maybe(escalation), if can_save => self.escalate(plugin).await?,
                Ok(()) = knocks.changed() => has_knocked = true,
                next = events.next(), if has_room => match next {
                    Ok(entry) if rules::tells_of(&entry, &self.name) => {}
                    Ok(entry) => {
                        if self.reaches(plugin, &entry).await? {
                            desk.take_in(entry);
                        }
                    }
                    Err(SubscriptionError::Closed) => return Ok(Leave::Stop),
                    Err(SubscriptionError::Pruned(gap)) => self.bus.missed(&self.cursor(), gap),
                    Err(SubscriptionError::Store(e)) => {
                        warn!("reaction {}: cannot read the log: {e}", self.name);
                        self.wait(STORE_RETRY).await?;
                    }
                },
            }
        }
    }

    /// Puts the events on the desk that wait in the store and are not there yet.
    async fn look_up(&mut self, desk: &mut Desk) -> Result<(), Leave> {
        // So that the rows say what the desk says.
        self.save().await?;
        let (reader, plugin) = (self.store.reader().clone(), self.name.clone());
        let unreadable = |e: StoreError| {
            warn!("reaction {plugin}: what waits cannot be read: {e}");
            Leave::Lost
        };
        let mut waiting = reader.waiting(plugin.clone()).await.map_err(unreadable)?;
        let mut gone = reader.waiting_in_vain(plugin.clone()).await.map_err(unreadable)?;
        gone.retain(|seq| !desk.queue.has(*seq));
        // What has gone between the two looks is told of here.
        waiting.retain(|event| gone.binary_search(&event.seq).is_err());
        if let (Some(from), Some(to)) = (gone.first(), gone.last()) {
            let gap = Gap { from: *from, to: *to, count: gone.len() as u64 };
            self.bus.missed(&self.cursor(), gap);
            let settled = |event_seq| Effect::Settle { plugin: plugin.clone(), event_seq };
            self.unsaved.extend(gone.into_iter().map(settled));
        }
        let (now, here) = (Timestamp::now().micros(), Instant::now());
        for event in waiting {
            if desk.queue.has(event.seq) {
                continue;
            }
            let key = desk.key(&event.session_id, &event.project_id);
            let micros = u64::try_from(event.next.micros().saturating_sub(now)).unwrap_or(0);
            // A clock that was set back makes nobody wait for longer.
            let wait = Duration::from_micros(micros).min(LONGEST_ASKED);
            desk.queue.add(event.seq, key, event.attempts, here + wait);
        }
        Ok(())
    }

    /// Settles new events, in their order, as far as it is known what becomes of them.
    async fn settle(&mut self, desk: &mut Desk) -> Result<(), Leave> {
        while let Some((entry, key, fate)) = desk.settle() {
            self.position = entry.seq;
            let threshold = desk.plugin().manifest().reaction.threshold;
            if let Some(threshold) = &threshold {
                self.unsaved.push(self.reached(threshold, &entry));
            }
            match fate {
                Fate::Behind => {
                    self.unsaved.push(self.wait_row(entry.seq, 0, Duration::ZERO, None));
                    desk.queue.add(entry.seq, key, 0, Instant::now());
                    if self.unsaved.len() >= SAVE_AT_ROWS {
                        self.save().await?;
                    }
                }
                Fate::Tried(outcome) => match self.within_rate(&entry, outcome).await {
                    Outcome::Done(done) => {
                        self.done(desk.plugin(), &entry, None, done).await?;
                        if self.bucket.waiting() >= SAVE_AT_BYTES
                            || self.unsaved.len() >= SAVE_AT_ROWS
                        {
                            self.save().await?;
                        }
                    }
                    Outcome::Failed(failure) => {
                        let wait = self.failed(desk.retries(), &entry, 0, failure).await;
                        self.save().await?;
                        if let Some(at) = wait {
                            desk.queue.add(entry.seq, key, 1, at);
                        }
                    }
                    // The desk keeps those.
                    Outcome::Quarantined(_) | Outcome::RolledBack => {}
                },
            }
            if threshold.is_some() {
                // Before the next event is counted.
                self.save().await?;
            }
        }
        Ok(())
    }

    /// Makes a failure of an answer to one of the plugin's own events, when it gives too many.
    async fn within_rate(&mut self, entry: &LogEntry, outcome: Outcome) -> Outcome {
        let is_own = entry.caused_by.as_ref().is_some_and(|cause| cause.plugin == self.name);
        // What tells of reactions comes of the clock, and of others.
        let answers = |done: &Done| done.has_acted && is_own && rules::is_told(entry);
        let done = match outcome {
            Outcome::Done(done) if answers(&done) => done,
            outcome => return outcome,
        };
        let root = Chain::of(entry, self.store.reader()).await.root;
        match self.echo.admits(root, Instant::now()) {
            true => Outcome::Done(done),
            false => call::looping(
                done.called,
                format!(
                    "the plugin answered its own events, all from one, {} times within {} s: this \
                     looks like a loop",
                    echo::MAX_ANSWERS,
                    echo::WITHIN.as_secs()
                ),
            ),
        }
    }

    /// Settles an event that the plugin has reacted to. `attempts` failed before, of an event that was
    /// come back to.
    async fn done(
        &mut self,
        plugin: &Plugin,
        entry: &LogEntry,
        attempts: Option<u32>,
        done: Done,
    ) -> Result<(), Leave> {
        let Done { mut drafts, commands, has_acted, called } = done;
        if has_acted && rules::is_told(entry) {
            drafts.push(rules::triggered(plugin, entry));
            if let Some(escalation) = &plugin.manifest().reaction.escalation {
                self.wait_for_resolution(entry.seq, 0, escalation.after);
            }
        }
        let emitted = drafts.len();
        // Always worth a row after a failure, since attempts of before a dead letter was retried do not
        // count among those that failed.
        if emitted > 0 || !commands.is_empty() || attempts.is_some() || called.is_notable() {
            let attempt = attempts.unwrap_or(0) + 1;
            let (plugin, event_seq, at) = (self.name.clone(), entry.seq, Timestamp::now());
            let called = *called;
            let reacted = Reacted { plugin, event_seq, attempt, at, called, emitted, commands };
            self.unsaved.push(Effect::Reacted(reacted));
        }
        match drafts.is_empty() {
            true => Ok(()),
            false => self.emit(entry, drafts).await,
        }
    }

    async fn ended(
        &mut self,
        desk: &mut Desk,
        ended: Result<Next, tokio::task::JoinError>,
    ) -> Result<(), Leave> {
        let again = match ended {
            Ok(Next::New) => return Ok(()),
            Ok(Next::Pause) => return self.save().await,
            Ok(Next::Again(again)) => again,
            Err(e) => {
                error!("reaction {}: a call ended badly: {e}", self.name);
                return Err(Leave::Lost);
            }
        };
        let Again { seq, attempts, found } = again;
        let settled = Effect::Settle { plugin: self.name.clone(), event_seq: seq };
        match found {
            Ok(Some((entry, outcome))) => match self.within_rate(&entry, outcome).await {
                Outcome::Done(done) => {
                    self.unsaved.push(settled);
                    self.done(desk.plugin(), &entry, Some(attempts), done).await?;
                    self.save().await?;
                    desk.queue.remove(seq);
                }
                Outcome::Failed(failure) => {
                    let wait = self.failed(desk.retries(), &entry, attempts, failure).await;
                    self.save().await?;
                    match wait {
                        Some(at) => desk.queue.put_back(seq, attempts + 1, at),
                        None => desk.queue.remove(seq),
                    }
                }
                // The desk keeps those.
                Outcome::Quarantined(_) | Outcome::RolledBack => {}
            },
            Ok(None) => {
                self.bus.missed(&self.cursor(), Gap { from: seq, to: seq, count: 1 });
                self.unsaved.push(settled);
                self.save().await?;
                desk.queue.remove(seq);
            }
            Err(e) => {
                warn!("reaction {}: the event at {seq} cannot be read: {e}", self.name);
                desk.queue.put_back(seq, attempts, Instant::now() + STORE_RETRY);
            }
        }
        Ok(())
    }

    /// Decides what becomes of an event whose attempt failed: when it may be tried again, `None` when
    /// it is a dead letter.
    async fn failed(
        &mut self,
        retries: u32,
        entry: &LogEntry,
        attempts: u32,
        failure: Failure,
    ) -> Option<Instant> {
        let Failure { mut reason, may_retry, is_loop, after, called } = failure;
        if is_loop {
            let chain = Chain::of(entry, self.store.reader()).await.to_line();
            reason = format!("{reason} (the chain: {chain})");
        }
        let number = attempts + 1;
        let (at, called) = (Timestamp::now(), Some(*called));
        let failed = Attempt { number, at, error: reason, called };
        let (plugin, event) = (self.name.as_str(), entry.event.id);
        let reason = &failed.error;
        if may_retry && number <= retries {
            let wait = backoff::pause(number, after, fastrand::f64());
            warn!(plugin, %event, "attempt {number} failed, next in {wait:.1?}: {reason}");
            self.unsaved.push(self.wait_row(entry.seq, number, wait, Some(failed)));
            return Some(Instant::now() + wait);
        }
        error!(plugin, %event, "dead letter after {number} attempts: {reason}");
        self.unsaved.push(Effect::DeadLetter(DeadLetter {
            plugin: self.name.clone(),
            event_seq: entry.seq,
            event_id: entry.event.id,
            failed,
        }));
        None
    }

    fn wait_row(
        &self,
        event_seq: Seq,
        attempts: u32,
        wait: Duration,
        failed: Option<Attempt>,
    ) -> Effect {
        let now = Timestamp::now();
        let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
        let next = Timestamp::from_micros(now.micros().saturating_add(micros)).unwrap_or(now);
        Effect::Wait(Waiting { plugin: self.name.clone(), event_seq, attempts, next, failed })
    }

    /// Commits what was emitted together with everything that is settled.
    pub(super) async fn emit(&mut self, entry: &LogEntry, drafts: Vec<Draft>) -> Result<(), Leave> {
        let cause = Cause { event_id: entry.event.id, plugin: self.name.clone() };
        let origin = Origin::Reaction { cause, hops: entry.hops + 1 };
        let effects = self.take_unsaved();
        let outcomes = self.pipeline.submit(drafts, origin, effects, self.bucket.take()).await;
        self.turn = None;
        // A conflict says that an earlier run emitted something under this id: that run counts.
        let failure = outcomes
            .into_iter()
            .filter_map(Result::err)
            .find(|e| !matches!(e, PublishError::Conflict { .. }));
        match failure {
            None => {
                self.saved = self.position;
                Ok(())
            }
            Some(e) => {
                warn!(plugin = self.name.as_str(), event = %entry.event.id, "what it emits is not committed yet: {e}");
                Err(Leave::Lost)
            }
        }
    }

    /// Whether something is settled that the disk does not know.
    fn is_dirty(&self) -> bool {
        self.position > self.saved || !self.unsaved.is_empty() || self.bucket.waiting() > 0
    }

    /// Commits everything that is settled, with what was written up to there.
    pub(super) async fn save(&mut self) -> Result<(), Leave> {
        if !self.is_dirty() {
            return Ok(());
        }
        let is_more = !self.unsaved.is_empty() || self.bucket.waiting() > 0;
        let effects = self.take_unsaved();
        let writes: Vec<Pending> = self.bucket.take().into_iter().collect();
        let outcome = self.store.apply_with(effects, writes).await;
        self.turn = None;
        match outcome {
            Ok(()) => {
                self.saved = self.position;
                Ok(())
            }
            Err(e) => {
                warn!(
                    "reaction {}: its cursor cannot be saved, events may be delivered again: {e}",
                    self.name
                );
                // A cursor alone can wait: the next saving makes up for it.
                if is_more { Err(Leave::Lost) } else { Ok(()) }
            }
        }
    }

    fn take_unsaved(&mut self) -> Vec<Effect> {
        let mut effects = std::mem::take(&mut self.unsaved);
        effects.push(Effect::MoveCursor { name: self.cursor(), seq: self.position });
        effects
    }

    /// Forgets what is settled and not on disk.
    fn go_back(&mut self) {
        self.position = self.saved;
        self.unsaved.clear();
        self.bucket.drop_call();
        self.bucket.give_up();
        self.turn = None;
    }

    /// Returns when `plugin` is not the version to use any more.
    async fn leave(&mut self, plugin: &Arc<Plugin>) -> Leave {
        loop {
            tokio::select! {
                // A supervisor that is gone stops its workers too.
                _ = self.stop.wait_for(|stop| *stop) => return Leave::Stop,
                changed = self.plugins.changed() => if changed.is_err() { return Leave::Stop },
            }
            if !self.current().is_some_and(|now| Arc::ptr_eq(&now, plugin)) {
                return Leave::NewVersion;
            }
        }
    }

    async fn wait(&mut self, time: Duration) -> Result<(), Leave> {
        tokio::select! {
            _ = self.stop.wait_for(|stop| *stop) => Err(Leave::Stop),
            () = sleep(time) => Ok(()),
        }
    }
}

async fn maybe(wait: Option<impl Future<Output = ()>>) {
    match wait {
        Some(wait) => wait.await,
        None => std::future::pending().await,
    }
}
