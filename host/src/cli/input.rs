//! Events out of text: NDJSON, a JSON array, or JSON objects one after the other.
//!
//! What begins with `[` is an array; what begins with an object that goes on over several lines is
//! read object by object; everything else is read line by line, so that one bad line spoils no
//! other. Nothing is held but the event that is being read, however long the input is.
//!
//! Whether an event is a good one is for the host to say. Here only JSON objects are told from
//! what is none, and whoever has no id gets one, so that the host recognises a second sending.

use std::{
    borrow::Cow,
    fmt,
    io::{self, BufRead as _, BufReader, Read},
};

use serde::{
    Deserialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::output::json_line;
use crate::event::EventId;

/// The longest event, in bytes of JSON. The largest that a host takes fits three times over; a
/// host reads lines of up to 1 MiB, and an id may have to be added.
pub(super) const MAX_EVENT_BYTES: usize = 1_000_000;

/// A pipe is read this many bytes at a time; a chunk is what one reading brought.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

/// One event of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Where it begins, from 1.
    pub(super) line: u64,
    /// Bytes of input up to its end.
    pub(super) end: u64,
    /// One line of JSON with an id, or why it is none.
    pub(super) event: Result<String, String>,
}

/// Reads events one by one.
pub(super) struct Events<R> {
    from: BufReader<R>,
    /// The id of an event that has none, by its line.
    ids: fn(u64) -> String,
    /// Read already, and to be read again as values; its end comes first.
    ahead: Vec<u8>,
    /// The first line, when it turned out to be one.
    first: Option<Item>,
    shape: Shape,
    line: u64,
    end: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Unknown,
    Lines,
    Values,
}

impl<R: Read> Events<R> {
    pub(super) fn new(from: R) -> Self {
        Self::with_ids(from, |_| EventId::mint().to_string())
    }

    /// With other ids than fresh ones for events that have none, made of the line.
    pub(super) fn with_ids(from: R, ids: fn(u64) -> String) -> Self {
        Self {
            ids,
            from: BufReader::with_capacity(BUFFER_BYTES, from),
            ahead: Vec::new(),
            first: None,
            shape: Shape::Unknown,
            line: 1,
            end: 0,
        }
    }

    /// The next event; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Item>> {
        if self.shape == Shape::Unknown {
            self.shape = self.find_shape()?;
        }
        match self.shape {
            Shape::Values => self.next_value(),
            Shape::Unknown | Shape::Lines => self.next_line(),
        }
    }

    /// Whether the next event may have to be waited for.
    pub(super) fn is_dry(&self) -> bool {
        self.ahead.is_empty() && !self.from.buffer().contains(&b'\n')
    }

    fn find_shape(&mut self) -> io::Result<Shape> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        if self.from.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
            self.from.consume(BYTE_ORDER_MARK.len());
            self.end += BYTE_ORDER_MARK.len() as u64;
        }
        self.skip_space()?;
        if self.peek()? == Some(b'[') {
            return Ok(Shape::Values);
        }
        let (line, end) = (self.line, self.end);
        let mut text = Vec::new();
        let is_whole = self.read_line(&mut text)?;
        if text.is_empty() {
            return Ok(Shape::Lines);
        }
        let item = self.item(line, is_whole, &text);
        if is_whole && prepare(&text, || (self.ids)(line)).is_err_and(|fault| fault.is_unfinished) {
            self.skip_space_into(&mut text)?;
            // The next line of a pretty object; another event would begin with a brace.
            if matches!(self.peek()?, Some(b'"' | b'}')) {
                text.reverse();
                (self.line, self.end, self.ahead) = (line, end, text);
                return Ok(Shape::Values);
            }
        }
        self.first = Some(item);
        Ok(Shape::Lines)
    }

    fn next_line(&mut self) -> io::Result<Option<Item>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let mut text = Vec::new();
        loop {
            let line = self.line;
            text.clear();
            if self.peek()?.is_none() {
                return Ok(None);
            }
            let is_whole = self.read_line(&mut text)?;
            if !text.trim_ascii().is_empty() {
                return Ok(Some(self.item(line, is_whole, &text)));
            }
        }
    }

    /// The next object of an array, or of objects one after the other.
    fn next_value(&mut self) -> io::Result<Option<Item>> {
        loop {
            self.skip_space()?;
            match self.peek()? {
                None => return Ok(None),
                Some(b'[' | b']' | b',') => self.take()?,
                Some(_) => break,
            };
        }
        let line = self.line;
        let mut text = Vec::new();
        let mut is_whole = true;
        let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
        while let Some(byte) = self.peek()? {
            let is_between = depth == 0 && !in_string && !text.is_empty();
            if is_between && (byte.is_ascii_whitespace() || matches!(byte, b',' | b']')) {
                break;
            }
            self.take()?;
            match text.len() < MAX_EVENT_BYTES {
                true => text.push(byte),
                false => is_whole = false,
            }
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        break;
                    }
                }
                _ => {}
            }
        }
        Ok(Some(self.item(line, is_whole, &text)))
    }

    fn item(&self, line: u64, is_whole: bool, text: &[u8]) -> Item {
        let event = match is_whole {
            true => prepare(text, || (self.ids)(line)).map_err(|fault| fault.reason),
            false => Err(format!("longer than {MAX_EVENT_BYTES} bytes")),
        };
        Item { line, end: self.end, event }
    }

    /// Reads to the end of the line; `false` when it is too long and only its beginning was kept.
    fn read_line(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        let mut is_whole = true;
        loop {
            let buffer = self.from.fill_buf()?;
            let line_end = buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let part = buffer.get(..line_end.unwrap_or(buffer.len())).unwrap_or_default();
            is_whole &= text.len() + part.len() <= MAX_EVENT_BYTES;
            if is_whole {
                text.extend_from_slice(part);
            }
            let read = part.len();
            self.from.consume(read);
            self.end += read as u64;
            self.line += u64::from(line_end.is_some());
            if line_end.is_some() || read == 0 {
                return Ok(is_whole);
            }
        }
    }

    fn skip_space(&mut self) -> io::Result<()> {
        self.skip_space_into(&mut Vec::new())
    }

    fn skip_space_into(&mut self, skipped: &mut Vec<u8>) -> io::Result<()> {
        while let Some(byte) = self.peek()?.filter(u8::is_ascii_whitespace) {
            self.take()?;
            if skipped.len() < MAX_EVENT_BYTES {
                skipped.push(byte);
            }
        }
        Ok(())
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        match self.ahead.last() {
            Some(byte) => Ok(Some(*byte)),
            None => Ok(self.from.fill_buf()?.first().copied()),
        }
    }

    fn take(&mut self) -> io::Result<()> {
        let byte = match self.ahead.pop() {
            Some(byte) => Some(byte),
            None => {
                let byte = self.from.fill_buf()?.first().copied();
                self.from.consume(usize::from(byte.is_some()));
                byte
            }
        };
        if let Some(byte) = byte {
            self.count(byte);
        }
        Ok(())
    }

    fn count(&mut self, byte: u8) {
        self.end += 1;
        self.line += u64::from(byte == b'\n');
    }
}

/// Why a text is no event.
struct Fault {
    reason: String,
    /// It may be the beginning of one.
    is_unfinished: bool,
}

/// One line of JSON, of an object that has an id.
fn prepare(text: &[u8], id: impl FnOnce() -> String) -> Result<String, Fault> {
    let bad = |reason: String| Fault { reason, is_unfinished: false };
    let text = std::str::from_utf8(text).map_err(|error| bad(format!("not UTF-8: {error}")))?;
    let members: Members<'_> = serde_json::from_str(text).map_err(|error| Fault {
        is_unfinished: error.is_eof(),
        reason: match error.classify() {
            serde_json::error::Category::Data => "not a JSON object".into(),
            _ => format!("not valid JSON: {}", without_place(&error)),
        },
    })?;
    let is_id = |(name, value): &&(Cow<'_, str>, &RawValue)| name == "id" && value.get() != "null";
    if members.0.iter().any(|member| is_id(&member)) {
        return Ok(json_line(text.trim()).into_owned());
    }
    let mut line = format!("{{\"id\":\"{}\"", id());
    for (name, value) in members.0.iter().filter(|(name, _)| name != "id") {
        let name = serde_json::to_string(name).map_err(|error| bad(error.to_string()))?;
        line.push(',');
        line.push_str(&json_line(&name));
        line.push(':');
        line.push_str(&json_line(value.get()));
    }
    line.push('}');
    Ok(line)
}

/// serde_json counts lines from where the event begins; only the column helps.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    format!("{what} at column {}", error.column())
}

/// The members of one object, in their order, as they were written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(members)
            }
        }
        from.deserialize_map(Collect).map(Members)
    }
}
