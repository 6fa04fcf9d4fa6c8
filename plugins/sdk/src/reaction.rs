use std::time::Duration;

use serde_json::Value;

use crate::{Event, Plugin, Priority};

/// Reacts to events after they were stored.
pub trait Reaction: Plugin {
    /// Reacts to one event. New events come in the order of the log, one call at a time. An event that
    /// waits to be tried again comes after later ones, unless the sidecar says `ordered`: then those of
    /// the same session or project wait for it. With `concurrency` in the sidecar, other instances
    /// react to other events meanwhile.
    ///
    /// The same event may be delivered again when the host died before it stored the outcome. What
    /// is emitted is stored once all the same, since the ids of emissions derive from the event.
    /// At most 32 actions a call. A trap or a missed deadline counts as [`Failure::retry`].
    fn react(&mut self, delivery: &Delivery) -> Outcome;
}

/// What a reaction answers for one event.
pub type Outcome = Result<Vec<Action>, Failure>;

/// A stored event on its way to a reaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The event.
    pub event: Event,
    /// The event's place in the log, gap-free, from 1.
    pub seq: u64,
    /// How many reactions lie between this event and one that came from outside. At most 16.
    pub hops: u32,
    /// Set when a reaction emitted the event.
    pub caused_by: Option<Cause>,
    /// 1 for the first try; one more for each retry of this event.
    pub attempt: u32,
}

/// Why an event exists: a reaction of `plugin` to the event `event_id` emitted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The id of the event that was reacted to.
    pub event_id: String,
    /// The name of the plugin that reacted.
    pub plugin: String,
}

/// What a reaction wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Emit an event. Its subject must match a pattern of the sidecar's `capabilities.emit`.
    Emit(Emission),
    /// Give a command to the host. It must be in the sidecar's `capabilities.commands`.
    Command(Command),
}

/// A command to the host. Carried out at least once, before what the same reaction emits is stored;
/// giving it again does no harm. One that the host refuses makes the event a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name, as in `capabilities.commands`.
    pub name: String,
    /// The plugin that it is about.
    pub plugin: Option<String>,
}

impl Command {
    /// `plugin_disable`: takes a plugin out of the flow, over restarts too.
    pub fn disable(plugin: impl Into<String>) -> Self {
        Command::about("plugin_disable", plugin)
    }

    /// `plugin_enable`: lets a disabled plugin take part again.
    pub fn enable(plugin: impl Into<String>) -> Self {
        Command::about("plugin_enable", plugin)
    }

    /// `plugin_rollback`: goes back to the version that ran before.
    pub fn roll_back(plugin: impl Into<String>) -> Self {
        Command::about("plugin_rollback", plugin)
    }

    /// `reload`: loads what is in the plugin folder, whether it was tried before or not.
    pub fn reload(plugin: impl Into<String>) -> Self {
        Command::about("reload", plugin)
    }

    /// `shutdown`: ends the host in order.
    pub fn shutdown() -> Self {
        Command { name: "shutdown".into(), plugin: None }
    }

    fn about(name: &str, plugin: impl Into<String>) -> Self {
        Command { name: name.into(), plugin: Some(plugin.into()) }
    }
}

impl From<Command> for Action {
    fn from(command: Command) -> Self {
        Action::Command(command)
    }
}

/// An event to emit. The host gives it an id, the time of the commit, and its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    /// A name of [`event_type`](crate::event_type), or `custom.<action>`.
    pub event_type: String,
    /// How much attention the event wants.
    pub priority: Priority,
    /// `None`: the session of the event that was reacted to.
    pub session_id: Option<String>,
    /// `None`: the project of the event that was reacted to.
    pub project_id: Option<String>,
    /// For people. At most 8 192 bytes.
    pub message: String,
    /// JSON text. At most 262 144 bytes, depth at most 64.
    pub data_json: String,
}

impl Emission {
    /// An event of this type with priority `info`, in the session and project of the event that is
    /// reacted to, without message and data.
    pub fn new(event_type: impl Into<String>) -> Self {
        Emission {
            event_type: event_type.into(),
            priority: Priority::Info,
            session_id: None,
            project_id: None,
            message: String::new(),
            data_json: "null".into(),
        }
    }

    /// Sets the priority.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets another session than that of the event reacted to.
    pub fn session(mut self, session_id: impl Into<String>) -> Self {
        self.session_id = Some(session_id.into());
        self
    }

    /// Sets another project than that of the event reacted to.
    pub fn project(mut self, project_id: impl Into<String>) -> Self {
        self.project_id = Some(project_id.into());
        self
    }

    /// Sets the message.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Sets `data`.
    pub fn data(mut self, data: Value) -> Self {
        self.data_json = data.to_string();
        self
    }
}

impl From<Emission> for Action {
    fn from(emission: Emission) -> Self {
        Action::Emit(emission)
    }
}

/// Why a reaction could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Try this event again later; [`Failure::retry`] makes one.
    Retry {
        /// What went wrong. At most 1 024 bytes, cut when longer.
        reason: String,
        /// How long to wait at least, an hour at most. `None` leaves it to the host's exponential
        /// back-off.
        delay: Option<Duration>,
    },
    /// Trying again is useless: the event becomes a dead letter of this plugin.
    Fatal(String),
}

impl Failure {
    /// Try this event again later, with exponential back-off.
    pub fn retry(reason: impl Into<String>) -> Self {
        Failure::Retry { reason: reason.into(), delay: None }
    }

    /// Trying again is useless.
    pub fn fatal(reason: impl Into<String>) -> Self {
        Failure::Fatal(reason.into())
    }

    /// A retry not before this time is over, an hour at most: what a server's `Retry-After` says.
    /// Changes nothing about a fatal failure.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        match self {
            Failure::Retry { reason, .. } => Failure::Retry { reason, delay: Some(delay) },
            Failure::Fatal(reason) => Failure::Fatal(reason),
        }
    }
}
