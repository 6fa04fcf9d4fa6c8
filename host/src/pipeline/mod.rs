//! The one way into the log: admit, filter, enrich, commit.
//!
//! One sequencer takes what senders submit, in the order of arrival. What waits becomes one batch;
//! a lone event is a batch of one and waits for no timer. While the writer commits a batch, the
//! plugins work on the next one. A sender is answered after its events are on disk.
//!
//! An id that is known is not run again: the same content is a duplicate and gets the place that
//! it has, other content is a conflict. That includes ids that are just being committed.
//!
//! What plugins write while they handle a batch is committed with it. Where the batch changes after
//! they saw it, because an event is held back, they see it again as it is then.
//!
//! Knows `event`, `store`, `plugin`. May not know who sends.

mod admit;
mod enrich;
mod filter;
mod item;
mod lineup;
mod messages;
mod recent;
mod rehearsal;
mod sequencer;

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tracing::error;

pub(crate) use lineup::{called, member};
pub use messages::{Origin, PublishError, Receipt, Status};
pub(crate) use rehearsal::{Rehearsed, rehearse};

use crate::{
    event::Draft,
    metrics::Metrics,
    plugin::Registry,
    store::{Effect, Store, state::Pending},
};
use messages::{Command, Submission};
use sequencer::Sequencer;

/// Submissions that may wait for the sequencer. Past that, senders wait.
const INBOX: usize = 1024;

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline {
    way: Way,
}

#[derive(Clone)]
enum Way {
    /// To the sequencer.
    In(mpsc::Sender<Command>),
    /// There is none, and why.
    Barred(Arc<str>),
}

/// The running sequencer, for whoever has to wait for its end.
pub struct Running {
    inbox: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

impl Pipeline {
    /// Starts the sequencer.
    pub fn start(store: Arc<Store>, plugins: Arc<Registry>, metrics: Metrics) -> (Self, Running) {
        let (inbox, commands) = mpsc::channel(INBOX);
        let task = tokio::spawn(Sequencer::run(store, plugins, metrics, commands));
        (Self { way: Way::In(inbox.clone()) }, Running { inbox, task })
    }

    /// A way in that takes nothing, and answers `reason` to whoever tries.
    pub fn barred(reason: &str) -> Self {
        Self { way: Way::Barred(reason.into()) }
    }

    /// Why nothing is ever taken in; `None` where it is.
    pub fn bar(&self) -> Option<&str> {
        match &self.way {
            Way::In(_) => None,
            Way::Barred(reason) => Some(reason),
        }
    }

    /// Publishes one event. The receipt says that it is on disk.
    ///
    /// # Errors
    /// [`PublishError`] when it is not in the log, or nobody can know.
    pub async fn publish(&self, draft: impl Into<Draft>) -> Result<Receipt, PublishError> {
        let receipts = self.publish_all(vec![draft.into()]).await;
        receipts.into_iter().next().unwrap_or(Err(PublishError::Closed))
    }

    /// Publishes several events, in their order, with one outcome for each.
    pub async fn publish_all(&self, drafts: Vec<Draft>) -> Vec<Result<Receipt, PublishError>> {
        self.submit(drafts, Origin::Outside, Vec::new(), None).await
    }

    /// Returns once nothing is taken in any more. Never where nothing ever was.
    pub async fn closed(&self) {
        match &self.way {
            Way::In(inbox) => inbox.closed().await,
            Way::Barred(_) => std::future::pending().await,
        }
    }

    /// Publishes what a reaction emitted; `effects` and what it wrote become true in the same
    /// transaction.
    pub async fn submit(
        &self,
        drafts: Vec<Draft>,
        origin: Origin,
        effects: Vec<Effect>,
        state: Option<Pending>,
    ) -> Vec<Result<Receipt, PublishError>> {
        let count = drafts.len();
        let inbox = match &self.way {
            Way::In(inbox) => inbox,
            Way::Barred(reason) => {
                return vec![Err(PublishError::Barred(reason.to_string())); count];
            }
        };
        let (reply, outcome) = oneshot::channel();
        // Here and not in the sequencer, which is one for all senders.
        let digests = drafts.iter().map(Draft::digest).collect();
        let submission = Submission { drafts, digests, origin, effects, state, reply };
        if inbox.send(Command::Submit(submission)).await.is_err() {
            return vec![Err(PublishError::Closed); count];
        }
        outcome.await.unwrap_or_else(|_| vec![Err(PublishError::Closed); count])
    }
}

impl Running {
    /// Runs what was submitted before, and ends. What comes later is answered with
    /// [`PublishError::Closed`].
    pub async fn close(self) {
        let _ = self.inbox.send(Command::Close).await;
        if let Err(e) = self.task.await {
            error!("the sequencer ended badly: {e}");
        }
    }
}
