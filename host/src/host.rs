//! The whole host as a value: build it, publish to it, subscribe to it, shut it down. The binary is
//! this and an HTTP server; an embedding program is this alone.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use tracing::warn;

use crate::{
    bus::{Announcer, Bus},
    clock::Clock,
    control::{Command, CommandName, Control as _, ControlError, Origin},
    event::{Draft, LogEntry, PluginName, Seq},
    metrics::Metrics,
    nats::{CURSOR, CommandListener, NatsOptions, NatsStatus, Publisher},
    pipeline::{self, Pipeline, PublishError, Receipt},
    plugin::{
        Cache, CacheError, Change, Disabled, PluginState, PluginStatus, Registry, RegistryError,
        TrustedKeys, WatchOptions, Watcher,
    },
    reaction::{Progress, Reactions},
    retention::{Holder, Policy, Retention, RetentionStatus},
    store::{
        Observer, OpenError, Reader, Store, StoreError,
        state::{EditError, Side, State, Write},
    },
};
pub use dead_letters::{Letters, Retried};
use operator::Operator;
pub use replay::Replayed;

mod dead_letters;
mod operator;
mod replay;

/// Why a host does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The database.
    #[error("cannot open the database: {0}")]
    Store(#[from] OpenError),
    /// Which plugins are disabled.
    #[error("cannot read which plugins are disabled: {0}")]
    Disabled(#[from] StoreError),
    /// The plugins.
    #[error(transparent)]
    Plugins(#[from] RegistryError),
    /// The cache of compiled plugins.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// What a host is made of.
#[derive(Debug, Clone)]
pub struct Builder {
    database: PathBuf,
    plugins: Option<PathBuf>,
    cache: Option<PathBuf>,
    watch: WatchOptions,
    trusted: TrustedKeys,
    nats: Option<NatsOptions>,
    nats_commands: Vec<CommandName>,
    clock: Clock,
    retention: Policy,
}

/// A running host.
pub struct Host {
    store: Arc<Store>,
    bus: Bus,
    pipeline: Pipeline,
    operator: Arc<Operator>,
    nats: Option<NatsStatus>,
    retention: Option<RetentionStatus>,
    metrics: Metrics,
    /// Gone once the host is shut down.
    running: Mutex<Option<Running>>,
}

/// What has to be stopped, in the order of the flow.
struct Running {
    retention: Option<Retention>,
    commands: Option<CommandListener>,
    watcher: Option<Watcher>,
    reactions: Reactions,
    sequencer: pipeline::Running,
    nats: Option<Publisher>,
}

/// What a shutdown gives the NATS server to confirm what is under way. What it does not confirm is
/// published by the next start.
const NATS_DRAIN: Duration = Duration::from_secs(3);

impl Builder {
    /// The folder of plugins. Without one, no plugin runs.
    pub fn plugins(mut self, folder: impl Into<PathBuf>) -> Self {
        self.plugins = Some(folder.into());
        self
    }

    /// The folder that keeps compiled plugins, for this user alone. Default: the database's name with
    /// `-plugins` behind it, in the same folder.
    pub fn plugin_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// How changes of the plugin folder are found. Default: the file system tells.
    pub fn watch(mut self, options: WatchOptions) -> Self {
        self.watch = options;
        self
    }

    /// Loads only plugins that one of these keys has signed. Without a key, any.
    pub fn trusted_keys(mut self, keys: TrustedKeys) -> Self {
        self.trusted = keys;
        self
    }

    /// The commands that are carried out when they come over NATS; `status` alone unless said
    /// otherwise. With none, the host does not listen for commands there.
    pub fn nats_commands(mut self, allowed: impl Into<Vec<CommandName>>) -> Self {
        self.nats_commands = allowed.into();
        self
    }

    /// What says when a reaction is escalated. Default: the system's clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Publishes every committed event to this NATS server, from the log's beginning on when it is
    /// the first time. The host starts and works with the server away.
    pub fn nats(mut self, options: NatsOptions) -> Self {
        self.nats = Some(options);
        self
    }

    /// What is deleted from the log, and when. Default: nothing.
    pub fn retention(mut self, policy: Policy) -> Self {
        self.retention = policy;
        self
    }

    /// Opens the log, loads the plugins, and starts everything that follows the log.
    ///
    /// # Errors
    /// [`StartError`] when the database or the plugin folder cannot be used. A plugin that cannot be
    /// loaded is no error: it is logged and shown by [`Host::plugins`].
    pub async fn start(self) -> Result<Host, StartError> {
        let cache = self.cache.unwrap_or_else(|| {
            let mut name = self.database.clone().into_os_string();
            name.push("-plugins");
            name.into()
        });
        let cache = match &self.plugins {
            Some(_) => Some(Cache::open(&cache)?),
            None => None,
        };
        let state = State::of(&self.database);
        let registry = Registry::new(self.plugins, cache, state)?.trusting(self.trusted);
        let plugins = Arc::new(registry);
        let metrics = Metrics::default();
        let announcer = Announcer::new();
        let feed = announcer.feed();
        let observer = CommitObserver { announcer, metrics: metrics.clone() };
        let store = Arc::new(Store::open(&self.database, observer)?);
        let bus = feed.bus(store.reader().clone(), store.head_at_open());
        metrics.head.set(store.head_at_open() as i64);
        for (name, since, by) in store.reader().disabled_plugins().await? {
            plugins.disable(&name, Disabled { since, by });
        }
        plugins.rescan(true).await;
        let watcher = Watcher::start(Arc::clone(&plugins), self.watch);
        let (pipeline, sequencer) =
            Pipeline::start(Arc::clone(&store), Arc::clone(&plugins), metrics.clone());
        let publisher =
            self.nats.clone().map(|nats| Publisher::spawn(nats, Arc::clone(&store), bus.clone()));
        let nats = publisher.as_ref().map(Publisher::status);
        let retention = (!self.retention.keeps_everything()).then(|| {
            let holders = holders(self.nats.is_some(), Arc::clone(&plugins));
            Retention::spawn(self.retention, Arc::clone(&store), holders)
        });
        let retention_status = retention.as_ref().map(Retention::status);
        let operator = Arc::new(Operator {
            plugins: Arc::clone(&plugins),
            store: Arc::clone(&store),
            bus: bus.clone(),
            progress: Progress::default(),
            nats: nats.clone(),
            letters: Mutex::default(),
            retention: retention_status.clone(),
            stop: watch::Sender::new(None),
        });
        let reactions = Reactions::start(
            &plugins,
            bus.clone(),
            Arc::clone(&store),
            pipeline.clone(),
            Arc::clone(&operator) as _,
            operator.progress.clone(),
            self.clock,
        )
        .await;
        let allowed = self.nats_commands;
        let commands = self
            .nats
            .filter(|_| !allowed.is_empty())
            .map(|nats| CommandListener::spawn(nats, allowed, Arc::clone(&operator) as _));
        let running =
            Running { retention, commands, watcher, reactions, sequencer, nats: publisher };
        let running = Mutex::new(Some(running));
        let retention = retention_status;
        Ok(Host { store, bus, pipeline, operator, nats, retention, metrics, running })
    }
}

impl Host {
    /// A host over the database file `database`, which is made when it does not exist.
    pub fn builder(database: impl Into<PathBuf>) -> Builder {
        Builder {
            database: database.into(),
            plugins: None,
            cache: None,
            watch: WatchOptions::default(),
            trusted: TrustedKeys::default(),
            nats: None,
            nats_commands: vec![CommandName::Status],
            clock: Clock::default(),
            retention: Policy::default(),
        }
    }

    /// Publishes one event. The receipt says that it is committed to disk.
    ///
    /// # Errors
    /// [`PublishError`] when it is not in the log, or nobody can know.
    pub async fn publish(&self, event: impl Into<Draft>) -> Result<Receipt, PublishError> {
        self.pipeline.publish(event).await
    }

    /// The way in, to keep or to hand on.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Every committed event, for whoever subscribes.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The log, for questions.
    pub fn log(&self) -> &Reader {
        self.store.reader()
    }

    /// The database file.
    pub fn database(&self) -> &Path {
        self.store.path()
    }

    /// The store, for sinks that keep a cursor.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Every plugin that runs, failed to or is disabled, by name.
    pub async fn plugins(&self) -> Vec<PluginStatus> {
        self.operator.plugins().await
    }

    /// Has reactions try dead letters again, at once where the plugin is loaded; else as soon as it
    /// is. One that is gone is no error, and not counted.
    ///
    /// # Errors
    /// [`StoreError`] when not all of them are retried; those that were stay so.
    pub async fn retry_dead_letters(&self, which: Letters) -> Result<Retried, StoreError> {
        self.operator.retry_letters(which).await
    }

    /// Throws dead letters away, with their attempts; the events stay in the log. How many; one that
    /// is gone is no error, and not counted.
    ///
    /// # Errors
    /// [`StoreError`] when not all of them are discarded; those that were stay so.
    pub async fn discard_dead_letters(&self, which: Letters) -> Result<u64, StoreError> {
        self.operator.discard_letters(which).await
    }

    /// Has a reaction come back to events that it has passed, at most as many as there is room for:
    /// the first of `events`. What it has emitted already is not emitted again.
    ///
    /// # Errors
    /// [`ControlError`] when there is no such reaction, or the log cannot be read or written.
    pub async fn replay(
        &self,
        plugin: &PluginName,
        events: &[Seq],
    ) -> Result<Replayed, ControlError> {
        self.operator.replay(plugin, events).await
    }

    /// How far everything has come, as JSON.
    ///
    /// # Errors
    /// [`StoreError`] when the log cannot be read.
    pub async fn status(&self) -> Result<Value, StoreError> {
        self.operator.status().await
    }

    /// Carries out a command, and says so in the log. See [`Control::execute`] for the answer.
    ///
    /// [`Control::execute`]: crate::control::Control::execute
    ///
    /// # Errors
    /// [`ControlError`] with the reason and the way out.
    pub async fn execute(&self, origin: Origin, command: Command) -> Result<Value, ControlError> {
        self.operator.execute(origin, command).await
    }

    /// Returns who asked for it once the command `shutdown` was given. Whoever runs the host calls
    /// [`Host::shutdown`] then.
    pub async fn asked_to_stop(&self) -> Origin {
        let mut stop = self.operator.stop.subscribe();
        match stop.wait_for(Option::is_some).await.ok().and_then(|origin| origin.clone()) {
            Some(origin) => origin,
            None => std::future::pending().await,
        }
    }

    /// Changes what a plugin remembers, between two of its calls; it is on disk when this returns.
    /// With `replace`, keys that are not written are deleted.
    ///
    /// # Errors
    /// [`EditError`] when a key or value is out of bounds, or nothing is committed.
    pub async fn edit_state(
        &self,
        plugin: &PluginName,
        side: Side,
        writes: Vec<Write>,
        replace: bool,
    ) -> Result<(), EditError> {
        self.operator.plugins.state().edit(&self.store, plugin, side, writes, replace).await
    }

    /// Brings the plugins in line with their folder now, as it lies there, without waiting for the
    /// watcher.
    pub async fn rescan_plugins(&self) -> Vec<Change> {
        self.operator.plugins.rescan(true).await.0
    }

    /// The folder of plugins, from the root on; `None` for a host without one.
    pub fn plugins_folder(&self) -> Option<PathBuf> {
        self.operator.plugins_folder()
    }

    /// How far each reaction has come, by plugin.
    pub fn reactions(&self) -> BTreeMap<String, u64> {
        self.operator.progress.all()
    }

    /// How the NATS publisher is doing; `None` for a host without one.
    pub fn nats(&self) -> Option<&NatsStatus> {
        self.nats.as_ref()
    }

    /// How retention is doing; `None` for a host that keeps everything.
    pub fn retention(&self) -> Option<&RetentionStatus> {
        self.retention.as_ref()
    }

    /// The host's own figures.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Returns with the reason once the host takes no more events: the database has failed, or
    /// [`Host::shutdown`] was called.
    pub async fn failed(&self) -> String {
        tokio::select! {
            reason = self.store.failed() => format!("the database failed: {reason}"),
            () = self.pipeline.closed() => "the sequencer ended".to_owned(),
        }
    }

    /// Ends what takes events in and everything behind it: submitted events are committed, cursors
    /// saved, and the WAL is moved into the main file. A second call does nothing.
    pub async fn shutdown(&self) {
        let Some(running) = self.running.lock().await.take() else { return };
        if let Some(retention) = running.retention {
            retention.stop().await;
        }
        if let Some(commands) = running.commands {
            commands.stop().await;
        }
        if let Some(watcher) = running.watcher {
            watcher.stop().await;
        }
        running.reactions.stop().await;
        running.sequencer.close().await;
        if let Some(nats) = running.nats
            && let Err(e) = nats.stop(NATS_DRAIN).await
        {
            warn!("{e}; what it did not confirm is published by the next start");
        }
        self.store.close().await;
    }
}

/// The cursors that retention waits for: NATS, and every reaction that was not disabled. A plugin that
/// could not be loaded may be one; without a cursor it holds nothing.
fn holders(nats: bool, plugins: Arc<Registry>) -> impl Fn() -> Vec<Holder> {
    move || {
        let nats = nats.then(|| Holder { cursor: CURSOR.to_owned(), begins_at_zero: true });
        let plugins = plugins.status().into_iter();
        let enabled = plugins.filter(|plugin| match plugin.state {
            PluginState::Disabled => false,
            PluginState::Failed => true,
            PluginState::Running | PluginState::Quarantined => plugin.roles.contains(&"reaction"),
        });
        let reactions = enabled.map(|plugin| Holder {
            cursor: format!("reaction/{}", plugin.name),
            begins_at_zero: false,
        });
        nats.into_iter().chain(reactions).collect()
    }
}

/// Announces commits on the bus and counts them.
struct CommitObserver {
    announcer: Announcer,
    metrics: Metrics,
}

impl Observer for CommitObserver {
    fn committed(&mut self, entries: &[Arc<LogEntry>], took: Duration) {
        self.metrics.commit_seconds.observe(took.as_secs_f64());
        if let Some(last) = entries.last() {
            self.metrics.head.set(last.seq as i64);
        }
        self.announcer.committed(entries, took);
    }
}
