//! The publisher's task: one session after the other until it is told to stop.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::debug;

use super::{
    NatsOptions,
    retry::{End, Retry},
    session::{self, Context, Legacy},
    status::{Counts, NatsState, NatsStatus, Reporter},
};
use crate::{bus::Bus, store::Store};

/// The publisher's cursor over the log. Without one, publishing starts at the log's beginning.
pub const CURSOR: &str = "nats";

/// What saving the cursor may take beyond the time that was given to finish.
const SAVE_WITHIN: Duration = Duration::from_secs(2);

/// The running publisher. Stops by itself, without finishing, when it is dropped.
#[derive(Debug)]
pub struct Publisher {
    stop: watch::Sender<Option<Instant>>,
    /// Until it has ended and that was told.
    task: Option<JoinHandle<()>>,
    status: NatsStatus,
}

/// Why a publisher did not stop in order. What it had not confirmed is published again by the next
/// one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StopError {
    /// It was cut off.
    #[error("the NATS publisher did not stop within {} s", .0.as_secs())]
    Late(Duration),
    /// A fault of the host.
    #[error("the NATS publisher panicked: {0}")]
    Panicked(String),
}

impl Publisher {
    /// Starts to publish, from the stored cursor on, what is and will be committed. Returns at
    /// once, with the server away or not.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn spawn(options: NatsOptions, store: Arc<Store>, bus: Bus) -> Self {
        let (stop, stopping) = watch::channel(None);
        let (report, status) = Reporter::new();
        let task = run(Context { options, store, bus, report, stop: stopping });
        Self { stop, task: Some(tokio::spawn(task)), status }
    }

    /// How it is doing.
    pub fn status(&self) -> NatsStatus {
        self.status.clone()
    }

    /// Returns when the publisher has ended by itself: the log was closed and everything is
    /// published, or it panicked. May be dropped and called again.
    ///
    /// # Errors
    /// [`StopError::Panicked`].
    pub async fn ended(&mut self) -> Result<(), StopError> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let ended = task.await;
        self.task = None;
        ended.map_err(|e| StopError::Panicked(e.to_string()))
    }

    /// Sends nothing new, waits at most `within` for what is under way to be confirmed, saves the
    /// cursor, and ends. To be called before the store is closed, since that is where the cursor
    /// is kept.
    ///
    /// # Errors
    /// [`StopError`] when it had to be cut off, or had panicked.
    pub async fn stop(mut self, within: Duration) -> Result<(), StopError> {
        self.stop.send_replace(Some(Instant::now() + within));
        let within = within + SAVE_WITHIN;
        match timeout(within, self.ended()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.cut_off();
                Err(StopError::Late(within))
            }
        }
    }

    /// Ends it where it stands.
    fn cut_off(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

#[cfg(test)]
impl Publisher {
    /// Ends it where it stands, as a kill would.
    pub(super) fn abort(mut self) {
        self.cut_off();
    }
}

async fn run(context: Context) {
    let mut stop = context.stop.clone();
    let mut retry = Retry::new();
    let mut legacy: Option<Legacy> = None;
    for attempt in 0.. {
        let (end, moved) = match legacy.take() {
            Some(before) => {
                let cursor = before.cursor;
                let (end, after) = session::run(&context, attempt, before).await;
                let moved = after.cursor.seq > cursor.seq;
                legacy = Some(after);
                (end, moved)
            }
            None => match context.store.reader().place(CURSOR).await {
                Ok(stored) => {
                    let cursor = stored.unwrap_or_default();
                    context.report.progress(cursor.seq, &mut Counts::default());
                    legacy = Some(Legacy { cursor, complaint: None, is_crowded: false });
                    continue;
                }
                Err(error) => (End::Held(error.to_string()), false),
            },
        };
        let Some(wait) = retry.after(&end, moved) else { return };
        match end {
            End::Stopped => return,
            End::Lost(reason) => context.report.failed(NatsState::Away, reason),
            End::Interrupted(reason) | End::Held(reason) => {
                context.report.failed(NatsState::Held, reason)
            }
        }
        debug!("the next NATS session starts in {wait:?}");
        tokio::select! {
            biased;
            _ = session::asked_to_stop(&mut stop) => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
