//! What a guest says: `wasi:logging`, stdout and stderr, all as lines of the plugin's log.
//!
//! Bounded a call: past the budget the rest of the call is swallowed, and the log says so once.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;
use tracing::{debug, error, info, trace, warn};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use super::{
    contract::logging::Level,
    environment::{Environment, Said as Heard},
};
use crate::event::PluginName;

/// What one call may say, in bytes.
const BYTES_A_CALL: usize = 64 << 10;
/// The longest line, in bytes; a longer one is cut into several.
const MAX_LINE: usize = 4096;

/// One instance's voice. Clones speak with the same voice.
#[derive(Clone)]
pub(super) struct GuestLog(Arc<Inner>);

struct Inner {
    plugin: PluginName,
    environment: Environment,
    said: Mutex<Said>,
}

struct Said {
    left: usize,
    /// The last line on stderr, where a panic leaves its message.
    last_words: Option<String>,
}

impl GuestLog {
    pub(super) fn new(plugin: PluginName, environment: Environment) -> Self {
        let said = Mutex::new(Said { left: BYTES_A_CALL, last_words: None });
        Self(Arc::new(Inner { plugin, environment, said }))
    }

    /// A new call begins, with a budget of its own.
    pub(super) fn begin_call(&self) {
        *self.said() = Said { left: BYTES_A_CALL, last_words: None };
    }

    /// The last line that this call wrote to stderr.
    pub(super) fn last_words(&self) -> Option<String> {
        self.said().last_words.clone()
    }

    pub(super) fn line(&self, level: Level, context: &str, message: &str) {
        if !self.spend(message.len()) {
            return;
        }
        let message: String = message.chars().take(MAX_LINE).collect();
        self.tell(level, context, message);
    }

    fn tell(&self, level: Level, context: &str, message: String) {
        let heard = Heard { level: name(level), context: context.to_owned(), message };
        let Some(Heard { message, .. }) = self.0.environment.hear(heard) else { return };
        let plugin = self.0.plugin.as_str();
        match level {
            Level::Trace => trace!(target: "ennio::guest", plugin, context, "{message}"),
            Level::Debug => debug!(target: "ennio::guest", plugin, context, "{message}"),
            Level::Info => info!(target: "ennio::guest", plugin, context, "{message}"),
            Level::Warn => warn!(target: "ennio::guest", plugin, context, "{message}"),
            Level::Error | Level::Critical => {
                error!(target: "ennio::guest", plugin, context, "{message}");
            }
        }
    }

    /// Takes `bytes` from the budget; false once it is used up.
    fn spend(&self, bytes: usize) -> bool {
        let mut said = self.said();
        // A line costs something even when it is empty.
        let cost = bytes.max(16);
        if said.left == 0 {
            return false;
        }
        if said.left < cost {
            said.left = 0;
            drop(said);
            let flood = format!(
                "said more than {BYTES_A_CALL} bytes in one call; the rest of the call is not logged"
            );
            self.tell(Level::Warn, "host", flood);
            return false;
        }
        said.left -= cost;
        true
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
        Level::Critical => "critical",
    }
}

/// stdout or stderr of a guest.
#[derive(Clone)]
pub(super) struct GuestStream {
    pub(super) log: GuestLog,
    pub(super) is_stderr: bool,
}

impl IsTerminal for GuestStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Lines { stream: self.clone(), partial: Vec::new() })
    }
}

/// Cuts what is written into lines.
struct Lines {
    stream: GuestStream,
    partial: Vec<u8>,
}

impl Lines {
    fn end_line(&mut self) {
        let bytes = std::mem::take(&mut self.partial);
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        let (level, context) = match self.stream.is_stderr {
            true => (Level::Warn, "stderr"),
            false => (Level::Info, "stdout"),
        };
        self.stream.log.line(level, context, line);
        // What the standard library adds to a panic's message is no news.
        if self.stream.is_stderr && !line.starts_with("note: run with `RUST_BACKTRACE") {
            self.stream.log.said().last_words = Some(line.chars().take(512).collect());
        }
    }
}

impl AsyncWrite for Lines {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        for byte in bytes {
            if *byte == b'\n' {
                self.end_line();
                continue;
            }
            self.partial.push(*byte);
            if self.partial.len() >= MAX_LINE {
                self.end_line();
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end_line();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end_line();
    }
}
