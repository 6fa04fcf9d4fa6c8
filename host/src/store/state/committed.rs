//! The table of plugins' state: statements, and nothing of when they run.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{Side, StateError};
use crate::{event::PluginName, store::schema};

/// What an entry counts for the quota besides its key and value, in bytes: about what the table
/// needs for it.
pub(super) const ENTRY_BYTES: usize = 64;

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEntry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
}

/// How much one bucket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateUsage {
    /// Which.
    pub side: Side,
    /// Its entries.
    pub keys: u64,
    /// Bytes that count for the quota.
    pub bytes: u64,
}

/// Reads what is committed, over one connection that is opened when somebody first asks.
pub(super) struct Committed {
    path: PathBuf,
    connection: Mutex<Option<Connection>>,
}

impl Committed {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into(), connection: Mutex::default() }
    }

    pub(super) fn get(
        &self,
        plugin: &PluginName,
        side: Side,
        key: &str,
    ) -> Result<Option<Arc<[u8]>>, StateError> {
        self.read(|db| value(db, plugin, side, key, |bytes| bytes.into()))
    }

    pub(super) fn keys(&self, plugin: &PluginName, side: Side) -> Result<Vec<String>, StateError> {
        self.read(|db| {
            let sql = "SELECT key FROM plugin_state WHERE plugin = ?1 AND bucket = ?2 ORDER BY key";
            let mut find = db.prepare_cached(sql)?;
            let keys = find.query_map([plugin.as_str(), side.as_str()], |row| row.get(0))?;
            keys.collect()
        })
    }

    /// Bytes that count for the quota.
    pub(super) fn bytes(&self, plugin: &PluginName, side: Side) -> Result<u64, StateError> {
        self.read(|db| Ok(usage(db, plugin, side)?.bytes))
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        let fault = |e: rusqlite::Error| StateError::Read(e.to_string());
        // A panic while it is held leaves a connection that can be used or is missing.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match &mut *connection {
            Some(connection) => connection,
            none => none.insert(schema::open_reader(&self.path).map_err(fault)?),
        };
        read(connection).map_err(fault)
    }
}

/// How much a bucket holds.
pub(in crate::store) fn usage(
    db: &Connection,
    plugin: &PluginName,
    side: Side,
) -> rusqlite::Result<StateUsage> {
    let sql = "SELECT count(*), coalesce(sum(octet_length(key) + octet_length(value) + ?3), 0) \
               FROM plugin_state WHERE plugin = ?1 AND bucket = ?2";
    let given = params![plugin.as_str(), side.as_str(), ENTRY_BYTES as i64];
    db.prepare_cached(sql)?.query_row(given, |row| {
        let (keys, bytes) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
        Ok(StateUsage { side, keys: keys as u64, bytes: bytes as u64 })
    })
}

/// Every entry, by key.
pub(in crate::store) fn entries(
    db: &Connection,
    plugin: &PluginName,
    side: Side,
) -> rusqlite::Result<Vec<StateEntry>> {
    let sql = "SELECT key, value FROM plugin_state WHERE plugin = ?1 AND bucket = ?2 ORDER BY key";
    let mut find = db.prepare_cached(sql)?;
    let entry = |row: &Row<'_>| Ok(StateEntry { key: row.get(0)?, value: row.get(1)? });
    find.query_map([plugin.as_str(), side.as_str()], entry)?.collect()
}

/// The value of a key, as `keep` makes it of the bytes.
pub(in crate::store) fn value<T>(
    db: &Connection,
    plugin: &PluginName,
    side: Side,
    key: &str,
    keep: impl FnOnce(&[u8]) -> T,
) -> rusqlite::Result<Option<T>> {
    let sql = "SELECT value FROM plugin_state WHERE plugin = ?1 AND bucket = ?2 AND key = ?3";
    let mut find = db.prepare_cached(sql)?;
    find.query_row(params![plugin.as_str(), side.as_str(), key], |row| {
        Ok(keep(row.get_ref(0)?.as_blob()?))
    })
    .optional()
}

pub(super) fn write(
    transaction: &Transaction<'_>,
    plugin: &PluginName,
    side: Side,
    key: &str,
    value: Option<&[u8]>,
) -> rusqlite::Result<()> {
    let (plugin, side) = (plugin.as_str(), side.as_str());
    match value {
        Some(value) => {
            let sql = "INSERT INTO plugin_state (plugin, bucket, key, value) VALUES (?1, ?2, ?3, ?4) \
                       ON CONFLICT DO UPDATE SET value = excluded.value";
            transaction.prepare_cached(sql)?.execute(params![plugin, side, key, value])?;
        }
        None => {
            let sql = "DELETE FROM plugin_state WHERE plugin = ?1 AND bucket = ?2 AND key = ?3";
            transaction.prepare_cached(sql)?.execute(params![plugin, side, key])?;
        }
    }
    Ok(())
}
