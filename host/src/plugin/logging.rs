//! What a guest says: `wasi:logging`, stdout and stderr, all as lines of the plugin's log.
//!
//! Bounded twice: in bytes a call, and in lines a second over all instances of a version. What is
//! beyond is swallowed and counted, and the log says so once a call and once a second. A guest
//! cannot forge lines: what is not printable is escaped.

use std::{
    fmt::Write as _,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::io::AsyncWrite;
use tracing::{debug, enabled, error, info, trace, warn};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use super::{
    contract::logging::Level,
    environment::{Environment, Said as Heard},
};
use crate::event::PluginName;

/// What one call may say, in bytes.
pub(super) const BYTES_A_CALL: usize = 64 << 10;
/// The longest line, in bytes; the rest of a log call is cut, of stdout it is another line.
pub(super) const MAX_LINE: usize = 4096;
/// The longest context of a log call, in bytes; the rest is cut.
const MAX_CONTEXT: usize = 128;
/// A line of more bytes counts as several.
pub(super) const LINE: usize = 512;
/// What of a call's words is kept besides the log: lines, and bytes.
const KEPT_LINES: usize = 16;
const KEPT_BYTES: usize = 4096;

/// What all instances of one version of a plugin may say.
pub(super) struct Voice {
    plugin: PluginName,
    /// Also what may be said at once after a silence.
    lines_per_second: u32,
    pace: Mutex<Pace>,
    swallowed: AtomicU64,
    environment: Environment,
}

/// A bucket that fills by `lines_per_second` up to as much.
struct Pace {
    lines: f64,
    filled: Instant,
    /// When the log last said that lines are swallowed.
    told: Option<Instant>,
}

impl Voice {
    pub(super) fn new(
        plugin: PluginName,
        lines_per_second: u32,
        environment: Environment,
    ) -> Arc<Self> {
        let lines = lines_per_second.into();
        let pace = Mutex::new(Pace { lines, filled: Instant::now(), told: None });
        let swallowed = AtomicU64::new(0);
        Arc::new(Self { plugin, lines_per_second, pace, swallowed, environment })
    }

    /// Lines that were not logged, for whatever bound.
    pub(super) fn swallowed(&self) -> u64 {
        self.swallowed.load(Ordering::Relaxed)
    }

    /// Whether a line of `bytes` may be said `now`.
    fn may_say(&self, bytes: usize, now: Instant) -> bool {
        // A trial is the same at every run, however fast the machine.
        if !self.environment.is_live() {
            return true;
        }
        let cost = (1 + bytes.saturating_sub(1) / LINE) as f64;
        let most = f64::from(self.lines_per_second);
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(pace.filled).as_secs_f64();
        pace.lines = (pace.lines + passed * most).min(most);
        pace.filled = now;
        // Who asks for few lines a second still gets long ones, and pays them off.
        if pace.lines >= cost.min(most.max(1.0)) {
            pace.lines -= cost;
            return true;
        }
        let swallowed = self.swallow();
        let due = pace.told.is_none_or(|told| now.duration_since(told) >= Duration::from_secs(1));
        if due && self.lines_per_second > 0 {
            pace.told = Some(now);
            drop(pace);
            let plugin = self.plugin.as_str();
            let most = self.lines_per_second;
            warn!(target: "ennio::guest", plugin, "says more than {most} lines a second; {swallowed} lines were swallowed so far");
        }
        false
    }

    fn swallow(&self) -> u64 {
        self.swallowed.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// One instance's voice. Clones speak with the same voice.
#[derive(Clone)]
pub(super) struct GuestLog(Arc<Inner>);

struct Inner {
    voice: Arc<Voice>,
    said: Mutex<Said>,
}

struct Said {
    left: usize,
    /// The last line on stderr, where a panic leaves its message.
    last_words: Option<String>,
    words: Words,
}

/// What one call said, as far as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// At most 16 lines and 4 096 bytes.
    pub lines: Vec<Heard>,
    /// Further lines, which only the log has.
    pub further: u64,
}

impl Words {
    fn keep(&mut self, line: &Heard) {
        let size = |line: &Heard| line.context.len() + line.message.len();
        let bytes: usize = self.lines.iter().map(size).sum();
        match self.lines.len() < KEPT_LINES && bytes + size(line) <= KEPT_BYTES {
            true => self.lines.push(line.clone()),
            false => self.further += 1,
        }
    }
}

impl Said {
    fn new() -> Self {
        Self { left: BYTES_A_CALL, last_words: None, words: Words::default() }
    }
}

impl GuestLog {
    pub(super) fn new(voice: Arc<Voice>) -> Self {
        Self(Arc::new(Inner { voice, said: Mutex::new(Said::new()) }))
    }

    /// A new call begins, with a budget of its own.
    pub(super) fn begin_call(&self) {
        *self.said() = Said::new();
    }

    /// What the call said that has just ended. Nothing on a trial, which hears it itself.
    pub(super) fn take_words(&self) -> Words {
        std::mem::take(&mut self.said().words)
    }

    /// The last line that this call wrote to stderr.
    pub(super) fn last_words(&self) -> Option<String> {
        self.said().last_words.clone()
    }

    pub(super) fn line(&self, level: Level, context: &str, message: &str) {
        // What nobody reads costs no part of the budget.
        if self.0.voice.environment.is_live() && !is_read(level) {
            return;
        }
        let context = printable(context, MAX_CONTEXT);
        let message = printable(message, MAX_LINE);
        let bytes = context.len() + message.len();
        if !self.spend(bytes) || !self.0.voice.may_say(bytes, Instant::now()) {
            return;
        }
        self.tell(level, context, message);
    }

    fn tell(&self, level: Level, context: String, message: String) {
        let heard = Heard { level: name(level), context, message };
        let Some(heard) = self.0.voice.environment.hear(heard) else { return };
        self.said().words.keep(&heard);
        let Heard { context, message, .. } = heard;
        let plugin = self.0.voice.plugin.as_str();
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

    /// Takes `bytes` from the budget of the call; false once it is used up.
    fn spend(&self, bytes: usize) -> bool {
        let mut said = self.said();
        // A line costs something even when it is empty.
        let cost = bytes.max(16);
        if said.left >= cost {
            said.left -= cost;
            return true;
        }
        let first = said.left > 0;
        said.left = 0;
        drop(said);
        self.0.voice.swallow();
        if first {
            let flood = format!(
                "said more than {BYTES_A_CALL} bytes in one call; the rest of the call is not logged"
            );
            self.tell(Level::Warn, "host".into(), flood);
        }
        false
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_read(level: Level) -> bool {
    match level {
        Level::Trace => enabled!(target: "ennio::guest", tracing::Level::TRACE),
        Level::Debug => enabled!(target: "ennio::guest", tracing::Level::DEBUG),
        Level::Info => enabled!(target: "ennio::guest", tracing::Level::INFO),
        Level::Warn => enabled!(target: "ennio::guest", tracing::Level::WARN),
        Level::Error | Level::Critical => {
            enabled!(target: "ennio::guest", tracing::Level::ERROR)
        }
    }
}

/// At most `limit` bytes of `text` on one line, without what a terminal would obey.
fn printable(text: &str, limit: usize) -> String {
    let text = text.get(..text.floor_char_boundary(limit)).unwrap_or(text);
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => line.push(c),
            // Besides control characters, those that reverse what is read or break lines.
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(line, "{}", c.escape_unicode());
            }
            c if c.is_control() => {
                let _ = write!(line, "{}", c.escape_default());
            }
            c => line.push(c),
        }
    }
    line
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

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(lines_per_second: u32) -> (Arc<Voice>, Instant) {
        let voice = Voice::new("loud".parse().unwrap(), lines_per_second, Environment::live());
        let begun = voice.pace.lock().unwrap().filled;
        (voice, begun)
    }

    fn said(voice: &Voice, lines: usize, bytes: usize, at: Instant) -> usize {
        (0..lines).filter(|_| voice.may_say(bytes, at)).count()
    }

    #[test]
    fn a_burst_is_let_through_then_so_many_lines_a_second_and_the_rest_is_counted() {
        let (voice, begun) = voice(200);
        assert_eq!(said(&voice, 1_000_000, 10, begun), 200);
        assert_eq!(voice.swallowed(), 999_800);
        assert_eq!(said(&voice, 1000, 10, begun + Duration::from_millis(500)), 100);
        assert_eq!(said(&voice, 1000, 10, begun + Duration::from_secs(3_600)), 200);
    }

    #[test]
    fn a_long_line_counts_as_several_and_is_never_impossible() {
        let (voice, begun) = voice(200);
        assert_eq!(said(&voice, 1000, MAX_LINE, begun), 25);
        let (voice, begun) = self::voice(1);
        assert_eq!(said(&voice, 10, MAX_LINE, begun), 1);
        assert_eq!(said(&voice, 10, 10, begun + Duration::from_secs(7)), 0, "it is paid off");
        assert_eq!(said(&voice, 10, 10, begun + Duration::from_secs(8)), 1);
        let (voice, begun) = self::voice(0);
        assert_eq!(said(&voice, 10, 10, begun), 0);
    }

    #[test]
    fn what_is_kept_of_a_call_is_bounded_and_the_rest_is_counted() {
        let line = |bytes: usize| Heard {
            level: "info",
            context: String::new(),
            message: "x".repeat(bytes),
        };
        let mut words = Words::default();
        (0..100).for_each(|_| words.keep(&line(10)));
        assert_eq!((words.lines.len(), words.further), (16, 84));
        let mut words = Words::default();
        [4000, 97, 96, 1].into_iter().for_each(|bytes| words.keep(&line(bytes)));
        let kept: Vec<usize> = words.lines.iter().map(|line| line.message.len()).collect();
        assert_eq!((kept, words.further), (vec![4000, 96], 2));
    }

    #[test]
    fn what_a_guest_says_stays_one_line_that_no_terminal_obeys() {
        let forged = "done\n2026-08-01 ERROR ennio: forged \x1b[2J\r\u{202e}";
        let line = printable(forged, MAX_LINE);
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line}");
        assert!(line.starts_with("done\\n2026"), "{line}");
        assert_eq!(printable("ä".repeat(100).as_str(), 5), "ää");
    }
}
