//! Ennio: a WebAssembly-pluggable event host.
#![cfg_attr(test, allow(missing_docs))]
pub mod bus;
pub mod event;
pub mod nats;
pub mod store;
