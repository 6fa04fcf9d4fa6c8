//! Plugins: WebAssembly components that filter, enrich or react, in a sandbox, reloaded while the
//! host runs.
//!
//! From bytes to a call: `manifest` reads the sidecar, `engine` compiles, `cache` keeps what was
//! compiled, `component` finds the roles, `capabilities` makes ready what the sidecar grants (`http` and
//! `address`: which machines it may reach), `linker` and `guest` give a component that and nothing
//! else, `environment` its clocks and listeners, `recorded` answers to its requests where there is no network, `keyvalue` is what it remembers, `instance` is one
//! live copy of it with its limits, `plugin` calls it in batches and replaces it after a trap, `breaker` leaves alone who keeps failing.
//! `folder` reads what lies in the plugin folder, `trust` asks who signed it, `registry` loads what is
//! new there, `versions` knows what runs, what ran before and what is disabled, `probation` watches
//! over a version that took over, `watcher` says when to look again. `bundle` is a plugin as it travels,
//! `mirrored` keeps the folder in line with plugins that came so.
//!
//! Nothing that a guest does reaches beyond here: a trap, a missed deadline, nonsense or a flood
//! is a [`CallError`] about one event, and what happens to that event is the sidecar's `on_error`.
//!
//! Knows `event`, of `store` the state of plugins, and the names of commands. May not know the
//! pipeline or the API.

mod address;
mod breaker;
mod bundle;
mod cache;
mod call;
mod capabilities;
mod component;
mod contract;
mod duty;
mod engine;
mod environment;
mod folder;
mod guest;
mod http;
mod instance;
mod interest;
mod keyvalue;
mod limits;
mod linker;
mod logging;
mod manifest;
mod mirrored;
#[expect(clippy::module_inception, reason = "the thing of the domain is called a plugin")]
mod plugin;
mod probation;
mod reaction;
mod recorded;
mod registry;
mod set;
mod status;
mod trust;
mod versions;
mod watcher;

pub use address::Destination;
pub use bundle::{Beside, Bundle};
pub use cache::{Cache, CacheError};
pub use call::{
    Action, Answers, Call, CallError, CommandWish, Delivery, Emission, Patch, ReactError, Verdict,
};
pub use component::{LoadError, Roles, Step};
pub use duty::Duty;
pub use environment::{Environment, Said};
pub use limits::limits;
pub use linker::Provision;
pub use logging::Words;
pub use manifest::{Capabilities, Manifest, OnError};
pub use plugin::Plugin;
pub use probation::Remaining;
pub use reaction::{CountedBy, Escalation, Ordered, Reaction, RuleName, Start, Threshold};
pub use recorded::{Recorded, RecordedError};
pub use registry::{Change, InstallError, Registry, RegistryError, ReloadError};
pub use set::PluginSet;
pub use status::{CameBy, PluginState, PluginStatus, Stats, VersionStatus};
pub use trust::{KeyError, KeySource, TrustedKeys};
pub use versions::{Disabled, RollBackError};
pub use watcher::{WatchMode, WatchOptions, Watcher};
