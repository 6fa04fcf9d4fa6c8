//! One subscriber's way through the log.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use thiserror::Error;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{
    event::{LogEntry, Selection, Seq},
    store::{MAX_PAGE, Query, Reader, StoreError},
};

use super::Bus;

/// Why a subscription yields nothing more, or not now.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum SubscriptionError {
    /// The host is shutting down; everything committed was delivered.
    #[error("the host is shutting down")]
    Closed,
    /// What was missed cannot be read at the moment; asking again tries again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Yields chosen events, each once, in the order of the log.
pub struct Subscription {
    selection: Selection,
    reader: Reader,
    live: Option<broadcast::Receiver<Arc<LogEntry>>>,
    head: Arc<AtomicU64>,
    /// Counts, for all subscriptions of the bus.
    lagged: Arc<AtomicU64>,
    /// Everything up to here was yielded or is not chosen.
    position: Seq,
    /// The log has to be read up to here before live events make sense again.
    behind_until: Seq,
    /// Read from the log, not yet yielded.
    page: VecDeque<Arc<LogEntry>>,
    /// What `position` becomes once `page` is empty.
    page_end: Seq,
}

impl Subscription {
    pub(super) fn new(bus: &Bus, selection: Selection, after: Option<Seq>) -> Self {
        // First listen, then look where the log ends: what comes in between is seen twice and
        // recognised by its place; the other way round it would be missed.
        let live = bus.live.upgrade().map(|live| live.subscribe());
        let head = bus.head();
        // A place that the log has not reached yet means "from now on".
        let position = after.map_or(head, |after| after.min(head));
        Self {
            selection,
            reader: bus.reader.clone(),
            live,
            head: Arc::clone(&bus.head),
            lagged: Arc::clone(&bus.lagged),
            position,
            behind_until: head,
            page: VecDeque::new(),
            page_end: position,
        }
    }

    /// The last place that this subscription is done with: events up to and with it were yielded
    /// or are not chosen.
    pub fn position(&self) -> Seq {
        self.position
    }

    /// The next chosen event. Nothing is lost when the future is dropped before it is ready.
    ///
    /// # Errors
    /// [`SubscriptionError::Closed`] when the host shuts down, after everything committed was
    /// yielded; [`SubscriptionError::Store`] when what was missed cannot be read.
    pub async fn next(&mut self) -> Result<Arc<LogEntry>, SubscriptionError> {
        loop {
            if let Some(entry) = self.page.pop_front() {
                self.position = entry.seq;
                return Ok(entry);
            }
            self.position = self.position.max(self.page_end);
            if self.position < self.behind_until {
                self.read_page().await?;
                continue;
            }
            let Some(live) = &mut self.live else { return Err(SubscriptionError::Closed) };
            match live.recv().await {
                Ok(entry) if entry.seq <= self.position => {}
                Ok(entry) if entry.seq == self.position + 1 => {
                    self.position = entry.seq;
                    self.page_end = entry.seq;
                    if self.selection.matches(&entry) {
                        return Ok(entry);
                    }
                }
                Ok(entry) => self.behind_until = entry.seq,
                Err(RecvError::Lagged(_)) => {
                    self.lagged.fetch_add(1, Ordering::Relaxed);
                    self.behind_until = self.head.load(Ordering::Acquire);
                }
                Err(RecvError::Closed) => {
                    self.live = None;
                    self.behind_until = self.head.load(Ordering::Acquire);
                }
            }
        }
    }

    async fn read_page(&mut self) -> Result<(), StoreError> {
        let query = Query {
            selection: self.selection.clone(),
            after_seq: Some(self.position),
            before_seq: Some(self.behind_until + 1),
            ..Query::default()
        };
        let page = self.reader.page(query, MAX_PAGE).await?;
        self.page_end = page.next.unwrap_or(self.behind_until);
        self.page = page.entries.into_iter().map(Arc::new).collect();
        Ok(())
    }
}
