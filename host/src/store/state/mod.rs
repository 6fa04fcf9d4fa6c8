//! What plugins remember: keys and values in buckets of their own.
//!
//! A plugin has two buckets at most: one for what it does in the pipeline (filter, enrich), one for
//! its reactions. Each has one writer at a time, so that what it writes can become true together
//! with what it decided: with the events of a batch, or with the reaction's cursor.
//!
//! `bucket` keeps what is not committed yet over what is, `pending` carries writes to the writer
//! and hears what became of them, `committed` is the table in SQLite.
//!
//! May not know what a plugin is, or when its writes become true.

mod bucket;
mod committed;
mod pending;

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use thiserror::Error;

pub use bucket::{Bucket, Turn};
pub use committed::{StateEntry, StateUsage};
pub use pending::Pending;

use crate::event::PluginName;
use committed::Committed;
pub(super) use committed::{entries, usage, value};

use super::{Store, StoreError};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 512;
/// The longest value, in bytes.
pub const MAX_VALUE: usize = 256 << 10;
/// The most that one call of a plugin writes, keys and values, in bytes.
pub const MAX_CALL_BYTES: usize = 1 << 20;

/// Which of a plugin's two buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Filter and enricher: committed with the events of their batch.
    Pipeline,
    /// Reaction: committed with its cursor.
    Reaction,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pipeline, Self::Reaction];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Reaction => "reaction",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|side| side.as_str() == text);
        found.ok_or_else(|| {
            format!("{text:?} is not a bucket (a plugin has `pipeline` and `reaction`)")
        })
    }
}

/// Why a plugin's state cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StateError {
    /// The key is empty or too long.
    #[error("a key has 1 to {MAX_KEY} bytes, not {0}")]
    Key(usize),
    /// The value is too long.
    #[error("a value has at most {MAX_VALUE} bytes, not {0}")]
    Value(usize),
    /// The call has written too much.
    #[error("one call writes at most {MAX_CALL_BYTES} bytes")]
    Call,
    /// The bucket is full.
    #[error(
        "the bucket may hold {quota} bytes and would hold {wanted} (delete keys, or raise \
         state_mib in [limits])"
    )]
    Quota {
        /// Bytes that it may hold.
        quota: u64,
        /// Bytes that it would hold.
        wanted: u64,
    },
    /// No event is being handled, so there is nothing that the write could be committed with.
    #[error("state can be written only while an event is handled, not in `configure`")]
    NoEvent,
    /// The value to increment is no number, or would leave its range.
    #[error("the value of {key:?} {reason}")]
    Counter {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// SQLite fails.
    #[error("cannot read the state: {0}")]
    Read(String),
}

/// A new value for a key, or none.
pub type Write = (String, Option<Vec<u8>>);

/// All plugins' state. Cheap to clone.
#[derive(Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    committed: Option<Arc<Committed>>,
    buckets: Mutex<HashMap<(PluginName, Side), Arc<Bucket>>>,
    pipeline: Turn,
}

impl State {
    /// The state in the database at `path`, which need not be open yet.
    pub fn of(path: &Path) -> Self {
        Self::new(Some(Arc::new(Committed::new(path))))
    }

    /// State that lives as long as this value.
    pub fn in_memory() -> Self {
        Self::new(None)
    }

    fn new(committed: Option<Arc<Committed>>) -> Self {
        let pipeline = Turn::default();
        Self(Arc::new(Inner { committed, buckets: Mutex::default(), pipeline }))
    }

    /// The bucket, the same one for everybody who asks.
    pub fn bucket(&self, plugin: &PluginName, side: Side) -> Arc<Bucket> {
        let mut buckets = self.0.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry((plugin.clone(), side)).or_insert_with(|| {
            // The pipeline commits the writes of all its plugins together, so they share a turn.
            let turn = match side {
                Side::Pipeline => Arc::clone(&self.0.pipeline),
                Side::Reaction => Turn::default(),
            };
            Bucket::new(plugin.clone(), side, self.0.committed.clone(), turn)
        });
        Arc::clone(bucket)
    }

    /// Puts entries into state that is kept in memory, before its plugin is loaded.
    ///
    /// # Errors
    /// [`StateError`] when a key or value is out of bounds; nothing is put there then.
    pub fn fill(
        &self,
        plugin: &PluginName,
        side: Side,
        entries: Vec<StateEntry>,
    ) -> Result<(), StateError> {
        let writes = entries.into_iter().map(|entry| (entry.key, Some(entry.value))).collect();
        self.bucket(plugin, side).edit(writes, false)?.commit_in_memory();
        Ok(())
    }

    /// Whose turn it is to write in the pipeline's buckets.
    pub fn pipeline_turn(&self) -> &Turn {
        &self.0.pipeline
    }

    /// Writes from outside, between two calls of the plugin, and waits for the disk. With
    /// `replace`, keys that are not written are deleted.
    ///
    /// # Errors
    /// [`EditError`] when a key or value is out of bounds, or nothing is committed.
    pub async fn edit(
        &self,
        store: &Store,
        plugin: &PluginName,
        side: Side,
        writes: Vec<Write>,
        replace: bool,
    ) -> Result<(), EditError> {
        let bucket = self.bucket(plugin, side);
        let turn = bucket.turn().lock().await;
        let pending = bucket.edit(writes, replace)?;
        store.apply_with(Vec::new(), vec![pending]).await?;
        drop(turn);
        Ok(())
    }
}

/// Why an edit from outside did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditError {
    /// A key or value is out of bounds, or the present state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// It is not committed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests;
