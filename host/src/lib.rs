//! Ennio: a WebAssembly-pluggable event host.
//!
//! Events go one way: admitted, filtered and enriched by plugins, committed to a log in SQLite, and
//! from there to everybody who follows the log: subscribers on the bus, SSE, NATS, reactions.
//! [`host::Host`] is all of that as one value.
//!
//! The modules, in the order of the flow. Each may know those before it.
//!
//! - [`event`]: what an event is.
//! - [`store`]: the log, one SQLite file.
//! - [`bus`]: every committed event, once and in order, in this process.
//! - [`plugin`]: WebAssembly components, sandboxed and hot-reloaded.
//! - [`pipeline`]: the one way in: admit, filter, enrich, commit.
//! - [`reaction`]: what plugins do after the commit.
//! - [`trial`]: a plugin over events without a host.
//! - [`nats`]: the log on NATS subjects.
//! - [`retention`]: what the log forgets, and when.
//! - [`host`]: the whole, to build, publish to, subscribe to, shut down.
//! - [`api`]: REST, SSE, metrics.
//! - [`cli`]: the command line.
//!
//! Leaves that several use: [`amount`] (sizes as people write them), [`clock`], [`config`],
//! [`control`] (the names of commands), [`dashboard`] (what changes by itself), [`metrics`], `problem`
//! (errors as answers), [`span`] (spans of time as people write them), [`strict_toml`].

#![cfg_attr(test, allow(missing_docs))]

pub mod event;

pub mod store;

pub mod bus;

pub mod plugin;

pub mod pipeline;

pub mod reaction;

pub mod trial;

pub mod nats;

pub mod retention;

pub mod host;

pub mod api;

pub mod cli;

pub mod amount;
pub mod clock;
pub mod config;
pub mod control;
pub mod dashboard;
pub mod metrics;
mod problem;
pub mod span;
pub mod strict_toml;
