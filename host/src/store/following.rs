//! A log that is a copy of another one: its events are taken as they stand there, and how far that log
//! was followed is remembered in the same transaction.
//!
//! Not every place of the other log comes: what a filter hid stays there. Such places are noted as gone,
//! and as never expected, so that nobody is told of them. Places of events that should have come are
//! noted as gone alone: whoever follows this log is told, as of what retention takes.
//!
//! Knows the files. May not know over which wire events come, nor when a copy has to stop.

use std::{sync::Arc, time::Instant};

use rusqlite::{
    CachedStatement, Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior,
    params,
};
use serde::Serialize;
use tokio::sync::oneshot;

use super::{
    Reader, Store, StoreError,
    messages::{Command, Copy, NewEntry},
    pruned::{Hole, Pruned},
    row,
    writer::Writer,
};
use crate::event::{LogEntry, LogId, Seq, Timestamp};

/// Gaps that are told at most; the later ones.
const MAX_GAPS: usize = 100;

/// An event as it stands in the other log.
#[derive(Debug)]
pub struct Copied {
    /// Its place.
    pub seq: Seq,
    /// The place of the event that comes before it, of those that the other log hands out; 0 for none.
    pub previous: Seq,
    /// When it was committed there.
    pub committed_at: Timestamp,
    /// All else.
    pub entry: NewEntry,
}

/// How far the other log was followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Which log it is; `None` until its first event came.
    pub origin: Option<LogId>,
    /// The stream that it comes over.
    pub stream: String,
    /// When that was made, in its server's words.
    pub created: String,
    /// The stream's last sequence that was taken; 0 for none.
    pub stream_seq: u64,
}

/// Events that should have come and did not. How many nobody knows: at least the one at `until`, and
/// not more than there are places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The last event before them; 0 for none.
    pub after: Seq,
    /// The last of them.
    pub until: Seq,
    /// When that was noticed.
    pub found_at: Timestamp,
}

impl Store {
    /// Takes events as they stand in the other log, in their order and behind what is here, and notes
    /// how far that was followed: all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError`] when nothing is taken.
    pub async fn copy(&self, entries: Vec<Copied>, followed: Followed) -> Result<(), StoreError> {
        let (done, outcome) = oneshot::channel();
        // A writer that has ended drops what it is sent, and with it the answer.
        let _ = self.inbox.send(Command::Copy(Copy { entries, followed, done })).await;
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Reader {
    /// How far another log was followed; `None` for a log that is no copy.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn followed(&self) -> Result<Option<Followed>, StoreError> {
        self.run(|db| {
            let sql = "SELECT stream, created, stream_seq, origin FROM followed";
            let followed = |row: &rusqlite::Row<'_>| {
                Ok(Followed {
                    origin: row::optional(row, 3)?,
                    stream: row.get(0)?,
                    created: row.get(1)?,
                    stream_seq: row.get::<_, i64>(2)? as u64,
                })
            };
            db.prepare_cached(sql)?.query_row([], followed).optional()
        })
        .await
    }

    /// What should have come and did not: how many such gaps, and the last 100 of them, the first
    /// ones first.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn missing(&self) -> Result<(u64, Vec<Missing>), StoreError> {
        self.run(|db| {
            let db = db.unchecked_transaction()?;
            let count = db.query_row("SELECT count(*) FROM follow_gaps", [], |row| row.get(0))?;
            let count: i64 = count;
            let sql = "SELECT after, until, found_us FROM follow_gaps ORDER BY after DESC LIMIT ?1";
            let mut find = db.prepare_cached(sql)?;
            let missing = |row: &rusqlite::Row<'_>| {
                let [after, until] = [row.get::<_, i64>(0)?, row.get(1)?].map(|seq| seq as Seq);
                Ok(Missing { after, until, found_at: row::time(row, 2)? })
            };
            let rows = find.query_map([MAX_GAPS as i64], missing)?;
            let mut gaps = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            gaps.reverse();
            Ok((count as u64, gaps))
        })
        .await
    }
}

impl Writer {
    /// Takes events at the places that they have.
    pub(super) fn copy(&mut self, copy: Copy) {
        let Copy { entries, followed, done } = copy;
        if let Some(reason) = self.failure.borrow().clone() {
            let _ = done.send(Err(StoreError::Failed(reason)));
            return;
        }
        let begun = Instant::now();
        if let Err(e) = self.write_copy(&entries, &followed) {
            let _ = done.send(Err(self.judge(&e)));
            return;
        }
        let entries: Vec<_> = entries.into_iter().map(entry).collect();
        if let Some(last) = entries.last() {
            self.next_seq = last.seq + 1;
            self.observer.committed(&entries, begun.elapsed());
        }
        // Whoever asked may have gone; what is done stays done.
        let _ = done.send(Ok(()));
        if let Some(index) = &self.index {
            index.committed(entries);
        }
    }

    fn write_copy(&mut self, entries: &[Copied], followed: &Followed) -> rusqlite::Result<()> {
        let now = Timestamp::now();
        let holes = holes(self.next_seq - 1, entries);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = row::insert_statement(&transaction)?;
            for copied in entries {
                insert_at(&transaction, &mut insert, &self.pruned, copied)?;
            }
        }
        self.pruned.pass(&transaction, &holes)?;
        holes.iter().try_for_each(|hole| note_gap(&transaction, hole, now))?;
        note_place(&transaction, followed, now)?;
        transaction.commit()
    }
}

/// Adds an event. Where its id is that of an earlier one, the other log has forgotten that one (an id is
/// free again once retention has taken its event), and so does this.
fn insert_at(
    transaction: &Transaction<'_>,
    insert: &mut CachedStatement<'_>,
    pruned: &Pruned,
    copied: &Copied,
) -> rusqlite::Result<()> {
    let Copied { seq, committed_at, entry, .. } = copied;
    match row::insert(insert, *seq, entry, None, *committed_at) {
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            let sql = "SELECT seq FROM events WHERE id = ?1";
            let id = entry.event.id.to_string();
            let mut find = transaction.prepare_cached(sql)?;
            let earlier: Option<i64> = find.query_row([id], |row| row.get(0)).optional()?;
            let Some(earlier) = earlier else { return Err(e) };
            pruned.delete(transaction, &[earlier as Seq])?;
            row::insert(insert, *seq, entry, None, *committed_at)
        }
        inserted => inserted,
    }
}

/// The entry as it now stands in the log.
fn entry(copied: Copied) -> Arc<LogEntry> {
    let Copied { seq, previous, committed_at, entry: new } = copied;
    let NewEntry { event, subject, digest, caused_by, hops, dropped, .. } = new;
    let entry = LogEntry::new(seq, event, subject, caused_by, hops, dropped, committed_at);
    Arc::new(entry.with_digest(digest).with_previous(previous))
}

/// The places between events that hold none, behind the place `last`.
fn holes(mut last: Seq, entries: &[Copied]) -> Vec<Hole> {
    let mut holes = Vec::new();
    for entry in entries {
        if entry.seq > last + 1 {
            let lost = entry.previous.clamp(last, entry.seq - 1);
            holes.push(Hole { after: last, lost, until: entry.seq - 1 });
        }
        last = entry.seq;
    }
    holes
}

fn note_gap(db: &Connection, hole: &Hole, now: Timestamp) -> rusqlite::Result<()> {
    if hole.lost > hole.after {
        let sql = "INSERT INTO follow_gaps (after, until, found_us) VALUES (?1, ?2, ?3)";
        let values = params![hole.after as i64, hole.lost as i64, now.micros()];
        db.prepare_cached(sql)?.execute(values)?;
    }
    Ok(())
}

fn note_place(db: &Connection, followed: &Followed, now: Timestamp) -> rusqlite::Result<()> {
    let Followed { origin, stream, created, stream_seq } = followed;
    let sql = "INSERT INTO followed (only, origin, stream, created, stream_seq, updated_us) \
               VALUES (1, ?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET origin = excluded.origin, \
               stream = excluded.stream, created = excluded.created, \
               stream_seq = excluded.stream_seq, updated_us = excluded.updated_us";
    let origin = origin.map(|origin| origin.to_string());
    let values = params![origin, stream, created, *stream_seq as i64, now.micros()];
    db.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

#[cfg(test)]
mod tests;
