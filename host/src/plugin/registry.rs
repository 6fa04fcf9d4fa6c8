//! What is loaded. Compares the plugin folder with what runs, by content, and swaps in what is new
//! once it works.
//!
//! Readers take a snapshot for a batch and are never in the way of a reload: an old version lives
//! until the last batch that began with it ends. A version that fails at any step leaves the
//! running one in place, and why it failed stays visible until the file changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};
use wasmtime::component::{Component, Linker};

use super::{
    cache::Cache,
    component::{LoadError, Step, compile},
    engine::Engine,
    environment::Environment,
    folder::{Candidate, Fingerprint, Found, Look, read, scan},
    guest::Guest,
    linker::linker,
    manifest::Manifest,
    plugin::Plugin,
    status::{PluginState, PluginStatus},
};
use crate::{
    event::PluginName,
    store::state::{Pending, State},
    strict_toml,
};

/// What runs, at one moment.
#[derive(Default)]
pub struct PluginSet {
    /// By (order, name).
    pub filters: Vec<Arc<Plugin>>,
    /// By (order, name).
    pub enrichers: Vec<Arc<Plugin>>,
    /// By name.
    pub reactions: Vec<Arc<Plugin>>,
}

impl PluginSet {
    /// What filters and enrichers wrote since the last taking, for the commit of the batch.
    pub fn take_written(&self) -> Vec<Pending> {
        self.pipeline().filter_map(|plugin| plugin.pipeline_state().take()).collect()
    }

    /// Whether filters or enrichers have written anything since the last taking.
    pub fn has_written(&self) -> bool {
        self.pipeline().any(|plugin| plugin.pipeline_state().waiting() > 0)
    }

    /// Undoes what filters and enrichers wrote since the last taking.
    pub fn give_up_written(&self) {
        self.pipeline().for_each(|plugin| plugin.pipeline_state().give_up());
    }

    fn pipeline(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.filters.iter().chain(&self.enrichers)
    }
}

/// Why the registry cannot work.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// The engine cannot be set up on this machine.
    #[error("the WebAssembly engine cannot be set up: {0}")]
    Engine(String),
    /// The plugin folder cannot be read.
    #[error("plugin folder {}: {source} (create it, or name another with --plugins)", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// What a rescan changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A plugin that did not run now does.
    Loaded(PluginName),
    /// A new version or sidecar took over.
    Reloaded(PluginName),
    /// Its file is gone.
    Unloaded(PluginName),
    /// What is in the folder cannot run; the version that ran still does.
    Failed(LoadError),
}

/// The loaded plugins.
pub struct Registry {
    engine: Engine,
    linker: Linker<Guest>,
    folder: Option<PathBuf>,
    cache: Option<Arc<Cache>>,
    state: State,
    environment: Environment,
    set: watch::Sender<Arc<PluginSet>>,
    known: Mutex<BTreeMap<String, Known>>,
    /// One rescan at a time.
    scanning: tokio::sync::Mutex<()>,
    /// The folder could not be read the last time.
    unreadable: AtomicBool,
}

/// What is known of one file.
#[derive(Default)]
struct Known {
    running: Option<Arc<Plugin>>,
    /// Of the files that were last tried, whether they run or not.
    tried: Option<Fingerprint>,
    /// How these files looked, so that they need not be read again.
    look: Option<Look>,
    error: Option<LoadError>,
    loads: u64,
    missing: bool,
    sidecar_missing: bool,
}

impl Registry {
    /// A registry over `folder`, or one that stays empty; what it compiles is kept in `cache`, what
    /// plugins remember in `state`.
    /// Nothing is loaded yet.
    ///
    /// # Errors
    /// [`RegistryError`] when the folder cannot be read, or WebAssembly cannot run here.
    pub fn new(
        folder: Option<PathBuf>,
        cache: Option<Cache>,
        state: State,
    ) -> Result<Self, RegistryError> {
        if let Some(path) = &folder {
            std::fs::read_dir(path)
                .map_err(|source| RegistryError::Folder { path: path.clone(), source })?;
        }
        let fault = |e: wasmtime::Error| RegistryError::Engine(format!("{e:#}"));
        let engine = Engine::new().map_err(fault)?;
        let linker = linker(engine.wasmtime()).map_err(fault)?;
        Ok(Self {
            engine,
            linker,
            folder,
            cache: cache.map(Arc::new),
            state,
            environment: Environment::live(),
            set: watch::Sender::new(Arc::default()),
            known: Mutex::default(),
            scanning: tokio::sync::Mutex::default(),
            unreadable: AtomicBool::new(false),
        })
    }

    /// With other surroundings than a host's for what is loaded from now on.
    pub fn with_environment(self, environment: Environment) -> Self {
        Self { environment, ..self }
    }

    /// The folder, if there is one.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// What plugins remember.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What runs now. Hold it for one batch, not longer: it keeps old versions alive.
    pub fn snapshot(&self) -> Arc<PluginSet> {
        Arc::clone(&self.set.borrow())
    }

    /// What runs, with a notice of each change.
    pub fn follow(&self) -> watch::Receiver<Arc<PluginSet>> {
        self.set.subscribe()
    }

    /// Brings what runs in line with the folder. `settled` says that nobody is writing at the
    /// moment, so that what lies there is taken as it is.
    ///
    /// Returns what changed, and whether some file was still being written or has just vanished,
    /// so that another rescan is due.
    pub async fn rescan(&self, settled: bool) -> (Vec<Change>, bool) {
        let _one_at_a_time = self.scanning.lock().await;
        let Some(folder) = self.folder.clone() else { return (Vec::new(), false) };
        let looks = self.looks();
        let scanned = tokio::task::spawn_blocking(move || scan(&folder, settled, &looks)).await;
        let found = match scanned {
            Ok(Ok(found)) => {
                self.unreadable.store(false, Ordering::Relaxed);
                found
            }
            Ok(Err(e)) => {
                if !self.unreadable.swap(true, Ordering::Relaxed) {
                    warn!("the plugin folder cannot be read, what runs stays: {e}");
                }
                return (Vec::new(), false);
            }
            Err(e) => {
                warn!("the scan of the plugin folder broke off, what runs stays: {e}");
                return (Vec::new(), false);
            }
        };
        let mut again = false;
        let mut changes = Vec::new();
        let present: BTreeSet<String> = found.keys().cloned().collect();
        for (name, found) in found {
            match found {
                Found::Unsettled => again = true,
                Found::Unchanged => self.present(&name),
                Found::Candidate(candidate) if !settled && self.lost_sidecar(&name, &candidate) => {
                    again = true;
                }
                Found::Unreadable(error) => changes.extend(self.refuse(&name, None, error)),
                Found::Candidate(candidate) => {
                    changes.extend(self.try_candidate(&name, candidate).await)
                }
            }
        }
        again |= self.unload_missing(&present, &mut changes);
        if !changes.is_empty() {
            self.publish();
        }
        for change in &changes {
            report(change);
        }
        (changes, again)
    }

    /// Every plugin that runs or failed to, by name. `cursor` is left for who knows it.
    pub fn status(&self) -> Vec<PluginStatus> {
        self.known().iter().map(|(name, known)| status(name, known)).collect()
    }

    /// Loads one component as a rescan would, with the sidecar beside it, and leaves what runs alone.
    ///
    /// # Errors
    /// [`LoadError`] with the step at which it would not be loaded, and why.
    pub async fn examine(&self, file: &Path) -> Result<Plugin, LoadError> {
        let fault = |reason: String| LoadError { file: file.into(), step: Step::Read, reason };
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| fault("not a file".into()))?;
        let path = file.to_owned();
        match tokio::task::spawn_blocking(move || read(&path, true, None)).await {
            Ok(Some(Found::Candidate(candidate))) => self.load(&name, candidate, None).await,
            Ok(Some(Found::Unreadable(error))) => Err(error),
            Ok(Some(Found::Unsettled | Found::Unchanged)) => Err(fault("is being written".into())),
            Ok(None) => Err(fault("No such file or directory".into())),
            Err(e) => Err(fault(e.to_string())),
        }
    }

    /// How the files of each name looked that was tried.
    fn looks(&self) -> BTreeMap<String, Look> {
        let known = self.known();
        let tried = known.iter().filter(|(_, known)| known.tried.is_some());
        tried.filter_map(|(name, known)| Some((name.clone(), known.look.clone()?))).collect()
    }

    fn present(&self, name: &str) {
        if let Some(known) = self.known().get_mut(name) {
            known.missing = false;
        }
    }

    /// Whether its sidecar has just vanished. Gone twice in a row it is gone for good; once may be
    /// the middle of a save, and a plugin must not run without its sidecar for so long.
    fn lost_sidecar(&self, name: &str, candidate: &Candidate) -> bool {
        let mut known = self.known();
        let Some(known) = known.get_mut(name) else { return false };
        let had = known.tried.as_ref().is_some_and(|tried| tried.sidecar.is_some());
        let lost = had && candidate.sidecar.is_none() && !known.sidecar_missing;
        if lost {
            known.missing = false;
            known.sidecar_missing = true;
        }
        lost
    }

    async fn try_candidate(&self, name: &str, candidate: Candidate) -> Option<Change> {
        let (before, component) = {
            let mut known = self.known();
            let known = known.entry(name.to_owned()).or_default();
            known.missing = false;
            known.sidecar_missing = false;
            known.look = candidate.look.clone();
            if known.tried.as_ref() == Some(&candidate.fingerprint) {
                return None;
            }
            let same =
                known.running.as_ref().filter(|p| **p.hash() == *candidate.fingerprint.component);
            (known.running.is_some(), same.map(|plugin| plugin.component().clone()))
        };
        let fingerprint = candidate.fingerprint.clone();
        match self.load(name, candidate, component).await {
            Ok(plugin) => {
                let change = match before {
                    true => Change::Reloaded(plugin.name().clone()),
                    false => Change::Loaded(plugin.name().clone()),
                };
                let mut known = self.known();
                let known = known.entry(name.to_owned()).or_default();
                known.running = Some(Arc::new(plugin));
                known.tried = Some(fingerprint);
                known.error = None;
                known.loads += 1;
                Some(change)
            }
            Err(error) => self.refuse(name, Some(fingerprint), error),
        }
    }

    /// Remembers why a version does not run; says so once for each cause.
    fn refuse(&self, name: &str, tried: Option<Fingerprint>, error: LoadError) -> Option<Change> {
        let mut known = self.known();
        let known = known.entry(name.to_owned()).or_default();
        known.missing = false;
        known.tried = tried;
        let news = known.error.as_ref() != Some(&error);
        known.error = Some(error.clone());
        news.then_some(Change::Failed(error))
    }

    async fn load(
        &self,
        name: &str,
        candidate: Candidate,
        component: Option<Component>,
    ) -> Result<Plugin, LoadError> {
        let Candidate { file, bytes, sidecar, fingerprint, .. } = candidate;
        let fault = |step, reason| LoadError { file: file.clone(), step, reason };
        let plugin_name: PluginName = name.parse().map_err(|e| {
            fault(
                Step::Read,
                format!("the file's stem is the plugin's name, and {name:?} {e} (rename the file)"),
            )
        })?;
        let sidecar_file = file.with_extension("toml");
        let manifest: Manifest = match sidecar {
            Some(text) => strict_toml::from_str(&text, &sidecar_file).map_err(|e| LoadError {
                file: sidecar_file.clone(),
                step: Step::Sidecar,
                reason: format!("line {}: {}", e.line, e.reason),
            })?,
            None => Manifest::default(),
        };
        let component = match component {
            Some(component) => component,
            None => {
                let engine = self.engine.wasmtime().clone();
                let cache = self.cache.clone();
                let hash = Arc::clone(&fingerprint.component);
                let compiled = tokio::task::spawn_blocking(move || {
                    let cache = cache.as_deref();
                    if let Some(known) = cache.and_then(|cache| cache.load(&engine, &hash)) {
                        return Ok(known);
                    }
                    let component = compile(&engine, &bytes)?;
                    if let Some(cache) = cache {
                        cache.store(&engine, &hash, &component);
                    }
                    Ok(component)
                })
                .await;
                compiled
                    .map_err(|e| fault(Step::Compile, e.to_string()))?
                    .map_err(|e| fault(Step::Compile, e))?
            }
        };
        let hash = fingerprint.component;
        let (environment, state) = (&self.environment, &self.state);
        Plugin::load(&self.linker, component, plugin_name, hash, manifest, environment, state)
            .await
            .map_err(|(step, reason)| fault(step, reason))
    }

    /// A file that is gone twice in a row is gone for good; once may be the middle of a rename.
    fn unload_missing(&self, present: &BTreeSet<String>, changes: &mut Vec<Change>) -> bool {
        let mut again = false;
        self.known().retain(|name, known| {
            if present.contains(name) {
                return true;
            }
            if !known.missing {
                known.missing = true;
                again = true;
                return true;
            }
            if let Some(plugin) = &known.running {
                changes.push(Change::Unloaded(plugin.name().clone()));
            }
            false
        });
        again
    }

    fn publish(&self) {
        let running: Vec<Arc<Plugin>> =
            self.known().values().filter_map(|known| known.running.clone()).collect();
        let ordered = |has: fn(&Plugin) -> bool| {
            let mut plugins: Vec<_> = running.iter().filter(|p| has(p)).cloned().collect();
            plugins.sort_by(|a, b| {
                (a.manifest().order, a.name()).cmp(&(b.manifest().order, b.name()))
            });
            plugins
        };
        self.set.send_replace(Arc::new(PluginSet {
            filters: ordered(|plugin| plugin.roles().filter),
            enrichers: ordered(|plugin| plugin.roles().enricher),
            reactions: running.iter().filter(|p| p.roles().reaction).cloned().collect(),
        }));
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        // Nothing panics while it is held; if it did, what is known is still what is known.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(change: &Change) {
    match change {
        Change::Loaded(name) => info!("plugin {name} loaded"),
        Change::Reloaded(name) => info!("plugin {name} reloaded"),
        Change::Unloaded(name) => info!("plugin {name} unloaded, its file is gone"),
        Change::Failed(error) => warn!("plugin not loaded: {error}"),
    }
}

fn status(name: &str, known: &Known) -> PluginStatus {
    let plugin = known.running.as_deref();
    let stats = plugin.map(Plugin::stats);
    PluginStatus {
        name: name.to_owned(),
        state: match stats {
            None => PluginState::Failed,
            Some(stats) if stats.is_quarantined() => PluginState::Quarantined,
            Some(_) => PluginState::Running,
        },
        roles: plugin.map(|p| p.roles().names().collect()).unwrap_or_default(),
        hash: plugin.map(|p| p.hash().to_string()),
        version: plugin.map(|p| p.version().to_owned()),
        summary: plugin.map(|p| p.summary().to_owned()),
        subscribe: plugin
            .map(|p| p.subscribe().iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        min_priority: plugin.map_or("info", |p| p.min_priority().as_str()),
        order: plugin.map_or(0, |p| p.manifest().order),
        loads: known.loads,
        load_error: known.error.as_ref().map(ToString::to_string),
        calls: stats.map_or(0, |s| s.calls()),
        events: stats.map_or(0, |s| s.events()),
        events_changed: stats.map_or(0, |s| s.events_changed()),
        failures: stats.map_or(0, |s| s.failures()),
        denials: plugin.map_or(0, Plugin::denials),
        last_error: stats.and_then(|s| s.last_error()),
        time_seconds: stats.map_or(0.0, |s| s.time().as_secs_f64()),
        memory_bytes: stats.map_or(0, |s| s.memory_bytes()),
        log_lines_swallowed: plugin.map_or(0, Plugin::log_lines_swallowed),
        cursor: None,
    }
}
