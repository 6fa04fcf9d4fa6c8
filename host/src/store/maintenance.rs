//! What an operator does to a log by hand.

use std::path::Path;

use rusqlite::Connection;

use super::{OpenError, index, schema};
use crate::event::Seq;

/// What a look at the whole file found.
#[derive(Debug)]
pub struct Health {
    /// Events in the log.
    pub events: u64,
    /// The first and the last place; `None` for an empty log.
    pub range: Option<(Seq, Seq)>,
    /// What SQLite finds wrong with its file, at most 100 lines; empty for a good one.
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
    Ok(Health { events, range: first.zip(last), faults })
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
    let sql = "SELECT coalesce(max(seq), 0) FROM events";
    let head: i64 = opened.connection.query_row(sql, [], |row| row.get(0)).map_err(sqlite)?;
    let head = head as Seq;
    index::rebuild(path, head, |seq| progress(seq, head)).map_err(sqlite)?;
    Ok(head)
}
