//! How the mirror is doing, for whoever asks, and for the log: once each.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::{event::PluginName, nats::BucketName};

/// Objects whose refusal is told: whoever can write to the bucket can make as many as he likes.
const REFUSALS: usize = 64;

/// What the mirror is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MirrorState {
    /// No connection; tried again with back-off.
    #[default]
    Away,
    /// Connected, but there is no such bucket yet.
    Waiting,
    /// Told of every change.
    Following,
    /// The server is there, but refuses something; tried again with back-off.
    Held,
}

impl MirrorState {
    /// The name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Waiting => "waiting",
            Self::Following => "following",
            Self::Held => "held",
        }
    }
}

/// The mirror at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MirrorSnapshot {
    /// What it is at.
    pub state: MirrorState,
    /// Objects in the bucket that are not taken, and why; 64 at most.
    pub refused: BTreeMap<String, String>,
    /// Why it is away or held.
    pub reason: Option<String>,
}

/// Reads the mirror's status. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MirrorStatus {
    bucket: BucketName,
    snapshot: watch::Receiver<MirrorSnapshot>,
}

impl MirrorStatus {
    /// The bucket that is followed.
    pub fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// The status now.
    pub fn snapshot(&self) -> MirrorSnapshot {
        self.snapshot.borrow().clone()
    }
}

/// The writing half.
pub(super) struct Reporter {
    bucket: BucketName,
    snapshot: watch::Sender<MirrorSnapshot>,
}

impl Reporter {
    pub(super) fn new(bucket: BucketName) -> (Self, MirrorStatus) {
        let (sender, receiver) = watch::channel(MirrorSnapshot::default());
        let status = MirrorStatus { bucket: bucket.clone(), snapshot: receiver };
        (Self { bucket, snapshot: sender }, status)
    }

    /// What the mirror is at, and why it is away or held.
    pub(super) fn is(&self, state: MirrorState, reason: Option<String>) {
        let before = self.snapshot.borrow().state;
        let said = reason.as_deref().unwrap_or_default();
        match state {
            // The publisher says at `warn` that the server is away.
            MirrorState::Away => debug!("the mirror of plugins: {said}"),
            _ if state == before => {}
            MirrorState::Held => warn!("the mirror of plugins: {said}"),
            MirrorState::Waiting => {
                info!("there is no bucket {} yet to mirror plugins from", self.bucket);
            }
            MirrorState::Following => info!("the plugin folder follows bucket {}", self.bucket),
        }
        self.snapshot.send_modify(|now| (now.state, now.reason) = (state, reason));
    }

    /// What became of an object: taken, or why not.
    pub(super) fn settled(&self, object: &str, refusal: Option<String>) {
        // Whoever can write to the bucket names its objects.
        let object: String = object.escape_debug().take(PluginName::MAX).collect();
        let (known, full) = {
            let refused = &self.snapshot.borrow().refused;
            (refused.get(&object).cloned(), refused.len() >= REFUSALS)
        };
        if known == refusal || (known.is_none() && full) {
            return;
        }
        if let Some(reason) = &refusal {
            warn!("bucket {}: object {object:?} is not taken: {reason}", self.bucket);
        }
        self.snapshot.send_modify(|now| match refusal {
            Some(reason) => drop(now.refused.insert(object, reason)),
            None => drop(now.refused.remove(&object)),
        });
    }
}
