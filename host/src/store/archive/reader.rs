//! Text that is to become a log: read line by line, and believed only when its last line has come.

use std::io::{self, BufRead, Read as _};

use sha2::{Digest as _, Sha256};

use super::{ArchiveError, EndLine, FORMAT, Header, HeaderLine, Record, hexadecimal};
use crate::event::Seq;

/// The longest line, in bytes. An event has 300 KiB of JSON at most, a change of it as much.
const MAX_LINE: u64 = 64 << 20;

/// Reads an export.
pub struct ArchiveReader<R> {
    from: R,
    header: Header,
    hash: Sha256,
    /// Lines so far.
    line: u64,
    records: u64,
    /// The place of the last record.
    at: Seq,
    text: Vec<u8>,
}

impl<R: BufRead> ArchiveReader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// [`ArchiveError::NotAnExport`] and [`ArchiveError::NewerFormat`] after the first line.
    pub fn open(mut from: R) -> Result<Self, ArchiveError> {
        let mut text = Vec::new();
        if !read_line(&mut from, &mut text, 0)? {
            return Err(ArchiveError::NotAnExport("there is no line in it".into()));
        }
        let header: HeaderLine = serde_json::from_slice(&text)
            .map_err(|e| ArchiveError::NotAnExport(format!("its first line: {e}")))?;
        let header = header.export;
        if header.format != FORMAT {
            return Err(ArchiveError::NewerFormat(header.format));
        }
        let hash = Sha256::new_with_prefix(&text);
        Ok(Self { from, header, hash, line: 1, records: 0, at: 0, text })
    }

    /// What the first line says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next event. `None` comes only when all of them were what was exported.
    ///
    /// # Errors
    /// [`ArchiveError::Truncated`], [`ArchiveError::Damaged`] and [`ArchiveError::Line`].
    pub fn record(&mut self) -> Result<Option<Record>, ArchiveError> {
        self.text.clear();
        if !read_line(&mut self.from, &mut self.text, self.line)? {
            return Err(ArchiveError::Truncated { line: self.line });
        }
        self.line += 1;
        if self.text.starts_with(b"{\"end\":") {
            return self.end().map(|()| None);
        }
        self.hash.update(&self.text);
        let line = self.line;
        let fault = |reason: String| ArchiveError::Line { line, reason };
        let text = std::str::from_utf8(&self.text).map_err(|e| fault(format!("not UTF-8: {e}")))?;
        let record = Record::parse(text).map_err(fault)?;
        let (before, seq) = (self.at, record.entry.seq);
        if seq <= before {
            return Err(fault(format!("seq {seq} does not follow on seq {before}")));
        }
        self.at = seq;
        self.records += 1;
        Ok(Some(record))
    }

    /// Reads to the end, and tells whether all is what was exported.
    ///
    /// # Errors
    /// As [`ArchiveReader::record`].
    pub fn verify(mut self, mut progress: impl FnMut(Seq, Seq)) -> Result<(), ArchiveError> {
        while let Some(record) = self.record()? {
            progress(record.entry.seq, self.header.last);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        let line = self.line;
        let EndLine { end } = serde_json::from_slice(&self.text)
            .map_err(|e| ArchiveError::Line { line, reason: e.to_string() })?;
        if end.events != self.records {
            let (found, expected) = (self.records, end.events);
            return Err(ArchiveError::Damaged(format!("{found} events, not {expected}")));
        }
        if end.sha256 != hexadecimal(&self.hash.clone().finalize()) {
            return Err(ArchiveError::Damaged("its SHA-256 is another one".into()));
        }
        self.text.clear();
        read_line(&mut self.from, &mut self.text, line)?;
        match self.text.is_empty() {
            true => Ok(()),
            false => Err(ArchiveError::Damaged(format!("something follows on line {line}"))),
        }
    }
}

/// The line behind `line`, with its line break; `false` when there is no whole one.
fn read_line(from: &mut impl BufRead, text: &mut Vec<u8>, line: u64) -> Result<bool, ArchiveError> {
    match from.take(MAX_LINE).read_until(b'\n', text) {
        Ok(length) if length as u64 == MAX_LINE => {
            let reason = format!("longer than {MAX_LINE} bytes");
            Err(ArchiveError::Line { line: line + 1, reason })
        }
        Ok(_) => Ok(text.ends_with(b"\n")),
        // How a compressed text ends that was cut, even where only its last mark is missing.
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(ArchiveError::Truncated { line }),
        Err(e) => Err(ArchiveError::Read(e)),
    }
}
