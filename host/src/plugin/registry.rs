//! What is loaded. Compares the plugin folder with what runs, by content, and swaps in what is new
//! once it works.
//!
//! Readers take a snapshot for a batch and are never in the way of a reload: an old version lives
//! until the last batch that began with it ends. A version that fails at any step leaves the
//! running one in place, and why it failed stays visible until the file changes.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
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
    duty::Duty,
    engine::Engine,
    environment::Environment,
    folder::{Candidate, Found, read, scan},
    guest::Guest,
    linker::linker,
    manifest::Manifest,
    mirrored::Mirrored,
    plugin::Plugin,
    set::PluginSet,
    status::PluginStatus,
    trust::TrustedKeys,
    versions::{Disabled, Plan, RollBackError, Versions},
};
use crate::{dashboard::Board, event::PluginName, store::state::State, strict_toml};

mod install;

pub use install::InstallError;

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
    /// What is mirrored cannot be kept in the plugin folder.
    #[error(
        "plugin folder {}: {source} (a mirror writes into it: make it writable, or mirror nothing)",
        path.display()
    )]
    Mirror {
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

/// Why a plugin was not loaded again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReloadError {
    /// Nothing of that name is there.
    #[error("there is no plugin {0}")]
    Unknown(PluginName),
    /// An operator has disabled it.
    #[error("plugin {0} is disabled (enable it first, which loads what is in the folder)")]
    Disabled(PluginName),
    /// What is in the folder cannot run; the version that ran still does.
    #[error(transparent)]
    NotLoaded(#[from] LoadError),
}

/// The loaded plugins.
pub struct Registry {
    engine: Engine,
    linker: Linker<Guest>,
    folder: Option<PathBuf>,
    cache: Option<Arc<Cache>>,
    state: State,
    environment: Environment,
    trusted: TrustedKeys,
    mirrored: Option<Arc<Mirrored>>,
    duty: Duty,
    versions: Arc<Versions>,
    /// One rescan at a time.
    scanning: tokio::sync::Mutex<()>,
    /// The folder could not be read the last time.
    unreadable: AtomicBool,
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
            trusted: TrustedKeys::default(),
            mirrored: None,
            duty: Duty::default(),
            versions: Versions::new(Board::default()),
            scanning: tokio::sync::Mutex::default(),
            unreadable: AtomicBool::new(false),
        })
    }

    /// With other surroundings than a host's for what is loaded from now on.
    pub fn with_environment(self, environment: Environment) -> Self {
        Self { environment, ..self }
    }

    /// Loads from now on only what one of these keys has signed. Without a key, anything.
    pub fn trusting(self, trusted: TrustedKeys) -> Self {
        Self { trusted, ..self }
    }

    /// Tells from now on what changes. To be said before anything is loaded.
    pub fn telling(self, board: Board) -> Self {
        Self { versions: Versions::new(board), ..self }
    }

    /// Loads from now on only what a host may do that has this duty.
    pub fn with_duty(self, duty: Duty) -> Self {
        Self { duty, ..self }
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
        self.versions.snapshot()
    }

    /// What runs, with a notice of each change.
    pub fn follow(&self) -> watch::Receiver<Arc<PluginSet>> {
        self.versions.follow()
    }

    /// Brings what runs in line with the folder. `settled` says that nobody is writing at the
    /// moment, so that what lies there is taken as it is.
    ///
    /// Returns what changed, and whether some file was still being written or has just vanished,
    /// so that another rescan is due.
    pub async fn rescan(&self, settled: bool) -> (Vec<Change>, bool) {
        let _one_at_a_time = self.scanning.lock().await;
        let Some(folder) = self.folder.clone() else { return (Vec::new(), false) };
        self.restore().await;
        let (looks, signatures) = (self.versions.looks(), self.trusted.ask());
        let scanned =
            tokio::task::spawn_blocking(move || scan(&folder, settled, signatures, &looks)).await;
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
                Found::Unchanged => self.versions.present(&name),
                Found::Candidate(candidate)
                    if !settled && self.versions.lost_sidecar(&name, &candidate) =>
                {
                    again = true;
                }
                Found::Unreadable(error) => {
                    changes.extend(self.versions.refuse(&name, None, error))
                }
                Found::Candidate(candidate) => {
                    changes.extend(self.try_candidate(&name, *candidate, false).await)
                }
            }
        }
        again |= self.versions.unload_missing(&present, &mut changes);
        changes.iter().for_each(report);
        (changes, again)
    }

    /// Loads what is in the folder under this name, whether it was tried before or not.
    ///
    /// # Errors
    /// [`ReloadError`]; whatever ran before still does.
    pub async fn reload(&self, name: &PluginName) -> Result<(), ReloadError> {
        let _one_at_a_time = self.scanning.lock().await;
        if self.versions.is_disabled(name) {
            return Err(ReloadError::Disabled(name.clone()));
        }
        self.load_now(name, true).await
    }

    /// Lets the version that ran before take over, because `by` asked for it. What is in the folder
    /// is left alone until it changes, or is reloaded.
    ///
    /// # Errors
    /// [`RollBackError`] when there is none.
    pub fn roll_back(&self, name: &PluginName, by: &str) -> Result<(), RollBackError> {
        self.versions.roll_back(name, by)
    }

    /// Whether there is a plugin of this name, or one is disabled.
    pub fn knows(&self, name: &PluginName) -> bool {
        self.versions.knows(name)
    }

    /// Takes a plugin out of the flow until [`Registry::enable`]: events pass as if it were not
    /// there, and no new version of it is loaded. Nothing is remembered over a restart.
    pub fn disable(&self, name: &PluginName, disabled: Disabled) {
        self.versions.set_disabled(name, Some(disabled));
    }

    /// Lets a plugin back in, with what is in the folder now.
    ///
    /// # Errors
    /// [`ReloadError::NotLoaded`] when that cannot run; the version that ran before it was disabled
    /// runs then, where there is one.
    pub async fn enable(&self, name: &PluginName) -> Result<(), ReloadError> {
        let _one_at_a_time = self.scanning.lock().await;
        self.versions.set_disabled(name, None);
        match self.load_now(name, false).await {
            // Its file is gone; that it was disabled is what had to be undone.
            Err(ReloadError::Unknown(_)) => Ok(()),
            result => result,
        }
    }

    /// Every plugin that runs, failed to or is disabled, by name. `cursor` is left for who knows it.
    pub fn status(&self) -> Vec<PluginStatus> {
        let mut plugins = self.versions.status();
        if let Some(mirrored) = &self.mirrored {
            plugins.iter_mut().for_each(|plugin| plugin.mirrored = mirrored.keeps(&plugin.name));
        }
        plugins
    }

    /// Loads one component as a rescan would, with the sidecar beside it, and leaves what runs alone.
    ///
    /// # Errors
    /// [`LoadError`] with the step at which it would not be loaded, and why.
    pub async fn examine(&self, file: &Path) -> Result<Plugin, LoadError> {
        let fault = |reason: String| LoadError { file: file.into(), step: Step::Read, reason };
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = name.ok_or_else(|| fault("not a file".into()))?;
        self.load(&name, self.find(file).await?, None).await
    }

    /// Like [`Registry::examine`], under the name of another plugin, and with another sidecar than the
    /// one beside it if one is given.
    ///
    /// # Errors
    /// Those of [`Registry::examine`].
    pub async fn examine_as(
        &self,
        file: &Path,
        name: &PluginName,
        sidecar: Option<&Path>,
    ) -> Result<Plugin, LoadError> {
        let mut candidate = self.find(file).await?;
        if let Some(sidecar) = sidecar {
            let text = tokio::fs::read_to_string(sidecar).await.map_err(|e| {
                let (file, reason) = (sidecar.into(), e.to_string());
                LoadError { file, step: Step::Read, reason }
            })?;
            (candidate.sidecar, candidate.sidecar_file) = (Some(text), sidecar.into());
        }
        self.load(name.as_str(), candidate, None).await
    }

    /// What lies there, taken as it is.
    async fn find(&self, file: &Path) -> Result<Candidate, LoadError> {
        let fault = |reason: String| LoadError { file: file.into(), step: Step::Read, reason };
        let (path, signatures) = (file.to_owned(), self.trusted.ask());
        match tokio::task::spawn_blocking(move || read(&path, true, signatures, None)).await {
            Ok(Some(Found::Candidate(candidate))) => Ok(*candidate),
            Ok(Some(Found::Unreadable(error))) => Err(error),
            Ok(Some(Found::Unsettled | Found::Unchanged)) => Err(fault("is being written".into())),
            Ok(None) => Err(fault("No such file or directory".into())),
            Err(e) => Err(fault(e.to_string())),
        }
    }

    /// Loads one file of the folder, which nobody is writing at the moment.
    async fn load_now(&self, name: &PluginName, again: bool) -> Result<(), ReloadError> {
        let folder = self.folder.as_ref().ok_or_else(|| ReloadError::Unknown(name.clone()))?;
        self.restore().await;
        let file = folder.join(format!("{name}.wasm"));
        if !tokio::fs::try_exists(&file).await.unwrap_or(true) {
            return Err(ReloadError::Unknown(name.clone()));
        }
        let change = match self.find(&file).await {
            Ok(candidate) => self.try_candidate(name.as_str(), candidate, again).await,
            Err(error) => {
                self.versions.refuse(name.as_str(), None, error.clone());
                Some(Change::Failed(error))
            }
        };
        change.iter().for_each(report);
        match change {
            Some(Change::Failed(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Loads a candidate that is new, or any when asked to do it `again`.
    async fn try_candidate(&self, name: &str, candidate: Candidate, again: bool) -> Option<Change> {
        if self.mirrored.as_ref().is_some_and(|mirrored| !mirrored.allows(name, &candidate)) {
            return None;
        }
        let Plan::Load(component) = self.versions.plan(name, &candidate, again) else {
            return None;
        };
        let (file, fingerprint) = (candidate.file.clone(), candidate.fingerprint.clone());
        match self.load(name, candidate, component).await {
            Ok(plugin) => Some(self.versions.take_over(name, plugin, file, fingerprint)),
            Err(error) => {
                let news = self.versions.refuse(name, Some(fingerprint), error.clone());
                // Who asked for it is told even when it is no news.
                if again { Some(Change::Failed(error)) } else { news }
            }
        }
    }

    async fn load(
        &self,
        name: &str,
        candidate: Candidate,
        component: Option<Component>,
    ) -> Result<Plugin, LoadError> {
        self.trusted.check(&candidate)?;
        let Candidate { file, bytes, sidecar, sidecar_file, fingerprint, .. } = candidate;
        let fault = |step, reason| LoadError { file: file.clone(), step, reason };
        let plugin_name: PluginName = name.parse().map_err(|e| {
            fault(
                Step::Read,
                format!("the file's stem is the plugin's name, and {name:?} {e} (rename the file)"),
            )
        })?;
        // None is one that says nothing.
        let text = sidecar.unwrap_or_default();
        let manifest: Manifest =
            strict_toml::from_str(&text, &sidecar_file).map_err(|e| LoadError {
                file: sidecar_file.clone(),
                step: Step::Sidecar,
                reason: format!("line {}: {}", e.line, e.reason),
            })?;
        if let Some(pin) = manifest.sha256.as_ref().filter(|pin| **pin != *fingerprint.component) {
            return Err(fault(
                Step::Trust,
                format!(
                    "its SHA-256 is {}, but {} pins {pin} (install the component that is pinned, or \
                     write the new hash there)",
                    fingerprint.component,
                    sidecar_file.display()
                ),
            ));
        }
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
        let loaded =
            Plugin::load(&self.linker, component, plugin_name, hash, manifest, environment, state)
                .await;
        let checked = loaded
            .and_then(|plugin| self.duty.check(plugin.roles(), plugin.manifest()).map(|()| plugin));
        checked.map_err(|(step, reason)| fault(step, reason))
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
