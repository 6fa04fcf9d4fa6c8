//! Carries out commands on the parts of a host, whoever gave them, and says each of them in the log.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::future::{BoxFuture, FutureExt as _};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tracing::{info, warn};

use crate::{
    bus::Bus,
    control::{Command, Control, ControlError, Origin},
    dashboard::{Board, Change},
    event::{NodeName, PluginName, Seq, Timestamp},
    metrics::Metrics,
    nats::{
        CURSOR, FollowSnapshot, FollowStatus, IngestStatus, MirrorStatus, NatsState, NatsStatus,
    },
    plugin::{Disabled, PluginStatus, Registry, ReloadError, RollBackError},
    reaction::Progress,
    retention::RetentionStatus,
    store::{Effect, Store, StoreError},
};

pub(super) struct Operator {
    pub(super) plugins: Arc<Registry>,
    pub(super) store: Arc<Store>,
    pub(super) bus: Bus,
    pub(super) progress: Progress,
    pub(super) nats: Option<NatsStatus>,
    pub(super) mirror: Option<MirrorStatus>,
    pub(super) ingest: Option<IngestStatus>,
    pub(super) metrics: Metrics,
    pub(super) node: NodeName,
    pub(super) board: Board,
    pub(super) follow: Option<FollowStatus>,
    /// Held by who has dead letters retried or discarded.
    pub(super) letters: Mutex<()>,
    pub(super) retention: Option<RetentionStatus>,
    /// Becomes who asked the host to end.
    pub(super) stop: watch::Sender<Option<Origin>>,
}

impl Operator {
    /// Every plugin that runs, failed to or is disabled, by name. What each has not done is left out
    /// while the log cannot be read.
    pub(super) async fn plugins(&self) -> Vec<PluginStatus> {
        let positions = self.progress.all();
        let backlogs = self.store.reader().backlogs().await.inspect_err(|e| warn!("{e}")).ok();
        let mut plugins = self.plugins.status();
        for plugin in &mut plugins {
            plugin.cursor = positions.get(&plugin.name).copied();
            plugin.backlog = backlogs
                .as_ref()
                .map(|backlogs| backlogs.get(&plugin.name).copied().unwrap_or_default());
        }
        plugins
    }

    /// How far each sink has come in the log.
    pub(super) fn cursors(&self) -> Vec<(String, Seq)> {
        let reactions = self.progress.all().into_iter();
        let reactions = reactions.map(|(plugin, seq)| (format!("reaction/{plugin}"), seq));
        let nats = self.nats.as_ref().map(|nats| (CURSOR.to_owned(), nats.snapshot().cursor));
        reactions.chain(nats).collect()
    }

    /// The folder of plugins, from the root on; `None` for a host without one.
    pub(super) fn plugins_folder(&self) -> Option<PathBuf> {
        self.plugins.folder().map(from_the_root)
    }

    /// How far everything has come.
    pub(super) async fn status(&self) -> Result<Value, StoreError> {
        let backlogs = self.store.reader().backlogs().await?;
        let dead_letters: u64 = backlogs.values().map(|backlog| backlog.dead_letters).sum();
        let unresolved: u64 = backlogs.values().map(|backlog| backlog.unresolved).sum();
        let waiting: u64 = backlogs.values().map(|backlog| backlog.waiting).sum();
        let (kept, pruned) = self.store.reader().kept_and_pruned().await?;
        let refused = self.store.reader().refused_count().await?;
        Ok(json!({
            "node": self.node,
            "version": env!("CARGO_PKG_VERSION"),
            "head": self.bus.head(),
            "events": kept,
            "pruned": pruned,
            "indexed": self.store.indexed(),
            "origin": self.store.origin(),
            "database": from_the_root(self.store.path()),
            "plugins_folder": self.plugins_folder(),
            "nats": self.nats.as_ref().map(|status| {
                let nats = status.snapshot();
                json!({
                    "state": nats.state.as_str(),
                    "connected": matches!(nats.state, NatsState::Publishing | NatsState::Held),
                    "cursor": nats.cursor,
                    "lag": self.bus.head().saturating_sub(nats.cursor),
                    "sent": nats.sent,
                    "acknowledged": nats.acknowledged,
                    "skipped": nats.skipped,
                    "streams": nats.streams,
                    "last_error": nats.last_error.map(|(at, error)| json!({"at": at, "error": error})),
                })
            }),
            "plugins": self.plugins.status().iter().map(|plugin| json!({
                "name": plugin.name,
                "state": plugin.state,
                "version": plugin.version,
                "hash": plugin.hash,
                "load_error": plugin.load_error,
            })).collect::<Vec<_>>(),
            "mirror": self.mirror.as_ref().map(|status| {
                let mirror = status.snapshot();
                json!({
                    "bucket": status.bucket().as_str(),
                    "state": mirror.state.as_str(),
                    "reason": mirror.reason,
                    "refused": mirror.refused,
                })
            }),
            "ingest": self.ingest.as_ref().map(|status| {
                let ingest = status.snapshot();
                let mut said = json!({
                    "mode": ingest.how.as_str(),
                    "state": ingest.state.as_str(),
                    "last_error": ingest.last_error.map(|(at, error)| json!({"at": at, "error": error})),
                });
                let counts = ingest.counts.named().map(|(name, n)| (name.to_owned(), n.into()));
                said.as_object_mut().into_iter().for_each(|said| said.extend(counts.clone()));
                said
            }),
            "refused": refused.kept,
            "follow": self.follow.as_ref().map(|status| follow(status.snapshot())),
            "cursors": self.progress.all(),
            "overtaken": self.bus.overtaken(),
            "retention": self.retention.as_ref().map(RetentionStatus::snapshot),
            "waiting": waiting,
            "dead_letters": dead_letters,
            "unresolved": unresolved,
        }))
    }

    async fn run(&self, origin: &Origin, command: &Command) -> Result<Value, ControlError> {
        match command {
            Command::Status => Ok(self.status().await?),
            Command::Reload(None) => {
                self.plugins.rescan(true).await;
                Ok(json!({"plugins": self.plugins().await}))
            }
            Command::Reload(Some(name)) => {
                self.plugins.reload(name).await?;
                self.plugin(name).await
            }
            Command::RollBack(name) => {
                self.plugins.roll_back(name, &origin.to_string())?;
                self.plugin(name).await
            }
            Command::Disable(name) => {
                self.known(name)?;
                let (since, by) = (Timestamp::now(), origin.to_string());
                let effect = Effect::DisablePlugin { name: name.clone(), since, by: by.clone() };
                // On disk first: what was answered holds over a restart.
                self.store.apply(vec![effect]).await?;
                self.plugins.disable(name, Disabled { since, by: by.clone() });
                self.board.tell(Change::PluginDisabled { plugin: name.clone(), by });
                self.plugin(name).await
            }
            Command::Enable(name) => {
                self.known(name)?;
                self.store.apply(vec![Effect::EnablePlugin { name: name.clone() }]).await?;
                let (plugin, by) = (name.clone(), origin.to_string());
                self.board.tell(Change::PluginEnabled { plugin, by });
                self.plugins.enable(name).await?;
                self.plugin(name).await.or(Ok(Value::Null))
            }
            Command::Shutdown => {
                self.stop.send_replace(Some(origin.clone()));
                Ok(Value::Null)
            }
        }
    }

    pub(super) fn known(&self, name: &PluginName) -> Result<(), ControlError> {
        match self.plugins.knows(name) {
            true => Ok(()),
            false => Err(ControlError::UnknownPlugin(format!("there is no plugin {name}"))),
        }
    }

    async fn plugin(&self, name: &PluginName) -> Result<Value, ControlError> {
        let status = self.plugins().await.into_iter().find(|plugin| plugin.name == name.as_str());
        match status.map(serde_json::to_value) {
            Some(Ok(status)) => Ok(status),
            Some(Err(e)) => Err(ControlError::Unavailable(e.to_string())),
            None => Err(ControlError::UnknownPlugin(format!("there is no plugin {name}"))),
        }
    }
}

fn follow(now: FollowSnapshot) -> Value {
    json!({
        "state": now.state.as_str(),
        "stream": now.stream,
        "origin": now.origin,
        "last": now.last,
        "stream_seq": now.stream_seq,
        "lag": now.lag,
        "taken": now.taken,
        "repeated": now.repeated,
        "foreign": now.foreign,
        "gap_count": now.gap_count,
        "gaps": now.gaps,
        "reset_at": now.reset_at,
        "last_error": now.last_error.map(|(at, error)| json!({"at": at, "error": error})),
    })
}

/// Whoever asks may run elsewhere.
fn from_the_root(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl Control for Operator {
    fn execute(
        &self,
        origin: Origin,
        command: Command,
    ) -> BoxFuture<'_, Result<Value, ControlError>> {
        async move {
            let result = self.run(&origin, &command).await;
            match &result {
                Ok(_) => info!("command from {origin}: {command}"),
                Err(e) => warn!("command from {origin} failed: {command}: {e}"),
            }
            result
        }
        .boxed()
    }
}

impl From<StoreError> for ControlError {
    fn from(e: StoreError) -> Self {
        Self::Unavailable(e.to_string())
    }
}

impl From<ReloadError> for ControlError {
    fn from(e: ReloadError) -> Self {
        match e {
            ReloadError::Unknown(_) => Self::UnknownPlugin(e.to_string()),
            ReloadError::Disabled(_) => Self::Conflict(e.to_string()),
            ReloadError::NotLoaded(e) => {
                Self::NotLoaded { step: e.step.to_string(), reason: e.to_string() }
            }
        }
    }
}

impl From<RollBackError> for ControlError {
    fn from(e: RollBackError) -> Self {
        match e {
            RollBackError::Unknown(_) => Self::UnknownPlugin(e.to_string()),
            RollBackError::NothingBefore(_) => Self::Conflict(e.to_string()),
        }
    }
}
