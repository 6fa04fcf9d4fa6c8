//! Events from the thread that reads them to the requests that carry them.
//!
//! A slow input's events go one by one as they come, a fast one's in full batches; what is read
//! ahead is bounded by the channel.

use std::{
    collections::VecDeque,
    io::{self, Read},
};

use tokio::sync::mpsc;

use super::input::{BUFFER_BYTES, Events, Item};

/// Reads all of `from` and hands it on in chunks: at most `most` events, and never holding back
/// one while waiting for the next. Ends early when nobody takes them any more.
pub(super) fn read_all(
    from: impl Read,
    most: usize,
    to: &mpsc::Sender<Vec<Item>>,
) -> io::Result<()> {
    let mut events = Events::new(from);
    let mut chunk = Vec::new();
    let mut bytes = 0;
    while let Some(item) = events.next()? {
        bytes += item.event.as_ref().map_or(0, String::len);
        chunk.push(item);
        let is_full = chunk.len() >= most || bytes >= BUFFER_BYTES;
        if is_full || events.is_dry() {
            bytes = 0;
            if to.blocking_send(std::mem::take(&mut chunk)).is_err() {
                return Ok(());
            }
        }
    }
    if !chunk.is_empty() {
        // Nobody there any more: then nobody wants the rest either.
        let _ = to.blocking_send(chunk);
    }
    Ok(())
}

/// Events that travel in one request.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) items: Vec<Item>,
    bytes: usize,
}

/// How large a request may be. A larger event travels alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl Batch {
    /// Adds `item`, or gives it back when the batch is full.
    pub(super) fn push(&mut self, item: Item, limits: Limits) -> Result<(), Item> {
        let bytes = item.event.as_ref().map_or(0, |event| event.len() + 1);
        let is_full = self.items.len() >= limits.events || self.bytes + bytes > limits.bytes;
        if is_full && !self.items.is_empty() {
            return Err(item);
        }
        self.bytes += bytes;
        self.items.push(item);
        Ok(())
    }
}

/// Makes batches of chunks: as large as what waits already allows, and none waits for company.
pub(super) struct Batches {
    from: mpsc::Receiver<Vec<Item>>,
    waiting: VecDeque<Item>,
    limits: Limits,
}

impl Batches {
    pub(super) fn new(from: mpsc::Receiver<Vec<Item>>, limits: Limits) -> Self {
        Self { from, waiting: VecDeque::new(), limits }
    }

    /// The next batch; `None` at the end of the input.
    pub(super) async fn next(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        loop {
            while let Some(item) = self.waiting.pop_front() {
                if let Err(item) = batch.push(item, self.limits) {
                    self.waiting.push_front(item);
                    return Some(batch);
                }
            }
            match self.from.try_recv() {
                Ok(chunk) => self.waiting = chunk.into(),
                Err(_) if !batch.items.is_empty() => return Some(batch),
                Err(_) => self.waiting = self.from.recv().await?.into(),
            }
        }
    }
}
