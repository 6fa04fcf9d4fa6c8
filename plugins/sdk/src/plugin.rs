use serde::de::DeserializeOwned;

use crate::{Priority, config};

/// What every plugin says of itself, and how one is made from its configuration.
///
/// There is one value of the type in each instance. The host throws instances away after a trap,
/// on a reload and at a restart, without a word: fields may hold a cache, never the only copy of a
/// fact.
pub trait Plugin: Sized + 'static {
    /// The sidecar's `[config]`. Derive `Deserialize` and add `#[serde(deny_unknown_fields)]`, so
    /// that a misspelt key is an error that names the nearest key; [`config::None`] when there is
    /// nothing to configure.
    type Config: DeserializeOwned;

    /// What the plugin says of itself. Called once in a fresh instance of each new version; the
    /// sidecar's values win over it.
    fn description() -> Description;

    /// Makes the plugin, once in every fresh instance, before its first event.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the configuration. The version is then not loaded, and the one that
    /// runs stays.
    fn configure(config: Self::Config) -> Result<Self, String>;
}

/// What a plugin says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The plugin's own version, for people.
    pub version: String,
    /// One line, for people.
    pub summary: String,
    /// Subject patterns in NATS's language. Empty: every event.
    pub subscribe: Vec<String>,
    /// Events below it are not delivered.
    pub min_priority: Priority,
}

impl Description {
    /// A plugin that gets every event. `env!("CARGO_PKG_VERSION")` is the usual version.
    pub fn new(version: impl Into<String>, summary: impl Into<String>) -> Self {
        Description {
            version: version.into(),
            summary: summary.into(),
            subscribe: Vec::new(),
            min_priority: Priority::Info,
        }
    }

    /// Only events whose subject matches one of these patterns.
    pub fn subscribe<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.subscribe = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// Only events of at least this priority.
    pub fn min_priority(mut self, priority: Priority) -> Self {
        self.min_priority = priority;
        self
    }
}

/// Makes a plugin from what the host has for it: the one way, in a component and in a test.
pub(crate) fn configured<P: Plugin>() -> Result<P, String> {
    let config = config::load().map_err(|error| error.to_string())?;
    P::configure(config)
}
