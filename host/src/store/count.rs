//! How many events a question has, in all and by what they have in common.
//!
//! Where the index knows the answer, sets are counted and no event is read. It may know events that
//! are no longer at the beginning of the log; those are left out.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use roaring::RoaringBitmap;
use rusqlite::{Connection, Row};

use crate::event::Seq;

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

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// All events of the question.
    pub total: u64,
    /// How many in each group: types and projects by their number, the greatest first, and then by
    /// name; hours in their order, each as its beginning in RFC 3339. No group is empty.
    pub groups: Vec<(String, u64)>,
}

/// `None` where there are more than [`MAX_GROUPS`]. Of `query`, the order does not matter.
pub(super) fn count(
    sources: &Sources<'_>,
    query: &Query,
    by: Option<Group>,
) -> rusqlite::Result<Option<Counts>> {
    let mut counting = Counting { by, total: 0, names: BTreeMap::new(), hours: BTreeMap::new() };
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
    let sql = "SELECT coalesce(min(seq), 1) - 1 FROM events";
    let gone: i64 = sources.log.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let after = query.after_seq.unwrap_or(0).max(gone as Seq);
    let before = query.before_seq.unwrap_or(Seq::MAX);
    let tail = choice.tail()?;
    for number in (after / choice.size()).min(tail.number)..tail.number {
        if choice.begin(number).saturating_add(1) >= before {
            return Ok(());
        }
        let mut chosen = choice.finished(number)?;
        chosen.clip(choice.begin(number), after, before);
        segment(sources, choice, number, &chosen, query, counting)?;
    }
    let mut chosen = tail.chosen;
    chosen.clip(choice.begin(tail.number), after, before);
    segment(sources, choice, tail.number, &chosen, query, counting)?;
    scan(sources.log, &Query { after_seq: Some(after.max(tail.known)), ..query.clone() }, counting)
}

fn segment(
    sources: &Sources<'_>,
    choice: &Choice<'_>,
    number: u64,
    chosen: &Chosen,
    query: &Query,
    counting: &mut Counting,
) -> rusqlite::Result<()> {
    sources.in_time()?;
    counting.sure(choice, number, &chosen.sure)?;
    if chosen.unsure.is_empty() {
        return Ok(());
    }
    let sql = format!("SELECT {} FROM events WHERE seq = ?1", counting.columns(true));
    let mut find = sources.log.prepare_cached(&sql)?;
    for place in &chosen.unsure {
        sources.in_time()?;
        let seq = choice.begin(number) + u64::from(place) + 1;
        let mut rows = find.query([seq as i64])?;
        // None: pruned since.
        if let Some(row) = rows.next()? {
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
        if !query.selection.content_matches(message, data) {
            return Ok(());
        }
        self.total += 1;
        match self.by {
            None => {}
            Some(Group::Type | Group::Project) => self.name(row.get_ref(0)?.as_str()?, 1),
            Some(Group::Hour) => self.time(row.get(0)?),
        }
        Ok(())
    }

    fn sure(
        &mut self,
        choice: &Choice<'_>,
        number: u64,
        places: &RoaringBitmap,
    ) -> rusqlite::Result<()> {
        self.total += places.len();
        let dimension = match self.by {
            _ if places.is_empty() => return Ok(()),
            None => return Ok(()),
            Some(Group::Type) => Dimension::Type,
            Some(Group::Project) => Dimension::Project,
            Some(Group::Hour) => {
                choice.times(number, places)?.into_iter().for_each(|time| self.time(time));
                return Ok(());
            }
        };
        for (name, count) in choice.count(number, places, dimension)? {
            self.name(&name, count);
        }
        Ok(())
    }

    fn name(&mut self, name: &str, count: u64) {
        match self.names.get_mut(name) {
            Some(counted) => *counted += count,
            // One more than there may be tells that there are too many.
            None if self.names.len() > MAX_GROUPS => {}
            None => drop(self.names.insert(name.to_owned(), count)),
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
