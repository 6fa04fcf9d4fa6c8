//! The log as history: read by another process than the host's, in pages of short reads, with what
//! is kept of an event besides: the digest of what its sender said, and what enrichers changed.
//!
//! Opens the file for reading alone, and holds no look at it for longer than a page takes, so that
//! the WAL of a host that is running can begin anew between two of them.
//!
//! Knows `event` and the tables. May not know what anybody reads history for.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::{
    Gap, OpenError, StoreError, index,
    pruned::Pruned,
    pruning,
    query::{self, Order, Query},
    row, schema,
    state::{self, Side, StateEntry},
    trace::{StoredOutcome, StoredStep},
};
use crate::event::{Digest, EventId, LogEntry, PluginName, Selection, Seq, Timestamp};

/// The most places of the log that are looked at for one page.
const PLACES: u64 = 1024;
/// A page ends early once its messages and data are larger, in bytes.
const PAGE_BYTES: usize = 4 << 20;
/// The same for a look at what reactions emitted, which takes little of each event.
const ANSWER_PLACES: u64 = 16_384;

/// The log of a host that may be running.
pub struct History {
    path: PathBuf,
    connection: Connection,
}

/// An event, and what became of it on its way into the log.
#[derive(Debug)]
pub struct Past {
    /// The event as the plugins left it.
    pub entry: LogEntry,
    /// Of the content as it was sent.
    pub digest: Digest,
    /// What enrichers changed, in their order.
    pub changes: Vec<Changed>,
}

/// What an enricher changed in an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub plugin: PluginName,
    /// JSON: the changed members of priority, message and data (an RFC 7396 patch).
    pub patch: String,
}

/// An event that a reaction emitted; not what the host tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it reacted to.
    pub to: EventId,
    /// Its place in the log.
    pub seq: Seq,
    /// Its id.
    pub id: EventId,
    /// Of the content as it was emitted.
    pub digest: Digest,
}

/// What a plugin remembers, as all of it was at one moment.
#[derive(Debug)]
pub struct Remembered {
    /// The last place of the log then: that of its bucket `pipeline`.
    pub head: Seq,
    /// How far its reaction had come: that of its bucket `reaction`. `None` when it never ran.
    pub reacted: Option<Seq>,
    /// Of both buckets, by key.
    pub entries: [(Side, Vec<StateEntry>); 2],
}

impl History {
    /// Opens the log at `path`. Nothing is ever written to it.
    ///
    /// # Errors
    /// [`OpenError`] when there is no such file, it is not an Ennio log or one of a later version.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        // SQLite only says that it cannot open it.
        std::fs::metadata(path).map_err(|source| OpenError::File { path: path.into(), source })?;
        Ok(Self { path: path.into(), connection: schema::open_stranger(path)? })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last place in the log, its event pruned or not; 0 for one that never had any.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub fn head(&self) -> Result<Seq, StoreError> {
        head(&self.connection).map_err(read_error)
    }

    /// What retention has deleted behind `after`, up to and with `to`; `None` when nothing was.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub fn gap(&self, after: Seq, to: Seq) -> Result<Option<Gap>, StoreError> {
        let find = || pruned(&self.connection)?.gap(&self.connection, after, to);
        find().map_err(read_error)
    }

    /// How many events the reaction of `plugin` has emitted for the event at a place, what the host
    /// tells of it among them; 0 where that was not recorded.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub fn emitted(&self, plugin: &PluginName, seq: Seq) -> Result<u64, StoreError> {
        let find = || {
            let sql = "SELECT emitted FROM reaction_steps WHERE event_seq = ?1 AND plugin = ?2";
            let mut find = self.connection.prepare_cached(sql)?;
            let emitted = find.query_row((seq as i64, plugin.as_str()), |row| row.get::<_, i64>(0));
            emitted.optional().map(|emitted| emitted.unwrap_or(0) as u64)
        };
        find().map_err(read_error)
    }

    /// When the first event behind `after` happened.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub fn first_time(&self, after: Seq) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT timestamp_us FROM events WHERE seq > ?1 ORDER BY seq LIMIT 1";
        let find = || {
            let mut find = self.connection.prepare_cached(sql)?;
            find.query_row([after as i64], |row| row::time(row, 0)).optional()
        };
        find().map_err(read_error)
    }

    /// The event at a place.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub fn entry(&self, seq: Seq) -> Result<Option<LogEntry>, StoreError> {
        let find = || {
            let sql = format!("SELECT {} FROM events WHERE seq = ?1", row::COLUMNS);
            let mut find = self.connection.prepare_cached(&sql)?;
            find.query_row([seq as i64], row::read).optional()
        };
        find().map_err(read_error)
    }

    /// Chosen events behind `after` and up to `to`, and how far these are all of them: less than
    /// `to` when there is another page.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub fn page(
        &self,
        selection: &Selection,
        after: Seq,
        to: Seq,
    ) -> Result<(Vec<Past>, Seq), StoreError> {
        page(&self.connection, selection, after, to).map_err(read_error)
    }

    /// What `plugin` emitted behind `after` and up to `to`, and how far these are all.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub fn answers(
        &self,
        plugin: &PluginName,
        after: Seq,
        to: Seq,
    ) -> Result<(Vec<Answer>, Seq), StoreError> {
        let end = to.min(after.saturating_add(ANSWER_PLACES));
        let find = || {
            let sql = "SELECT seq, id, caused_by_event, digest FROM events \
                       WHERE seq > ?1 AND seq <= ?2 AND caused_by_plugin = ?3 \
                       AND event_type NOT IN ('reaction_triggered', 'reaction_escalated') ORDER BY seq";
            let mut find = self.connection.prepare_cached(sql)?;
            let rows = find.query_map((after as i64, end as i64, plugin.as_str()), |row| {
                Ok(Answer {
                    seq: row.get::<_, i64>(0)? as Seq,
                    id: row::parsed(row, 1)?,
                    to: row::parsed(row, 2)?,
                    digest: Digest(row.get(3)?),
                })
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        Ok((find().map_err(read_error)?, end))
    }

    /// How far the sink of this name has come; `None` for one that never moved.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub fn cursor(&self, name: &str) -> Result<Option<Seq>, StoreError> {
        cursor(&self.connection, name).map_err(read_error)
    }

    /// What a plugin remembers; `cursor` is the name under which its reaction's place is kept.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub fn remembered(&self, plugin: &PluginName, name: &str) -> Result<Remembered, StoreError> {
        let read = || {
            let db = self.connection.unchecked_transaction()?;
            let [pipeline, reaction] = Side::ALL
                .map(|side| state::entries(&db, plugin, side).map(|entries| (side, entries)));
            Ok(Remembered {
                head: head(&db)?,
                reacted: cursor(&db, name)?,
                entries: [pipeline?, reaction?],
            })
        };
        read().map_err(read_error)
    }
}

fn read_error(e: rusqlite::Error) -> StoreError {
    StoreError::Read(e.to_string())
}

fn head(db: &Connection) -> rusqlite::Result<Seq> {
    pruning::head(db, &pruned(db)?)
}

/// What is gone, as the file says now: a host may be at it.
fn pruned(db: &Connection) -> rusqlite::Result<Pruned> {
    Pruned::open(db, index::SEGMENT)
}

fn cursor(db: &Connection, name: &str) -> rusqlite::Result<Option<Seq>> {
    let mut find = db.prepare_cached("SELECT seq FROM cursors WHERE name = ?1")?;
    find.query_row([name], |row| row.get::<_, i64>(0).map(|seq| seq as Seq)).optional()
}

fn page(
    db: &Connection,
    selection: &Selection,
    after: Seq,
    to: Seq,
) -> rusqlite::Result<(Vec<Past>, Seq)> {
    let mut end = to.min(after.saturating_add(PLACES));
    let query = Query {
        selection: selection.clone(),
        after_seq: Some(after),
        before_seq: Some(end + 1),
        order: Order::Ascending,
        ..Query::default()
    };
    let mut sql = format!("SELECT {}, steps FROM events WHERE ", row::COLUMNS);
    let mut values = Vec::new();
    query::conditions(&query, &mut sql, &mut values);
    sql.push_str(" ORDER BY seq");
    let mut find = db.prepare_cached(&sql)?;
    let mut rows = find.query(params_from_iter(values))?;
    let mut found = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let entry = row::read(row)?;
        bytes += entry.event.message.as_str().len() + entry.event.data.as_str().len();
        let steps: Option<Vec<StoredStep<'_>>> = row::json_or_null(row, row::WIDTH)?;
        let changes = steps.unwrap_or_default().into_iter().filter_map(changed).collect();
        found.push(Past { digest: Digest(row.get(row::DIGEST)?), entry, changes });
        if bytes > PAGE_BYTES {
            end = found.last().map_or(end, |past| past.entry.seq);
            break;
        }
    }
    Ok((found, end))
}

fn changed(step: StoredStep<'_>) -> Option<Changed> {
    let StoredStep { plugin, outcome: StoredOutcome::Changed, detail, .. } = step else {
        return None;
    };
    Some(Changed { plugin: plugin.into_owned(), patch: detail?.into_owned() })
}
