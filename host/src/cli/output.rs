//! Standard output and standard error: what may reach them, and how it looks there.
//!
//! Messages come from strangers. A control character in one could move the cursor, rename the
//! window or hide what follows, and a bidirectional override could turn a line around; both are
//! written as escapes, in lines for people ([`plain`]) as well as in JSON ([`json_line`]).

use std::{
    borrow::Cow,
    env,
    fmt::Write as _,
    io::{self, BufWriter, IsTerminal as _, Write},
};

use clap::ValueEnum;
use owo_colors::Style;
use serde::Serialize;
use thiserror::Error;

use crate::event::EventPriority;

/// Whoever read standard output has left, which ends a command without being its failure. A type
/// of its own, since a broken connection to the host is a broken pipe too.
#[derive(Debug, Error)]
#[error("standard output was closed")]
pub(super) struct Closed;

/// Where a command's result goes.
pub(super) struct Output {
    to: BufWriter<Box<dyn Write + Send>>,
    terminal: bool,
}

impl Output {
    pub(super) fn stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        Self { to: BufWriter::new(Box::new(io::stdout())), terminal }
    }

    #[cfg(test)]
    pub(super) fn to(writer: impl Write + Send + 'static) -> Self {
        Self { to: BufWriter::new(Box::new(writer)), terminal: false }
    }

    /// Columns that a line may take; `None` when nobody's window limits it.
    pub(super) fn width(&self) -> Option<usize> {
        let (width, _) = self.terminal.then(terminal_size::terminal_size).flatten()?;
        Some(usize::from(width.0))
    }

    pub(super) fn colours(&self, choice: Colour) -> Colours {
        let wanted = match choice {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                let says = |name: &str, value: fn(&str) -> bool| {
                    env::var_os(name).is_some_and(|v| value(&v.to_string_lossy()))
                };
                self.terminal
                    && !says("NO_COLOR", |v| !v.is_empty())
                    && !says("TERM", |v| v == "dumb")
            }
        };
        Colours(wanted)
    }

    pub(super) fn line(&mut self, line: &str) -> anyhow::Result<()> {
        self.write(line.as_bytes())?;
        self.write(b"\n")
    }

    /// A line of JSON for programs: an object that says with `kind` what it is about.
    pub(super) fn object(&mut self, kind: &str, value: &impl Serialize) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Line<'a, T> {
            kind: &'a str,
            #[serde(flatten)]
            value: &'a T,
        }
        let line = serde_json::to_string(&Line { kind, value })?;
        self.line(&json_line(&line))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.to.write_all(bytes).map_err(closed)
    }

    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.to.flush().map_err(closed)
    }
}

fn closed(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Closed.into(),
        _ => anyhow::Error::new(error).context("standard output"),
    }
}

/// Comes when whoever reads standard output has left; never where that cannot be watched.
#[cfg(unix)]
pub(super) async fn stdout_closed() -> Closed {
    use std::{fs::File, os::fd::AsFd as _};
    use tokio::{io::Interest, net::unix::pipe::Sender};

    // A pipe's writer is told of an error when the last reader closes; a file cannot be watched.
    // Unchecked, since the checked way would make writing to the shared pipe non-blocking.
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    if let Ok(stdout) = stdout.and_then(Sender::from_file_unchecked)
        && stdout.ready(Interest::ERROR).await.is_ok()
    {
        return Closed;
    }
    std::future::pending().await
}

/// Comes when whoever reads standard output has left; never where that cannot be watched.
#[cfg(not(unix))]
pub(super) async fn stdout_closed() -> Closed {
    std::future::pending().await
}

/// One line on standard error. Nobody listening there is no reason to stop.
pub(super) fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The colours of a command, all of them plain where none are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Colours(bool);

impl Colours {
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(false)
    }

    #[cfg(test)]
    pub(super) fn all() -> Self {
        Self(true)
    }

    fn style(self, style: Style) -> Style {
        if self.0 { style } else { Style::new() }
    }

    pub(super) fn priority(self, priority: Option<EventPriority>) -> Style {
        self.style(match priority {
            None => Style::new(),
            Some(EventPriority::Info) => Style::new().dimmed(),
            Some(EventPriority::Action) => Style::new().yellow(),
            Some(EventPriority::Urgent) => Style::new().red().bold(),
            Some(EventPriority::Critical) => Style::new().white().on_red().bold(),
        })
    }

    pub(super) fn subject(self) -> Style {
        self.style(Style::new().cyan())
    }

    pub(super) fn faint(self) -> Style {
        self.style(Style::new().dimmed())
    }

    pub(super) fn heading(self) -> Style {
        self.style(Style::new().bold())
    }

    pub(super) fn good(self) -> Style {
        self.style(Style::new().green())
    }

    pub(super) fn bad(self) -> Style {
        self.style(Style::new().red())
    }
}

/// `text` on one line, with everything that a terminal would obey written as an escape.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match obeyed(c) {
            true => escaped.extend(c.escape_default()),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Valid JSON on one line, of the same value, with everything that a terminal would obey written
/// as JSON's own escapes. Line breaks in valid JSON stand between tokens only.
pub(super) fn json_line(json: &str) -> Cow<'_, str> {
    if !json.contains(obeyed) {
        return Cow::Borrowed(json);
    }
    let mut line = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        if c.is_ascii_whitespace() {
            line.push(' ');
        } else if obeyed(c) {
            let _ = write!(line, "\\u{:04x}", u32::from(c));
        } else {
            line.push(c);
        }
    }
    Cow::Owned(line)
}

/// Valid JSON over several lines, two columns a level, its numbers and members as they were sent.
pub(super) fn json_pretty(json: &str) -> String {
    let mut pretty = String::with_capacity(json.len() * 2);
    let (mut depth, mut fresh) = (0_usize, false);
    let (mut in_string, mut escaped) = (false, false);
    let line_break = |pretty: &mut String, depth: usize| {
        let _ = write!(pretty, "\n{:1$}", "", depth * 2);
    };
    for c in json_line(json).chars() {
        if in_string {
            pretty.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        if c == ' ' {
            continue;
        }
        let closes = matches!(c, ']' | '}');
        if closes {
            depth = depth.saturating_sub(1);
        }
        // What is empty stays together.
        if fresh != closes {
            line_break(&mut pretty, depth);
        }
        fresh = false;
        pretty.push(c);
        match c {
            '[' | '{' => (depth, fresh) = (depth + 1, true),
            ',' => line_break(&mut pretty, depth),
            ':' => pretty.push(' '),
            _ => in_string = c == '"',
        }
    }
    pretty
}

/// Control characters, line and paragraph separators, and what overrides the direction of text.
fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}
