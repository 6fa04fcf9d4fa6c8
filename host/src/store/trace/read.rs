//! The rows that a trace is told from, one function a table.

use std::{sync::Arc, time::Duration};

use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};
use serde::de::DeserializeOwned;

use super::{Called, Line, Member, PassedCall, Role};
use crate::{
    event::{EventId, EventPriority, EventRef, LogEntry, PluginName, Seq, Subject, Timestamp},
    store::{reactions::Attempt, row},
};

/// The most calls that can begin at one place: of a version, and of the one before it.
const CALLS_AT_ONE_PLACE: i64 = 4;

/// A row of `steps`.
pub(super) struct StepRow {
    pub(super) plugin: PluginName,
    pub(super) role: Role,
    pub(super) version: Arc<str>,
    pub(super) outcome: String,
    pub(super) detail: Option<String>,
    pub(super) was_priority: Option<EventPriority>,
    pub(super) was_subject: Option<Subject>,
    pub(super) took: Option<Duration>,
}

/// A row of `reaction_steps`.
pub(super) struct ReactedRow {
    pub(super) attempt: u32,
    pub(super) at: Timestamp,
    pub(super) called: Called,
    pub(super) emitted: usize,
    pub(super) commands: Vec<String>,
}

pub(super) fn entry(db: &Connection, which: EventRef) -> rusqlite::Result<Option<LogEntry>> {
    match which {
        EventRef::Id(id) => by_id(db, id),
        EventRef::Seq(seq) => {
            let sql = format!("SELECT {} FROM events WHERE seq = ?1", row::COLUMNS);
            db.prepare_cached(&sql)?.query_row([seq as i64], row::read).optional()
        }
    }
}

pub(super) fn by_id(db: &Connection, id: EventId) -> rusqlite::Result<Option<LogEntry>> {
    let sql = format!("SELECT {} FROM events WHERE id = ?1", row::COLUMNS);
    db.prepare_cached(&sql)?.query_row([id.to_string()], row::read).optional()
}

/// The filters and enrichers that an event met; none where that was not recorded.
pub(super) fn lineup(db: &Connection, seq: Seq) -> rusqlite::Result<Vec<Member>> {
    let sql = "SELECT members FROM lineups WHERE from_seq <= ?1 ORDER BY from_seq DESC LIMIT 1";
    let mut find = db.prepare_cached(sql)?;
    Ok(find.query_row([seq as i64], |row| json(row, 0)).optional()?.unwrap_or_default())
}

pub(super) fn steps(db: &Connection, seq: Seq) -> rusqlite::Result<Vec<StepRow>> {
    let sql = "SELECT plugin, role, version, outcome, detail, was_priority, was_subject, took_ns \
               FROM steps WHERE seq = ?1 ORDER BY position";
    let mut find = db.prepare_cached(sql)?;
    let rows = find.query_map([seq as i64], |row| {
        Ok(StepRow {
            plugin: row::parsed(row, 0)?,
            role: role(row, 1)?,
            version: row.get::<_, String>(2)?.into(),
            outcome: row.get(3)?,
            detail: row.get(4)?,
            was_priority: row::optional(row, 5)?,
            was_subject: row::optional(row, 6)?,
            took: row.get::<_, Option<i64>>(7)?.map(nanos),
        })
    })?;
    rows.collect()
}

/// The recorded calls of a plugin that were about this event. Calls in one role follow on each other,
/// so only those that begin at the nearest place before can have it.
pub(super) fn calls(
    db: &Connection,
    plugin: &PluginName,
    role: Role,
    seq: Seq,
) -> rusqlite::Result<Vec<PassedCall>> {
    let sql = "SELECT first_seq, last_seq, events, version, took_ns, said, unsaid, error \
               FROM plugin_calls WHERE plugin = ?1 AND role = ?2 AND first_seq <= ?3 \
               ORDER BY first_seq DESC LIMIT ?4";
    let mut find = db.prepare_cached(sql)?;
    let values = params![plugin.as_str(), role.as_str(), seq as i64, CALLS_AT_ONE_PLACE];
    let rows = find.query_map(values, |row| {
        Ok(PassedCall {
            first_seq: row.get::<_, i64>(0)? as Seq,
            last_seq: row.get::<_, i64>(1)? as Seq,
            events: row.get::<_, i64>(2)? as u64,
            called: called(row, 3)?,
            error: row.get(7)?,
        })
    })?;
    let mut calls: Vec<PassedCall> = rows.collect::<Result<_, _>>()?;
    calls.retain(|call| call.last_seq >= seq);
    // A version that failed comes before the one that answered for it.
    calls.sort_by_key(|call| (call.error.is_none(), call.first_seq));
    Ok(calls)
}

/// The reactions that there ever were, by name.
pub(super) fn reactions(db: &Connection) -> rusqlite::Result<Vec<PluginName>> {
    let sql = "SELECT substr(name, 10) FROM cursors WHERE name LIKE 'reaction/%' ORDER BY name";
    let mut find = db.prepare_cached(sql)?;
    let names = find.query_map([], |row| row::parsed(row, 0))?;
    names.collect()
}

/// The version of a reaction that came to an event first; `None` for an event from before it.
pub(super) fn reaction_version(
    db: &Connection,
    plugin: &PluginName,
    seq: Seq,
) -> rusqlite::Result<Option<Member>> {
    let sql = "SELECT member FROM reaction_versions WHERE plugin = ?1 AND from_seq <= ?2 \
               ORDER BY from_seq DESC LIMIT 1";
    let mut find = db.prepare_cached(sql)?;
    find.query_row(params![plugin.as_str(), seq as i64], |row| json(row, 0)).optional()
}

pub(super) fn reacted(
    db: &Connection,
    plugin: &PluginName,
    seq: Seq,
) -> rusqlite::Result<Option<ReactedRow>> {
    let sql = "SELECT attempt, at_us, emitted, commands, version, took_ns, said, unsaid \
               FROM reaction_steps WHERE event_seq = ?1 AND plugin = ?2";
    let mut find = db.prepare_cached(sql)?;
    let reacted = find.query_row(params![seq as i64, plugin.as_str()], |row| {
        Ok(ReactedRow {
            attempt: row.get(0)?,
            at: row::time(row, 1)?,
            emitted: row.get::<_, i64>(2)? as usize,
            commands: json(row, 3)?,
            called: called(row, 4)?,
        })
    });
    reacted.optional()
}

/// Every attempt of a plugin at an event that failed, the oldest first.
pub(in crate::store) fn attempts(
    db: &Connection,
    plugin: &PluginName,
    seq: Seq,
) -> rusqlite::Result<Vec<Attempt>> {
    let sql = "SELECT attempt, at_us, error, version, took_ns, said, unsaid FROM reaction_attempts \
               WHERE plugin = ?1 AND event_seq = ?2 ORDER BY id";
    let mut find = db.prepare_cached(sql)?;
    let attempts = find.query_map(params![plugin.as_str(), seq as i64], |row| {
        let is_known = row.get::<_, Option<String>>(3)?.is_some();
        Ok(Attempt {
            number: row.get(0)?,
            at: row::time(row, 1)?,
            error: row.get(2)?,
            called: is_known.then(|| called(row, 3)).transpose()?,
        })
    })?;
    attempts.collect()
}

/// When an event that waits may be tried again.
pub(super) fn waits_until(
    db: &Connection,
    plugin: &PluginName,
    seq: Seq,
) -> rusqlite::Result<Option<Timestamp>> {
    let sql = "SELECT next_us FROM reaction_waiting WHERE plugin = ?1 AND event_seq = ?2";
    let mut find = db.prepare_cached(sql)?;
    find.query_row(params![plugin.as_str(), seq as i64], |row| row::time(row, 0)).optional()
}

/// The number of the dead letter.
pub(super) fn dead_letter(
    db: &Connection,
    plugin: &PluginName,
    seq: Seq,
) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT id FROM dead_letters WHERE plugin = ?1 AND event_seq = ?2";
    let mut find = db.prepare_cached(sql)?;
    find.query_row(params![plugin.as_str(), seq as i64], |row| row.get(0)).optional()
}

/// Whether a reaction's cursor has passed an event.
pub(super) fn has_passed(db: &Connection, plugin: &PluginName, seq: Seq) -> rusqlite::Result<bool> {
    let sql = "SELECT seq >= ?2 FROM cursors WHERE name = 'reaction/' || ?1";
    let mut find = db.prepare_cached(sql)?;
    let passed = find.query_row(params![plugin.as_str(), seq as i64], |row| row.get(0));
    Ok(passed.optional()?.unwrap_or(false))
}

/// The sinks that are no reactions, and how far each has come.
pub(super) fn sinks(db: &Connection) -> rusqlite::Result<Vec<(String, Seq)>> {
    let sql = "SELECT name, seq FROM cursors WHERE name NOT LIKE 'reaction/%' ORDER BY name";
    let mut find = db.prepare_cached(sql)?;
    let sinks = find.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as Seq)))?;
    sinks.collect()
}

/// The sink's last mark before an event, and the first that has passed it.
pub(super) fn marks(
    db: &Connection,
    sink: &str,
    seq: Seq,
) -> rusqlite::Result<(Option<Timestamp>, Option<Timestamp>)> {
    let mark = |condition: &str| {
        let sql = format!("SELECT at_us FROM marks WHERE sink = ?1 AND seq {condition} LIMIT 1");
        let mut find = db.prepare_cached(&sql)?;
        find.query_row(params![sink, seq as i64], |row| row::time(row, 0)).optional()
    };
    Ok((mark("< ?2 ORDER BY seq DESC")?, mark(">= ?2 ORDER BY seq")?))
}

/// Why a sink could not take an event.
pub(super) fn undelivered(
    db: &Connection,
    sink: &str,
    seq: Seq,
) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT reason FROM undelivered WHERE sink = ?1 AND seq = ?2";
    let mut find = db.prepare_cached(sql)?;
    find.query_row(params![sink, seq as i64], |row| row.get(0)).optional()
}

/// The columns `version, took_ns, said, unsaid` from `first` on.
fn called(row: &Row<'_>, first: usize) -> rusqlite::Result<Called> {
    Ok(Called {
        version: row.get::<_, String>(first)?.into(),
        took: nanos(row.get(first + 1)?),
        said: json::<Vec<Line>>(row, first + 2)?,
        unsaid: row.get::<_, i64>(first + 3)? as u64,
    })
}

fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    match row.get_ref(column)?.as_str()? {
        "filter" => Ok(Role::Filter),
        _ => Ok(Role::Enricher),
    }
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

fn nanos(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}
