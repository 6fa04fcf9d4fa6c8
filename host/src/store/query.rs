//! Questions to the log: what the index knows of them, and SQL for the rest. Every value is bound;
//! only this file's own words become SQL text.

use std::fmt::Write as _;

use roaring::RoaringBitmap;
use rusqlite::{Connection, OptionalExtension, functions::FunctionFlags, types::Value};

use crate::event::{EventPriority, LogEntry, Selection, Seq, Subject, SubjectPattern};

use super::{index, pruned::Pruned, row};

/// The largest page, in events.
pub const MAX_PAGE: usize = 500;

/// A page ends early once its messages and data are larger, in bytes.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// Which way through the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Oldest commit first.
    #[default]
    Ascending,
    /// Newest commit first.
    Descending,
}

/// A question to the log.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Which events.
    pub selection: Selection,
    /// Only behind this place.
    pub after_seq: Option<Seq>,
    /// Only before this place.
    pub before_seq: Option<Seq>,
    /// Which way.
    pub order: Order,
}

/// A part of the answer.
#[derive(Debug)]
pub struct Page {
    /// At most as many as asked for.
    pub entries: Vec<LogEntry>,
    /// Where the rest begins, as the next `after_seq` (ascending) or `before_seq` (descending);
    /// `None` when this is all.
    pub next: Option<Seq>,
}

impl Page {
    /// The stretch of a log with this head that the page is about: behind the first place, up to and
    /// with the second.
    pub fn stretch(&self, query: &Query, head: Seq) -> (Seq, Seq) {
        let after = query.after_seq.unwrap_or(0);
        let until = query.before_seq.map_or(head, |before| before.saturating_sub(1).min(head));
        match query.order {
            Order::Ascending => (after, self.next.unwrap_or(until)),
            Order::Descending => (self.next.map_or(after, |next| next.saturating_sub(1)), until),
        }
    }
}

/// Adds what the queries need to a connection: `subject_matches(pattern, subject)`.
pub(super) fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("subject_matches", 2, flags, |context| {
        let pattern = context.get_or_create_aux(0, |text| {
            text.as_str().map_err(Into::into).and_then(|text| {
                text.parse::<SubjectPattern>()
                    .map_err(|e| Box::<dyn std::error::Error + Send + Sync>::from(e.to_string()))
            })
        })?;
        let subject = context.get_raw(1).as_str()?;
        Ok(subject.parse::<Subject>().is_ok_and(|subject| pattern.matches(&subject)))
    })
}

/// Where a question is answered.
pub(super) struct Sources<'a> {
    pub(super) log: &'a Connection,
    /// The index file, and what is not in it yet; `None` when there is no index.
    pub(super) index: Option<(&'a Connection, &'a index::Shared)>,
    /// What the index may still know.
    pub(super) pruned: &'a Pruned,
}

pub(super) fn page(sources: &Sources<'_>, query: &Query, limit: usize) -> rusqlite::Result<Page> {
    match sources.index.filter(|_| index::helps(&query.selection)) {
        Some((file, shared)) => indexed(sources, file, shared, query, limit),
        None => {
            let mut page = Building::new(limit);
            scan(sources.log, query, &mut page)?;
            Ok(page.finish())
        }
    }
}

/// The places that the index chooses, less those that are gone, and what lies behind them in the log.
fn indexed(
    sources: &Sources<'_>,
    file: &Connection,
    shared: &index::Shared,
    query: &Query,
    limit: usize,
) -> rusqlite::Result<Page> {
    let log = sources.log;
    let mut page = Building::new(limit);
    let mut tail = shared.tail(&query.selection)?;
    tail.chosen -= sources.pruned.places(log, tail.number)?;
    // Asked after the index: a segment is dropped there only once all of it is gone here.
    let finished_segment = |number| {
        let chosen = shared.finished(file, number, &query.selection)?;
        Ok::<_, rusqlite::Error>(chosen - sources.pruned.places(log, number)?)
    };
    let behind =
        Query { after_seq: Some(query.after_seq.unwrap_or(0).max(tail.known)), ..query.clone() };
    let size = u64::from(shared.size());
    let first: Option<i64> =
        log.prepare_cached("SELECT min(seq) FROM events")?.query_row([], |row| row.get(0))?;
    // Nothing is left before the first event.
    let first = first.map_or(0, |first| first as Seq - 1).max(query.after_seq.unwrap_or(0));
    let finished = first / size..tail.number;
    match query.order {
        Order::Ascending => {
            for number in finished {
                let chosen = finished_segment(number)?;
                if !fetch(log, query, index::begin(number, shared.size()), &chosen, &mut page)? {
                    return Ok(page.finish());
                }
            }
            let begin = index::begin(tail.number, shared.size());
            if fetch(log, query, begin, &tail.chosen, &mut page)? {
                scan(log, &behind, &mut page)?;
            }
        }
        Order::Descending => {
            scan(log, &behind, &mut page)?;
            let begin = index::begin(tail.number, shared.size());
            let mut more = !page.is_done() && fetch(log, query, begin, &tail.chosen, &mut page)?;
            let first_needless = query.before_seq.map_or(u64::MAX, |before| before.div_ceil(size));
            for number in finished.rev().skip_while(|number| *number >= first_needless) {
                if !more {
                    break;
                }
                let chosen = finished_segment(number)?;
                let begin = index::begin(number, shared.size());
                more = fetch(log, query, begin, &chosen, &mut page)?;
            }
        }
    }
    Ok(page.finish())
}

/// Reads the chosen events of one segment, in order. Whether the page takes more.
fn fetch(
    log: &Connection,
    query: &Query,
    begin: Seq,
    chosen: &RoaringBitmap,
    page: &mut Building,
) -> rusqlite::Result<bool> {
    let after = query.after_seq.unwrap_or(0);
    let before = query.before_seq.unwrap_or(Seq::MAX);
    let sql = format!("SELECT {} FROM events WHERE seq = ?1", row::COLUMNS);
    let mut find = log.prepare_cached(&sql)?;
    let mut read = |place: u32| {
        let seq = begin + u64::from(place) + 1;
        if seq <= after || seq >= before {
            return Ok(true);
        }
        match find.query_row([seq as i64], row::read).optional()? {
            Some(entry) => Ok(page.add(entry)),
            // Pruned since.
            None => Ok(true),
        }
    };
    match query.order {
        Order::Ascending => all_of(chosen.iter(), &mut read),
        Order::Descending => all_of(chosen.iter().rev(), &mut read),
    }
}

fn all_of(
    places: impl Iterator<Item = u32>,
    read: &mut impl FnMut(u32) -> rusqlite::Result<bool>,
) -> rusqlite::Result<bool> {
    for place in places {
        if !read(place)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads the log itself.
fn scan(log: &Connection, query: &Query, page: &mut Building) -> rusqlite::Result<()> {
    let mut sql = format!("SELECT {} FROM events WHERE ", row::COLUMNS);
    let mut values = Vec::new();
    conditions(query, &mut sql, &mut values);
    let direction = match query.order {
        Order::Ascending => "ASC",
        Order::Descending => "DESC",
    };
    let _ = write!(sql, " ORDER BY seq {direction}");
    let mut statement = log.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        if !page.add(row::read(row)?) {
            break;
        }
    }
    Ok(())
}

/// A page that is being filled. One event more than it takes tells that there is more.
struct Building {
    limit: usize,
    bytes: usize,
    entries: Vec<LogEntry>,
    has_more: bool,
}

impl Building {
    fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, entries: Vec::new(), has_more: false }
    }

    /// Adds an event, or remembers that there is one. Whether the page takes more.
    fn add(&mut self, entry: LogEntry) -> bool {
        if self.entries.len() == self.limit || self.bytes > MAX_PAGE_BYTES {
            self.has_more = true;
            return false;
        }
        self.bytes += entry.event.message.as_str().len() + entry.event.data.as_str().len();
        self.entries.push(entry);
        true
    }

    fn is_done(&self) -> bool {
        self.has_more
    }

    fn finish(self) -> Page {
        let next = self.entries.last().map(|entry| entry.seq).filter(|_| self.has_more);
        Page { entries: self.entries, next }
    }
}

fn conditions(query: &Query, sql: &mut String, values: &mut Vec<Value>) {
    let Query { selection, after_seq, before_seq, .. } = query;
    let place = |seq: Seq| Value::from(i64::try_from(seq).unwrap_or(i64::MAX));
    let mut all = Conditions { sql, values, first: true };
    all.and("seq > ?", [place(after_seq.unwrap_or(0))]);
    if let Some(before) = before_seq {
        all.and("seq < ?", [place(*before)]);
    }
    if let Some(project) = &selection.project {
        all.and("project_id = ?", [text(project.as_str())]);
    }
    if let Some(session) = &selection.session {
        all.and("session_id = ?", [text(session.as_str())]);
    }
    all.any("event_type = ?", selection.types.iter().map(|t| text(t.as_str())));
    all.any("subject_matches(?, subject)", selection.patterns.iter().map(|p| text(p.as_str())));
    if selection.min_priority > EventPriority::Info {
        let above = EventPriority::ALL.into_iter().filter(|p| *p >= selection.min_priority);
        all.any("priority = ?", above.map(|p| text(p.as_str())));
    }
    if let Some(since) = selection.since {
        all.and("timestamp_us >= ?", [Value::from(since.micros())]);
    }
    if let Some(until) = selection.until {
        all.and("timestamp_us < ?", [Value::from(until.micros())]);
    }
    if !selection.include_dropped {
        all.and("dropped_by IS NULL", []);
    }
}

fn text(text: &str) -> Value {
    Value::from(text.to_owned())
}

struct Conditions<'a> {
    sql: &'a mut String,
    values: &'a mut Vec<Value>,
    first: bool,
}

impl Conditions<'_> {
    fn and<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        if !std::mem::take(&mut self.first) {
            self.sql.push_str(" AND ");
        }
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    /// One of several values; none given is no condition.
    fn any(&mut self, condition: &str, values: impl Iterator<Item = Value>) {
        let before = self.values.len();
        self.values.extend(values);
        let count = self.values.len() - before;
        if count > 0 {
            let either = vec![condition; count].join(" OR ");
            self.and(&format!("({either})"), []);
        }
    }
}
