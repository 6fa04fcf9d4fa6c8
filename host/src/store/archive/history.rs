//! A log that is read from its file by somebody who is not its host: page by page, each in a short
//! transaction of its own, so that a host that runs on it is never held up.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, params};

use super::{ArchiveError, Record};
use crate::{
    event::{Digest, Seq},
    store::{Gap, OpenError, index, pruned::Pruned, pruning, row, schema},
};

/// Events of one page at most.
const PAGE: i64 = 1000;

/// A page ends early once its messages and data are larger, in bytes.
const PAGE_BYTES: usize = 4 << 20;

/// Reads a log's file. A host may run on it.
pub struct History {
    path: PathBuf,
    db: Connection,
}

impl History {
    /// Opens the log at `path` to be read.
    ///
    /// # Errors
    /// [`OpenError`] when the file is not an Ennio log of a known version, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { path: path.into(), db: schema::open_stranger(path)? })
    }

    /// The last place in the log, its event pruned or not; 0 for one that never had any.
    ///
    /// # Errors
    /// [`ArchiveError::Database`] when SQLite fails.
    pub fn head(&self) -> Result<Seq, ArchiveError> {
        head(&self.db).map_err(|e| self.fault(e))
    }

    /// What retention has deleted behind `after`, up to and with `until`; `None` when nothing was.
    ///
    /// # Errors
    /// [`ArchiveError::Database`] when SQLite fails.
    pub fn gap(&self, after: Seq, until: Seq) -> Result<Option<Gap>, ArchiveError> {
        let find = || pruned(&self.db)?.gap(&self.db, after, until);
        find().map_err(|e| self.fault(e))
    }

    /// How far each sink has come.
    ///
    /// # Errors
    /// [`ArchiveError::Database`] when SQLite fails.
    pub fn cursors(&self) -> Result<BTreeMap<String, Seq>, ArchiveError> {
        let read = || -> rusqlite::Result<_> {
            let mut find = self.db.prepare("SELECT name, seq FROM cursors")?;
            let rows = find.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as Seq)))?;
            rows.collect()
        };
        read().map_err(|e| self.fault(e))
    }

    /// The next events behind `after`, up to and with `until`: at most 1,000 and some 4 MiB; none
    /// when there are no more.
    ///
    /// # Errors
    /// [`ArchiveError::Database`] when SQLite fails.
    pub fn read(&self, after: Seq, until: Seq) -> Result<Vec<Record>, ArchiveError> {
        let read = || read(&*self.db.unchecked_transaction()?, after, until);
        read().map_err(|e| self.fault(e))
    }

    fn fault(&self, source: rusqlite::Error) -> ArchiveError {
        ArchiveError::Database { path: self.path.clone(), source }
    }
}

pub(super) fn head(db: &Connection) -> rusqlite::Result<Seq> {
    pruning::head(db, &pruned(db)?)
}

/// What is gone, as the file says now: a host may be at it.
pub(super) fn pruned(db: &Connection) -> rusqlite::Result<Pruned> {
    Pruned::open(db, index::SEGMENT)
}

/// Within a transaction, so that events and what became of them are of one moment.
pub(super) fn read(db: &Connection, after: Seq, until: Seq) -> rusqlite::Result<Vec<Record>> {
    let place = |seq: Seq| i64::try_from(seq).unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT {}, steps FROM events WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
        row::COLUMNS
    );
    let mut find = db.prepare_cached(&sql)?;
    let mut rows = find.query(params![place(after), place(until), PAGE])?;
    let mut records = Vec::new();
    let mut bytes = 0;
    while bytes < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let entry = row::read(row)?;
        let digest = Digest(row.get(row::DIGEST)?);
        bytes += entry.event.message.as_str().len() + entry.event.data.as_str().len();
        let steps = row::json_or_null(row, row::WIDTH)?.unwrap_or_default();
        records.push(Record { entry, digest, steps });
    }
    Ok(records)
}
