//! Lines for the plugin's log, through `wasi:logging`.
//!
//! The host limits how many lines a plugin may write; what is over the limit is counted, not kept.
//! In a test, [`testing::logged`](crate::testing::logged) hands out what was written.

use crate::host;

/// How serious a line is. Ordered: `Trace` is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Values of variables and the flow of control.
    Trace,
    /// For somebody who debugs the plugin.
    Debug,
    /// For somebody who watches the plugin.
    Info,
    /// Something hazardous.
    Warn,
    /// A serious error.
    Error,
    /// A fatal error.
    Critical,
}

/// Writes a line under a context, a free word by which a reader groups lines.
pub fn write(level: Level, context: &str, line: impl AsRef<str>) {
    host::log(level, context, line.as_ref());
}

/// Writes a line at level `trace`, without context.
pub fn trace(line: impl AsRef<str>) {
    write(Level::Trace, "", line);
}

/// Writes a line at level `debug`, without context.
pub fn debug(line: impl AsRef<str>) {
    write(Level::Debug, "", line);
}

/// Writes a line at level `info`, without context.
pub fn info(line: impl AsRef<str>) {
    write(Level::Info, "", line);
}

/// Writes a line at level `warn`, without context.
pub fn warn(line: impl AsRef<str>) {
    write(Level::Warn, "", line);
}

/// Writes a line at level `error`, without context.
pub fn error(line: impl AsRef<str>) {
    write(Level::Error, "", line);
}

/// Writes a line at level `critical`, without context.
pub fn critical(line: impl AsRef<str>) {
    write(Level::Critical, "", line);
}
