//! One event as a row of the `events` table, both ways.

use std::str::FromStr;

use rusqlite::{CachedStatement, Connection, Row, params, types::Type};
use serde::de::DeserializeOwned;

use crate::event::{Cause, Digest, Dropped, Event, LogEntry, Message, Reason, Seq, Timestamp};

use super::messages::NewEntry;

/// The columns that `read` expects, in its order.
pub(super) const COLUMNS: &str = "seq, id, event_type, priority, session_id, project_id, subject, \
     timestamp_us, message, data, caused_by_event, caused_by_plugin, hops, dropped_by, drop_reason, \
     committed_us, digest";
/// Which of them is the digest.
pub(super) const DIGEST: usize = 16;
/// How many these are: where the first one stands that somebody asks for besides.
pub(super) const WIDTH: usize = 17;

pub(super) fn insert_statement(connection: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    connection.prepare_cached(
        "INSERT INTO events (seq, id, event_type, priority, session_id, project_id, subject, \
         timestamp_us, message, data, caused_by_event, caused_by_plugin, hops, dropped_by, \
         drop_reason, committed_us, digest, steps) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    )
}

/// Adds an event at its place. `steps` is what the column of this name holds.
pub(super) fn insert(
    statement: &mut CachedStatement<'_>,
    seq: Seq,
    entry: &NewEntry,
    steps: Option<String>,
    committed_at: Timestamp,
) -> rusqlite::Result<()> {
    let event = &entry.event;
    let cause = entry.caused_by.as_ref();
    let dropped = entry.dropped.as_ref();
    statement.execute(params![
        seq as i64,
        event.id.to_string(),
        event.event_type.as_str(),
        event.priority.as_str(),
        event.session_id.as_str(),
        event.project_id.as_str(),
        entry.subject.as_str(),
        event.timestamp.micros(),
        event.message.as_str(),
        event.data.as_str(),
        cause.map(|c| c.event_id.to_string()),
        cause.map(|c| c.plugin.as_str()),
        entry.hops,
        dropped.map(|d| d.by.as_str()),
        dropped.map(|d| d.reason.as_str()),
        committed_at.micros(),
        entry.digest.0,
        steps,
    ])?;
    Ok(())
}

/// Reads a row of [`COLUMNS`]. A value that the host could not have written is an error that names
/// its column.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<LogEntry> {
    let caused_by = match (optional(row, 10)?, optional(row, 11)?) {
        (Some(event_id), Some(plugin)) => Some(Cause { event_id, plugin }),
        _ => None,
    };
    let dropped = match optional(row, 13)? {
        Some(by) => {
            Some(Dropped { by, reason: row.get::<_, Option<String>>(14)?.unwrap_or_default() })
        }
        None => None,
    };
    let event = Event {
        id: parsed(row, 1)?,
        event_type: parsed(row, 2)?,
        priority: parsed(row, 3)?,
        session_id: parsed(row, 4)?,
        project_id: parsed(row, 5)?,
        timestamp: time(row, 7)?,
        message: parsed::<Message>(row, 8)?,
        data: parsed(row, 9)?,
    };
    Ok(LogEntry::new(
        row.get::<_, i64>(0)? as Seq,
        event,
        parsed(row, 6)?,
        caused_by,
        row.get(12)?,
        dropped,
        time(row, 15)?,
    )
    .with_digest(Digest(row.get(DIGEST)?)))
}

pub(super) fn parsed<T: FromStr<Err = Reason>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|reason| bad(column, reason))
}

pub(super) fn optional<T: FromStr<Err = Reason>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    text.map(str::parse).transpose().map_err(|reason| bad(column, reason))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let micros = row.get(column)?;
    Timestamp::from_micros(micros).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, micros))
}

pub(super) fn json_or_null<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    text.map(serde_json::from_str).transpose().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

fn bad(column: usize, reason: Reason) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, reason.to_string().into())
}
