//! Write Ennio plugins in Rust.
//!
//! A plugin is a type that says what it is ([`Plugin`]) and takes one or more roles ([`Filter`],
//! [`Enricher`], [`Reaction`]); [`export!`] makes a component of it:
//!
//! ```
//! use ennio_plugin::{Description, Event, Filter, Plugin, Verdict};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     word: String,
//! }
//!
//! struct DropWord {
//!     word: String,
//! }
//!
//! impl Plugin for DropWord {
//!     type Config = Config;
//!
//!     fn description() -> Description {
//!         Description::new("1.0.0", "drops events whose message has a word")
//!     }
//!
//!     fn configure(config: Config) -> Result<Self, String> {
//!         Ok(DropWord { word: config.word })
//!     }
//! }
//!
//! impl Filter for DropWord {
//!     fn filter(&mut self, event: &Event) -> Verdict {
//!         if event.message.contains(&self.word) {
//!             Verdict::drop(format!("has the word {}", self.word))
//!         } else {
//!             Verdict::Keep
//!         }
//!     }
//! }
//!
//! ennio_plugin::export!(DropWord: filter);
//! ```
//!
//! The same source compiles natively, where [`testing`] plays the host: plugins are tested with
//! plain `cargo test`, without a WebAssembly toolchain.
//!
//! The tree, in the order in which an event meets it:
//!
//! - [`config`]: the plugin's typed configuration, and what is wrong with it.
//! - [`Event`], [`Priority`], [`event_type`], [`subject`], [`timestamp`]: what an event is.
//! - [`Filter`], [`Enricher`], [`Reaction`]: the roles.
//! - [`kv`]: state that the host keeps; [`kv::RecentMap`]: some that stays bounded.
//! - [`log`]: lines for the plugin's log.
//! - [`http`]: requests to the hosts that the sidecar grants.
//! - [`export!`]: the component; [`testing`]: the host in a test.

mod enricher;
mod event;
mod export;
mod filter;
mod host;
mod plugin;
mod priority;
mod reaction;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;
pub mod config;
pub mod event_type;
pub mod http;
pub mod kv;
pub mod log;
pub mod subject;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod timestamp;

pub use enricher::{Enricher, Enrichment, Patch};
pub use event::Event;
pub use filter::{Filter, Verdict};
pub use plugin::{Description, Plugin};
pub use priority::Priority;
pub use reaction::{Action, Cause, Command, Delivery, Emission, Failure, Outcome, Reaction};
pub use subject::SubjectPattern;
