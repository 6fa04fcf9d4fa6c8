//! The host behind the contract's imports.

use crate::bindings::wasi::config::store::{self, Error};
use crate::bindings::wasi::logging::logging;
use crate::log::Level;

pub(crate) fn config() -> Result<Vec<(String, String)>, String> {
    store::get_all().map_err(|error| match error {
        Error::Upstream(text) | Error::Io(text) => text,
    })
}

pub(crate) fn log(level: Level, context: &str, line: &str) {
    let level = match level {
        Level::Trace => logging::Level::Trace,
        Level::Debug => logging::Level::Debug,
        Level::Info => logging::Level::Info,
        Level::Warn => logging::Level::Warn,
        Level::Error => logging::Level::Error,
        Level::Critical => logging::Level::Critical,
    };
    logging::log(level, context, line);
}
