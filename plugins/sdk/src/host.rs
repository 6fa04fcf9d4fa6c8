//! What a plugin asks of its host, in a component and in a test. Nothing else in
//! this crate may know which of the two it is.

#[cfg(target_arch = "wasm32")]
#[path = "host/component.rs"]
mod side;
#[cfg(not(target_arch = "wasm32"))]
#[path = "host/native.rs"]
mod side;

#[cfg(target_arch = "wasm32")]
#[path = "host/component_http.rs"]
mod component_http;

#[cfg(target_arch = "wasm32")]
pub(crate) use component_http::http;
pub(crate) use side::{Bucket, config, log, open_bucket};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use side::{clear_state, http, set_config, set_http, take_log, undo};
