//! Follows a bucket of plugins: what is put there is handed to a [`Replica`], what is deleted there is
//! taken from it.
//!
//! What the bucket tells of a change is only a hint: with each connection, and once a minute, all that
//! is in it is compared by digest. Only a deletion removes a plugin. That a bucket is empty or gone
//! says that somebody lost it, so everything stays as it is.
//!
//! With the server or the bucket away, the host runs with what it has. A connection of its own, so that
//! a refusal holds up nobody else. Its user needs to subscribe to `_INBOX.>`, and to publish to
//! `$JS.API.STREAM.INFO.OBJ_<bucket>`, `$JS.API.DIRECT.GET.OBJ_<bucket>.>`,
//! `$JS.API.CONSUMER.CREATE.OBJ_<bucket>`, `$JS.API.CONSUMER.*.OBJ_<bucket>.>` and
//! `$JS.FC.OBJ_<bucket>.>`: it only reads.
//!
//! Knows names, bytes and texts. May not know what is done with them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_nats::jetstream::object_store::{ObjectInfo, ObjectStore};
use futures::{StreamExt as _, future::BoxFuture};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tracing::{info, warn};

use super::{
    NatsOptions,
    bucket::{self, BucketName},
    connection::{Connection, Heard},
    retry::{End, Retry},
};
use crate::event::PluginName;
use status::Reporter;
pub use status::{MirrorSnapshot, MirrorState, MirrorStatus};

mod status;

/// Between two looks at the whole bucket, besides the watch.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After something could not be fetched or kept.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Between two questions for a bucket that is missing.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// One version of a plugin, as the bucket describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The plugin.
    pub name: PluginName,
    /// Of the content, hexadecimal.
    pub sha256: String,
    /// What lies beside the content, by name.
    pub texts: BTreeMap<String, String>,
}

/// What is kept in line with a bucket.
pub trait Replica: Send + Sync {
    /// The largest content that it takes, in bytes.
    fn max_bytes(&self) -> u64;

    /// Whether the version is another one than what it has.
    ///
    /// # Errors
    /// Why it would never take it.
    fn wants(&self, version: &Version) -> Result<bool, String>;

    /// Takes a version; `content` has the digest.
    ///
    /// # Errors
    /// Why it could not; it is asked again.
    fn install(&self, version: Version, content: Vec<u8>) -> BoxFuture<'_, Result<(), String>>;

    /// Gives a plugin away. `false` when it had none from the bucket.
    ///
    /// # Errors
    /// Why it could not; it is asked again.
    fn remove(&self, name: PluginName) -> BoxFuture<'_, Result<bool, String>>;
}

/// The running mirror.
pub struct Mirror {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    status: MirrorStatus,
}

struct Follower {
    options: NatsOptions,
    bucket: BucketName,
    replica: Arc<dyn Replica>,
    report: Reporter,
    stop: watch::Receiver<bool>,
}

impl Mirror {
    /// Follows `bucket` into `replica`. Returns at once, with the server away or not.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn spawn(options: NatsOptions, bucket: BucketName, replica: Arc<dyn Replica>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (report, status) = Reporter::new(bucket.clone());
        let follower = Follower { options, bucket, replica, report, stop: stopped };
        Self { stop, task: tokio::spawn(follower.run()), status }
    }

    /// How it is doing.
    pub fn status(&self) -> MirrorStatus {
        self.status.clone()
    }

    /// Ends. What is being taken over is left to the next start, which takes it up again.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(e) = self.task.await {
            warn!("the mirror of plugins ended badly: {e}");
        }
    }
}

impl Follower {
    async fn run(self) {
        let mut stop = self.stop.clone();
        let mut retry = Retry::new();
        for attempt in 0.. {
            let (end, followed) = self.session(attempt).await;
            let Some(wait) = retry.after(&end, followed) else { return };
            match end {
                End::Stopped => return,
                End::Lost(reason) | End::Interrupted(reason) => {
                    self.report.is(MirrorState::Away, Some(reason));
                }
                End::Held(reason) => self.report.is(MirrorState::Held, Some(reason)),
            }
            tokio::select! {
                biased;
                () = asked_to_stop(&mut stop) => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// One connection's life: how it ended, and whether it ever followed the bucket.
    async fn session(&self, attempt: usize) -> (End, bool) {
        let mut stop = self.stop.clone();
        let opened = tokio::select! {
            biased;
            () = asked_to_stop(&mut stop) => return (End::Stopped, false),
            opened = Connection::open(&self.options, attempt, "ennio mirror") => opened,
        };
        let mut connection = match opened {
            Ok(connection) => connection,
            Err(error) => return (End::Lost(error.to_string()), false),
        };
        let mut followed = false;
        loop {
            let client = connection.client().clone();
            let store =
                unless(&mut stop, &mut connection, bucket::open(&client, &self.bucket)).await;
            let looked = match store.map(Result::transpose) {
                Err(end) => return (end, followed),
                Ok(None) => {
                    self.report.is(MirrorState::Waiting, None);
                    unless(&mut stop, &mut connection, sleep(ASK_AGAIN)).await
                }
                Ok(Some(Err(reason))) => return (End::Held(reason), followed),
                Ok(Some(Ok(store))) => {
                    self.look(&store, &mut connection, &mut stop, &mut followed).await
                }
            };
            if let Err(end) = looked {
                return (end, followed);
            }
        }
    }

    /// Takes everything that is in the bucket, and then what changes there, until it is time to look at
    /// all of it again.
    async fn look(
        &self,
        store: &ObjectStore,
        connection: &mut Connection,
        stop: &mut watch::Receiver<bool>,
        followed: &mut bool,
    ) -> Result<(), End> {
        let watch = unless(stop, connection, store.watch_with_history()).await?;
        let mut watch = watch.map_err(|e| End::Held(e.to_string()))?;
        self.report.is(MirrorState::Following, None);
        *followed = true;
        let mut until = Instant::now() + LOOK_EVERY;
        loop {
            let next = async {
                tokio::select! {
                    biased;
                    found = watch.next() => Some(found),
                    () = sleep_until(until) => None,
                }
            };
            let found = match unless(stop, connection, next).await? {
                None => return Ok(()),
                Some(Some(Ok(found))) => found,
                Some(Some(Err(e))) => return Err(End::Held(e.to_string())),
                Some(None) => return Err(End::Lost("the connection was lost".into())),
            };
            match self.wanted(&found).await {
                Ok(None) => self.report.settled(&found.name, None),
                Ok(Some(version)) => {
                    let fetched = unless(stop, connection, bucket::fetch(store, &found)).await?;
                    let taken = match fetched {
                        // Another one is on its way.
                        Ok(None) => continue,
                        // With the connection lost or not: it has all that it needs.
                        Ok(Some(content)) => tokio::select! {
                            biased;
                            () = asked_to_stop(stop) => return Err(End::Stopped),
                            taken = self.install(version, content) => taken,
                        },
                        Err(reason) => Err(reason),
                    };
                    if taken.is_err() {
                        until = until.min(Instant::now() + LOOK_AGAIN);
                    }
                    self.report.settled(&found.name, taken.err());
                }
                Err(refusal) => {
                    if refusal.again {
                        until = until.min(Instant::now() + LOOK_AGAIN);
                    }
                    self.report.settled(&found.name, Some(refusal.reason));
                }
            }
        }
    }

    /// The version that an object is, where it is to be fetched.
    async fn wanted(&self, object: &ObjectInfo) -> Result<Option<Version>, Refusal> {
        let never = |reason: String| Refusal { reason, again: false };
        let name: PluginName =
            object.name.parse().map_err(|e| never(format!("is no plugin's name: {e}")))?;
        if object.deleted {
            match self.replica.remove(name).await {
                Ok(true) => info!("plugin {} was deleted from bucket {}", object.name, self.bucket),
                Ok(false) => {}
                Err(reason) => return Err(Refusal { reason, again: true }),
            }
            return Ok(None);
        }
        if object.options.as_ref().is_some_and(|options| options.link.is_some()) {
            return Err(never("is a link, not an object".into()));
        }
        let (size, max) = (object.size, self.replica.max_bytes());
        if size as u64 > max {
            return Err(never(format!("{size} bytes, at most {max} are allowed")));
        }
        let sha256 = bucket::sha256(object).ok_or_else(|| never("has no SHA-256 digest".into()))?;
        let texts = object.metadata.clone().into_iter().collect();
        let version = Version { name, sha256, texts };
        let wants = self.replica.wants(&version).map_err(never)?;
        Ok(wants.then_some(version))
    }

    async fn install(&self, version: Version, content: Vec<u8>) -> Result<(), String> {
        let digest = version.sha256.get(..12).unwrap_or_default();
        info!("plugin {} ({digest}) comes from bucket {}", version.name, self.bucket);
        self.replica.install(version, content).await
    }
}

/// Why an object is not taken.
struct Refusal {
    reason: String,
    /// Whether that may change by itself.
    again: bool,
}

/// What `question` comes to, unless the connection or the mirror ends before.
async fn unless<T>(
    stop: &mut watch::Receiver<bool>,
    connection: &mut Connection,
    question: impl Future<Output = T>,
) -> Result<T, End> {
    tokio::pin!(question);
    loop {
        tokio::select! {
            biased;
            () = asked_to_stop(stop) => return Err(End::Stopped),
            heard = connection.hear() => match heard {
                Heard::Reply(_) => {}
                Heard::Complaint(text) => return Err(End::Held(text)),
                Heard::End => return Err(End::Lost("the connection was lost".into())),
            },
            answer = &mut question => return Ok(answer),
        }
    }
}

/// Whoever forgets the mirror has stopped it as well.
async fn asked_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
