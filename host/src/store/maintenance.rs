//! What an operator does to a log by hand.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{
    Aged, OpenError, Space, index,
    pruned::{self, Pruned},
    pruning, schema,
};
use crate::event::Seq;

/// What a look at the whole file found.
#[derive(Debug)]
pub struct Health {
    /// Events in the log.
    pub events: u64,
    /// The first and the last place; `None` for an empty log.
    pub range: Option<(Seq, Seq)>,
    /// Events that retention has deleted.
    pub pruned: u64,
    /// The room that the file takes.
    pub space: Space,
    /// What SQLite finds wrong with its file, at most 100 lines, and places of the log that are neither
    /// there nor pruned; empty for a good one.
    pub faults: Vec<String>,
}

/// Reads the whole log and checks the file. May run beside a host; takes about a second a gigabyte.
///
/// # Errors
/// [`OpenError`] when the file is not an Ennio log, or cannot be read.
pub fn health(path: &Path) -> Result<Health, OpenError> {
    let connection = schema::open_stranger(path)?;
    look(&connection).map_err(|source| OpenError::Sqlite { path: path.into(), source })
}

fn look(connection: &Connection) -> rusqlite::Result<Health> {
    // One look, so that the figures fit together beside a host that commits and prunes.
    let connection = connection.unchecked_transaction()?;
    let sql = "SELECT count(*), min(seq), max(seq) FROM events";
    let (events, first, last) = connection.query_row(sql, [], |row| {
        let place = |seq: Option<i64>| seq.map(|seq| seq as Seq);
        Ok((row.get::<_, i64>(0)? as u64, place(row.get(1)?), place(row.get(2)?)))
    })?;
    let mut faults: Vec<String> = {
        let mut check = connection.prepare("PRAGMA integrity_check(100)")?;
        let lines = check.query_map([], |row| row.get(0))?;
        lines.collect::<Result<_, _>>()?
    };
    faults.retain(|line| line != "ok");
    // A log that no host of this version has opened has not been pruned either.
    let (pruned, given) = match connection.table_exists(None, "pruned")? {
        true => {
            let table = Pruned::open(&connection, index::SEGMENT)?;
            (pruned::count(&connection)?, pruning::head(&connection, &table)?)
        }
        false => (0, last.unwrap_or(0)),
    };
    if let Some(lost) = given.checked_sub(events + pruned).filter(|lost| *lost > 0) {
        faults.push(format!("{lost} of {given} places hold no event and were not pruned"));
    }
    if let Some(twice) = (events + pruned).checked_sub(given).filter(|twice| *twice > 0) {
        faults.push(format!("{twice} places are marked as pruned and hold an event"));
    }
    let space = pruning::space(&connection)?;
    Ok(Health { events, range: first.zip(last), pruned, space, faults })
}

/// A log as it was at one moment, read beside a host.
pub struct Survey {
    path: PathBuf,
    connection: Connection,
}

impl Survey {
    /// Opens the log at `path` to read it as it is now.
    ///
    /// # Errors
    /// [`OpenError`] when the file is not an Ennio log, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let this = Self { path: path.into(), connection: schema::open_stranger(path)? };
        // The moment is that of the first read; the transaction ends with the connection.
        this.connection.execute_batch("BEGIN").map_err(|e| this.error(e))?;
        Ok(this)
    }

    /// Shows `see` every event in its order, as far as it matters for how long it is kept.
    ///
    /// # Errors
    /// [`OpenError::Sqlite`] when the file cannot be read.
    pub fn each(&self, mut see: impl FnMut(&Aged)) -> Result<(), OpenError> {
        let see = |event: Aged| {
            see(&event);
            ControlFlow::Continue(())
        };
        pruning::each_aged(&self.connection, 0, Seq::MAX, see).map_err(|e| self.error(e))
    }

    /// How far each sink is done with everything, by the cursor's name: it stands there, or before the
    /// first event that a reaction will come back to.
    ///
    /// # Errors
    /// [`OpenError::Sqlite`] when the file cannot be read.
    pub fn cursors(&self) -> Result<BTreeMap<String, Seq>, OpenError> {
        let read = || {
            let mut find = self.connection.prepare("SELECT name FROM cursors")?;
            let names = find.query_map([], |row| row.get(0))?;
            let mut cursors = BTreeMap::new();
            for name in names {
                let name: String = name?;
                if let Some(seq) = pruning::done_until(&self.connection, &name)? {
                    cursors.insert(name, seq);
                }
            }
            Ok(cursors)
        };
        read().map_err(|e| self.error(e))
    }

    /// The plugins that an operator has taken out of the flow.
    ///
    /// # Errors
    /// [`OpenError::Sqlite`] when the file cannot be read.
    pub fn disabled_plugins(&self) -> Result<Vec<String>, OpenError> {
        let read = || {
            let mut find = self.connection.prepare("SELECT name FROM disabled_plugins")?;
            find.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|e| self.error(e))
    }

    /// The room that the log takes.
    ///
    /// # Errors
    /// [`OpenError::Sqlite`] when the file cannot be read.
    pub fn space(&self) -> Result<Space, OpenError> {
        pruning::space(&self.connection).map_err(|e| self.error(e))
    }

    fn error(&self, source: rusqlite::Error) -> OpenError {
        OpenError::Sqlite { path: self.path.clone(), source }
    }
}

/// What making a file smaller has brought.
#[derive(Debug, Clone, Copy)]
pub struct Shrunk {
    /// The room that it took.
    pub before: Space,
    /// The room that it takes.
    pub after: Space,
}

/// Writes the main file anew without its free pages, and so that it gives pages back in steps from now
/// on. Needs as much room again while it runs.
///
/// # Errors
/// [`OpenError::InUse`] while a host runs; the others when the file cannot be read or written.
pub fn vacuum(path: &Path) -> Result<Shrunk, OpenError> {
    let sqlite = |source| OpenError::Sqlite { path: path.into(), source };
    // Held to the end, so that no host starts meanwhile. Opening has asked for small steps, which
    // becomes true here.
    let opened = schema::open(path)?;
    let before = pruning::space(&opened.connection).map_err(sqlite)?;
    opened.connection.execute_batch("VACUUM").map_err(sqlite)?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    opened.connection.query_row(checkpoint, [], |_| Ok(())).map_err(sqlite)?;
    let after = pruning::space(&opened.connection).map_err(sqlite)?;
    Ok(Shrunk { before, after })
}

/// Makes the search index anew, from the whole log. `progress` is told the place that it has come to
/// and the last one.
///
/// # Errors
/// [`OpenError::InUse`] while a host runs; the others when a file cannot be read or written.
pub fn reindex(path: &Path, mut progress: impl FnMut(Seq, Seq)) -> Result<Seq, OpenError> {
    let sqlite = |source| OpenError::Sqlite { path: path.into(), source };
    // Held to the end, so that no host starts meanwhile.
    let opened = schema::open(path)?;
    let pruned = Pruned::open(&opened.connection, index::SEGMENT).map_err(sqlite)?;
    let head = pruning::head(&opened.connection, &pruned).map_err(sqlite)?;
    index::rebuild(path, head, pruned, |seq| progress(seq, head)).map_err(sqlite)?;
    Ok(head)
}
