//! Plugins: WebAssembly components that filter, enrich or react, in a sandbox, reloaded while the
//! host runs.
//!
//! From bytes to a call: `manifest` reads the sidecar, `engine` compiles, `cache` keeps what was
//! compiled, `component` finds the roles, `linker` and `guest` give a component what it was granted and
//! nothing else, `environment` its clocks and listeners, `keyvalue` is its state, `instance` is one live copy of it with its limits, `plugin` calls it in batches
//! and replaces it after a trap, `breaker` leaves alone who keeps failing, `registry` holds what is loaded, `watcher` follows the folder.
//!
//! Nothing that a guest does reaches beyond here: a trap, a missed deadline, nonsense or a flood
//! is a [`CallError`] about one event, and what happens to that event is the sidecar's `on_error`.
//!
//! Knows `event`, and of `store` the state of plugins. May not know the pipeline or the API.

mod breaker;
mod cache;
mod call;
mod component;
mod contract;
mod engine;
mod environment;
mod guest;
mod instance;
mod keyvalue;
mod linker;
mod logging;
mod manifest;
#[expect(clippy::module_inception, reason = "the thing of the domain is called a plugin")]
mod plugin;
mod registry;
mod status;
mod watcher;

pub use cache::{Cache, CacheError};
pub use call::{CallError, Delivery, Emission, Patch, ReactError, Verdict};
pub use component::{LoadError, Roles, Step};
pub use environment::{Environment, Said};
pub use linker::Provision;
pub use manifest::{Manifest, OnError};
pub use plugin::Plugin;
pub use registry::{Change, PluginSet, Registry, RegistryError};
pub use status::{PluginState, PluginStatus, Stats};
pub use watcher::{Watcher, WatcherError};
