//! Ennio: a WebAssembly-pluggable event host.
#![cfg_attr(test, allow(missing_docs))]
pub mod bus;
pub mod cli;
pub mod event;
pub mod metrics;
pub mod pipeline;
pub mod plugin;
pub mod store;
pub mod strict_toml;
