//! Which cursors retention has overtaken, and what they have missed by that. Told by whoever follows
//! the log for a cursor; who reads a stream is told on the stream.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use tracing::warn;

use crate::store::Gap;

/// What one cursor has missed since the host started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// Events, of whatever kind.
    pub events: u64,
    /// The last time: from where to where, and how many of them.
    pub last: Gap,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Overtaken(Arc<Mutex<BTreeMap<String, Missed>>>);

impl Overtaken {
    pub(super) fn add(&self, cursor: &str, gap: Gap) {
        let Gap { from, to, count } = gap;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(cursor) {
            // A cursor that went back behind it, since it was not saved, has missed no more by that.
            Some(missed) if missed.last == gap => return,
            Some(missed) => *missed = Missed { events: missed.events + count, last: gap },
            None => drop(all.insert(cursor.to_owned(), Missed { events: count, last: gap })),
        }
        warn!(
            "{cursor} was overtaken by retention: {count} events from seq {from} to {to} are gone"
        );
    }

    pub(super) fn all(&self) -> BTreeMap<String, Missed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
