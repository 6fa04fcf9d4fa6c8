//! A log into text.

use std::io::Write;

use sha2::{Digest as _, Sha256};

use super::{ArchiveError, End, EndLine, FORMAT, Header, HeaderLine, History, hexadecimal};
use crate::{
    event::{Selection, Seq, Timestamp},
    store::Gap,
};

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Events.
    pub events: u64,
    /// Whether these are all that the log had.
    pub whole: bool,
    /// What retention had deleted from the stretch that they are from.
    pub pruned: Option<Gap>,
}

/// Writes the events behind `after`, up to and with `until`, that are chosen. Without a bound and
/// with a selection of everything it is the whole log, hidden events too. What is committed after
/// the beginning is not in it. `progress` is told the place that it has come to and the last one.
///
/// # Errors
/// [`ArchiveError`] when the log cannot be read, or the text not be written.
pub fn export(
    log: &History,
    mut selection: Selection,
    after: Seq,
    until: Option<Seq>,
    to: impl Write,
    mut progress: impl FnMut(Seq, Seq),
) -> Result<Exported, ArchiveError> {
    // Cursors first: none then is behind the last event.
    let cursors = log.cursors()?;
    let head = log.head()?;
    let everything =
        Selection { include_dropped: selection.include_dropped, ..Selection::default() };
    let whole = selection == everything && after == 0 && until.is_none();
    selection.include_dropped |= whole;
    let mut text = Text { to, hash: Sha256::new() };
    text.line(&HeaderLine {
        export: Header {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            made_at: Timestamp::now().to_string(),
            whole,
            last: head,
            cursors,
        },
    })?;
    let end = until.map_or(head, |until| until.min(head));
    let mut at = after;
    let mut events = 0;
    while at < end {
        let page = log.read(at, end)?;
        at = page.last().map_or(end, |record| record.entry.seq);
        for record in page.iter().filter(|record| selection.matches(&record.entry)) {
            let line = record.line().map_err(|e| ArchiveError::Unwritable {
                seq: record.entry.seq,
                reason: e.to_string(),
            })?;
            text.write(&line)?;
            events += 1;
        }
        progress(at, end);
    }
    let pruned = log.gap(after, end)?;
    let sha256 = hexadecimal(&text.hash.clone().finalize());
    text.line(&EndLine { end: End { events, sha256 } })?;
    text.to.flush().map_err(ArchiveError::Write)?;
    Ok(Exported { events, whole, pruned })
}

/// Lines, and the hash of all so far.
struct Text<W> {
    to: W,
    hash: Sha256,
}

impl<W: Write> Text<W> {
    fn line(&mut self, line: &impl serde::Serialize) -> Result<(), ArchiveError> {
        let line = serde_json::to_string(line).map_err(|e| ArchiveError::Write(e.into()))?;
        self.write(&line)
    }

    fn write(&mut self, line: &str) -> Result<(), ArchiveError> {
        for part in [line.as_bytes(), b"\n"] {
            self.hash.update(part);
            self.to.write_all(part).map_err(ArchiveError::Write)?;
        }
        Ok(())
    }
}
