//! The way back: a log that a host has published becomes a copy of that log.
//!
//! **What it promises.** Events come from a JetStream stream into the store with the places, times and
//! bytes that they have in the host's log. How far the stream was read is saved in the transaction that
//! takes the events, so a kill at any moment neither loses nor repeats one. What comes again, because a
//! stream holds it twice or was made anew, is known by its place, and looked at: another event at the
//! same place stops the follower.
//!
//! **What it says.** Each event names the one that was published before it (`message`). Where that is
//! not the last one here, events are missing: the stream's limits took them, or somebody. They are told
//! of and, unless the configuration says stop, passed over. A stream that was made anew is told of and
//! read from its beginning. Events of another log are never taken: the follower stops there, keeps what
//! it has, and says the way out.
//!
//! **Permissions** that the follower's NATS user needs: publish to `$JS.API.STREAM.INFO.<stream>`,
//! `$JS.API.CONSUMER.CREATE.<stream>` and `$JS.API.CONSUMER.MSG.NEXT.<stream>.*`, subscribe to
//! `_INBOX.>`. It makes a consumer for each session, which the server forgets a minute after its end.
//!
//! `session` talks to the server and to the store; what it decides it asks of `received` (a message as
//! an event) and `progress` (an event's place after those before it), which are plain functions.
//! `consumer` is the stream as it is read, `status` what others see.
//!
//! Knows `event` and `store`, and of `nats` the connection and the message. May not know who listens.

mod consumer;
mod progress;
mod received;
mod session;
mod status;

use std::{fmt, sync::Arc};

use serde::Deserialize;
use tokio::{sync::watch, task::JoinHandle};
use tracing::{debug, warn};

pub use status::{FollowSnapshot, FollowState, FollowStatus};

use super::{
    NatsOptions, StreamName, StreamOptions,
    retry::{End, Retry},
};
use crate::store::Store;
use session::{Context, Place};
use status::Reporter;

/// Which log is followed, and how.
#[derive(Debug, Clone)]
pub struct FollowOptions {
    /// The server, who the follower is to it, and the prefix of the host that is followed.
    pub server: NatsOptions,
    /// The stream. Default: the prefix in capitals and `_EVENTS`.
    pub stream: Option<StreamName>,
    /// What to do about missing events.
    pub on_gap: OnGap,
}

/// What a follower does when events are missing from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnGap {
    /// Says so and goes on behind them.
    #[default]
    Continue,
    /// Says so and takes no more.
    Stop,
}

impl FollowOptions {
    /// The stream's name.
    pub fn stream_name(&self) -> String {
        let options = StreamOptions { name: self.stream.clone(), ..StreamOptions::default() };
        options.name(&self.server.prefix)
    }
}

impl fmt::Display for FollowOptions {
    /// The stream and where it is, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {} at {}", self.stream_name(), self.server.url)
    }
}

/// A follower that has not begun.
pub struct NewFollower {
    stop: watch::Sender<bool>,
    context: Context,
    status: FollowStatus,
}

/// The running follower. Stops by itself when it is dropped.
#[derive(Debug)]
pub struct Follower {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl NewFollower {
    /// One that will take events into `store`, from where that says that the last one stopped.
    pub fn new(options: FollowOptions, store: Arc<Store>) -> Self {
        let (stop, stopping) = watch::channel(false);
        let (report, status) = Reporter::new(options.stream_name());
        Self { stop, context: Context { options, store, report, stop: stopping }, status }
    }

    /// How it is doing.
    pub fn status(&self) -> FollowStatus {
        self.status.clone()
    }

    /// Begins. Returns at once, with the server away or not.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start(self) -> Follower {
        Follower { stop: self.stop, task: tokio::spawn(run(self.context)) }
    }
}

impl Follower {
    /// Ends after the commit that is under way. To be called before the store is closed.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(e) = self.task.await {
            warn!("the follower ended badly: {e}");
        }
    }
}

async fn run(context: Context) {
    let mut stop = context.stop.clone();
    let mut retry = Retry::new();
    let mut place: Option<Place> = None;
    for attempt in 0.. {
        let (end, moved) = match &mut place {
            Some(place) => {
                let before = place.last;
                let end = session::run(&context, attempt, place).await;
                (end, place.last > before)
            }
            None => match Place::read(&context.store).await {
                Ok(read) => {
                    session::show(&context, &read).await;
                    place = Some(read);
                    continue;
                }
                Err(error) => (End::Held(error.to_string()), false),
            },
        };
        let wait = retry.after(&end, moved);
        let Some(wait) = wait else { return };
        match end {
            End::Stopped => return,
            End::Lost(reason) | End::Interrupted(reason) => {
                context.report.failed(FollowState::Away, reason);
            }
            End::Held(reason) => context.report.failed(FollowState::Held, reason),
        }
        debug!("the next session of the follower starts in {wait:?}");
        tokio::select! {
            biased;
            () = session::asked_to_stop(&mut stop) => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
