//! Plugins: WebAssembly components that filter, enrich or react, in a sandbox, reloaded while the
//! host runs.
//!
//! From bytes to a call: `manifest` reads the sidecar, `engine` compiles, `cache` keeps what was
//! compiled, `component` finds the roles, `capabilities` makes ready what the sidecar grants (`http` and
//! `address`: which machines it may reach), `linker` and `guest` give a component that and nothing
//! else, `environment` its clocks and listeners, `keyvalue` is what it remembers, `instance` is one live copy of it with its limits, `plugin`
//! calls it in batches and replaces it after a trap, `breaker` leaves alone who keeps failing,
//! `folder` reads what lies in the folder, `registry` holds what is loaded, `watcher` says when to
//! look again.
//!
//! Nothing that a guest does reaches beyond here: a trap, a missed deadline, nonsense or a flood
//! is a [`CallError`] about one event, and what happens to that event is the sidecar's `on_error`.
//!
//! Knows `event`, and of `store` the state of plugins. May not know the pipeline or the API.

mod address;
mod breaker;
mod cache;
mod call;
mod capabilities;
mod component;
mod contract;
mod engine;
mod environment;
mod folder;
mod guest;
mod http;
mod instance;
mod keyvalue;
mod limits;
mod linker;
mod logging;
mod manifest;
#[expect(clippy::module_inception, reason = "the thing of the domain is called a plugin")]
mod plugin;
mod registry;
mod status;
mod watcher;

pub use address::Destination;
pub use cache::{Cache, CacheError};
pub use call::{CallError, Delivery, Emission, Patch, ReactError, Verdict};
pub use component::{LoadError, Roles, Step};
pub use environment::{Environment, Said};
pub use limits::limits;
pub use linker::Provision;
pub use manifest::{Capabilities, Manifest, OnError};
pub use plugin::Plugin;
pub use registry::{Change, PluginSet, Registry, RegistryError};
pub use status::{PluginState, PluginStatus, Stats};
pub use watcher::{WatchMode, WatchOptions, Watcher};
