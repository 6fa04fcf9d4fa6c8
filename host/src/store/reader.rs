//! A pool of read-only connections. Each read runs on a blocking thread, within a time budget, so
//! that no reader holds the WAL back for long.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Semaphore;

use crate::event::{Digest, EventId, EventRef, LogEntry, PluginName, Seq, Timestamp};

use super::{
    StoreError,
    count::{self, Counts, Group, MAX_GROUPS},
    index,
    messages::Place,
    pruned::Pruned,
    query::{self, Page, Query, Sources},
    reactions::{self, Backlog, Letter, LetterQuery, WaitingEvent, WholeLetter},
    refused::{self, RefusedCount, RefusedMessage},
    row,
    rules::{self, Escalation},
    schema,
    state::{self, Side, StateEntry, StateUsage},
    trace::{self, Trace},
};

/// Readers at work at once. Two cores and a disk gain nothing from more.
const CONNECTIONS: usize = 4;

/// One read's budget. A longer one would keep the WAL from starting anew.
const BUDGET: Duration = Duration::from_secs(5);

/// How long a page looks for events before it ends with those that it has.
const PAGE_TIME: Duration = Duration::from_secs(1);

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

    /// A page of at most `limit` events; any `limit` is cut to [`query::MAX_PAGE`]. After a second
    /// of looking for events by what stands in them it ends with those that were found.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] after five seconds; [`StoreError::Read`] when SQLite fails.
    pub async fn page(&self, query: Query, limit: usize) -> Result<Page, StoreError> {
        let limit = limit.clamp(1, query::MAX_PAGE);
        self.ask(move |sources, begun| query::page(sources, &query, limit, begun + PAGE_TIME)).await
    }

    /// How many events there are, and in each group. Only `query`'s selection and bounds matter.
    ///
    /// # Errors
    /// [`StoreError::TooManyGroups`] past [`MAX_GROUPS`]; [`StoreError::TooSlow`] after five
    /// seconds; [`StoreError::Read`] when SQLite fails.
    pub async fn count(&self, query: Query, by: Option<Group>) -> Result<Counts, StoreError> {
        let count =
            move |sources: &Sources<'_>, begun| count::count(sources, &query, by, begun + BUDGET);
        self.ask(count).await?.ok_or(StoreError::TooManyGroups { most: MAX_GROUPS })
    }

    /// Asks the log, with the help of the index where it can be read.
    async fn ask<T, F>(&self, ask: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&Sources<'_>, Instant) -> rusqlite::Result<T> + Send + 'static,
    {
        let (shared, pruned) = (self.pool.index.clone(), Arc::clone(&self.pool.pruned));
        self.run_on(move |connections, begun| {
            let log = &connections.log;
            let index = connections.index.as_ref().zip(shared.as_deref());
            match ask(&Sources { log, index, pruned: &pruned }, begun) {
                // An index that cannot be read is no reason not to answer.
                Err(e) if index.is_some() && !is_interrupted(&e) => {
                    tracing::warn!("the search index cannot be read, the log is: {e}");
                    ask(&Sources { log, index: None, pruned: &pruned }, begun)
                }
                answer => answer,
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

    /// An event's way: what it came from, whom it met, what came of it. `None` when it is not in the
    /// log.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] after five seconds; [`StoreError::Read`] when SQLite fails.
    pub async fn trace(&self, event: EventRef) -> Result<Option<Trace>, StoreError> {
        self.run(move |db| trace::trace(db, event)).await
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

    /// How far a sink has come, and what it took last; `None` for one that never moved.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn place(&self, sink: &str) -> Result<Option<Place>, StoreError> {
        let sink = sink.to_owned();
        self.run(move |db| {
            let sql = "SELECT seq, coalesce(taken, 0) FROM cursors WHERE name = ?1";
            let place = |row: &rusqlite::Row<'_>| {
                let [seq, taken] = [row.get::<_, i64>(0)?, row.get(1)?].map(|seq| seq as Seq);
                Ok(Place { seq, taken })
            };
            db.prepare_cached(sql)?.query_row([sink], place).optional()
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

    /// The event at a place; `None` when the log has not come there.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn at(&self, seq: Seq) -> Result<Option<LogEntry>, StoreError> {
        self.run(move |db| reactions::event(db, seq)).await
    }

    /// The events that a reaction plugin will come back to, by place; about
    /// [`MAX_WAITING`](super::MAX_WAITING) at most.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn waiting(&self, plugin: PluginName) -> Result<Vec<WaitingEvent>, StoreError> {
        self.run(move |db| reactions::waiting(db, &plugin)).await
    }

    /// The places of events that a reaction plugin would come back to, but that retention has taken
    /// meanwhile; in order.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn waiting_in_vain(&self, plugin: PluginName) -> Result<Vec<Seq>, StoreError> {
        self.run(move |db| reactions::waiting_in_vain(db, &plugin)).await
    }

    /// When the first of what a plugin waits for is escalated; `None` when it waits for nothing.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn next_escalation(
        &self,
        plugin: PluginName,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.run(move |db| rules::next_escalation(db, &plugin)).await
    }

    /// At most `limit` escalations that are due at `now`, the longest due first, each with the event
    /// that was reacted to; `None` where the log does not have it any more.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn due_escalations(
        &self,
        plugin: PluginName,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Escalation, Option<LogEntry>)>, StoreError> {
        self.run(move |db| rules::due(db, &plugin, now, limit)).await
    }

    /// Where a plugin's threshold was last reached, for events that have `key` in common.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn threshold_reached(
        &self,
        plugin: PluginName,
        key: String,
    ) -> Result<Option<Seq>, StoreError> {
        self.run(move |db| rules::reached(db, &plugin, &key)).await
    }

    /// How much plugins have not done, by plugin; those that have done everything are left out.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn backlogs(&self) -> Result<BTreeMap<String, Backlog>, StoreError> {
        self.run(reactions::backlogs).await
    }

    /// Dead letters by number, the first `limit` of them; any `limit` is cut to [`query::MAX_PAGE`].
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] after five seconds; [`StoreError::Read`] when SQLite fails.
    pub async fn letters(
        &self,
        query: LetterQuery,
        limit: usize,
    ) -> Result<Vec<Letter>, StoreError> {
        let limit = limit.clamp(1, query::MAX_PAGE);
        self.run(move |db| reactions::letters(db, &query, limit)).await
    }

    /// A dead letter with its event and every attempt.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn letter(&self, id: i64) -> Result<Option<WholeLetter>, StoreError> {
        self.run(move |db| reactions::whole_letter(db, id)).await
    }

    /// Messages that were refused on the way in, the oldest first: at most `limit` behind the number
    /// `after`.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn refused(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<RefusedMessage>, StoreError> {
        let limit = limit.clamp(1, query::MAX_PAGE);
        self.run(move |db| refused::list(db, after, limit)).await
    }

    /// A refused message and what is kept of its bytes.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn refused_message(
        &self,
        id: i64,
    ) -> Result<Option<(RefusedMessage, Vec<u8>)>, StoreError> {
        self.run(move |db| refused::one(db, id)).await
    }

    /// How many refused messages are kept, and were.
    ///
    /// # Errors
    /// [`StoreError::Read`] when SQLite fails.
    pub async fn refused_count(&self) -> Result<RefusedCount, StoreError> {
        self.run(refused::count).await
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
        self.run_on(|connections, _| read(&connections.log)).await
    }

    async fn run_on<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connections, Instant) -> rusqlite::Result<T> + Send + 'static,
    {
        let _permit = self.pool.permits.acquire().await.map_err(|_| StoreError::Closed)?;
        let pool = Arc::clone(&self.pool);
        let read = tokio::task::spawn_blocking(move || {
            let connections = match pool.idle().pop() {
                Some(connections) => connections,
                None => pool.connect()?,
            };
            let begun = Instant::now();
            let end = begun + BUDGET;
            for connection in std::iter::once(&connections.log).chain(&connections.index) {
                connection.progress_handler(CLOCK_EVERY, Some(move || Instant::now() > end))?;
            }
            let result = read(&connections, begun);
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
        let log = schema::open_reader(&self.path)?;
        let index = self.index.as_ref().and_then(|_| {
            // Somebody may have taken the file away.
            index::open_reader(&self.path)
                .inspect_err(|e| tracing::warn!("the search index cannot be read, the log is: {e}"))
                .ok()
        });
        Ok(Connections { log, index })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Observer, Store};

    struct Deaf;

    impl Observer for Deaf {
        fn committed(&mut self, _: &[Arc<LogEntry>], _: Duration) {}
    }

    #[tokio::test]
    async fn who_takes_events_in_does_not_wait_for_questions() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ennio.db"), Deaf).unwrap();
        let pool = &store.reader().pool;
        let _questions = pool.permits.acquire_many(CONNECTIONS as u32).await.unwrap();
        let id = EventId::mint();
        let known = store.lookups().known(vec![id]);
        let known = tokio::time::timeout(Duration::from_secs(30), known).await;
        assert_eq!(known.expect("it waits for the questions").unwrap(), vec![None]);
    }
}
