//! Text into a log that has no host.
//!
//! Few large transactions, each flushed to the disk. One that was cut short leaves the first part of
//! the log, and the same import goes on behind it: what is there already has to be equal.

use std::{io::BufRead, path::Path};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{ArchiveError, ArchiveReader, Header, Record, history};
use crate::{
    event::{Seq, Timestamp},
    store::{index, pruned::Pruned, row, schema},
};

/// Events of one transaction.
const EVENTS: u64 = 65_536;

/// A transaction ends early once its messages and data are larger, in bytes.
const BYTES: usize = 64 << 20;

/// What an import is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Events become the log.
    Import,
    /// The search index is made.
    Index,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Events of the export.
    pub events: u64,
    /// Those of them that were not in the log.
    pub added: u64,
}

/// Makes the log at `path` equal to an export. `progress` is told the place that each step has come
/// to and the last one.
///
/// # Errors
/// [`ArchiveError::Differs`] when the log holds something else, [`ArchiveError::Open`] when a host
/// runs on it, and those of [`ArchiveReader::record`]. What was committed before the error stays, and
/// the import of the good export goes on from there.
pub fn import<R: BufRead>(
    path: &Path,
    mut export: ArchiveReader<R>,
    mut progress: impl FnMut(Phase, Seq, Seq),
) -> Result<Imported, ArchiveError> {
    let sqlite = |source| ArchiveError::Database { path: path.into(), source };
    // Held to the end, so that no host starts meanwhile.
    let mut opened = schema::open(path)?;
    let db = &mut opened.connection;
    let last = export.header().last;
    let pruned = history::pruned(db).map_err(sqlite)?;
    let mut place = Place::new(db, pruned, export.header()).map_err(sqlite)?;
    let mut is_all = false;
    while !is_all {
        let transaction =
            db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
        let (full, mut bytes) = (place.done.added + EVENTS, 0);
        while place.done.added < full && bytes < BYTES {
            let Some(record) = export.record()? else {
                place.leave_empty(&transaction, last + 1).map_err(sqlite)?;
                is_all = true;
                break;
            };
            let event = &record.entry.event;
            bytes += event.message.as_str().len() + event.data.as_str().len();
            let seq = record.entry.seq;
            place.take(&transaction, record).map_err(|fault| match fault {
                Fault::Differs(seq) => ArchiveError::Differs { path: path.into(), seq },
                Fault::Sqlite(source) => sqlite(source),
            })?;
            progress(Phase::Import, seq, last);
        }
        place.save_cursors(&transaction).map_err(sqlite)?;
        transaction.commit().map_err(sqlite)?;
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        db.query_row(checkpoint, [], |_| Ok(())).map_err(sqlite)?;
    }
    if place.done.added > 0 {
        let head = place.head.max(place.at);
        index::rebuild(path, head, place.pruned, |seq| progress(Phase::Index, seq, head))
            .map_err(sqlite)?;
    }
    Ok(place.done)
}

/// How far an import has come.
struct Place {
    pruned: Pruned,
    whole: bool,
    /// Events that the log had, and its last place.
    stored: u64,
    head: Seq,
    /// The last place that is as in the export.
    at: Seq,
    done: Imported,
    cursors: Vec<Cursor>,
}

/// How far a sink had come, in the places of the export and in those of this log.
struct Cursor {
    name: String,
    was: Seq,
    is: Seq,
}

enum Fault {
    /// The log has something else at this place.
    Differs(Seq),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sqlite(e)
    }
}

impl Place {
    fn new(db: &Connection, pruned: Pruned, header: &Header) -> rusqlite::Result<Self> {
        let stored = db.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0))?;
        let cursors = header.cursors.iter().map(|(name, was)| Cursor {
            name: name.clone(),
            was: *was,
            is: 0,
        });
        Ok(Self {
            pruned,
            whole: header.whole,
            stored: stored as u64,
            head: history::head(db)?,
            at: 0,
            done: Imported::default(),
            cursors: cursors.collect(),
        })
    }

    /// The next event of the export: finds it in the log, or adds it.
    fn take(&mut self, db: &Transaction<'_>, record: Record) -> Result<(), Fault> {
        let was = record.entry.seq;
        let seq = if self.whole { was } else { self.done.events + 1 };
        let record = record.at(seq);
        if seq <= self.head {
            let stored = history::read(db, seq - 1, seq)?.pop();
            let is_equal = stored.is_some_and(|stored| {
                matches!((stored.line(), record.line()), (Ok(one), Ok(other)) if one == other)
            });
            if !is_equal {
                return Err(Fault::Differs(seq));
            }
        } else {
            // Whatever the log has besides the events that were compared is not in the export.
            if self.done.added == 0 && self.done.events != self.stored {
                return Err(Fault::Differs(self.head));
            }
            self.leave_empty(db, seq).map_err(Fault::Sqlite)?;
            let committed_at = record.entry.committed_at;
            insert(db, seq, record, committed_at)?;
            self.done.added += 1;
        }
        self.done.events += 1;
        self.at = seq;
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.was >= was) {
            cursor.is = seq;
        }
        Ok(())
    }

    /// In a whole log, what lies before `seq` and is not in the export was pruned.
    fn leave_empty(&mut self, db: &Transaction<'_>, seq: Seq) -> rusqlite::Result<()> {
        let after = self.at.max(self.head);
        // A log that has more than the export is left as it is.
        if self.whole && after + 1 < seq && self.done.events >= self.stored {
            self.pruned.note(db, after, seq - 1)?;
            self.head = seq - 1;
            for cursor in self.cursors.iter_mut().filter(|cursor| cursor.was > after) {
                cursor.is = cursor.was.min(seq - 1);
            }
        }
        Ok(())
    }

    fn save_cursors(&self, db: &Transaction<'_>) -> rusqlite::Result<()> {
        let sql = "INSERT INTO cursors (name, seq, updated_us) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, updated_us = excluded.updated_us \
                   WHERE excluded.seq > seq";
        let mut save = db.prepare_cached(sql)?;
        for Cursor { name, is, .. } in &self.cursors {
            save.execute(params![name, *is as i64, Timestamp::now().micros()])?;
        }
        Ok(())
    }
}

fn insert(
    db: &Transaction<'_>,
    seq: Seq,
    record: Record,
    committed_at: Timestamp,
) -> rusqlite::Result<()> {
    let steps = record.steps_column();
    row::insert(&mut row::insert_statement(db)?, seq, &record.into_entry(), steps, committed_at)?;
    Ok(())
}
