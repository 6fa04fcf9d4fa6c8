#![cfg_attr(test, allow(missing_docs))]
//! Ennio: a WebAssembly-pluggable event host.
pub mod event;
