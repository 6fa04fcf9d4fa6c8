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
    dashboard::Board,
    event::{Draft, LogEntry, PluginName, Seq},
    metrics::Metrics,
    nats::{
        BucketName, CURSOR, CommandListener, FollowOptions, FollowStatus, Follower, Ingest,
        IngestStatus, Ingester, Mirror, MirrorStatus, NatsOptions, NatsStatus, NewFollower,
        Publisher, Teller,
    },
    pipeline::{self, Pipeline, PublishError, Receipt},
    plugin::{
        Cache, CacheError, Change, Disabled, Duty, PluginState, PluginStatus, Registry,
        RegistryError, TrustedKeys, WatchOptions, Watcher,
    },
    reaction::{Progress, Reactions},
    retention::{Holder, Policy, Retention, RetentionStatus},
    store::{
        Observer, OpenError, Reader, Store, StoreError,
        state::{EditError, Side, State, Write},
    },
};
pub use dead_letters::{Letters, Retried};
use lag::Lookout;
use node::Node;
pub use node::NodeOptions;
use operator::Operator;
pub use refused::RefusedChoice;
pub use replay::Replayed;

mod dead_letters;
mod figures;
mod lag;
mod mirror;
mod node;
mod operator;
mod refused;
mod replay;

/// Why a host does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The database.
    #[error("cannot open the database: {0}")]
    Store(#[from] OpenError),
    /// What the log says about how it is to be run.
    #[error("cannot read the database: {0}")]
    Read(#[from] StoreError),
    /// A host's own log cannot become a copy of another.
    #[error(
        "{} is a host's own log, so it cannot become a copy of another one (name a file that does not \
         exist yet with --db)", database.display()
    )]
    OwnLog {
        /// The database.
        database: PathBuf,
    },
    /// A copy takes no events of its own.
    #[error(
        "{} is a copy of another host's log, from stream {stream} (start it with --follow, or name \
         another file with --db)", database.display()
    )]
    Copy {
        /// The database.
        database: PathBuf,
        /// What it was following.
        stream: String,
    },
    /// What a follower has is published already.
    #[error(
        "a follower does not publish: the events are in the stream that it follows (leave out either \
         the NATS server of [nats] or that of [follow])"
    )]
    FollowsAndPublishes,
    /// The plugins.
    #[error(transparent)]
    Plugins(#[from] RegistryError),
    /// The cache of compiled plugins.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Plugins are to be mirrored, but not from anywhere or not to anywhere.
    #[error("plugins cannot be mirrored from bucket {bucket}: there is no {missing}")]
    Mirror {
        /// The bucket.
        bucket: BucketName,
        /// What there is not, and the way out.
        missing: &'static str,
    },
}

/// What a host is made of.
#[derive(Debug, Clone)]
pub struct Builder {
    database: PathBuf,
    plugins: Option<PathBuf>,
    cache: Option<PathBuf>,
    watch: WatchOptions,
    trusted: TrustedKeys,
    mirror: Option<BucketName>,
    nats: Option<NatsOptions>,
    nats_commands: Vec<CommandName>,
    ingest: Ingest,
    metrics_every: Option<Duration>,
    dashboard: bool,
    node: NodeOptions,
    follow: Option<FollowOptions>,
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
    mirror: Option<MirrorStatus>,
    follow: Option<FollowStatus>,
    retention: Option<RetentionStatus>,
    /// Gone once the host is shut down.
    running: Mutex<Option<Running>>,
}

/// What has to be stopped, in the order of the flow.
struct Running {
    retention: Option<Retention>,
    ingest: Option<Ingester>,
    follower: Option<Follower>,
    commands: Option<CommandListener>,
    mirror: Option<Mirror>,
    watcher: Option<Watcher>,
    reactions: Reactions,
    node: Option<Node>,
    sequencer: Option<pipeline::Running>,
    lookout: Lookout,
    nats: Option<Publisher>,
    teller: Option<Teller>,
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

    /// Keeps the plugins of this bucket, on the NATS server, in the folder. Needs both.
    pub fn mirror(mut self, bucket: BucketName) -> Self {
        self.mirror = Some(bucket);
        self
    }

    /// The commands that are carried out when they come over NATS; `status` alone unless said
    /// otherwise. With none, the host does not listen for commands there.
    pub fn nats_commands(mut self, allowed: impl Into<Vec<CommandName>>) -> Self {
        self.nats_commands = allowed.into();
        self
    }

    /// Whether and how events come in over NATS. Default: they do not.
    pub fn ingest(mut self, how: Ingest) -> Self {
        self.ingest = how;
        self
    }

    /// The time between two tellings of the host's figures over NATS; `None` for none. Default 10 s.
    pub fn metrics_every(mut self, every: Option<Duration>) -> Self {
        self.metrics_every = every;
        self
    }

    /// Whether changes, like a plugin that was loaded, are told over NATS. Default: they are.
    pub fn dashboard(mut self, told: bool) -> Self {
        self.dashboard = told;
        self
    }

    /// Which node the host is, and what it tells of itself as events.
    pub fn node(mut self, options: NodeOptions) -> Self {
        self.node = options;
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

    /// Makes the log a copy of the one that another host publishes, which takes no events but those.
    /// Only reactions run, and only such as add no events.
    pub fn follow(mut self, options: FollowOptions) -> Self {
        self.follow = Some(options);
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
        let mirror = self.mirrored()?;
        if self.follow.is_some() && self.nats.is_some() {
            return Err(StartError::FollowsAndPublishes);
        }
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
        let duty = if self.follow.is_some() { Duty::OnlyReact } else { Duty::Everything };
        let registry = Registry::new(self.plugins, cache, state)?;
        let mut registry = registry.trusting(self.trusted).with_duty(duty);
        if let Some((bucket, _)) = &mirror {
            registry = registry.mirroring(bucket.as_str())?;
        }
        let board = Board::default();
        // Before the first plugin is loaded, so that this is told as well.
        let changes = self.dashboard.then(|| board.listen());
        let registry = registry.telling(board.clone());
        let plugins = Arc::new(registry);
        let metrics = Metrics::default();
        let announcer = Announcer::new();
        let feed = announcer.feed();
        let observer = CommitObserver { announcer, metrics: metrics.clone() };
        let store = Arc::new(Store::open(&self.database, observer)?);
        check_kind(&store, self.follow.as_ref()).await?;
        let bus = feed.bus(store.reader().clone(), store.head_at_open());
        metrics.head.set(store.head_at_open() as i64);
        for (name, since, by) in store.reader().disabled_plugins().await? {
            plugins.disable(&name, Disabled { since, by });
        }
        plugins.rescan(true).await;
        let watcher = Watcher::start(Arc::clone(&plugins), self.watch);
        let (pipeline, sequencer) = match &self.follow {
            Some(follow) => (Pipeline::barred(&barred(follow)), None),
            None => {
                let plugins = Arc::clone(&plugins);
                let (way, running) = Pipeline::start(Arc::clone(&store), plugins, metrics.clone());
                (way, Some(running))
            }
        };
        let publisher =
            self.nats.clone().map(|nats| Publisher::spawn(nats, Arc::clone(&store), bus.clone()));
        let nats = publisher.as_ref().map(Publisher::status);
        let mirror = mirror.map(|(bucket, nats)| {
            Mirror::spawn(nats, bucket, Arc::new(mirror::Folder(Arc::clone(&plugins))))
        });
        let mirror_status = mirror.as_ref().map(Mirror::status);
        let retention = (!self.retention.keeps_everything()).then(|| {
            let holders = holders(self.nats.is_some(), Arc::clone(&plugins));
            Retention::spawn(self.retention, Arc::clone(&store), holders)
        });
        let retention_status = retention.as_ref().map(Retention::status);
        let ingest = self.nats.clone().and_then(|nats| {
            Ingester::spawn(nats, self.ingest, pipeline.clone(), Arc::clone(&store))
        });
        let follower = self.follow.map(|options| NewFollower::new(options, Arc::clone(&store)));
        let follow = follower.as_ref().map(NewFollower::status);
        let operator = Arc::new(Operator {
            plugins: Arc::clone(&plugins),
            store: Arc::clone(&store),
            bus: bus.clone(),
            progress: Progress::default(),
            nats: nats.clone(),
            mirror: mirror_status.clone(),
            ingest: ingest.as_ref().map(Ingester::status),
            metrics,
            node: self.node.name.clone(),
            board: board.clone(),
            follow: follow.clone(),
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
        let is_telling = changes.is_some() || self.metrics_every.is_some();
        let teller = self.nats.clone().filter(|_| is_telling).map(|nats| {
            let (name, figures) = (self.node.name.clone(), Arc::clone(&operator) as _);
            Teller::spawn(nats, name, figures, self.metrics_every, changes)
        });
        let told = nats.clone().filter(|_| self.node.events).map(|nats| node::Teller {
            options: self.node,
            pipeline: pipeline.clone(),
            bus: bus.clone(),
            nats,
        });
        let node = told.map(Node::start);
        let lookout = Lookout::start(Arc::clone(&operator), board);
        // After the reactions have their places: they see all that comes from here on.
        let follower = follower.map(NewFollower::start);
        let allowed = self.nats_commands;
        let commands = self
            .nats
            .filter(|_| !allowed.is_empty())
            .map(|nats| CommandListener::spawn(nats, allowed, Arc::clone(&operator) as _));
        let running = Running {
            retention,
            follower,
            ingest,
            commands,
            mirror,
            watcher,
            reactions,
            node,
            sequencer,
            lookout,
            nats: publisher,
            teller,
        };
        let running = Mutex::new(Some(running));
        let (mirror, retention) = (mirror_status, retention_status);
        Ok(Host { store, bus, pipeline, operator, nats, mirror, follow, retention, running })
    }

    /// Which bucket is mirrored, and on which server.
    fn mirrored(&self) -> Result<Option<(BucketName, NatsOptions)>, StartError> {
        let Some(bucket) = self.mirror.clone() else { return Ok(None) };
        let missing = match (&self.nats, &self.plugins) {
            (Some(nats), Some(_)) => return Ok(Some((bucket, nats.clone()))),
            (None, _) => "NATS server (name one with --nats, or `url` in [nats])",
            (_, None) => "plugin folder (name one with --plugins, or `folder` in [plugins])",
        };
        Err(StartError::Mirror { bucket, missing })
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
            mirror: None,
            nats: None,
            nats_commands: vec![CommandName::Status],
            ingest: Ingest::Off,
            metrics_every: Some(Duration::from_secs(10)),
            dashboard: true,
            node: NodeOptions::default(),
            follow: None,
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

    /// How the mirror of plugins is doing; `None` for a host without one.
    pub fn mirror(&self) -> Option<&MirrorStatus> {
        self.mirror.as_ref()
    }

    /// How the follower is doing; `None` for a host with a log of its own.
    pub fn follow(&self) -> Option<&FollowStatus> {
        self.follow.as_ref()
    }

    /// How retention is doing; `None` for a host that keeps everything.
    pub fn retention(&self) -> Option<&RetentionStatus> {
        self.retention.as_ref()
    }

    /// How the way in over NATS is doing; `None` for a host without one.
    pub fn ingest(&self) -> Option<&IngestStatus> {
        self.operator.ingest.as_ref()
    }

    /// Where changes are told: to listen to.
    pub fn board(&self) -> &Board {
        &self.operator.board
    }

    /// Throws away messages that were refused on the way in. How many; one that is gone is no error,
    /// and not counted.
    ///
    /// # Errors
    /// [`StoreError`] when they are not discarded.
    pub async fn discard_refused(&self, which: RefusedChoice) -> Result<u64, StoreError> {
        self.operator.discard_refused(which).await
    }

    /// The host's own figures, to count in.
    pub fn metrics(&self) -> &Metrics {
        &self.operator.metrics
    }

    /// The host's own figures, with all that is only known when somebody asks.
    pub async fn measure(&self) -> Metrics {
        self.operator.measure().await
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
        if let Some(ingest) = running.ingest {
            ingest.stop().await;
        }
        if let Some(follower) = running.follower {
            follower.stop().await;
        }
        if let Some(commands) = running.commands {
            commands.stop().await;
        }
        if let Some(mirror) = running.mirror {
            mirror.stop().await;
        }
        if let Some(watcher) = running.watcher {
            watcher.stop().await;
        }
        if let Some(node) = running.node {
            node.stop().await;
        }
        running.reactions.stop().await;
        if let Some(sequencer) = running.sequencer {
            sequencer.close().await;
        }
        if let Some(nats) = running.nats
            && let Err(e) = nats.stop(NATS_DRAIN).await
        {
            warn!("{e}; what it did not confirm is published by the next start");
        }
        drop(running.lookout);
        if let Some(teller) = running.teller {
            teller.stop().await;
        }
        self.store.close().await;
    }
}

/// Refuses a log of the other kind: a host's own to follow with, or a copy without.
async fn check_kind(store: &Store, follow: Option<&FollowOptions>) -> Result<(), StartError> {
    let database = || store.path().to_owned();
    match (follow, store.reader().followed().await?) {
        (None, Some(copy)) => Err(StartError::Copy { database: database(), stream: copy.stream }),
        (Some(_), None) if store.head_at_open() > 0 => {
            Err(StartError::OwnLog { database: database() })
        }
        _ => Ok(()),
    }
}

/// What whoever sends an event to a follower is told.
fn barred(follow: &FollowOptions) -> String {
    format!(
        "this is a follower, a copy of another host's log from {follow} (send events to that host)"
    )
}

/// The cursors that retention waits for: NATS, and every reaction that was not disabled. A plugin that
/// could not be loaded, or not yet, may be one; without a cursor it holds nothing.
fn holders(nats: bool, plugins: Arc<Registry>) -> impl Fn() -> Vec<Holder> {
    move || {
        let nats = nats.then(|| Holder { cursor: CURSOR.to_owned(), begins_at_zero: true });
        let plugins = plugins.status().into_iter();
        let enabled = plugins.filter(|plugin| match plugin.state {
            PluginState::Disabled => false,
            PluginState::Failed | PluginState::Loading => true,
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
