//! The bare things: what the machine gives without Ennio.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use ennio::store::NewEntry;
use rusqlite::{Connection, params};

/// A log without anything around it: the same columns, no index, a commit to disk for each batch.
pub struct BareLog(Connection);

impl BareLog {
    pub fn new(folder: &Path) -> Self {
        let connection = Connection::open(folder.join("bare.db")).unwrap();
        connection.pragma_update(None, "journal_mode", "wal").unwrap();
        connection.pragma_update(None, "synchronous", "full").unwrap();
        connection
            .execute_batch(
                "CREATE TABLE events (seq INTEGER PRIMARY KEY, id TEXT, event_type TEXT, \
                 priority TEXT, session_id TEXT, project_id TEXT, subject TEXT, \
                 timestamp_us INTEGER, message TEXT, data TEXT, caused_by_event TEXT, \
                 caused_by_plugin TEXT, hops INTEGER, dropped_by TEXT, drop_reason TEXT, \
                 committed_us INTEGER, digest BLOB) STRICT",
            )
            .unwrap();
        Self(connection)
    }

    pub fn commit(&mut self, entries: &[NewEntry]) {
        let transaction = self.0.transaction().unwrap();
        {
            let mut insert = transaction
                .prepare_cached(
                    "INSERT INTO events VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL, \
                     NULL, 0, NULL, NULL, ?10, ?11)",
                )
                .unwrap();
            for entry in entries {
                let event = &entry.event;
                insert
                    .execute(params![
                        event.id.to_string(),
                        event.event_type.as_str(),
                        event.priority.as_str(),
                        event.session_id.as_str(),
                        event.project_id.as_str(),
                        entry.subject.as_str(),
                        event.timestamp.micros(),
                        event.message.as_str(),
                        event.data.as_str(),
                        event.timestamp.micros(),
                        entry.digest.0,
                    ])
                    .unwrap();
            }
        }
        transaction.commit().unwrap();
    }

    /// How long commits of one event take, one after the other.
    pub fn commit_times(&mut self, entries: &[NewEntry]) -> Vec<Duration> {
        let one = |entry| {
            let begun = Instant::now();
            self.commit(std::slice::from_ref(entry));
            begun.elapsed()
        };
        entries.iter().map(one).collect()
    }
}
