//! What is known of each plugin: which version runs, which ran before, what was tried, and whether
//! an operator has disabled it. Every change of that publishes a new set, under one lock, so that
//! the set never goes back to what it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use thiserror::Error;
use tokio::sync::watch;
use tracing::warn;
use wasmtime::component::Component;

use super::{
    call::CallError,
    component::{LoadError, Step},
    folder::{Candidate, Fingerprint, Look},
    plugin::Plugin,
    probation::Probation,
    registry::Change,
    set::PluginSet,
    status::{CameBy, PluginState, PluginStatus, VersionStatus},
};
use crate::{
    dashboard::{self, Board},
    event::{PluginName, Timestamp},
};

/// That an operator has disabled a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disabled {
    /// When.
    pub since: Timestamp,
    /// Who: an origin of commands.
    pub by: String,
}

/// Why a plugin was not rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RollBackError {
    /// Nothing of that name is there.
    #[error("there is no plugin {0}")]
    Unknown(PluginName),
    /// It replaced nothing since the host started, or was rolled back already.
    #[error(
        "plugin {0} has no version before to roll back to: one is kept, and only while the host runs \
         (put the file that you want into the plugin folder)"
    )]
    NothingBefore(PluginName),
}

pub(super) struct Versions {
    set: watch::Sender<Arc<PluginSet>>,
    board: Board,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    plugins: BTreeMap<String, Known>,
    disabled: BTreeMap<String, Disabled>,
}

/// What is known of one file.
#[derive(Default)]
struct Known {
    running: Option<Version>,
    /// What ran before that. One is kept.
    previous: Option<Version>,
    came_by: Option<CameBy>,
    /// Of the files that were last tried, whether they run or not.
    tried: Option<Fingerprint>,
    /// How these files looked, so that they need not be read again.
    look: Option<Look>,
    error: Option<LoadError>,
    loads: u64,
    rollbacks: u64,
    missing: bool,
    sidecar_missing: bool,
}

/// A version that was loaded, and from what.
pub(super) struct Version {
    pub(super) plugin: Arc<Plugin>,
    pub(super) file: PathBuf,
    pub(super) fingerprint: Fingerprint,
}

/// What is to be done with what lies in the folder.
pub(super) enum Plan {
    /// Nothing: it runs, was tried before, or is disabled.
    Leave,
    /// Load it. The component runs already when only the sidecar has changed.
    Load(Option<Component>),
}

impl Versions {
    pub(super) fn new(board: Board) -> Arc<Self> {
        Arc::new(Self { set: watch::Sender::new(Arc::default()), board, state: Mutex::default() })
    }

    pub(super) fn snapshot(&self) -> Arc<PluginSet> {
        Arc::clone(&self.set.borrow())
    }

    pub(super) fn follow(&self) -> watch::Receiver<Arc<PluginSet>> {
        self.set.subscribe()
    }

    /// How the files of each name looked that was tried.
    pub(super) fn looks(&self) -> BTreeMap<String, Look> {
        let state = self.state();
        let tried = state.plugins.iter().filter(|(_, known)| known.tried.is_some());
        tried.filter_map(|(name, known)| Some((name.clone(), known.look.clone()?))).collect()
    }

    /// Its files are there, and as they were.
    pub(super) fn present(&self, name: &str) {
        if let Some(known) = self.state().plugins.get_mut(name) {
            known.missing = false;
        }
    }

    /// Whether its sidecar has just vanished. Gone twice in a row it is gone for good; once may be
    /// the middle of a save, and a plugin must not run without its sidecar for so long.
    pub(super) fn lost_sidecar(&self, name: &str, candidate: &Candidate) -> bool {
        let mut state = self.state();
        let Some(known) = state.plugins.get_mut(name) else { return false };
        let had = known.tried.as_ref().is_some_and(|tried| tried.sidecar.is_some());
        let lost = had && candidate.sidecar.is_none() && !known.sidecar_missing;
        if lost {
            known.missing = false;
            known.sidecar_missing = true;
        }
        lost
    }

    /// What to do with what lies in the folder. `again` asks for it to be loaded even though it was
    /// tried before.
    pub(super) fn plan(&self, name: &str, candidate: &Candidate, again: bool) -> Plan {
        let fingerprint = &candidate.fingerprint;
        let mut state = self.state();
        let is_disabled = state.disabled.contains_key(name);
        let known = state.plugins.entry(name.to_owned()).or_default();
        known.missing = false;
        known.sidecar_missing = false;
        known.look = candidate.look.clone();
        if is_disabled || (known.tried.as_ref() == Some(fingerprint) && !again) {
            return Plan::Leave;
        }
        let running = known.running.as_ref();
        if running.is_some_and(|running| running.fingerprint == *fingerprint) && !again {
            // What could not be loaded, or was rolled back, is gone from the folder.
            known.tried = Some(fingerprint.clone());
            known.error = None;
            return Plan::Leave;
        }
        let same = running.filter(|running| **running.plugin.hash() == *fingerprint.component);
        Plan::Load(same.map(|running| running.plugin.component().clone()))
    }

    /// Lets a loaded version take over, on probation where it replaces another.
    pub(super) fn take_over(
        self: &Arc<Self>,
        name: &str,
        mut plugin: Plugin,
        file: PathBuf,
        fingerprint: Fingerprint,
    ) -> Change {
        let mut state = self.state();
        let known = state.plugins.entry(name.to_owned()).or_default();
        let plugin_name = plugin.name().clone();
        let (change, told, came_by) = match &known.running {
            Some(_) => {
                let told = dashboard::Change::PluginReloaded(plugin.named());
                (Change::Reloaded(plugin_name), told, CameBy::Reloaded)
            }
            None => {
                let told = dashboard::Change::PluginLoaded(plugin.named());
                (Change::Loaded(plugin_name), told, CameBy::Loaded)
            }
        };
        plugin.tell_changes_to(&self.board);
        let on_probation = match known.running.take() {
            None => false,
            // The same again: a fresh instance, but nothing new to be careful with.
            Some(same) if same.fingerprint == fingerprint => same.plugin.on_probation().is_some(),
            Some(other) => {
                other.plugin.rest();
                known.previous = Some(other);
                true
            }
        };
        if let Some(before) = known.previous.as_ref().filter(|_| on_probation) {
            plugin.begin_probation(Probation::new(&before.plugin, self));
        }
        known.tried = Some(fingerprint.clone());
        known.running = Some(Version { plugin: Arc::new(plugin), file, fingerprint });
        known.came_by = Some(came_by);
        known.error = None;
        known.loads += 1;
        self.publish(&state);
        self.board.tell(told);
        change
    }

    /// Remembers why a version does not run; says so once for each cause.
    pub(super) fn refuse(
        &self,
        name: &str,
        tried: Option<Fingerprint>,
        error: LoadError,
    ) -> Option<Change> {
        let mut state = self.state();
        let known = state.plugins.entry(name.to_owned()).or_default();
        known.missing = false;
        known.tried = tried;
        let news = known.error.as_ref() != Some(&error);
        known.error = Some(error.clone());
        news.then(|| {
            let (plugin, step) = (name.to_owned(), error.step.to_string());
            let reason = error.to_string();
            self.board.tell(dashboard::Change::PluginFailed { plugin, step, reason });
            Change::Failed(error)
        })
    }

    /// Forgets plugins whose files are gone. A file that is gone twice in a row is gone for good;
    /// once may be the middle of a rename, and `true` asks for another look.
    pub(super) fn unload_missing(
        &self,
        present: &BTreeSet<String>,
        changes: &mut Vec<Change>,
    ) -> bool {
        let mut again = false;
        let mut state = self.state();
        let before = changes.len();
        state.plugins.retain(|name, known| {
            if present.contains(name) {
                return true;
            }
            if !known.missing {
                known.missing = true;
                again = true;
                return true;
            }
            if let Some(running) = &known.running {
                let plugin = running.plugin.name().clone();
                self.board.tell(dashboard::Change::PluginUnloaded { plugin: plugin.clone() });
                changes.push(Change::Unloaded(plugin));
            }
            false
        });
        if changes.len() > before {
            self.publish(&state);
        }
        again
    }

    /// Forgets a plugin whose files were taken away on purpose. `false` when no version of it ran.
    pub(super) fn unload(&self, name: &PluginName) -> bool {
        let mut state = self.state();
        let ran = state.plugins.remove(name.as_str()).is_some_and(|known| known.running.is_some());
        self.publish(&state);
        ran
    }

    /// Lets the version before take over, because somebody asked for it.
    pub(super) fn roll_back(&self, name: &PluginName, by: &str) -> Result<(), RollBackError> {
        let mut state = self.state();
        let known = state.plugins.get_mut(name.as_str());
        let known = known.ok_or_else(|| RollBackError::Unknown(name.clone()))?;
        let reason = |left: &Plugin| {
            format!(
                "version {} was rolled back by {by} (change the file, or `ennio plugin reload {name}`)",
                left.version()
            )
        };
        match known.go_back(Step::Rollback, reason) {
            true => {
                self.tell_rolled_back(known);
                self.publish(&state);
                Ok(())
            }
            false => Err(RollBackError::NothingBefore(name.clone())),
        }
    }

    /// Lets the version before take over from `plugin`, which failed on its probation, unless that
    /// has been replaced meanwhile.
    pub(super) fn fail_probation(&self, plugin: &Plugin, error: &CallError) {
        let mut state = self.state();
        let Some(known) = state.plugins.get_mut(plugin.name().as_str()) else { return };
        let runs = known.running.as_ref();
        if !runs.is_some_and(|running| std::ptr::eq(Arc::as_ptr(&running.plugin), plugin)) {
            return;
        }
        let name = plugin.name();
        let reason = |left: &Plugin| {
            let (version, events) = (left.version(), left.stats().events());
            format!(
                "version {version} was rolled back at event {events}: it {error} (change the file, or \
                 `ennio plugin reload {name}`)"
            )
        };
        if known.go_back(Step::Probation, reason) {
            if let (Some(running), Some(error)) = (&known.running, &known.error) {
                warn!("plugin {name} rolled back to version {}: {error}", running.plugin.version());
            }
            self.tell_rolled_back(known);
            self.publish(&state);
        }
    }

    /// Takes a plugin out of the flow, or lets it back in.
    pub(super) fn set_disabled(&self, name: &PluginName, disabled: Option<Disabled>) {
        let mut state = self.state();
        match disabled {
            // Who disabled it first stays known.
            Some(disabled) => drop(state.disabled.entry(name.to_string()).or_insert(disabled)),
            None => drop(state.disabled.remove(name.as_str())),
        }
        self.publish(&state);
    }

    pub(super) fn is_disabled(&self, name: &PluginName) -> bool {
        self.state().disabled.contains_key(name.as_str())
    }

    /// Whether there is a file of that name, or it is disabled.
    pub(super) fn knows(&self, name: &PluginName) -> bool {
        let state = self.state();
        state.plugins.contains_key(name.as_str()) || state.disabled.contains_key(name.as_str())
    }

    /// Every plugin that runs, failed to or is disabled, by name. `mirrored` is left for who knows it.
    pub(super) fn status(&self) -> Vec<PluginStatus> {
        let state = self.state();
        let names: BTreeSet<&String> = state.plugins.keys().chain(state.disabled.keys()).collect();
        let unknown = Known::default();
        let status = names.into_iter().map(|name| {
            let known = state.plugins.get(name).unwrap_or(&unknown);
            known.status(name, state.disabled.get(name))
        });
        status.collect()
    }

    fn tell_rolled_back(&self, known: &Known) {
        if let (Some(running), Some(error)) = (&known.running, &known.error) {
            let (version, reason) = (running.plugin.named(), error.reason.clone());
            self.board.tell(dashboard::Change::PluginRolledBack { version, reason });
        }
    }

    fn publish(&self, state: &State) {
        let running = state.plugins.iter().filter(|(name, _)| !state.disabled.contains_key(*name));
        let running =
            running.filter_map(|(_, known)| Some(Arc::clone(&known.running.as_ref()?.plugin)));
        self.set.send_replace(Arc::new(PluginSet::new(running)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if it did, what is known is still what is known.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Puts the version before in the place of the one that runs. What was tried stays as it is, so
    /// that the next look at the folder does not load again what was just left.
    fn go_back(&mut self, step: Step, reason: impl Fn(&Plugin) -> String) -> bool {
        let Some(previous) = self.previous.take() else { return false };
        // With a clean breaker and a fresh instance.
        previous.plugin.rest();
        if let Some(left) = self.running.replace(previous) {
            let reason = reason(&left.plugin);
            self.error = Some(LoadError { file: left.file, step, reason });
        }
        self.came_by = Some(CameBy::RolledBack);
        self.rollbacks += 1;
        true
    }

    fn status(&self, name: &str, disabled: Option<&Disabled>) -> PluginStatus {
        let plugin = self.running.as_ref().map(|running| &*running.plugin);
        let stats = plugin.map(Plugin::stats);
        PluginStatus {
            name: name.to_owned(),
            state: match stats {
                _ if disabled.is_some() => PluginState::Disabled,
                None if self.error.is_none() => PluginState::Loading,
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
            loads: self.loads,
            rollbacks: self.rollbacks,
            came_by: self.came_by,
            mirrored: false,
            probation: plugin.and_then(Plugin::probation),
            previous: self.previous.as_ref().map(|previous| VersionStatus {
                hash: previous.plugin.hash().to_string(),
                version: previous.plugin.version().to_owned(),
            }),
            disabled: disabled.cloned(),
            load_error: self.error.as_ref().map(ToString::to_string),
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
            backlog: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::folder::{Found, read};

    #[test]
    fn a_plugin_whose_first_version_is_being_loaded_has_not_failed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        std::fs::write(&file, "code").unwrap();
        let Some(Found::Candidate(candidate)) = read(&file, true, false, None) else {
            panic!("it is there")
        };
        let versions = Versions::new(Board::default());
        assert!(matches!(versions.plan("a", &candidate, false), Plan::Load(None)));
        assert_eq!(versions.status()[0].state, PluginState::Loading);
        let error = LoadError { file, step: Step::Compile, reason: "not WebAssembly".into() };
        versions.refuse("a", Some(candidate.fingerprint), error);
        assert_eq!(versions.status()[0].state, PluginState::Failed);
    }
}
