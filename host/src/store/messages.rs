//! What the rest of the host says to the writer thread.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::event::{Cause, Digest, Dropped, Event, LogEntry, PluginName, Seq, Subject, Timestamp};

use super::{
    StoreError,
    following::{Copied, Followed},
    reactions::{DeadLetter, Waiting},
    refused::Refused,
    rules::{Escalation, Reached},
    state::Pending,
    trace::{Member, Passage, Reacted},
};

/// An event on its way into the log: all of its envelope but what the commit decides.
#[derive(Debug)]
pub struct NewEntry {
    /// The event, as the plugins left it.
    pub event: Event,
    /// Where it is published.
    pub subject: Subject,
    /// Of the content as it was sent.
    pub digest: Digest,
    /// Set when a reaction emits it.
    pub caused_by: Option<Cause>,
    /// Reactions between this event and one that came from outside.
    pub hops: u8,
    /// Set when a filter hides it.
    pub dropped: Option<Dropped>,
    /// How it came through the filters and enrichers.
    pub passage: Passage,
}

/// How far a sink has come whose readers have to notice a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Everything up to and with this is done; 0 at first.
    pub seq: Seq,
    /// The last of these events that the sink took: any behind it are hidden, or were skipped. 0 when
    /// it has taken none.
    pub taken: Seq,
}

/// Something that becomes true together with a batch.
#[derive(Debug, Clone)]
pub enum Effect {
    /// A sink has done everything up to and with `seq`. A cursor never moves back.
    MoveCursor {
        /// The sink.
        name: String,
        /// The last event that is done.
        seq: Seq,
    },
    /// A sink that people ask after has done the same, but for what it could not take.
    Delivered {
        /// The sink.
        sink: String,
        /// How far it has come.
        place: Place,
        /// Events up to there that it went past, and why.
        skipped: Vec<(Seq, String)>,
    },
    /// From this place on, this version of a reaction comes to events.
    Reacts {
        /// The first place.
        from: Seq,
        /// Which version.
        member: Member,
    },
    /// A reaction did something, or not without trouble.
    Reacted(Reacted),
    /// A plugin will come back to an event.
    Wait(Waiting),
    /// A plugin has come back to an event, and is done with it.
    Settle {
        /// The plugin.
        plugin: PluginName,
        /// The event's place in the log.
        event_seq: Seq,
    },
    /// A plugin gave up on an event.
    DeadLetter(DeadLetter),
    /// The dead letter of this number is to be tried again, if it is still there.
    RetryDeadLetter(i64),
    /// The dead letter of this number is of no use, if it is still there.
    DiscardDeadLetter(i64),
    /// A reaction waits for what resolves it.
    Escalate(Escalation),
    /// It waits no more.
    Resolve {
        /// Who has reacted.
        plugin: PluginName,
        /// To which event, by its place in the log.
        event_seq: Seq,
    },
    /// Counting begins anew for a plugin.
    Reach(Reached),
    /// A plugin has passed an event and is to come back to it, at once; a dead letter of it is none any
    /// more.
    ReactAgain {
        /// The plugin.
        plugin: PluginName,
        /// The event's place in the log.
        event_seq: Seq,
    },
    /// Messages were refused on the way in.
    Refuse(Vec<Refused>),
    /// Refused messages of these numbers are of no use, as far as they are still there.
    DiscardRefused {
        /// The first of them.
        first: i64,
        /// The last of them.
        last: i64,
    },
    /// An operator takes a plugin out of the flow.
    DisablePlugin {
        /// The plugin.
        name: PluginName,
        /// When.
        since: Timestamp,
        /// Who, for people.
        by: String,
    },
    /// An operator lets a plugin back in.
    EnablePlugin {
        /// The plugin.
        name: PluginName,
    },
}

/// What is called with the outcome of a batch, on the writer's thread: it must not block.
pub type OnCommit = Box<dyn FnOnce(Result<Vec<Arc<LogEntry>>, StoreError>) + Send>;

/// Entries and effects that are committed together or not at all.
pub struct Batch {
    /// Appended in this order.
    pub entries: Vec<NewEntry>,
    /// Applied after the entries.
    pub effects: Vec<Effect>,
    /// What plugins wrote while they handled the entries, or what the effects are about.
    pub state: Vec<Pending>,
    /// Told after the commit is on disk.
    pub done: OnCommit,
}

/// The writer's inbox.
pub(super) enum Command {
    /// Append, then tell.
    Commit(Batch),
    /// One small step of housekeeping, after the batches that came with it.
    Tidy(Tidy),
    /// Take events as they stand in another log, after the batches that came with it.
    Copy(Copy),
    /// Finish what came before, move everything into the main file, and end.
    Close,
}

/// Events of another log, and how far that was followed with them.
pub(super) struct Copy {
    pub(super) entries: Vec<Copied>,
    pub(super) followed: Followed,
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
}

/// Housekeeping in steps, each a transaction of its own about as long as that of a batch.
pub(super) enum Tidy {
    /// Delete the events at these places, which are in order, and tell which there were.
    Prune { places: Vec<Seq>, done: oneshot::Sender<Result<Vec<Seq>, StoreError>> },
    /// Give as many free pages at most back to the file system.
    Vacuum { pages: u32, done: oneshot::Sender<Result<(), StoreError>> },
}
