//! The one thread that writes: group commit, cursors, pruning, and every checkpoint.
//!
//! All that waits in the inbox becomes one transaction, so a disk flush is shared under load and a
//! lone event waits for nobody. Nobody is told of a commit before it is on disk. Checkpoints run
//! after the answers, on this thread, so none ever races a write. Pruning comes in small steps
//! between two commits.
//!
//! A commit that failed for lack of space is undone and may be sent again. After any other error
//! of the file nobody can know what is on disk: the writer stops, and answers all that comes.

use std::{cell::Cell, sync::Arc, time::Instant};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use crate::event::{LogEntry, Seq, Timestamp};

use super::{
    StoreError,
    index::Notifier,
    messages::{Batch, Command, Effect, OnCommit, Tidy},
    pruned::Pruned,
    reactions::{self, DeadLetter, Waiting},
    refused, row,
    rules::{self, Escalation},
    state::Pending,
    trace::{self, Lineup, Reacted, Recorder},
};

/// A transaction takes in another batch while it has fewer events than this. So none has more than
/// the bus has slots: a subscriber that keeps up must not fall behind over one commit.
const GROUP: usize = 512;

/// The WAL is moved into the main file past this many pages of 4 KiB. Not past a size of its file,
/// which stays as it is when SQLite begins to write it anew.
const CHECKPOINT_AT: i32 = 4096;

thread_local! {
    /// Pages in the WAL after this thread's last commit.
    static WAL_PAGES: Cell<i32> = const { Cell::new(0) };
}

/// Sees every commit, in order, on the writer's thread, before the senders do: it must not block.
pub trait Observer: Send {
    /// These entries are on disk. `took` is from the begin of the transaction to the flush.
    fn committed(&mut self, entries: &[Arc<LogEntry>], took: std::time::Duration);
}

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) inbox: mpsc::Receiver<Command>,
    pub(super) observer: Box<dyn Observer>,
    pub(super) next_seq: Seq,
    /// The filters and enrichers that the last event met.
    pub(super) lineup: Option<Arc<Lineup>>,
    pub(super) index: Option<Notifier>,
    pub(super) pruned: Arc<Pruned>,
    /// Turns to the reason when the file failed.
    pub(super) failure: watch::Sender<Option<String>>,
}

impl Writer {
    pub(super) fn run(mut self) {
        self.connection.wal_hook(Some(|_, pages| {
            WAL_PAGES.set(pages);
            Ok(())
        }));
        let mut closing = false;
        while !closing {
            let Some(first) = self.inbox.blocking_recv() else { break };
            let (mut batches, mut copies, mut chores) = (Vec::new(), Vec::new(), Vec::new());
            let mut size = 0;
            let mut next = Some(first);
            while let Some(command) = next.take() {
                match command {
                    Command::Commit(batch) => {
                        size += batch.entries.len();
                        batches.push(batch);
                    }
                    Command::Copy(copy) => {
                        size += copy.entries.len();
                        copies.push(copy);
                    }
                    Command::Tidy(chore) => chores.push(chore),
                    Command::Close => closing = true,
                }
                if size < GROUP && !closing {
                    next = self.inbox.try_recv().ok();
                }
            }
            self.commit(batches);
            copies.into_iter().for_each(|copy| self.copy(copy));
            chores.into_iter().for_each(|chore| self.tidy(chore));
            self.checkpoint_when_due();
        }
        self.inbox.close();
        // Who sent after the end is answered as well.
        while let Some(command) = self.inbox.blocking_recv() {
            if let Command::Commit(batch) = command {
                refuse(batch, &StoreError::Closed);
            }
        }
        if let Err(e) = self.checkpoint("TRUNCATE") {
            warn!("the last checkpoint failed, the next start will make up for it: {e}");
        }
    }

    fn commit(&mut self, batches: Vec<Batch>) {
        // One after the other: a refused batch makes those stale that were decided on its writes.
        let mut sound = Vec::with_capacity(batches.len());
        for batch in batches {
            match batch.state.iter().any(Pending::is_stale) {
                true => refuse(batch, &StoreError::Stale),
                false => sound.push(batch),
            }
        }
        let batches = sound;
        if batches.is_empty() {
            return;
        }
        if let Some(reason) = self.failure.borrow().clone() {
            let failed = StoreError::Failed(reason);
            batches.into_iter().for_each(|batch| refuse(batch, &failed));
            return;
        }
        let begun = Instant::now();
        let committed_at = Timestamp::now();
        let lineup = self.lineup.clone();
        let pruned = Arc::clone(&self.pruned);
        let (connection, first) = (&mut self.connection, self.next_seq);
        match write(connection, &pruned, first, committed_at, lineup, &batches) {
            Ok(lineup) => {
                self.lineup = lineup;
                let answers: Vec<_> =
                    batches.into_iter().map(|batch| self.number(batch, committed_at)).collect();
                let took = begun.elapsed();
                answers.iter().for_each(|(entries, _)| self.observer.committed(entries, took));
                for (entries, done) in answers {
                    // Last, since nobody waits for the index.
                    let for_index = self.index.as_ref().map(|index| (index, entries.clone()));
                    done(Ok(entries));
                    if let Some((index, entries)) = for_index {
                        index.committed(entries);
                    }
                }
            }
            Err(e) => {
                let outcome = self.judge(&e);
                batches.into_iter().for_each(|batch| refuse(batch, &outcome));
            }
        }
    }

    /// The entries as they now stand in the log.
    fn number(&mut self, batch: Batch, at: Timestamp) -> (Vec<Arc<LogEntry>>, OnCommit) {
        let entries = batch.entries.into_iter().map(|new| {
            let seq = self.next_seq;
            self.next_seq += 1;
            let entry = LogEntry::new(
                seq,
                new.event,
                new.subject,
                new.caused_by,
                new.hops,
                new.dropped,
                at,
            );
            Arc::new(entry.with_digest(new.digest))
        });
        batch.state.into_iter().for_each(Pending::committed);
        (entries.collect(), batch.done)
    }

    /// Whoever asked may have gone; what is done stays done.
    fn tidy(&mut self, chore: Tidy) {
        let failure = self.failure.borrow().clone().map(StoreError::Failed);
        match chore {
            Tidy::Prune { places, done } => {
                let outcome = match failure {
                    Some(failed) => Err(failed),
                    None => self.prune(&places).map_err(|e| self.judge(&e)),
                };
                if let (Ok(_), Some(index)) = (&outcome, &self.index) {
                    index.pruned();
                }
                let _ = done.send(outcome);
            }
            Tidy::Vacuum { pages, done } => {
                let outcome = match failure {
                    Some(failed) => Err(failed),
                    None => self.vacuum(pages).map_err(|e| self.judge(&e)),
                };
                let _ = done.send(outcome);
            }
        }
    }

    fn prune(&mut self, places: &[Seq]) -> rusqlite::Result<Vec<Seq>> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let gone = self.pruned.delete(&transaction, places)?;
        transaction.commit()?;
        Ok(gone)
    }

    fn vacuum(&mut self, pages: u32) -> rusqlite::Result<()> {
        // Each row that the pragma answers is a page: it stops where nobody asks for more.
        let mut vacuum = self.connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut freed = vacuum.query([])?;
        while freed.next()?.is_some() {}
        Ok(())
    }

    pub(super) fn judge(&mut self, e: &rusqlite::Error) -> StoreError {
        match e.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => {
                warn!("commit refused, no space: {e}");
                StoreError::Full(e.to_string())
            }
            Some(ErrorCode::ConstraintViolation) => StoreError::Refused(e.to_string()),
            _ => {
                error!("commit failed, its outcome is unknown; the store stops: {e}");
                self.failure.send_replace(Some(e.to_string()));
                StoreError::Failed(e.to_string())
            }
        }
    }

    fn checkpoint_when_due(&self) {
        if WAL_PAGES.take() > CHECKPOINT_AT
            && let Err(e) = self.checkpoint("PASSIVE")
        {
            warn!("checkpoint failed, the next one will make up for it: {e}");
        }
    }

    fn checkpoint(&self, mode: &str) -> rusqlite::Result<()> {
        self.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
    }
}

/// Nothing of the batch is stored. What plugins wrote for it is taken back before anybody is told.
fn refuse(batch: Batch, error: &StoreError) {
    let Batch { state, done, .. } = batch;
    drop(state);
    done(Err(error.clone()));
}

/// `lineup` is what the last event met; gives what it is then.
fn write(
    connection: &mut Connection,
    pruned: &Pruned,
    first: Seq,
    at: Timestamp,
    lineup: Option<Arc<Lineup>>,
    batches: &[Batch],
) -> rusqlite::Result<Option<Arc<Lineup>>> {
    // A transaction that is dropped on the way out is rolled back.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let lineup = {
        let mut insert = row::insert_statement(&transaction)?;
        let mut recorder = Recorder::new(&transaction, lineup);
        for (seq, entry) in (first..).zip(batches.iter().flat_map(|batch| &batch.entries)) {
            row::insert(&mut insert, seq, entry, trace::steps_column(&entry.passage), at)?;
            recorder.record(seq, at, &entry.passage)?;
        }
        recorder.lineup()
    };
    for batch in batches {
        batch.effects.iter().try_for_each(|effect| apply(&transaction, pruned, effect, at))?;
        batch.state.iter().try_for_each(|writes| writes.write(&transaction))?;
    }
    transaction.commit()?;
    Ok(lineup)
}

fn apply(
    transaction: &Transaction<'_>,
    pruned: &Pruned,
    effect: &Effect,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let about = match effect {
        Effect::Reacted(Reacted { event_seq, .. })
        | Effect::Wait(Waiting { event_seq, .. })
        | Effect::DeadLetter(DeadLetter { event_seq, .. })
        | Effect::Escalate(Escalation { event_seq, .. }) => Some(*event_seq),
        _ => None,
    };
    if let Some(seq) = about
        && pruned.has(transaction, seq)?
    {
        return apply_too_late(transaction, effect);
    }
    match effect {
        Effect::MoveCursor { name, seq } => move_cursor(transaction, name, *seq, at)?,
        Effect::Delivered { sink, place, skipped } => {
            move_cursor(transaction, sink, place.seq, at)?;
            let sql = "UPDATE cursors SET taken = max(coalesce(taken, 0), ?2) WHERE name = ?1";
            transaction.prepare_cached(sql)?.execute(params![sink, place.taken as i64])?;
            trace::delivered(transaction, sink, place.seq, skipped, at)?;
        }
        Effect::Reacts { from, member } => trace::reacts(transaction, *from, member, at)?,
        Effect::Reacted(reacted) => trace::reacted(transaction, reacted)?,
        Effect::Wait(event) => reactions::wait(transaction, event)?,
        Effect::Settle { plugin, event_seq } => reactions::settle(transaction, plugin, *event_seq)?,
        Effect::DeadLetter(letter) => reactions::bury(transaction, letter)?,
        Effect::RetryDeadLetter(id) => reactions::retry(transaction, *id)?,
        Effect::ReactAgain { plugin, event_seq } => {
            reactions::again(transaction, plugin, *event_seq)?;
        }
        Effect::DiscardDeadLetter(id) => reactions::discard(transaction, *id)?,
        Effect::Escalate(escalation) => rules::escalate(transaction, escalation)?,
        Effect::Resolve { plugin, event_seq } => rules::resolve(transaction, plugin, *event_seq)?,
        Effect::Reach(reached) => rules::reach(transaction, reached)?,
        Effect::Refuse(messages) => refused::keep(transaction, messages)?,
        Effect::DiscardRefused { first, last } => refused::discard(transaction, *first, *last)?,
        Effect::DisablePlugin { name, since, by } => {
            let sql = "INSERT INTO disabled_plugins (name, since_us, \"by\") VALUES (?1, ?2, ?3) \
                       ON CONFLICT (name) DO NOTHING";
            transaction.prepare_cached(sql)?.execute(params![name.as_str(), since.micros(), by])?;
        }
        Effect::EnablePlugin { name } => {
            let sql = "DELETE FROM disabled_plugins WHERE name = ?1";
            transaction.prepare_cached(sql)?.execute([name.as_str()])?;
        }
    }
    Ok(())
}

/// The event is gone: nothing hangs on it any more. Who will come back to it still does, finds that out,
/// and says so.
fn apply_too_late(transaction: &Transaction<'_>, effect: &Effect) -> rusqlite::Result<()> {
    match effect {
        Effect::Wait(event) => {
            reactions::wait(transaction, &Waiting { failed: None, ..event.clone() })
        }
        Effect::DeadLetter(DeadLetter { plugin, event_seq, .. }) => {
            reactions::settle(transaction, plugin, *event_seq)
        }
        _ => Ok(()),
    }
}

fn move_cursor(
    transaction: &Transaction<'_>,
    name: &str,
    seq: Seq,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO cursors (name, seq, updated_us) VALUES (?1, ?2, ?3) \
               ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, updated_us = excluded.updated_us \
               WHERE excluded.seq > seq";
    transaction.prepare_cached(sql)?.execute(params![name, seq as i64, at.micros()])?;
    Ok(())
}
