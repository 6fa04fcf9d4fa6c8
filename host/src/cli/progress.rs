//! How far a long command has come, on standard error: a bar on a terminal, elsewhere a line every
//! few seconds.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{output::note, tally::thousands};
use crate::event::Seq;

/// Between two lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// One way through a log, from a place to another.
pub(super) struct Progress {
    what: &'static str,
    bar: ProgressBar,
    first: Seq,
    begun: Instant,
    told: Instant,
    /// Whether there are lines instead of a bar.
    lines: bool,
}

impl Progress {
    /// `what` is being done, from behind `first` on.
    pub(super) fn new(what: &'static str, first: Seq) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let template = "{prefix} {bar:30} seq {pos} of {len}, {per_sec}, {eta} left {msg}";
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        let bar = bar.with_prefix(what).with_position(first);
        bar.reset_eta();
        let now = Instant::now();
        Self { what, bar, first, begun: now, told: now, lines: !io::stderr().is_terminal() }
    }

    /// Nothing is shown: events go to the same terminal.
    pub(super) fn hidden() -> Self {
        let now = Instant::now();
        let bar = ProgressBar::hidden();
        Self { what: "", bar, first: 0, begun: now, told: now, lines: false }
    }

    /// It has come to `at`, and `last` is the last place.
    pub(super) fn at(&mut self, at: Seq, last: Seq) {
        self.bar.set_length(last);
        self.bar.set_position(at);
        if self.lines && self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            note(&line(self.what, self.first, at, last, self.begun.elapsed()));
        }
    }

    /// What it is waiting for, beside the bar.
    pub(super) fn message(&self, text: String) {
        self.bar.set_message(text);
    }

    /// One line that stays.
    pub(super) fn note(&self, line: &str) {
        self.bar.suspend(|| note(line));
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// `importing: seq 1,200 of 3,416, 400/s, 6 s left`.
pub(super) fn line(what: &str, first: Seq, at: Seq, last: Seq, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(0.001);
    let rate = at.saturating_sub(first) as f64 / seconds;
    let place = format!("{what}: seq {} of {}", thousands(at), thousands(last));
    if rate < f64::EPSILON {
        return place;
    }
    let left = (last.saturating_sub(at) as f64 / rate).ceil() as u64;
    format!("{place}, {}/s, {left} s left", thousands(rate as u64))
}
