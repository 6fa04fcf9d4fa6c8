//! Questions to the log, as SQL. Every value is bound; only this file's own words become SQL text.

use std::fmt::Write as _;

use rusqlite::{Connection, functions::FunctionFlags, types::Value};

use crate::event::{EventPriority, LogEntry, Selection, Seq, Subject, SubjectPattern};

use super::row;

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

pub(super) fn page(connection: &Connection, query: &Query, limit: usize) -> rusqlite::Result<Page> {
    let mut sql = format!("SELECT {} FROM events WHERE ", row::COLUMNS);
    let mut values = Vec::new();
    conditions(query, &mut sql, &mut values);
    let direction = match query.order {
        Order::Ascending => "ASC",
        Order::Descending => "DESC",
    };
    // One more than asked for tells whether there is more.
    let _ = write!(sql, " ORDER BY seq {direction} LIMIT {}", limit + 1);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    let mut page = Page { entries: Vec::new(), next: None };
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        if page.entries.len() == limit || bytes > MAX_PAGE_BYTES {
            page.next = page.entries.last().map(|entry| entry.seq);
            break;
        }
        let entry = row::read(row)?;
        bytes += entry.event.message.as_str().len() + entry.event.data.as_str().len();
        page.entries.push(entry);
    }
    Ok(page)
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
