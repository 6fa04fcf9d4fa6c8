//! The search index: which events have which project, session, type, subject, priority and time,
//! without a look at the events. It follows the log and is never waited for.
//!
//! The log is cut into segments of 65,536 places. The last, unfinished one is kept in memory; a
//! finished one goes into a file of its own (`file.rs`), appended to and never changed. What a
//! question asks becomes a set of places in each segment (`plan.rs`); events behind what the index
//! has seen are read one by one. So an answer is always complete, whatever the index has missed.
//!
//! The words of messages are in the same file (`words.rs`), and come last: while commits follow each
//! other closely they wait until enough of them are together. A place that they have not come to is
//! among those whose event has to be looked at (`choice.rs`).
//!
//! Events that are pruned stay in their segment: whoever asks leaves them out (`../pruned.rs`), so an
//! answer needs no news from here. A segment that has none left is dropped, and its words with those of
//! its neighbours.
//!
//! **Who writes.** One thread. It is told of commits over a short channel; where that overflows,
//! and at the start, it reads the log. **Recovery.** Everything in here can be made from the log
//! again, and is when it does not fit it: nothing is believed whose last event has another id, or has
//! none and was not pruned.

mod choice;
mod file;
mod keys;
mod plan;
mod segment;
mod words;

use std::{
    path::Path,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, Row};
use tracing::{info, warn};

pub(super) use choice::{Choice, Chosen};
pub(super) use file::{open_reader, path_of};
pub(super) use keys::Dimension;
pub(super) use plan::helps;

use super::{pruned::Pruned, schema};
use crate::event::{LogEntry, Seq};
use keys::Keys;
use segment::{Segment, begin};

/// Events of one segment. Places in it have 16 bits, as the bitmaps like it.
pub(super) const SEGMENT: u32 = 1 << 16;
/// Commits that may wait for the indexer before it has to read the log.
const INBOX: usize = 8;
/// Without commits, how often the indexer looks whether it has missed some.
const LOOK: Duration = Duration::from_millis(200);
/// Events that are read from the log at once.
const CATCH_UP: i64 = 4096;
/// Messages whose words are added at once. Fewer wait for a moment without commits, since small
/// transactions cost more than their words; more would take so long that commits overflow the inbox.
const MESSAGES: u64 = 512;

/// The index, for who reads and for who commits.
pub(super) struct Index {
    shared: Arc<Shared>,
    inbox: mpsc::SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
}

/// What the indexer lets others see.
pub(super) struct Shared {
    size: u32,
    /// The unfinished segment. Everything before it is in the file.
    tail: RwLock<Segment>,
    /// The last commit.
    head: AtomicU64,
}

enum Message {
    Committed(Vec<Arc<LogEntry>>),
    /// Events are gone from the log.
    Pruned,
    Close,
}

impl Index {
    /// Opens the index of the log at `path` and begins to follow it from where it is.
    pub(super) fn start(
        path: &Path,
        head: Seq,
        size: u32,
        pruned: Arc<Pruned>,
    ) -> rusqlite::Result<Self> {
        let (mut indexer, shared) = Indexer::open(path, size, pruned)?;
        shared.head.store(head, Ordering::Release);
        let (inbox, messages) = mpsc::sync_channel(INBOX);
        let thread = std::thread::Builder::new()
            .name("ennio-index".into())
            .spawn(move || indexer.run(&messages))
            .map_err(|e| rusqlite::Error::UserFunctionError(e.into()))?;
        Ok(Self { shared, inbox, thread: Some(thread) })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// For the writer: tells of commits without ever waiting.
    pub(super) fn notifier(&self) -> Notifier {
        Notifier { shared: Arc::clone(&self.shared), inbox: self.inbox.clone() }
    }

    /// Ends the indexer where it is.
    pub(super) fn close(&mut self) {
        let _ = self.inbox.send(Message::Close);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the indexer panicked");
        }
    }
}

/// Tells the indexer of commits.
pub(super) struct Notifier {
    shared: Arc<Shared>,
    inbox: mpsc::SyncSender<Message>,
}

impl Notifier {
    pub(super) fn committed(&self, entries: Vec<Arc<LogEntry>>) {
        let Some(last) = entries.last() else { return };
        self.shared.head.store(last.seq, Ordering::Release);
        // Full: the indexer will find them in the log.
        let _ = self.inbox.try_send(Message::Committed(entries));
    }

    pub(super) fn pruned(&self) {
        // Full: the next time is as good.
        let _ = self.inbox.try_send(Message::Pruned);
    }
}

impl Shared {
    fn tail(&self) -> RwLockReadGuard<'_, Segment> {
        self.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the whole log is indexed.
    #[cfg(test)]
    pub(super) fn is_complete(&self) -> bool {
        self.known() >= self.head.load(Ordering::Acquire)
    }

    /// The last place that the index knows.
    pub(super) fn known(&self) -> Seq {
        let tail = self.tail();
        tail.begin(self.size) + tail.len() as u64
    }
}

/// Makes the index of a closed log anew, from the first event on. `progress` is told how far it
/// has come.
pub(super) fn rebuild(
    path: &Path,
    head: Seq,
    pruned: Pruned,
    mut progress: impl FnMut(Seq),
) -> rusqlite::Result<()> {
    file::Writer::make(&path_of(path), SEGMENT)?;
    let (mut indexer, shared) = Indexer::open(path, SEGMENT, Arc::new(pruned))?;
    shared.head.store(head, Ordering::Release);
    while shared.known() < head {
        indexer.read_on()?;
        while indexer.words_behind() >= MESSAGES {
            indexer.add_words()?;
        }
        progress(shared.known());
    }
    indexer.add_words()
}

/// The one who writes the index.
struct Indexer {
    shared: Arc<Shared>,
    file: file::Writer,
    log: Connection,
    pruned: Arc<Pruned>,
    /// Up to here the words of messages are in the file.
    words_end: Seq,
}

impl Indexer {
    fn open(path: &Path, size: u32, pruned: Arc<Pruned>) -> rusqlite::Result<(Self, Arc<Shared>)> {
        let log = schema::open_reader(path)?;
        let index_path = path_of(path);
        let mut file = file::Writer::open(&index_path, size)?;
        let (next, words_end) = match Self::ends(&file, &log, &pruned, size) {
            Ok(Some(ends)) => ends,
            Ok(None) | Err(_) => {
                warn!("{}: damaged or of another log, it is made anew", index_path.display());
                // Closed first: SQLite takes the files beside it away by their names.
                drop(file);
                file = file::Writer::make(&index_path, size)?;
                (0, 0)
            }
        };
        let tail = RwLock::new(Segment::new(next));
        let shared = Arc::new(Shared { size, tail, head: AtomicU64::new(0) });
        Ok((Self { shared: Arc::clone(&shared), file, log, pruned, words_end }, shared))
    }

    /// Which segment comes next and how far the words are; `None` where the file is of another log.
    fn ends(
        file: &file::Writer,
        log: &Connection,
        pruned: &Pruned,
        size: u32,
    ) -> rusqlite::Result<Option<(u64, Seq)>> {
        let (last, words) = (file.last()?, file.words_end()?);
        let next = last.as_ref().map_or(0, |last| last.number + 1);
        let words_end = words.as_ref().map_or(0, |end| end.seq);
        let last = last.map(|last| (begin(next, size), last.last_id));
        for (seq, id) in last.into_iter().chain(words.map(|end| (end.seq, end.id))) {
            let fits = match id_at(log, seq)? {
                Some(found) => found == id,
                None => pruned.has(log, seq)?,
            };
            if !fits {
                return Ok(None);
            }
        }
        Ok(Some((next, words_end)))
    }

    fn run(&mut self, messages: &mpsc::Receiver<Message>) {
        let behind = self.shared.head.load(Ordering::Acquire).saturating_sub(self.shared.known());
        if behind > u64::from(self.shared.size) {
            info!("the search index is {behind} events behind, questions may take longer");
        }
        let mut is_well = true;
        loop {
            let patience = match is_well && self.words_behind() >= MESSAGES {
                true => Duration::ZERO,
                false => LOOK,
            };
            let outcome = match messages.recv_timeout(patience) {
                Ok(Message::Committed(entries)) => self.take(&entries, messages),
                Ok(Message::Pruned) => self.drop_empty(),
                Err(mpsc::RecvTimeoutError::Timeout) => self.use_the_pause(messages),
                Ok(Message::Close) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            match outcome {
                Ok(Go::On) => is_well = true,
                Ok(Go::Home) => return,
                // It is tried again with the next commit; what is missing is read from the log.
                Err(e) if is_well => {
                    warn!("the search index cannot go on, questions may take longer: {e}");
                    is_well = false;
                }
                Err(_) => {}
            }
        }
    }

    fn take(
        &mut self,
        entries: &[Arc<LogEntry>],
        messages: &mpsc::Receiver<Message>,
    ) -> rusqlite::Result<Go> {
        let follows = entries.first().is_some_and(|first| first.seq <= self.shared.known() + 1);
        if !follows {
            return self.catch_up(messages);
        }
        let until = entries.last().map_or(0, |last| last.seq);
        self.add(entries.iter().map(|entry| Keys::of(entry)), until)?;
        Ok(Go::On)
    }

    /// Drops finished segments that have no event left.
    fn drop_empty(&mut self) -> rusqlite::Result<Go> {
        let empty = self.pruned.whole(&self.log)?;
        for number in self.file.numbers()?.into_iter().filter(|number| empty.contains(number)) {
            self.file.drop_segment(number)?;
        }
        self.file.drop_words(|number| empty.contains(&number))?;
        Ok(Go::On)
    }

    /// Nobody commits at this moment.
    fn use_the_pause(&mut self, messages: &mpsc::Receiver<Message>) -> rusqlite::Result<Go> {
        let go = self.catch_up(messages)?;
        if let Go::On = go {
            self.add_words()?;
        }
        Ok(go)
    }

    /// How many events are known whose words are not.
    fn words_behind(&self) -> u64 {
        self.shared.known().saturating_sub(self.words_end)
    }

    /// Adds the words of the messages that come next.
    fn add_words(&mut self) -> rusqlite::Result<()> {
        if self.words_behind() == 0 {
            return Ok(());
        }
        let sql = "SELECT seq, message, id FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let mut messages = Vec::new();
        let mut last_id = String::new();
        {
            let mut find = self.log.prepare_cached(sql)?;
            let mut rows = find.query([self.words_end as i64, MESSAGES as i64])?;
            while let Some(row) = rows.next()? {
                messages.push((row.get::<_, i64>(0)? as Seq, row.get(1)?));
                last_id = row.get(2)?;
            }
        }
        self.file.add_words(&messages, &last_id)?;
        // None: the last events are no longer in the log.
        self.words_end = messages.last().map_or(self.shared.known(), |(seq, _)| *seq);
        Ok(())
    }

    /// Reads the log up to its head.
    fn catch_up(&mut self, messages: &mpsc::Receiver<Message>) -> rusqlite::Result<Go> {
        while self.shared.known() < self.shared.head.load(Ordering::Acquire) {
            self.read_on()?;
            // Commits that come meanwhile are read from the log as well.
            while let Ok(message) = messages.try_recv() {
                if matches!(message, Message::Close) {
                    return Ok(Go::Home);
                }
            }
        }
        Ok(Go::On)
    }

    /// Reads some more of the log.
    fn read_on(&mut self) -> rusqlite::Result<()> {
        struct Found(Seq, i64, bool, [String; 5]);
        let sql = "SELECT seq, timestamp_us, dropped_by IS NOT NULL, event_type, priority, \
                   session_id, project_id, subject FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        // Before the log is looked at: whatever is not found up to here is gone.
        let head = self.shared.head.load(Ordering::Acquire);
        let found: Vec<Found> = {
            let mut find = self.log.prepare_cached(sql)?;
            let row = |row: &Row<'_>| {
                let texts = [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?];
                Ok(Found(row.get::<_, i64>(0)? as Seq, row.get(1)?, row.get(2)?, texts))
            };
            let rows = find.query_map([self.shared.known() as i64, CATCH_UP], row)?;
            rows.collect::<Result<_, _>>()?
        };
        let until = match found.last() {
            Some(Found(last, ..)) if found.len() as i64 == CATCH_UP => *last,
            Some(Found(last, ..)) => head.max(*last),
            None => head,
        };
        let keys = found.iter().map(|Found(seq, timestamp, dropped, texts)| {
            let [event_type, priority, session, project, subject] = texts;
            Keys {
                seq: *seq,
                event_type,
                priority,
                session,
                project,
                subject,
                timestamp: *timestamp,
                dropped: *dropped,
            }
        });
        self.add(keys, until)
    }

    /// Adds what follows on what is known, and finishes segments that are full. With `events`,
    /// everything up to `until` is known.
    fn add<'a>(
        &mut self,
        events: impl Iterator<Item = Keys<'a>>,
        until: Seq,
    ) -> rusqlite::Result<()> {
        let shared = Arc::clone(&self.shared);
        let known = shared.known();
        let mut events = events.skip_while(|event| event.seq <= known).peekable();
        loop {
            let mut tail = shared.tail.write().unwrap_or_else(PoisonError::into_inner);
            let (begin, end) = (tail.begin(shared.size), begin(tail.number + 1, shared.size));
            while let Some(event) = events.next_if(|event| event.seq <= end) {
                tail.push(&event, begin);
            }
            tail.pass(until.clamp(begin, end) - begin);
            drop(tail);
            if until < end {
                return Ok(());
            }
            self.finish(end)?;
        }
    }

    /// Moves the unfinished segment into the file, while it can still be asked in memory.
    fn finish(&mut self, end: Seq) -> rusqlite::Result<()> {
        let number = {
            let tail = self.shared.tail();
            if !tail.is_empty() {
                self.file.add(&tail, &id_at(&self.log, end)?.unwrap_or_default())?;
            }
            tail.number
        };
        let next = Segment::new(number + 1);
        *self.shared.tail.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

/// Whether the indexer goes on.
enum Go {
    On,
    Home,
}

fn id_at(log: &Connection, seq: Seq) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT id FROM events WHERE seq = ?1";
    log.prepare_cached(sql)?.query_row([seq as i64], |row| row.get(0)).optional()
}
