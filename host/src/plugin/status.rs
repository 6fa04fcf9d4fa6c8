//! What can be seen of a plugin from outside.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;

use crate::store::Backlog;

use super::{call::CallError, probation::Remaining, versions::Disabled};

/// What one version of a plugin has done since it was loaded.
#[derive(Debug, Default)]
pub struct Stats {
    calls: AtomicU64,
    events: AtomicU64,
    failures: AtomicU64,
    changed: AtomicU64,
    nanos: AtomicU64,
    memory: AtomicU64,
    quarantined: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl Stats {
    pub(super) fn called(&self, events: usize, took: Duration, memory: usize) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_add(events as u64, Ordering::Relaxed);
        self.nanos.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
        self.memory.store(memory as u64, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, error: &CallError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    pub(super) fn set_quarantined(&self, quarantined: bool) {
        self.quarantined.store(quarantined, Ordering::Relaxed);
    }

    pub(super) fn changed(&self, events: u64) {
        self.changed.fetch_add(events, Ordering::Relaxed);
    }

    /// Calls into the guest.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Events in those calls.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Calls and events that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Events that were dropped, patched, or answered with actions.
    pub fn events_changed(&self) -> u64 {
        self.changed.load(Ordering::Relaxed)
    }

    /// Time in the guest.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    /// The instance's memory, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Whether it keeps failing and is left alone.
    pub fn is_quarantined(&self) -> bool {
        self.quarantined.load(Ordering::Relaxed)
    }

    /// The last failure.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether a plugin takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginState {
    /// It runs.
    Running,
    /// No version of it runs yet; the first is being compiled and started.
    Loading,
    /// It runs, but keeps failing, and is left alone for a while.
    Quarantined,
    /// No version of it could be loaded.
    Failed,
    /// An operator has taken it out of the flow.
    Disabled,
}

/// How a version came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CameBy {
    /// Nothing ran before it.
    Loaded,
    /// It took over from another version, or from itself.
    Reloaded,
    /// The version that had taken over from it was left again.
    RolledBack,
}

/// A version that does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionStatus {
    /// SHA-256 of the component, hexadecimal.
    pub hash: String,
    /// The plugin's own version.
    pub version: String,
}

/// One plugin, as the API and the CLI show it.
#[derive(Debug, Clone, Serialize)]
pub struct PluginStatus {
    /// The stem of its file.
    pub name: String,
    /// Whether it takes part.
    pub state: PluginState,
    /// `filter`, `enricher`, `reaction`; empty when no version runs.
    pub roles: Vec<&'static str>,
    /// SHA-256 of the component that runs, hexadecimal.
    pub hash: Option<String>,
    /// The plugin's own version.
    pub version: Option<String>,
    /// The plugin's own summary.
    pub summary: Option<String>,
    /// The subjects that it sees.
    pub subscribe: Vec<String>,
    /// The least priority that it sees.
    pub min_priority: &'static str,
    /// Its place among filters and enrichers.
    pub order: i32,
    /// Versions loaded since the host started.
    pub loads: u64,
    /// Times that the version before took over again, by itself or by hand.
    pub rollbacks: u64,
    /// How the running version came to run.
    pub came_by: Option<CameBy>,
    /// Whether its files are kept as a bucket has them.
    pub mirrored: bool,
    /// What is left of the running version's probation; `None` when it is on none.
    pub probation: Option<Remaining>,
    /// What ran before, and can be rolled back to.
    pub previous: Option<VersionStatus>,
    /// Since when it is disabled, and by whom; `None` when it is not.
    pub disabled: Option<Disabled>,
    /// Why the version in the folder does not run, when it does not.
    pub load_error: Option<String>,
    /// Calls into the guest.
    pub calls: u64,
    /// Events in those calls.
    pub events: u64,
    /// Events that were dropped, patched, or answered with actions.
    pub events_changed: u64,
    /// Calls and events that failed.
    pub failures: u64,
    /// How often it asked for what its sidecar does not grant.
    pub denials: u64,
    /// The last failure.
    pub last_error: Option<String>,
    /// Time in the guest, in seconds.
    pub time_seconds: f64,
    /// The instance's memory, in bytes.
    pub memory_bytes: u64,
    /// Lines of its log that were not logged, since there were too many.
    pub log_lines_swallowed: u64,
    /// How far a reaction has come in the log; `None` for other plugins.
    pub cursor: Option<u64>,
    /// What it has not done of what it has come past; `None` when that is not known.
    #[serde(flatten)]
    pub backlog: Option<Backlog>,
}
