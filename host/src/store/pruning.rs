//! What retention asks of the store, and has done by it: which events are old, how much room they
//! take, delete these, give the space back.
//!
//! Knows the files. May not know why an event has to go.

use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension, Row};
use tokio::sync::oneshot;

use super::{
    Gap, Reader, Store, StoreError,
    messages::{Command, Tidy},
    pruned::{self, Pruned},
    row,
};
use crate::event::{EventPriority, Seq, Subject, Timestamp};

/// An event, as far as it matters for how long it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aged {
    /// Its place in the log.
    pub seq: Seq,
    /// Where it was published.
    pub subject: Subject,
    /// How much attention it wants.
    pub priority: EventPriority,
    /// When the host committed it.
    pub committed_at: Timestamp,
    /// Of its message and data.
    pub bytes: u64,
}

/// The room that a log takes, in bytes of its main file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Of pages that hold something.
    pub used: u64,
    /// Of pages that are free, to be used again or given back.
    pub free: u64,
    /// Whether free pages can be given back in steps, as in files that were made with retention known.
    pub shrinks: bool,
}

impl Store {
    /// Deletes the events at these places, which are in order, and all that hangs on them, in one
    /// transaction between two commits. The places that had one, once that is on disk.
    ///
    /// # Errors
    /// [`StoreError`] when they are not deleted.
    pub async fn prune(&self, places: Vec<Seq>) -> Result<Vec<Seq>, StoreError> {
        let (done, outcome) = oneshot::channel();
        self.tidy(Tidy::Prune { places, done }, outcome).await
    }

    /// Gives at most so many free pages of 4 KiB back to the file system, in one transaction between
    /// two commits. Nothing happens where [`Space::shrinks`] is not so.
    ///
    /// # Errors
    /// [`StoreError`] when that fails.
    pub async fn vacuum(&self, pages: u32) -> Result<(), StoreError> {
        let (done, outcome) = oneshot::channel();
        self.tidy(Tidy::Vacuum { pages, done }, outcome).await
    }

    async fn tidy<T>(
        &self,
        chore: Tidy,
        outcome: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        // A writer that has ended drops what it is sent, and with it the answer.
        let _ = self.inbox.send(Command::Tidy(chore)).await;
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Reader {
    /// The events behind `after`, up to and with `until`, in their order; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] after five seconds; [`StoreError::Read`] when SQLite fails.
    pub async fn aged(
        &self,
        after: Seq,
        until: Seq,
        limit: usize,
    ) -> Result<Vec<Aged>, StoreError> {
        self.run(move |db| {
            let mut found = Vec::new();
            each_aged(db, after, until, |event| {
                found.push(event);
                match found.len() < limit {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })?;
            Ok(found)
        })
        .await
    }

    /// The last place that was committed before `time`; 0 when there is none. Commits are in the order
    /// of time, but for a clock that was set back: then some place where the time was crossed.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn place_before(&self, time: Timestamp) -> Result<Seq, StoreError> {
        self.run(move |db| place_before(db, time)).await
    }

    /// How far the sink of this cursor is done with everything: it stands there, or before the first
    /// event that a reaction will come back to. `None` for one that never moved.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn done_until(&self, cursor: String) -> Result<Option<Seq>, StoreError> {
        self.run(move |db| done_until(db, &cursor)).await
    }

    /// How many events the log has, and how many were ever pruned.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn kept_and_pruned(&self) -> Result<(u64, u64), StoreError> {
        let pruned = self.pruned().clone();
        self.run(move |db| kept_and_pruned(db, &pruned)).await
    }

    /// The room that the log takes.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn space(&self) -> Result<Space, StoreError> {
        self.run(|db| space(&*db.unchecked_transaction()?)).await
    }

    /// What was pruned behind `after`, up to and with `until`; `None` when nothing was.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn gap(&self, after: Seq, until: Seq) -> Result<Option<Gap>, StoreError> {
        if after >= self.pruned().end() {
            return Ok(None);
        }
        let pruned = self.pruned().clone();
        self.run(move |db| pruned.gap(db, after, until)).await
    }

    /// The same, run by run: in each, every place is gone. For short stretches, since it may be a run
    /// for every other place.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn gaps(&self, after: Seq, until: Seq) -> Result<Vec<Gap>, StoreError> {
        if after >= self.pruned().end() {
            return Ok(Vec::new());
        }
        let pruned = self.pruned().clone();
        self.run(move |db| pruned.runs(db, after, until)).await
    }
}

/// The last place that was ever given; 0 for a log that never had an event.
pub(super) fn head(db: &Connection, pruned: &Pruned) -> rusqlite::Result<Seq> {
    let last: Option<i64> =
        db.prepare_cached("SELECT max(seq) FROM events")?.query_row([], |row| row.get(0))?;
    Ok(last.map_or(0, |last| last as Seq).max(pruned.end()))
}

pub(super) fn kept_and_pruned(db: &Connection, pruned: &Pruned) -> rusqlite::Result<(u64, u64)> {
    // One look at the file's state, so that the two fit together.
    let db = db.unchecked_transaction()?;
    let gone = pruned::count(&db)?;
    Ok((head(&db, pruned)?.saturating_sub(gone), gone))
}

pub(super) fn done_until(db: &Connection, cursor: &str) -> rusqlite::Result<Option<Seq>> {
    // One look at the file's state: an event that failed waits from when the cursor passes it.
    let sql = "SELECT min(c.seq, coalesce((SELECT min(w.event_seq) - 1 FROM reaction_waiting w \
               WHERE 'reaction/' || w.plugin = c.name AND EXISTS \
               (SELECT 1 FROM events e WHERE e.seq = w.event_seq)), c.seq)) \
               FROM cursors c WHERE c.name = ?1";
    let mut find = db.prepare_cached(sql)?;
    find.query_row([cursor], |row| row.get::<_, i64>(0).map(|seq| seq as Seq)).optional()
}

/// To be asked within a transaction, so that the figures fit together.
pub(super) fn space(db: &Connection) -> rusqlite::Result<Space> {
    let number = |pragma: &str| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (size, pages) = (number("page_size")? as u64, number("page_count")? as u64);
    let free = number("freelist_count")? as u64;
    let shrinks = number("auto_vacuum")? == 2;
    Ok(Space { used: (pages - free) * size, free: free * size, shrinks })
}

/// Shows `see` the events of a stretch in their order, until it has seen enough.
pub(super) fn each_aged(
    db: &Connection,
    after: Seq,
    until: Seq,
    mut see: impl FnMut(Aged) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let place = |seq: Seq| i64::try_from(seq).unwrap_or(i64::MAX);
    let sql = "SELECT seq, subject, priority, committed_us, octet_length(message) + octet_length(data) \
               FROM events WHERE seq > ?1 AND seq <= ?2 ORDER BY seq";
    let mut find = db.prepare_cached(sql)?;
    for event in find.query_map([place(after), place(until)], aged)? {
        if see(event?).is_break() {
            break;
        }
    }
    Ok(())
}

fn aged(row: &Row<'_>) -> rusqlite::Result<Aged> {
    Ok(Aged {
        seq: row.get::<_, i64>(0)? as Seq,
        subject: row::parsed(row, 1)?,
        priority: row::parsed(row, 2)?,
        committed_at: row::time(row, 3)?,
        bytes: row.get::<_, i64>(4)? as u64,
    })
}

fn place_before(db: &Connection, time: Timestamp) -> rusqlite::Result<Seq> {
    let db = db.unchecked_transaction()?;
    let head: i64 =
        db.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
    let sql = "SELECT seq, committed_us FROM events WHERE seq >= ?1 ORDER BY seq LIMIT 1";
    let mut find = db.prepare_cached(sql)?;
    // Everything up to `before` was committed before or is gone, everything from `after` on was not.
    let (mut before, mut after) = (0, head + 1);
    while before + 1 < after {
        let middle = before + (after - before) / 2;
        let found = find.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)));
        let found: Option<(i64, i64)> = found.optional()?;
        match found {
            Some((seq, at)) if seq < after && at < time.micros() => before = seq,
            _ => after = middle,
        }
    }
    Ok(before as Seq)
}
