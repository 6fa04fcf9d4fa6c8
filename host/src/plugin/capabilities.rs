//! What one version of a plugin may do besides answering, made ready from its sidecar when it is
//! loaded, and the count of what it asked for beyond that.
//!
//! What is not granted is not there (an empty environment, no folders), so nothing can be asked
//! for; a request over HTTP and an emitted event can, and are counted and logged as denials.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use tracing::warn;

use super::{component::Roles, http::Client, manifest::Capabilities};
use crate::event::PluginName;

/// The most denials of one call that are logged, each in a line.
const LOGGED_A_CALL: u32 = 4;

/// What one version of a plugin may do.
pub(super) struct Grants {
    pub(super) http: Arc<Client>,
    /// Names and values, as they were when the version was loaded.
    pub(super) environment: Vec<(String, String)>,
    /// To read, each at the path that it has on the host.
    pub(super) folders: Vec<PathBuf>,
    pub(super) denials: Arc<Denials>,
}

impl Grants {
    /// # Errors
    /// What can not be granted, why, and the way out.
    pub(super) fn new(
        name: &PluginName,
        granted: &Capabilities,
        roles: Roles,
    ) -> Result<Self, String> {
        if !granted.http.is_empty() && !roles.enricher && !roles.reaction {
            return Err(format!(
                "[capabilities] http is for reactions and enrichers, and this plugin is only a \
                 filter (remove it from {name}.toml)"
            ));
        }
        granted.fs.iter().try_for_each(|folder| readable(folder))?;
        Ok(Self {
            http: Arc::new(Client::new(&granted.http)),
            environment: granted.env.iter().filter_map(|key| variable(name, key)).collect(),
            folders: granted.fs.clone(),
            denials: Arc::new(Denials::new(name.clone())),
        })
    }
}

fn readable(folder: &Path) -> Result<(), String> {
    let fault = |reason: &str, way_out: &str| {
        Err(format!("[capabilities] fs: {}: {reason} ({way_out})", folder.display()))
    };
    if !folder.is_absolute() || folder.to_str().is_none() {
        return fault("not an absolute path", "a folder is granted by its whole path");
    }
    match std::fs::read_dir(folder) {
        Ok(_) => Ok(()),
        Err(e) => fault(&e.to_string(), "create the folder, or remove it from the sidecar"),
    }
}

/// A variable that is not set stays absent: it may be optional for the plugin, which will say so
/// itself if it is not.
fn variable(name: &PluginName, key: &str) -> Option<(String, String)> {
    match std::env::var(key) {
        Ok(value) => Some((key.to_owned(), value)),
        Err(e) => {
            warn!("plugin {name}: [capabilities] env: {key}: {e}; the plugin does not see it");
            None
        }
    }
}

/// How often one version of a plugin asked for what it was not granted.
#[derive(Debug)]
pub(super) struct Denials {
    plugin: PluginName,
    count: AtomicU64,
}

impl Denials {
    pub(super) fn new(plugin: PluginName) -> Self {
        Self { plugin, count: AtomicU64::new(0) }
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts a denial that somebody else logs.
    pub(super) fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a denial, and logs it unless this call has had its lines.
    pub(super) fn tell(&self, in_call: &DenialsInCall, what: &str) {
        self.add();
        let plugin = self.plugin.as_str();
        match in_call.0.fetch_add(1, Ordering::Relaxed) {
            before if before < LOGGED_A_CALL => warn!(plugin, "denied: {what}"),
            LOGGED_A_CALL => warn!(
                plugin,
                "denied more than {LOGGED_A_CALL} times in one call; the rest of the call is \
                 counted, not logged"
            ),
            _ => {}
        }
    }
}

/// The denials of one call so far.
#[derive(Debug, Default)]
pub(super) struct DenialsInCall(AtomicU32);

impl DenialsInCall {
    pub(super) fn is_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}
