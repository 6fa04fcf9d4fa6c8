//! Questions to the log: what the index knows of them, and SQL for the rest. Every value is bound;
//! only this file's own words become SQL text.

use std::{fmt::Write as _, time::Instant};

use rusqlite::{Connection, Row, functions::FunctionFlags, types::Value};

use crate::event::{EventPriority, LogEntry, Selection, Seq, Subject, SubjectPattern};

use super::{
    index::{self, Choice, Chosen},
    pruned::Pruned,
    row,
};

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

/// Which part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Part {
    /// Its beginning, in the order that is asked for.
    #[default]
    First,
    /// Its end, in that order.
    Last,
    /// What comes next behind this place in the log, whatever the order.
    After(Seq),
    /// What comes next before this place in the log, whatever the order.
    Before(Seq),
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
    /// Which part of what this chooses.
    pub part: Part,
}

/// A part of the answer.
#[derive(Debug)]
pub struct Page {
    /// At most as many as asked for, in the order asked for. Fewer, even none, where they are large
    /// or had to be looked for among many others: only `next` tells whether anything follows.
    pub entries: Vec<LogEntry>,
    /// Where the rest begins, as the next `after_seq` (ascending) or `before_seq` (descending);
    /// `None` when nothing follows.
    pub next: Option<Seq>,
    /// Where what comes before this page ends: [`Part::Before`] this place (ascending) or
    /// [`Part::After`] it (descending); `None` when this is the beginning.
    pub prev: Option<Seq>,
}

impl Page {
    /// The stretch of a log with this head that the page is about: behind the first place, up to and
    /// with the second.
    pub fn stretch(&self, query: &Query, head: Seq) -> (Seq, Seq) {
        let way = query.way();
        let after = way.after_seq.unwrap_or(0);
        let until = way.before_seq.map_or(head, |before| before.saturating_sub(1).min(head));
        // The last place that the page is done with, on the way that it was read.
        let end = if way.order == query.order { self.next } else { self.prev };
        match way.order {
            Order::Ascending => (after, end.unwrap_or(until)),
            Order::Descending => (end.map_or(after, |end| end.saturating_sub(1)), until),
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

impl Sources<'_> {
    /// What a finished segment has of an answer. Nothing where all of it is gone: the index does not
    /// have it any more.
    pub(super) fn finished(
        &self,
        choice: &Choice<'_>,
        number: u64,
        query: &Query,
    ) -> rusqlite::Result<Chosen> {
        match self.pruned.is_whole(self.log, number)? {
            true => Ok(Chosen::default()),
            false => self.left(choice, number, choice.finished(number)?, query),
        }
    }

    /// Of the chosen places of a segment, those within the question's bounds that are not gone. Asked
    /// after the index, which drops a segment only once all of it is gone here.
    pub(super) fn left(
        &self,
        choice: &Choice<'_>,
        number: u64,
        mut chosen: Chosen,
        query: &Query,
    ) -> rusqlite::Result<Chosen> {
        chosen.clip(choice.begin(number), query.bounds());
        if !chosen.is_empty() {
            chosen.leave_out(&self.pruned.places(self.log, number)?);
        }
        Ok(chosen)
    }
}

/// A page of at most `limit` events. Past `until` it ends behind what it has looked at, so that a
/// question that few events answer takes many short reads and not one that is too long.
pub(super) fn page(
    sources: &Sources<'_>,
    query: &Query,
    limit: usize,
    until: Instant,
) -> rusqlite::Result<Page> {
    let way = query.way();
    let mut page = Building { limit, until, bytes: 0, entries: Vec::new(), stopped: None };
    match sources.index.filter(|_| index::helps(&query.selection)) {
        Some((file, shared)) => {
            let choice = Choice::new(file, shared, &way.selection)?;
            indexed(sources, &choice, &way, &mut page)?;
        }
        None => scan(sources.log, &way, &mut page)?,
    }
    Ok(page.finish(query, way.order))
}

impl Query {
    /// The same question, such that the part that is wanted comes first.
    fn way(&self) -> Self {
        let (order, after, before) = match (self.part, self.order) {
            (Part::First, order) => (order, None, None),
            (Part::Last, Order::Ascending) => (Order::Descending, None, None),
            (Part::Last, Order::Descending) => (Order::Ascending, None, None),
            (Part::After(seq), _) => (Order::Ascending, Some(seq), None),
            (Part::Before(seq), _) => (Order::Descending, None, Some(seq)),
        };
        let after_seq = self.after_seq.max(after);
        let before_seq = self.before_seq.into_iter().chain(before).min();
        Self { order, after_seq, before_seq, part: Part::First, ..self.clone() }
    }

    /// The first and the last place that its bounds leave.
    pub(super) fn bounds(&self) -> (Seq, Seq) {
        let last = self.before_seq.map_or(Seq::MAX, |before| before.saturating_sub(1));
        (self.after_seq.map_or(1, |after| after.saturating_add(1)), last)
    }
}

/// The places that the index chooses, less those that are gone, and what lies behind them in the log.
fn indexed(
    sources: &Sources<'_>,
    choice: &Choice<'_>,
    query: &Query,
    page: &mut Building,
) -> rusqlite::Result<()> {
    let log = sources.log;
    let tail = choice.tail()?;
    let finished = choice.segments(&tail, query.bounds());
    let unknown = Query { after_seq: query.after_seq.max(Some(tail.known)), ..query.clone() };
    // Whether the page takes more.
    let segment = |number: u64, page: &mut Building| {
        let chosen = sources.finished(choice, number, query)?;
        fetch(log, query, choice.begin(number), chosen, page)
    };
    let last = |page: &mut Building| {
        let chosen = sources.left(choice, tail.number, tail.chosen.clone(), query)?;
        fetch(log, query, choice.begin(tail.number), chosen, page)
    };
    match query.order {
        Order::Ascending => {
            for number in finished {
                if !segment(number, page)? || !page.pass(choice.begin(number + 1)) {
                    return Ok(());
                }
            }
            if last(page)? {
                scan(log, &unknown, page)?;
            }
        }
        Order::Descending => {
            scan(log, &unknown, page)?;
            if page.stopped.is_some() || !last(page)? {
                return Ok(());
            }
            for number in finished.rev() {
                if !segment(number, page)? || !page.pass(choice.begin(number) + 1) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Reads the chosen events of the segment behind `begin`, in order. Whether the page takes more.
fn fetch(
    log: &Connection,
    query: &Query,
    begin: Seq,
    chosen: Chosen,
    page: &mut Building,
) -> rusqlite::Result<bool> {
    let places = chosen.sure | chosen.unsure;
    let sql = format!("SELECT {} FROM events WHERE seq = ?1", row::COLUMNS);
    let mut find = log.prepare_cached(&sql)?;
    let mut read = |place: u32| {
        let seq = begin + u64::from(place) + 1;
        match find.query([seq as i64])?.next()? {
            Some(row) => page.add_chosen(row, &query.selection),
            // Pruned since.
            None => Ok(true),
        }
    };
    match query.order {
        Order::Ascending => all_of(places.iter(), &mut read),
        Order::Descending => all_of(places.iter().rev(), &mut read),
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
        if !page.add_chosen(row, &query.selection)? {
            break;
        }
    }
    Ok(())
}

/// A page that is being filled, in the order of reading. One event more than it takes tells that
/// there is more.
struct Building {
    limit: usize,
    until: Instant,
    bytes: usize,
    entries: Vec<LogEntry>,
    /// The last place that the page is done with, once it takes no more.
    stopped: Option<Seq>,
}

impl Building {
    /// Adds the event if its message and data are as wanted. Whether the page takes more.
    fn add_chosen(&mut self, row: &Row<'_>, selection: &Selection) -> rusqlite::Result<bool> {
        let (message, data) = (row.get_ref(8)?.as_str()?, row.get_ref(9)?.as_str()?);
        match selection.content_matches(message, data) {
            true => Ok(self.add(row::read(row)?)),
            false => Ok(self.pass(row.get::<_, i64>(0)? as Seq)),
        }
    }

    /// Adds an event, or remembers that there is one. Whether the page takes more.
    fn add(&mut self, entry: LogEntry) -> bool {
        if self.entries.len() == self.limit || self.bytes > MAX_PAGE_BYTES {
            self.stopped = self.entries.last().map(|last| last.seq);
            return false;
        }
        self.bytes += entry.event.message.as_str().len() + entry.event.data.as_str().len();
        self.entries.push(entry);
        true
    }

    /// Nothing more is chosen up to and with this place. Whether the page takes more.
    fn pass(&mut self, seq: Seq) -> bool {
        let is_in_time = Instant::now() < self.until;
        if !is_in_time {
            self.stopped = Some(seq);
        }
        is_in_time
    }

    /// The page, for which events were read in the order `read`.
    fn finish(self, query: &Query, read: Order) -> Page {
        let Self { mut entries, stopped, .. } = self;
        // Whoever gives a place comes from an event on its other side.
        let beside = match query.part {
            Part::After(seq) => Some(seq.saturating_add(1)),
            Part::Before(seq) => Some(seq.saturating_sub(1)),
            Part::First | Part::Last => None,
        };
        let came_from = beside.map(|beside| entries.first().map_or(beside, |entry| entry.seq));
        if read == query.order {
            return Page { entries, next: stopped, prev: came_from };
        }
        entries.reverse();
        Page { entries, next: came_from, prev: stopped }
    }
}

/// What the columns alone decide of a question; message and data are for
/// [`Selection::content_matches`].
pub(super) fn conditions(query: &Query, sql: &mut String, values: &mut Vec<Value>) {
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
