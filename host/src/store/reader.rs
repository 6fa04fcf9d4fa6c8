//! A pool of read-only connections. Each read runs on a blocking thread, within a time budget, so
//! that no reader holds the WAL back for long.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Semaphore;

use crate::event::{Digest, EventId, LogEntry, PluginName, Seq, Timestamp};

use super::{
    Change, StoreError, index,
    pruned::Pruned,
    query::{self, Page, Query, Sources},
    row, schema,
    state::{self, Side, StateEntry, StateUsage},
};

/// Readers at work at once. Two cores and a disk gain nothing from more.
const CONNECTIONS: usize = 4;

/// One read's budget. A longer one would keep the WAL from starting anew.
const BUDGET: Duration = Duration::from_secs(5);

/// Instructions of SQLite's machine between two looks at the clock.
const CLOCK_EVERY: i32 = 20_000;

/// Reads the committed log. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    pool: Arc<Pool>,
}

struct Pool {
    path: PathBuf,
    index: Option<Arc<index::Shared>>,
    pruned: Arc<Pruned>,
    permits: Semaphore,
    idle: Mutex<Vec<Connections>>,
}

/// To the log, and to the index where there is one.
struct Connections {
    log: Connection,
    index: Option<Connection>,
}

impl Reader {
    pub(super) fn new(
        path: PathBuf,
        index: Option<Arc<index::Shared>>,
        pruned: Arc<Pruned>,
    ) -> Self {
        let permits = Semaphore::new(CONNECTIONS);
        Self { pool: Arc::new(Pool { path, index, pruned, permits, idle: Mutex::default() }) }
    }

    /// A page of at most `limit` events; any `limit` is cut to [`query::MAX_PAGE`].
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] after five seconds; [`StoreError::Read`] when SQLite fails.
    pub async fn page(&self, query: Query, limit: usize) -> Result<Page, StoreError> {
        let limit = limit.clamp(1, query::MAX_PAGE);
        let (shared, pruned) = (self.pool.index.clone(), Arc::clone(&self.pool.pruned));
        self.run_on(move |connections| {
            let log = &connections.log;
            let index = connections.index.as_ref().zip(shared.as_deref());
            let page = query::page(&Sources { log, index, pruned: &pruned }, &query, limit);
            match page {
                // An index that cannot be read is no reason not to answer.
                Err(e) if index.is_some() && !is_interrupted(&e) => {
                    tracing::warn!("the search index cannot be read, the log is: {e}");
                    query::page(&Sources { log, index: None, pruned: &pruned }, &query, limit)
                }
                page => page,
            }
        })
        .await
    }

    /// The event of this id.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn by_id(&self, id: EventId) -> Result<Option<LogEntry>, StoreError> {
        self.run(move |db| {
            let sql = format!("SELECT {} FROM events WHERE id = ?1", row::COLUMNS);
            db.prepare_cached(&sql)?.query_row([id.to_string()], row::read).optional()
        })
        .await
    }

    /// Where each of these ids stands in the log and what its sender said; `None` for an id that
    /// is not in the log. In the order of `ids`.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn known(&self, ids: Vec<EventId>) -> Result<Vec<Option<Known>>, StoreError> {
        self.run(move |db| {
            // One look at the file's state for all of them.
            let db = db.unchecked_transaction()?;
            let mut find = db.prepare_cached(
                "SELECT seq, digest, dropped_by IS NOT NULL FROM events WHERE id = ?1",
            )?;
            let mut read = |id: &EventId| {
                find.query_row([id.to_string()], |row| {
                    Ok(Known {
                        seq: row.get::<_, i64>(0)? as Seq,
                        digest: Digest(row.get(1)?),
                        dropped: row.get(2)?,
                    })
                })
                .optional()
            };
            ids.iter().map(&mut read).collect()
        })
        .await
    }

    /// The greatest id by the clock ([`EventId::is_by_the_clock`]) in a range.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] after five seconds; [`StoreError::Read`] when SQLite fails.
    pub async fn greatest_id(
        &self,
        range: std::ops::Range<EventId>,
    ) -> Result<Option<EventId>, StoreError> {
        self.run(move |db| {
            let sql = "SELECT id FROM events WHERE id >= ?1 AND id < ?2 AND substr(id, 15, 1) = '7' \
                       ORDER BY id DESC LIMIT 1";
            let bounds = [range.start.to_string(), range.end.to_string()];
            db.prepare(sql)?.query_row(bounds, |row| row::parsed(row, 0)).optional()
        })
        .await
    }

    /// What enrichers changed in one event, in their order.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn changes(&self, seq: Seq) -> Result<Vec<Change>, StoreError> {
        self.run(move |db| {
            let sql = "SELECT plugin, version, patch FROM changes WHERE seq = ?1 ORDER BY position";
            let mut find = db.prepare_cached(sql)?;
            let rows = find.query_map([seq as i64], |row| {
                Ok(Change {
                    plugin: row::parsed(row, 0)?,
                    version: row.get::<_, String>(1)?.into(),
                    patch: row.get(2)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    /// How far a sink has come; `None` for one that never moved.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn cursor(&self, name: &str) -> Result<Option<Seq>, StoreError> {
        let name = name.to_owned();
        self.run(move |db| {
            let mut find = db.prepare_cached("SELECT seq FROM cursors WHERE name = ?1")?;
            find.query_row([name], |row| row.get::<_, i64>(0).map(|seq| seq as Seq)).optional()
        })
        .await
    }

    /// The plugins that an operator has taken out of the flow, by name: which, since when, by whom.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn disabled_plugins(
        &self,
    ) -> Result<Vec<(PluginName, Timestamp, String)>, StoreError> {
        self.run(move |db| {
            let sql = "SELECT name, since_us, \"by\" FROM disabled_plugins ORDER BY name";
            let mut find = db.prepare_cached(sql)?;
            let rows = find
                .query_map([], |row| Ok((row::parsed(row, 0)?, row::time(row, 1)?, row.get(2)?)))?;
            rows.collect()
        })
        .await
    }

    /// How many events plugins gave up on.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn count_dead_letters(&self) -> Result<u64, StoreError> {
        self.run(move |db| {
            db.prepare_cached("SELECT count(*) FROM dead_letters")?
                .query_row([], |row| row.get::<_, i64>(0).map(|count| count as u64))
        })
        .await
    }

    /// How much each bucket of a plugin holds.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn state_usage(&self, plugin: PluginName) -> Result<[StateUsage; 2], StoreError> {
        self.run(move |db| {
            let [pipeline, reaction] = Side::ALL.map(|side| state::usage(db, &plugin, side));
            Ok([pipeline?, reaction?])
        })
        .await
    }

    /// Every entry of a plugin's bucket, by key, as all were at one moment.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] after five seconds; [`StoreError::Read`] when SQLite fails.
    pub async fn state_entries(
        &self,
        plugin: PluginName,
        side: Side,
    ) -> Result<Vec<StateEntry>, StoreError> {
        self.run(move |db| state::entries(db, &plugin, side)).await
    }

    /// The value of a key in a plugin's bucket.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn state_value(
        &self,
        plugin: PluginName,
        side: Side,
        key: String,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.run(move |db| state::value(db, &plugin, side, &key, <[u8]>::to_vec)).await
    }

    /// What is gone from the log.
    pub(super) fn pruned(&self) -> &Arc<Pruned> {
        &self.pool.pruned
    }

    pub(super) async fn run<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.run_on(|connections| read(&connections.log)).await
    }

    async fn run_on<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connections) -> rusqlite::Result<T> + Send + 'static,
    {
        let _permit = self.pool.permits.acquire().await.map_err(|_| StoreError::Closed)?;
        let pool = Arc::clone(&self.pool);
        let read = tokio::task::spawn_blocking(move || {
            let connections = match pool.idle().pop() {
                Some(connections) => connections,
                None => pool.connect()?,
            };
            let end = Instant::now() + BUDGET;
            connections.log.progress_handler(CLOCK_EVERY, Some(move || Instant::now() > end))?;
            let result = read(&connections);
            pool.idle().push(connections);
            result
        });
        let result = read.await.map_err(|e| StoreError::Read(e.to_string()))?;
        result.map_err(|e| match is_interrupted(&e) {
            true => StoreError::TooSlow { seconds: BUDGET.as_secs() },
            false => StoreError::Read(e.to_string()),
        })
    }
}

fn is_interrupted(e: &rusqlite::Error) -> bool {
    e.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
}

impl Pool {
    fn connect(&self) -> rusqlite::Result<Connections> {
        let index = match &self.index {
            Some(_) => Some(index::open_reader(&self.path)?),
            None => None,
        };
        Ok(Connections { log: schema::open_reader(&self.path)?, index })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connections>> {
        // A panic while the list is held leaves at worst a connection out of it.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the log knows of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its place.
    pub seq: Seq,
    /// Of the content as it was sent.
    pub digest: Digest,
    /// Whether a filter hid it.
    pub dropped: bool,
}
