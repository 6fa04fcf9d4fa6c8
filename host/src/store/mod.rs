//! The log: one SQLite file that holds every accepted event, in order.
//!
//! **Format.** `events` is append-only by `seq`; `cursors` says how far each sink has come; `identity`
//! who the log is to readers elsewhere; `trace/` has what plugins did with each event; `reaction_waiting`,
//! `reaction_attempts` and `dead_letters` are what reactions come back to, tried in vain, and gave up on;
//! `plugin_state` is what plugins remember; `pruned` says which places retention has emptied; `refused`
//! has messages that came in and are no events; `followed`, `follow_gaps` and `absent` are there for a log
//! that is a copy of another one.
//! `events_rfc3339` is the same log with times that people read. The schema is versioned (`migrations/`), a file of a
//! later version or of somebody else is refused, and a lock file beside it keeps a second host
//! away. Any number of other processes may read.
//!
//! **Who writes.** One thread (`writer.rs`) holds the only writing connection and runs every
//! checkpoint. **Who reads.** Everybody else, through a small pool (`reader.rs`), each read within
//! five seconds.
//!
//! **Invariants.** A batch is answered after `COMMIT` returned in WAL mode with
//! `synchronous=FULL`: it survives a kill and a power cut. `seq` has no gaps and is never given twice:
//! each place up to the head has its event or is in `pruned`. Entries and effects
//! of one batch are stored together or not at all, and so is what plugins wrote for it (`state/`).
//!
//! **Recovery.** SQLite's own: on opening, committed frames of the WAL are replayed, torn ones
//! ignored. Nothing else is needed.
//!
//! Knows `event`. May not know who commits or who listens.

pub mod archive;
mod count;
mod error;
mod following;
mod history;
mod index;
mod maintenance;
mod messages;
mod pruned;
mod pruning;
mod query;
mod reactions;
mod reader;
mod refused;
mod row;
mod rules;
mod schema;
pub mod state;
mod trace;
mod writer;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use tokio::sync::{mpsc, oneshot, watch};

pub use count::{Counts, Group, MAX_GROUPS};
pub use error::{OpenError, StoreError};
pub use following::{Copied, Followed, Missing};
pub use history::{Answer, Changed, History, Past, Remembered};
pub use maintenance::{Health, Shrunk, Survey, health, reindex, vacuum};
pub use messages::{Batch, Effect, NewEntry, OnCommit, Place};
pub use pruned::Gap;
pub use pruning::{Aged, Space};
pub use query::{MAX_PAGE, Order, Page, Part, Query};
pub use reactions::{
    Attempt, Backlog, DeadLetter, Letter, LetterQuery, MAX_WAITING, Waiting, WaitingEvent,
    WholeLetter,
};
pub use reader::{Known, Reader};
pub use refused::{MAX_REFUSED_BYTES, Refused, RefusedCount, RefusedMessage};
pub use rules::{Escalation, Reached};
pub use trace::{
    Called, Change, Did, Difference, Line, Lineup, MAX_STORIES, Member, Outcome, Passage, Passed,
    PassedCall, PluginCall, Published, Reacted, Reaction, ReactionOutcome, Role, Step, Story,
    Trace,
};
pub use writer::Observer;

use crate::event::{LogId, Seq};
use index::Index;
use messages::Command;
use pruned::Pruned;
use state::Pending;

/// Batches that may wait for the writer. With the group commit behind it, more would only hide
/// that the disk is slower than the senders.
const INBOX: usize = 16;

/// The open log.
pub struct Store {
    path: PathBuf,
    reader: Reader,
    lookups: Reader,
    inbox: mpsc::Sender<Command>,
    failure: watch::Receiver<Option<String>>,
    head: Seq,
    origin: LogId,
    thread: Mutex<Option<JoinHandle<()>>>,
    index: Mutex<Option<Index>>,
    _lock: File,
}

impl Store {
    /// Opens or creates the database at `path` and starts its writer.
    ///
    /// # Errors
    /// [`OpenError`] when the file is not an Ennio log of a known version, is in use by another
    /// host, or cannot be opened.
    pub fn open(path: &Path, observer: impl Observer + 'static) -> Result<Self, OpenError> {
        Self::open_with(path, observer, index::SEGMENT)
    }

    /// With an index of segments of this many events.
    fn open_with(
        path: &Path,
        observer: impl Observer + 'static,
        segment: u32,
    ) -> Result<Self, OpenError> {
        let opened = schema::open(path)?;
        let sqlite = |source| OpenError::Sqlite { path: path.into(), source };
        let pruned = Arc::new(Pruned::open(&opened.connection, segment).map_err(sqlite)?);
        let head = pruning::head(&opened.connection, &pruned).map_err(sqlite)?;
        let origin = schema::origin(&opened.connection).map_err(sqlite)?;
        let lineup = trace::last_lineup(&opened.connection).map_err(sqlite)?;
        // A log without its index still answers, only slower.
        let index = Index::start(path, head, segment, Arc::clone(&pruned))
            .inspect_err(|e| tracing::warn!("there is no search index: {e}"))
            .ok();
        let shared = index.as_ref().map(|index| Arc::clone(index.shared()));
        let (inbox, commands) = mpsc::channel(INBOX);
        let (failure_sender, failure) = watch::channel(None);
        let writer = writer::Writer {
            connection: opened.connection,
            inbox: commands,
            observer: Box::new(observer),
            next_seq: head + 1,
            lineup,
            index: index.as_ref().map(Index::notifier),
            pruned: Arc::clone(&pruned),
            failure: failure_sender,
        };
        let thread = std::thread::Builder::new()
            .name("ennio-writer".into())
            .spawn(move || writer.run())
            .map_err(|source| OpenError::File { path: path.into(), source })?;
        Ok(Self {
            path: path.into(),
            reader: Reader::new(path.into(), shared, Arc::clone(&pruned)),
            lookups: Reader::new(path.into(), None, pruned),
            inbox,
            failure,
            head,
            origin,
            thread: Mutex::new(Some(thread)),
            index: Mutex::new(index),
            _lock: opened.lock,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the committed log.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Reads the committed log with connections of its own, for who takes events in: questions, which
    /// may take seconds, are not waited for.
    pub fn lookups(&self) -> &Reader {
        &self.lookups
    }

    /// The last place in the log when it was opened; 0 for an empty log.
    pub fn head_at_open(&self) -> Seq {
        self.head
    }

    /// Who this log is to readers elsewhere.
    pub fn origin(&self) -> LogId {
        self.origin
    }

    /// The last place that the search index knows; what comes behind it is found by reading the log.
    pub fn indexed(&self) -> Seq {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.as_ref().map_or(0, |index| index.shared().known())
    }

    /// Hands a batch to the writer; waits while its inbox is full. `batch.done` hears the outcome.
    pub async fn submit(&self, batch: Batch) {
        if let Err(mpsc::error::SendError(Command::Commit(batch))) =
            self.inbox.send(Command::Commit(batch)).await
        {
            (batch.done)(Err(StoreError::Closed));
        }
    }

    /// Commits effects alone, and waits for the disk.
    ///
    /// # Errors
    /// [`StoreError`] when they are not committed.
    pub async fn apply(&self, effects: Vec<Effect>) -> Result<(), StoreError> {
        self.apply_with(effects, Vec::new()).await
    }

    /// Commits effects and what a plugin wrote for them, and waits for the disk.
    ///
    /// # Errors
    /// [`StoreError`] when they are not committed.
    pub async fn apply_with(
        &self,
        effects: Vec<Effect>,
        state: Vec<Pending>,
    ) -> Result<(), StoreError> {
        let (answer, outcome) = oneshot::channel();
        // Who asked may have gone; the effects are committed all the same.
        let done: OnCommit = Box::new(move |result| drop(answer.send(result.map(drop))));
        self.submit(Batch { entries: Vec::new(), effects, state, done }).await;
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Returns with the reason once the store takes no more: the file has failed, or the writer has
    /// ended, which [`Store::close`] leads to as well.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the writer thread ended".to_owned(),
        }
    }

    /// Commits what is in the inbox, moves the WAL into the main file, and ends the writer. What is
    /// submitted later is answered with [`StoreError::Closed`].
    pub async fn close(&self) {
        let _ = self.inbox.send(Command::Close).await;
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the writer thread panicked");
            }
        }
        let index = self.index.lock().ok().and_then(|mut index| index.take());
        if let Some(mut index) = index {
            // It ends within one read of the log; what it has not seen it finds at the next start.
            let _ = tokio::task::spawn_blocking(move || index.close()).await;
        }
    }
}

#[cfg(test)]
mod tests;
