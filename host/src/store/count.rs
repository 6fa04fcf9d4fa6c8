//! How many events a question has, in all and by what they have in common.
//!
//! Where the index knows the answer, sets are counted and no event is read. It may know events that
//! are gone from the log; those are left out (`pruned.rs`).

use std::{collections::BTreeMap, time::Instant};

use chrono::{DateTime, SecondsFormat};
use roaring::RoaringBitmap;
use rusqlite::{Connection, ErrorCode, Row, ffi};

use super::{
    index::{self, Choice, Chosen, Dimension},
    query::{Query, Sources, conditions},
};

/// Groups that are told apart. More are an error, since an answer has to be held whole.
pub const MAX_GROUPS: usize = 10_000;

const HOUR_MICROS: i64 = 3_600_000_000;

/// What counted events have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Their type.
    Type,
    /// Their project.
    Project,
    /// The hour in which they happened, in UTC.
    Hour,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Type, Self::Project, Self::Hour];

    /// What it is called in questions and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Project => "project",
            Self::Hour => "hour",
        }
    }
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// All events of the question.
    pub total: u64,
    /// How many in each group: types and projects by their number, the greatest first, and then by
    /// name; hours in their order, each as its beginning in RFC 3339. No group is empty.
    pub groups: Vec<(String, u64)>,
}

/// `None` where there are more than [`MAX_GROUPS`]; interrupted where it takes longer than `until`.
/// Of `query`, selection and bounds matter.
pub(super) fn count(
    sources: &Sources<'_>,
    query: &Query,
    by: Option<Group>,
    until: Instant,
) -> rusqlite::Result<Option<Counts>> {
    let mut counting =
        Counting { by, until, total: 0, names: BTreeMap::new(), hours: BTreeMap::new() };
    // Without a condition that the index knows, each event has to be read for its data.
    let helps = query.selection.data.is_empty() || index::helps(&query.selection);
    match sources.index.filter(|_| helps) {
        Some((file, shared)) => {
            let choice = Choice::new(file, shared, &query.selection)?;
            indexed(sources, &choice, query, &mut counting)?;
        }
        None => scan(sources.log, query, &mut counting)?,
    }
    Ok(counting.finish())
}

fn indexed(
    sources: &Sources<'_>,
    choice: &Choice<'_>,
    query: &Query,
    counting: &mut Counting,
) -> rusqlite::Result<()> {
    let log = sources.log;
    let tail = choice.tail()?;
    for number in choice.segments(&tail, query.bounds()) {
        let chosen = sources.finished(choice, number, query)?;
        segment(log, choice, number, chosen, query, counting)?;
    }
    let unknown = Query { after_seq: query.after_seq.max(Some(tail.known)), ..query.clone() };
    let chosen = sources.left(choice, tail.number, tail.chosen, query)?;
    segment(log, choice, tail.number, chosen, query, counting)?;
    scan(log, &unknown, counting)
}

fn segment(
    log: &Connection,
    choice: &Choice<'_>,
    number: u64,
    chosen: Chosen,
    query: &Query,
    counting: &mut Counting,
) -> rusqlite::Result<()> {
    let begin = choice.begin(number);
    if !chosen.sure.is_empty() {
        counting.places(choice, number, &chosen.sure)?;
    }
    let sql = format!("SELECT {} FROM events WHERE seq = ?1", counting.columns(true));
    let mut find = log.prepare_cached(&sql)?;
    for place in &chosen.unsure {
        let seq = begin + u64::from(place) + 1;
        // None: pruned since.
        if let Some(row) = find.query([seq as i64])?.next()? {
            counting.row(row, query)?;
        }
    }
    Ok(())
}

/// Counts in the log itself.
fn scan(log: &Connection, query: &Query, counting: &mut Counting) -> rusqlite::Result<()> {
    let selection = &query.selection;
    let has_content = selection.text.is_some() || !selection.data.is_empty();
    let mut sql = format!("SELECT {} FROM events WHERE ", counting.columns(has_content));
    let mut values = Vec::new();
    conditions(query, &mut sql, &mut values);
    let mut statement = log.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        counting.row(row, query)?;
    }
    Ok(())
}

/// Counts that grow.
struct Counting {
    by: Option<Group>,
    until: Instant,
    total: u64,
    names: BTreeMap<String, u64>,
    /// By the hour's number since 1970.
    hours: BTreeMap<i64, u64>,
}

impl Counting {
    /// What a row has to have: its group, and message and data where those decide.
    fn columns(&self, with_content: bool) -> String {
        let group = match self.by {
            None => "NULL",
            Some(Group::Type) => "event_type",
            Some(Group::Project) => "project_id",
            Some(Group::Hour) => "timestamp_us",
        };
        let content = if with_content { "message, data" } else { "'', 'null'" };
        format!("{group}, {content}")
    }

    fn row(&mut self, row: &Row<'_>, query: &Query) -> rusqlite::Result<()> {
        let (message, data) = (row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
        if query.selection.content_matches(message, data) {
            self.total += 1;
            match self.by {
                None => {}
                Some(Group::Type | Group::Project) => self.name(row.get_ref(0)?.as_str()?, 1),
                Some(Group::Hour) => self.time(row.get(0)?),
            }
        }
        self.in_time()
    }

    /// Counts places of a segment, without a look at their events.
    fn places(
        &mut self,
        choice: &Choice<'_>,
        number: u64,
        places: &RoaringBitmap,
    ) -> rusqlite::Result<()> {
        self.total += places.len();
        let dimension = match self.by {
            None => None,
            Some(Group::Type) => Some(Dimension::Type),
            Some(Group::Project) => Some(Dimension::Project),
            Some(Group::Hour) => {
                choice.times(number, places)?.into_iter().for_each(|time| self.time(time));
                None
            }
        };
        if let Some(dimension) = dimension {
            let counts = choice.count(number, places, dimension)?;
            // Each event has one: else the segment was dropped since, or is damaged.
            if counts.iter().map(|(_, count)| count).sum::<u64>() != places.len() {
                return Err(rusqlite::Error::QueryReturnedNoRows);
            }
            counts.into_iter().for_each(|(name, count)| self.name(&name, count));
        }
        self.in_time()
    }

    /// SQLite looks at the clock within a statement only, and there may be many.
    fn in_time(&self) -> rusqlite::Result<()> {
        if Instant::now() < self.until {
            return Ok(());
        }
        let code = ErrorCode::OperationInterrupted;
        let interrupted = ffi::Error { code, extended_code: ffi::SQLITE_INTERRUPT };
        Err(rusqlite::Error::SqliteFailure(interrupted, None))
    }

    fn name(&mut self, name: &str, count: u64) {
        if let Some(counted) = self.names.get_mut(name) {
            *counted += count;
        } else if self.names.len() <= MAX_GROUPS {
            // One more than there may be tells that there are too many.
            self.names.insert(name.to_owned(), count);
        }
    }

    fn time(&mut self, micros: i64) {
        let hour = micros.div_euclid(HOUR_MICROS);
        if self.hours.len() <= MAX_GROUPS || self.hours.contains_key(&hour) {
            *self.hours.entry(hour).or_default() += 1;
        }
    }

    fn finish(self) -> Option<Counts> {
        if self.names.len().max(self.hours.len()) > MAX_GROUPS {
            return None;
        }
        let mut groups: Vec<(String, u64)> = self.names.into_iter().collect();
        groups.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let hour = |hour: i64| {
            let time = DateTime::from_timestamp_micros(hour.saturating_mul(HOUR_MICROS));
            time.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
        };
        groups.extend(self.hours.into_iter().map(|(at, count)| (hour(at), count)));
        Some(Counts { total: self.total, groups })
    }
}
