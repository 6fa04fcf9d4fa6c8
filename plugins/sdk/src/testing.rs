//! The host in a native test: makes events, configures a plugin as the host would, runs its roles
//! in batches, and holds the answers to the contract.
//!
//! ```
//! use ennio_plugin::testing::{self, event};
//! use ennio_plugin::{Description, Event, Filter, Plugin, Verdict, config};
//!
//! struct KeepAll;
//!
//! impl Plugin for KeepAll {
//!     type Config = config::None;
//!     fn description() -> Description {
//!         Description::new("1.0.0", "keeps all")
//!     }
//!     fn configure(_: config::None) -> Result<Self, String> {
//!         Ok(KeepAll)
//!     }
//! }
//!
//! impl Filter for KeepAll {
//!     fn filter(&mut self, _: &Event) -> Verdict {
//!         Verdict::Keep
//!     }
//! }
//!
//! let mut plugin: KeepAll = testing::configure(()).unwrap();
//! let verdicts = testing::filter(&mut plugin, &[event("ci_failing").project("web").build()]);
//! assert_eq!(verdicts, [Verdict::Keep]);
//! ```
//!
//! What breaks the contract panics: here that is a failed test.
#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "only tests call this, and a broken contract must fail them"
)]

mod build;
mod run;

pub use build::{EventBuilder, event};
pub use run::{apply, configure, enrich, filter, http, logged, merge, react, restart, undone};
