//! One reaction plugin's way through the log: one event at a time, in order.
//!
//! What the plugin writes into its state is committed together with the cursor. So when a commit
//! fails, the plugin goes back to where its cursor is on disk, and its state with it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::{
    sync::{OwnedMutexGuard, watch},
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{error, warn};

use crate::{
    bus::{Bus, SubscriptionError},
    control::{Command, Control, ControlError, Origin as Giver},
    event::{Cause, Draft, LogEntry, PluginName, Selection, Seq},
    pipeline::{Origin, Pipeline, PublishError},
    plugin::{Delivery, Plugin, PluginSet, ReactError},
    store::{
        DeadLetter, Effect, Store, StoreError,
        state::{Bucket, Pending},
    },
};

use super::{decision, positions::Positions};

/// How often a cursor is saved while events need no action. What lies between is delivered again
/// after a crash, which by contract does no harm.
const SAVE_EVERY: Duration = Duration::from_millis(200);

/// What is written into a plugin's state between two savings, in bytes.
const SAVE_AT_BYTES: usize = 256 << 10;

/// The first wait before another try; each further one is twice as long, with jitter.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// The longest wait before another try.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// The longest wait that a plugin itself can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);
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
    pub(super) positions: Positions,
    pub(super) bucket: Arc<Bucket>,
    /// Held while the bucket has writes that are not with the writer yet.
    pub(super) turn: Option<OwnedMutexGuard<()>>,
    /// The cursor on disk.
    pub(super) saved: Seq,
}

/// Why a worker left an event or the log.
enum Leave {
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
        format!("reaction/{}", self.name)
    }

    pub(super) async fn run(mut self, start: Option<Seq>) {
        let start = match start {
            Some(start) => Some(start),
            None => self.start().await,
        };
        let Some(mut position) = start else { return };
        self.saved = position;
        while let Some(plugin) = self.current() {
            let leave = self.follow(&plugin, &mut position).await;
            let lost = matches!(leave, Leave::Lost) || self.save(position).await.is_err();
            if matches!(leave, Leave::Stop) {
                return;
            }
            if lost {
                position = self.saved;
                if self.wait(STORE_RETRY).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Where to begin; a plugin without a cursor gets one at the log's end. `None` when it was told
    /// to stop before the store answered.
    pub(super) async fn start(&mut self) -> Option<Seq> {
        loop {
            match self.store.reader().cursor(&self.cursor()).await {
                Ok(Some(seq)) => return Some(seq),
                Ok(None) => {
                    let head = self.bus.head();
                    match self.store.apply(vec![self.moved(head)]).await {
                        Ok(()) => return Some(head),
                        Err(e) => warn!("reaction {}: its cursor cannot be made: {e}", self.name),
                    }
                }
                Err(e) => warn!("reaction {}: its cursor cannot be read: {e}", self.name),
            }
            self.wait(STORE_RETRY).await.ok()?;
        }
    }

    fn current(&self) -> Option<Arc<Plugin>> {
        self.plugins.borrow().reactions.iter().find(|plugin| *plugin.name() == self.name).cloned()
    }

    /// Reacts to event after event with one version of the plugin.
    async fn follow(&mut self, plugin: &Arc<Plugin>, position: &mut Seq) -> Leave {
        let selection = Selection {
            patterns: plugin.subscribe().to_vec(),
            min_priority: plugin.min_priority(),
            ..Selection::default()
        };
        let mut events = self.bus.subscribe_after(selection, *position);
        let mut clock = interval(SAVE_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            *position = events.position();
            self.positions.set(&self.name, *position);
            tokio::select! {
                biased;
                leave = self.leave(plugin) => return leave,
                _ = clock.tick() => {
                    if *position > self.saved
                        && let Err(lost) = self.save(*position).await
                    {
                        return lost;
                    }
                }
                next = events.next() => match next {
                    Ok(entry) => {
                        if let Err(leave) = self.react(plugin, &entry).await {
                            // Not done: the next one to come begins with it.
                            *position = entry.seq - 1;
                            return leave;
                        }
                    }
                    Err(SubscriptionError::Closed) => return Leave::Stop,
                    Err(SubscriptionError::Pruned(gap)) => self.bus.missed(&self.cursor(), gap),
                    Err(SubscriptionError::Store(e)) => {
                        warn!("reaction {}: cannot read the log: {e}", self.name);
                        if let Err(leave) = self.wait(STORE_RETRY).await {
                            return leave;
                        }
                    }
                },
            }
        }
    }

    /// Reacts to one event until it is done, or is a dead letter.
    async fn react(&mut self, plugin: &Arc<Plugin>, entry: &LogEntry) -> Result<(), Leave> {
        let retries = plugin.manifest().reaction.retries.get();
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(FIRST_RETRY)
            .with_max_delay(LAST_RETRY)
            .with_max_times(retries as usize)
            .with_jitter()
            .build();
        let mut attempt = 1;
        loop {
            if self.turn.is_none() {
                self.turn = Some(Arc::clone(self.bucket.turn()).lock_owned().await);
            }
            let answer = plugin.react(Delivery { entry, attempt }).await;
            if self.bucket.waiting() == 0 {
                self.turn = None;
            }
            let (reason, may_retry, after) = match answer {
                Ok(actions) if actions.is_empty() => {
                    return match self.bucket.waiting() {
                        0..SAVE_AT_BYTES => Ok(()),
                        _ => self.save(entry.seq).await,
                    };
                }
                Ok(actions) => match decision::decide(plugin, entry, actions) {
                    Ok(decision) => match self.command(decision.commands).await {
                        Ok(()) => {
                            plugin.count_changed(1);
                            return match decision.drafts.is_empty() {
                                true => self.save(entry.seq).await,
                                false => self.emit(entry, decision.drafts).await,
                            };
                        }
                        Err(e) => (e.to_string(), matches!(e, ControlError::Unavailable(_)), None),
                    },
                    Err(reason) => (reason, false, None),
                },
                // The version before has taken over, and this event is for it.
                Err(ReactError::RolledBack(_)) => return Err(self.leave(plugin).await),
                Err(ReactError::Fatal(reason)) => (reason, false, None),
                Err(ReactError::Retry { reason, after }) => (reason, true, after),
                Err(ReactError::Quarantined(until)) => {
                    // It was not called, so this is no attempt.
                    self.save(entry.seq - 1).await?;
                    self.wait_with(plugin, until.saturating_duration_since(Instant::now())).await?;
                    continue;
                }
            };
            match waits.next().filter(|_| may_retry) {
                Some(wait) => {
                    let wait = pause(wait, after);
                    warn!(plugin = self.name.as_str(), event = %entry.event.id, "attempt {attempt} failed, next in {wait:.1?}: {reason}");
                    self.save(entry.seq - 1).await?;
                    self.wait_with(plugin, wait).await?;
                    attempt += 1;
                }
                None => return self.bury(entry, reason, attempt).await,
            }
        }
    }

    /// Gives the plugin's commands to the host, one after the other. Before the cursor moves, so that
    /// a host that dies in between gives them again: each may be carried out more than once, and does
    /// no harm then.
    async fn command(&self, commands: Vec<Command>) -> Result<(), ControlError> {
        for command in commands {
            self.control.execute(Giver::Plugin(self.name.clone()), command).await?;
        }
        Ok(())
    }

    /// Commits what was emitted together with the cursor.
    async fn emit(&mut self, entry: &LogEntry, drafts: Vec<Draft>) -> Result<(), Leave> {
        let cause = Cause { event_id: entry.event.id, plugin: self.name.clone() };
        let origin = Origin::Reaction { cause, hops: entry.hops + 1 };
        let effects = vec![self.moved(entry.seq)];
        let outcomes = self.pipeline.submit(drafts, origin, effects, self.bucket.take()).await;
        self.turn = None;
        // A conflict says that an earlier run emitted something under this id: that run counts.
        let failure = outcomes
            .into_iter()
            .filter_map(Result::err)
            .find(|e| !matches!(e, PublishError::Conflict { .. }));
        match failure {
            None => {
                self.saved = entry.seq;
                Ok(())
            }
            Some(e) => {
                warn!(plugin = self.name.as_str(), event = %entry.event.id, "what it emits is not committed yet: {e}");
                Err(Leave::Lost)
            }
        }
    }

    async fn bury(&mut self, entry: &LogEntry, reason: String, attempts: u32) -> Result<(), Leave> {
        error!(plugin = self.name.as_str(), event = %entry.event.id, "dead letter after {attempts} attempts: {reason}");
        let letter = DeadLetter {
            plugin: self.name.clone(),
            event_seq: entry.seq,
            event_id: entry.event.id,
            reason,
            attempts,
        };
        let effects = vec![Effect::DeadLetter(letter), self.moved(entry.seq)];
        if let Err(e) = self.commit(effects, entry.seq).await {
            warn!("reaction {}: a dead letter cannot be stored: {e}", self.name);
            return Err(Leave::Lost);
        }
        Ok(())
    }

    /// Saves the cursor, with what was written up to there.
    async fn save(&mut self, position: Seq) -> Result<(), Leave> {
        let has_written = self.bucket.waiting() > 0;
        match self.commit(vec![self.moved(position)], position).await {
            Ok(()) => Ok(()),
            Err(e) => {
                warn!(
                    "reaction {}: its cursor cannot be saved, events may be delivered again: {e}",
                    self.name
                );
                // Without writes nothing hangs on the cursor: the next saving makes up for it.
                if has_written { Err(Leave::Lost) } else { Ok(()) }
            }
        }
    }

    async fn commit(&mut self, effects: Vec<Effect>, position: Seq) -> Result<(), StoreError> {
        let writes: Vec<Pending> = self.bucket.take().into_iter().collect();
        let outcome = self.store.apply_with(effects, writes).await;
        self.turn = None;
        if outcome.is_ok() {
            self.saved = position;
        }
        outcome
    }

    fn moved(&self, seq: Seq) -> Effect {
        Effect::MoveCursor { name: self.cursor(), seq }
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

    /// Waits before another try with the same version; a new version does not wait.
    async fn wait_with(&mut self, plugin: &Arc<Plugin>, time: Duration) -> Result<(), Leave> {
        tokio::select! {
            leave = self.leave(plugin) => Err(leave),
            () = sleep(time) => Ok(()),
        }
    }

    async fn wait(&mut self, time: Duration) -> Result<(), Leave> {
        tokio::select! {
            _ = self.stop.wait_for(|stop| *stop) => Err(Leave::Stop),
            () = sleep(time) => Ok(()),
        }
    }
}

/// How long to wait when the back-off says `backoff` and the plugin asked for a longer time.
fn pause(backoff: Duration, asked: Option<Duration>) -> Duration {
    backoff.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_can_ask_for_a_longer_wait_but_not_for_ever() {
        let seconds = Duration::from_secs;
        assert_eq!(pause(seconds(2), None), seconds(2));
        assert_eq!(pause(seconds(2), Some(seconds(1))), seconds(2));
        assert_eq!(pause(seconds(2), Some(seconds(30))), seconds(30));
        assert_eq!(pause(seconds(2), Some(Duration::MAX)), LONGEST_ASKED);
    }
}
