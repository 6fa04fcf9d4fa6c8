//! How retention is doing, for whoever asks: `/v1/status`, `/metrics`, a person.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::sync::watch;
use tracing::{info, warn};

use super::Policy;
use crate::{
    event::{Seq, Timestamp},
    store::{Space, StoreError},
};

/// Retention waits for a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The slowest of the cursors that are behind.
    pub cursor: String,
    /// It is done up to here, with what it comes back to as well; nothing behind this place is pruned.
    pub at: Seq,
    /// How far retention would go without it.
    pub until: Seq,
}

/// Retention at one moment. Counts are since the host started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Snapshot {
    /// Events deleted, by the rule or limit that said so.
    pub pruned: BTreeMap<String, u64>,
    /// When something was last deleted.
    pub last_pruned_at: Option<Timestamp>,
    /// Set while it waits for a cursor.
    pub held: Option<Held>,
    /// Bytes of the main file that hold something, after the last round.
    pub used_bytes: u64,
    /// Bytes of the main file that are free.
    pub free_bytes: u64,
    /// The last thing that went wrong; kept when all is well again.
    pub last_error: Option<Trouble>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// When.
    pub at: Timestamp,
    /// In the store's words.
    pub error: String,
}

/// Reads retention's status. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RetentionStatus(watch::Receiver<Snapshot>);

impl RetentionStatus {
    /// The status now.
    pub fn snapshot(&self) -> Snapshot {
        self.0.borrow().clone()
    }
}

/// The writing half.
#[derive(Debug)]
pub(super) struct Reporter(watch::Sender<Snapshot>);

impl Reporter {
    pub(super) fn new(policy: &Policy) -> (Self, RetentionStatus) {
        // Each rule has a figure from the start.
        let names = policy.limits().into_iter().map(|(cause, _)| policy.name(cause).to_owned());
        let pruned = names.map(|name| (name, 0)).collect();
        let (sender, receiver) = watch::channel(Snapshot { pruned, ..Snapshot::default() });
        (Self(sender), RetentionStatus(receiver))
    }

    /// After a round.
    pub(super) fn round(
        &mut self,
        pruned: &BTreeMap<String, u64>,
        held: Option<Held>,
        space: Option<Space>,
        error: Option<StoreError>,
    ) {
        self.say(held.as_ref());
        self.0.send_modify(|now| {
            for (name, count) in pruned {
                *now.pruned.entry(name.clone()).or_default() += count;
            }
            if !pruned.is_empty() {
                now.last_pruned_at = Some(Timestamp::now());
            }
            now.held = held;
            if let Some(space) = space {
                (now.used_bytes, now.free_bytes) = (space.used, space.free);
            }
            if let Some(e) = error {
                now.last_error = Some(Trouble { at: Timestamp::now(), error: e.to_string() });
            }
        });
    }

    /// Once when it begins to wait, and once when that is over; in between the status shows it.
    fn say(&self, held: Option<&Held>) {
        let before = self.0.borrow().held.as_ref().map(|held| held.cursor.clone());
        match (held, before) {
            (Some(held), before) if before.as_ref() != Some(&held.cursor) => warn!(
                "retention waits for {}, which is done up to seq {}: it would go up to {} (max_size alone \
                 does not wait)",
                held.cursor, held.at, held.until
            ),
            (None, Some(before)) => info!("retention waits for {before} no more"),
            _ => {}
        }
    }
}
