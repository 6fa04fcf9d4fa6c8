//! Commands to the host: what they are called, what they need, who may have given them. The one
//! place that knows them; each way in (the API, NATS, a reaction) parses into a [`Command`] once and
//! hands it to a [`Control`].
//!
//! Knows `event`. May not know who carries commands out: that is `host/operator.rs`.

use std::{fmt, str::FromStr};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::event::PluginName;

/// The name of a command, as on NATS subjects, in sidecars and in configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandName {
    /// What runs, and how far everything has come.
    Status,
    /// Load what is in the plugin folder: one plugin whether it was tried before or not, or, without
    /// a plugin, whatever is new there.
    Reload,
    /// Let a disabled plugin take part again.
    PluginEnable,
    /// Take a plugin out of the flow, over restarts too.
    PluginDisable,
    /// Go back to the version of a plugin that ran before.
    PluginRollback,
    /// End the host in order.
    Shutdown,
}

impl CommandName {
    /// Every command.
    pub const ALL: [Self; 6] = [
        Self::Status,
        Self::Reload,
        Self::PluginEnable,
        Self::PluginDisable,
        Self::PluginRollback,
        Self::Shutdown,
    ];

    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Reload => "reload",
            Self::PluginEnable => "plugin_enable",
            Self::PluginDisable => "plugin_disable",
            Self::PluginRollback => "plugin_rollback",
            Self::Shutdown => "shutdown",
        }
    }
}

impl FromStr for CommandName {
    type Err = ControlError;

    fn from_str(text: &str) -> Result<Self, ControlError> {
        Self::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            ControlError::Invalid(format!("there is no command {text:?} (there are {names})"))
        })
    }
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A command with what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// See [`CommandName::Status`].
    Status,
    /// See [`CommandName::Reload`].
    Reload(Option<PluginName>),
    /// See [`CommandName::PluginEnable`].
    Enable(PluginName),
    /// See [`CommandName::PluginDisable`].
    Disable(PluginName),
    /// See [`CommandName::PluginRollback`].
    RollBack(PluginName),
    /// See [`CommandName::Shutdown`].
    Shutdown,
}

impl Command {
    /// The command `name` about `plugin`.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] when it needs a plugin and has none, or the other way round, or the
    /// text is no plugin's name.
    pub fn new(name: CommandName, plugin: Option<&str>) -> Result<Self, ControlError> {
        let plugin = plugin.map(|text| {
            text.parse::<PluginName>().map_err(|e| {
                ControlError::Invalid(format!("plugin: {text:?} is no plugin's name: {e}"))
            })
        });
        let plugin = plugin.transpose()?;
        let needed = |plugin: Option<PluginName>| {
            plugin.ok_or_else(|| {
                ControlError::Invalid(format!(
                    "{name} needs a plugin, as in {{\"plugin\":\"noise\"}}"
                ))
            })
        };
        let none = |plugin: Option<PluginName>, command| match plugin {
            None => Ok(command),
            Some(_) => Err(ControlError::Invalid(format!("{name} is about no plugin"))),
        };
        match name {
            CommandName::Status => none(plugin, Self::Status),
            CommandName::Reload => Ok(Self::Reload(plugin)),
            CommandName::PluginEnable => needed(plugin).map(Self::Enable),
            CommandName::PluginDisable => needed(plugin).map(Self::Disable),
            CommandName::PluginRollback => needed(plugin).map(Self::RollBack),
            CommandName::Shutdown => none(plugin, Self::Shutdown),
        }
    }

    /// Its name.
    pub fn name(&self) -> CommandName {
        match self {
            Self::Status => CommandName::Status,
            Self::Reload(_) => CommandName::Reload,
            Self::Enable(_) => CommandName::PluginEnable,
            Self::Disable(_) => CommandName::PluginDisable,
            Self::RollBack(_) => CommandName::PluginRollback,
            Self::Shutdown => CommandName::Shutdown,
        }
    }

    /// The plugin that it is about.
    pub fn plugin(&self) -> Option<&PluginName> {
        match self {
            Self::Reload(plugin) => plugin.as_ref(),
            Self::Enable(plugin) | Self::Disable(plugin) | Self::RollBack(plugin) => Some(plugin),
            Self::Status | Self::Shutdown => None,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.plugin() {
            Some(plugin) => write!(f, "{} {plugin}", self.name()),
            None => self.name().fmt(f),
        }
    }
}

/// Who gave a command: for the log, and kept with a plugin that was disabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A request to the HTTP API, the command line's included.
    Api,
    /// A message on NATS.
    Nats,
    /// A reaction of this plugin.
    Plugin(PluginName),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api => f.write_str("the API"),
            Self::Nats => f.write_str("NATS"),
            Self::Plugin(name) => write!(f, "plugin {name}"),
        }
    }
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ControlError {
    /// It is no command.
    #[error("{0}")]
    Invalid(String),
    /// It was not granted to who gave it.
    #[error("{0}")]
    NotAllowed(String),
    /// The plugin that it is about is not there.
    #[error("{0} (`ennio plugin list` shows those that are)")]
    UnknownPlugin(String),
    /// It does not go with the state of the plugin.
    #[error("{0}")]
    Conflict(String),
    /// What is in the plugin folder cannot run.
    #[error("not loaded: {reason}")]
    NotLoaded {
        /// Where it stopped.
        step: String,
        /// The file, the step, why, and the way out.
        reason: String,
    },
    /// The host cannot do it at the moment.
    #[error("not possible at the moment: {0}")]
    Unavailable(String),
}

/// What carries commands out.
pub trait Control: Send + Sync {
    /// Carries out `command`, and answers in JSON: the host's status, the status of the plugin that
    /// it was about, those of all plugins after a `reload` of the folder, or `null`.
    ///
    /// # Errors
    /// [`ControlError`] with the reason and the way out.
    fn execute(
        &self,
        origin: Origin,
        command: Command,
    ) -> BoxFuture<'_, Result<Value, ControlError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_name_that_reads_back_and_knows_whether_it_needs_a_plugin() {
        for name in CommandName::ALL {
            assert_eq!(name.as_str().parse(), Ok(name));
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
            let command = Command::new(name, Some("noise")).or_else(|_| Command::new(name, None));
            assert_eq!(command.unwrap().name(), name);
        }
        for (name, plugin, part) in [
            (CommandName::PluginDisable, None, "needs a plugin"),
            (CommandName::Shutdown, Some("noise"), "is about no plugin"),
            (CommandName::Reload, Some("no.ise"), "is no plugin's name"),
        ] {
            let error = Command::new(name, plugin).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let error = "restart".parse::<CommandName>().unwrap_err().to_string();
        assert!(error.contains("plugin_rollback"), "{error}");
    }
}
