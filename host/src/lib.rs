//! Ennio: a WebAssembly-pluggable event host.
#![cfg_attr(test, allow(missing_docs))]
pub mod api;
pub mod bus;
pub mod cli;
pub mod config;
pub mod event;
pub mod host;
pub mod metrics;
pub mod pipeline;
pub mod plugin;
pub mod reaction;
pub mod store;
pub mod strict_toml;
