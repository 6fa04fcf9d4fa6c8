//! What senders and the sequencer say to each other.

use serde::Serialize;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::{
    event::{Cause, Digest, Draft, EventId, PluginName, Seq},
    store::{Effect, StoreError, state::Pending},
};

/// The sequencer's inbox.
pub(super) enum Command {
    Submit(Submission),
    Close,
}

/// Events that go through the pipeline together, and are committed in one transaction.
pub(super) struct Submission {
    pub(super) drafts: Vec<Draft>,
    /// Of each draft.
    pub(super) digests: Vec<Digest>,
    pub(super) origin: Origin,
    pub(super) effects: Vec<Effect>,
    pub(super) state: Option<Pending>,
    pub(super) reply: Reply,
}

/// One outcome a draft, in their order.
pub(super) type Reply = oneshot::Sender<Vec<Result<Receipt, PublishError>>>;

/// Where events come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A sender.
    Outside,
    /// A reaction, which makes them one hop further from the outside than their cause.
    Reaction {
        /// What was reacted to, and by whom.
        cause: Cause,
        /// At most [`MAX_HOPS`](crate::event::MAX_HOPS).
        hops: u8,
    },
}

/// The answer to an event that is in the log, on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The event's id, minted when the sender gave none.
    pub id: EventId,
    /// Its place in the log.
    pub seq: Seq,
    /// How it got there.
    pub status: Status,
}

/// How an event got into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Stored now.
    Accepted,
    /// Stored before, with the same content.
    Duplicate,
    /// Stored now, and hidden by a filter.
    Dropped,
}

/// Why an event is not in the log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PublishError {
    /// The id belongs to an event of other content.
    #[error("id {id} is taken by another event (seq {seq}); an id names one content forever")]
    Conflict {
        /// The id.
        id: EventId,
        /// The place of the event that has it.
        seq: Seq,
    },
    /// A plugin with `on_error = "hold"` failed on it. Sending again later may succeed.
    #[error(
        "held back: plugin {plugin} {reason} (its sidecar says on_error = \"hold\"; send it again later)"
    )]
    Held {
        /// The plugin.
        plugin: PluginName,
        /// Why it failed.
        reason: String,
    },
    /// The log did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This host takes no events, and why.
    #[error("{0}")]
    Barred(String),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    Closed,
}
