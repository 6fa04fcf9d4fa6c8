//! Writes on their way to the disk, together with what was decided when they were made.

use std::sync::Arc;

use rusqlite::Transaction;

use super::bucket::Bucket;
use super::committed;

/// The writes of a batch or a reaction in one bucket. Dropped without having been committed, they
/// are lost, and with them everything that was built on them.
#[must_use = "writes that are dropped are lost"]
pub struct Pending {
    bucket: Arc<Bucket>,
    /// How often writes had been lost when these began.
    lost: u64,
    writes: Vec<Written>,
    committed: bool,
}

pub(super) type Written = (Arc<str>, Option<Arc<[u8]>>);

impl Pending {
    pub(super) fn new(bucket: Arc<Bucket>, lost: u64, writes: Vec<Written>) -> Self {
        Self { bucket, lost, writes, committed: false }
    }

    /// Whether there is nothing to write, only something that was read.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Whether they were built on writes that were lost since: then they must not be committed.
    pub(in crate::store) fn is_stale(&self) -> bool {
        self.bucket.lost() != self.lost
    }

    /// Makes them true where state is kept in memory alone. Where there is a disk, only the writer
    /// can: there they are lost.
    pub fn commit_in_memory(self) {
        if self.bucket.is_in_memory() && !self.is_stale() {
            self.committed();
        }
    }

    pub(in crate::store) fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        for (key, value) in &self.writes {
            let (plugin, side) = (self.bucket.plugin(), self.bucket.side());
            committed::write(transaction, plugin, side, key, value.as_deref())?;
        }
        Ok(())
    }

    /// They are on disk.
    pub(in crate::store) fn committed(mut self) {
        self.committed = true;
        self.bucket.committed(&self.writes);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.committed && !self.writes.is_empty() {
            self.bucket.lose(self.lost);
        }
    }
}
