//! The in-process event bus: every committed event, once and in order, to whoever subscribes.
//!
//! A Tokio broadcast of 1024 slots carries what was just committed. A subscriber that falls behind
//! further than that reads what it missed from the log and then goes on live; it never notices,
//! and never slows anybody. There is no second queue: the log is what lies behind the bus.
//!
//! What was pruned before a subscriber came to it, it is told exactly.
//!
//! Knows `event` and `store`. May not know who subscribes.

mod overtaken;
mod subscription;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::broadcast;

pub use overtaken::Missed;
pub use subscription::{Subscription, SubscriptionError};

use crate::{
    event::{LogEntry, Selection, Seq},
    store::{Gap, Observer, Reader},
};
use overtaken::Overtaken;

/// Events that the broadcast holds for subscribers before they read from the log instead.
pub const CAPACITY: usize = 1024;

/// The sending half: announces each commit. Given to the store.
pub struct Announcer {
    live: broadcast::Sender<Arc<LogEntry>>,
    head: Arc<AtomicU64>,
}

/// The receiving end of an [`Announcer`].
pub struct Feed {
    live: broadcast::WeakSender<Arc<LogEntry>>,
    head: Arc<AtomicU64>,
}

impl Feed {
    /// The bus over the log that ends at `head` and that `reader` reads.
    pub fn bus(self, reader: Reader, head: Seq) -> Bus {
        self.head.fetch_max(head, Ordering::AcqRel);
        let (lagged, overtaken) = (Arc::default(), Overtaken::default());
        Bus { live: self.live, head: self.head, lagged, overtaken, reader }
    }
}

/// The subscribing half. Cheap to clone; subscriptions end when the [`Announcer`] is gone.
#[derive(Clone)]
pub struct Bus {
    live: broadcast::WeakSender<Arc<LogEntry>>,
    head: Arc<AtomicU64>,
    lagged: Arc<AtomicU64>,
    overtaken: Overtaken,
    reader: Reader,
}

impl Announcer {
    /// A sending half without subscribers.
    #[expect(clippy::new_without_default, reason = "an announcer is a resource, not a value")]
    pub fn new() -> Self {
        Self { live: broadcast::Sender::new(CAPACITY), head: Arc::default() }
    }

    /// The end that subscribers hold. Taken before the announcer goes to the store, which in turn
    /// has the reader that a [`Bus`] needs.
    pub fn feed(&self) -> Feed {
        Feed { live: self.live.downgrade(), head: Arc::clone(&self.head) }
    }
}

impl Observer for Announcer {
    fn committed(&mut self, entries: &[Arc<LogEntry>], _took: Duration) {
        if let Some(last) = entries.last() {
            // Before the events go out: who sees an event also finds it below the head.
            self.head.store(last.seq, Ordering::Release);
        }
        for entry in entries {
            // An error only says that nobody listens.
            let _ = self.live.send(Arc::clone(entry));
        }
    }
}

impl Bus {
    /// Everything chosen that is committed from now on.
    pub fn subscribe(&self, selection: impl Into<Selection>) -> Subscription {
        Subscription::new(self, selection.into(), None)
    }

    /// Everything chosen behind `after`, first from the log, then live, without a seam.
    pub fn subscribe_after(&self, selection: impl Into<Selection>, after: Seq) -> Subscription {
        Subscription::new(self, selection.into(), Some(after))
    }

    /// How many subscribers there are.
    pub fn subscribers(&self) -> usize {
        self.live.upgrade().map_or(0, |live| live.receiver_count())
    }

    /// How often a subscriber fell behind the broadcast and read from the log instead.
    pub fn lagged(&self) -> u64 {
        self.lagged.load(Ordering::Relaxed)
    }

    /// Notes that the follower with this cursor was told [`SubscriptionError::Pruned`].
    pub fn missed(&self, cursor: &str, gap: Gap) {
        self.overtaken.add(cursor, gap);
    }

    /// What was missed since the host started, by cursor.
    pub fn overtaken(&self) -> BTreeMap<String, Missed> {
        self.overtaken.all()
    }

    /// The place of the last committed event; 0 in an empty log.
    pub fn head(&self) -> Seq {
        self.head.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
