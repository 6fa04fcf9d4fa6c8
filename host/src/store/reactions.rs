//! What reactions come back to, and what they gave up on: the events that wait, every attempt that
//! failed, the dead letters.
//!
//! **Invariants.** An event waits for a plugin, or is a dead letter of it, or neither; never both. A
//! waiting event and a dead letter lie at or before the plugin's cursor. An attempt outlives both, for
//! the trace. A worker's rows change in the transaction of its cursor.
//!
//! Knows the three tables. May not know when an event is tried again.

use std::{collections::BTreeMap, fmt::Write as _};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, types::Value};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use super::{
    row,
    trace::{self, Called},
};
use crate::event::{
    EventId, LogEntry, PluginName, ProjectId, Seq, SessionId, Subject, SubjectPattern, Timestamp,
};

/// The most events that wait for one plugin, roughly: calls that are under way may come on top.
pub const MAX_WAITING: usize = 10_000;

/// One try of a reaction that failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attempt {
    /// Which one, from 1.
    #[serde(rename = "attempt")]
    pub number: u32,
    /// When it failed.
    pub at: Timestamp,
    /// Why, at most 1 024 bytes of the plugin's own words.
    pub error: String,
    /// The call; `None` where it was not recorded.
    #[serde(flatten)]
    pub called: Option<Called>,
}

/// An event that a plugin will come back to.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The plugin.
    pub plugin: PluginName,
    /// The event's place in the log.
    pub event_seq: Seq,
    /// How often it was tried.
    pub attempts: u32,
    /// When it may be tried again.
    pub next: Timestamp,
    /// The attempt that has just failed; `None` for an event that waits behind another.
    pub failed: Option<Attempt>,
}

/// An event that a plugin gave up on.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The plugin.
    pub plugin: PluginName,
    /// The event's place in the log.
    pub event_seq: Seq,
    /// The event.
    pub event_id: EventId,
    /// The last attempt.
    pub failed: Attempt,
}

/// A waiting event, as it is found after a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingEvent {
    /// Its place in the log.
    pub seq: Seq,
    /// How often it was tried.
    pub attempts: u32,
    /// When it may be tried again.
    pub next: Timestamp,
    /// Whom it is about.
    pub session_id: SessionId,
    /// Whose it is.
    pub project_id: ProjectId,
}

/// A dead letter, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Its number; never given to another one.
    pub id: i64,
    /// Who gave up.
    pub plugin: PluginName,
    /// The event's place in the log.
    pub event_seq: Seq,
    /// The event.
    pub event_id: EventId,
    /// Where it was published.
    pub subject: Subject,
    /// Why the last attempt failed.
    pub reason: String,
    /// How often it was tried, since it came or was last retried by hand.
    pub attempts: u32,
    /// When the plugin gave up.
    pub died_at: Timestamp,
}

/// A dead letter with all that is known of it.
#[derive(Debug)]
pub struct WholeLetter {
    /// As it is listed.
    pub letter: Letter,
    /// Every attempt, the oldest first; those before a retry by hand too.
    pub attempts: Vec<Attempt>,
    /// What it is about.
    pub event: LogEntry,
}

/// Which dead letters. What is given must all hold.
#[derive(Debug, Clone, Default)]
pub struct LetterQuery {
    /// Of this plugin.
    pub plugin: Option<PluginName>,
    /// Published where one of these says; none: anywhere.
    pub patterns: Vec<SubjectPattern>,
    /// Only behind this number.
    pub after: i64,
}

/// What a plugin has not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Events that it comes back to.
    pub waiting: u64,
    /// Events that it gave up on.
    pub dead_letters: u64,
    /// Events that it has acted on, and that nothing has resolved when it was last looked.
    pub unresolved: u64,
}

impl Backlog {
    /// Whether so many wait that the plugin takes no new ones.
    pub fn is_full(&self) -> bool {
        self.waiting >= MAX_WAITING as u64
    }
}

/// With `waiting_full`, which says whether the plugin takes no new events until some have ended.
impl Serialize for Backlog {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut object = to.serialize_struct("Backlog", 4)?;
        object.serialize_field("waiting", &self.waiting)?;
        object.serialize_field("waiting_full", &self.is_full())?;
        object.serialize_field("dead_letters", &self.dead_letters)?;
        object.serialize_field("unresolved", &self.unresolved)?;
        object.end()
    }
}

pub(super) fn wait(db: &Transaction<'_>, event: &Waiting) -> rusqlite::Result<()> {
    let Waiting { plugin, event_seq, attempts, next, failed } = event;
    let sql = "INSERT INTO reaction_waiting (plugin, event_seq, attempts, next_us) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT DO UPDATE SET attempts = excluded.attempts, next_us = excluded.next_us";
    let values = params![plugin.as_str(), *event_seq as i64, attempts, next.micros()];
    db.prepare_cached(sql)?.execute(values)?;
    failed.iter().try_for_each(|failed| attempt(db, plugin, *event_seq, failed))
}

pub(super) fn settle(db: &Transaction<'_>, plugin: &PluginName, seq: Seq) -> rusqlite::Result<()> {
    let sql = "DELETE FROM reaction_waiting WHERE plugin = ?1 AND event_seq = ?2";
    db.prepare_cached(sql)?.execute(params![plugin.as_str(), seq as i64])?;
    Ok(())
}

pub(super) fn bury(db: &Transaction<'_>, letter: &DeadLetter) -> rusqlite::Result<()> {
    let DeadLetter { plugin, event_seq, event_id, failed } = letter;
    let sql = "DELETE FROM reaction_waiting WHERE plugin = ?1 AND event_seq = ?2";
    db.prepare_cached(sql)?.execute(params![plugin.as_str(), *event_seq as i64])?;
    let sql = "INSERT INTO dead_letters (plugin, event_seq, event_id, reason, attempts, died_us) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
               ON CONFLICT (plugin, event_seq) DO UPDATE SET \
               reason = excluded.reason, attempts = excluded.attempts, died_us = excluded.died_us";
    db.prepare_cached(sql)?.execute(params![
        plugin.as_str(),
        *event_seq as i64,
        event_id.to_string(),
        failed.error,
        failed.number,
        failed.at.micros(),
    ])?;
    attempt(db, plugin, *event_seq, failed)
}

/// Puts a dead letter back among what waits, to be tried at once and as often as a new event. What
/// was tried before is kept. One that is gone stays gone.
pub(super) fn retry(db: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO reaction_waiting (plugin, event_seq, attempts, next_us) \
               SELECT plugin, event_seq, 0, 0 FROM dead_letters WHERE id = ?1 \
               ON CONFLICT DO NOTHING";
    db.prepare_cached(sql)?.execute([id])?;
    db.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Puts an event that a plugin has passed among what waits, to be tried at once and as often as a new
/// one. One that waits already is left as it is; a dead letter is none any more.
pub(super) fn again(db: &Transaction<'_>, plugin: &PluginName, seq: Seq) -> rusqlite::Result<()> {
    let sql = "INSERT INTO reaction_waiting (plugin, event_seq, attempts, next_us) \
               VALUES (?1, ?2, 0, 0) ON CONFLICT DO NOTHING";
    db.prepare_cached(sql)?.execute(params![plugin.as_str(), seq as i64])?;
    let sql = "DELETE FROM dead_letters WHERE plugin = ?1 AND event_seq = ?2";
    db.prepare_cached(sql)?.execute(params![plugin.as_str(), seq as i64])?;
    Ok(())
}

pub(super) fn discard(db: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?.execute([id])?;
    Ok(())
}

fn attempt(
    db: &Transaction<'_>,
    plugin: &PluginName,
    seq: Seq,
    failed: &Attempt,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO reaction_attempts (plugin, event_seq, attempt, at_us, error, version, \
               took_ns, said, unsaid) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let Attempt { number, at, error, called } = failed;
    let (version, took, said, unsaid) = trace::attempt_columns(called.as_ref());
    db.prepare_cached(sql)?.execute(params![
        plugin.as_str(),
        seq as i64,
        number,
        at.micros(),
        error,
        version,
        took,
        said,
        unsaid,
    ])?;
    Ok(())
}

/// What waits for a plugin, by place.
pub(super) fn waiting(db: &Connection, plugin: &PluginName) -> rusqlite::Result<Vec<WaitingEvent>> {
    let sql = "SELECT w.event_seq, w.attempts, w.next_us, e.session_id, e.project_id \
               FROM reaction_waiting w JOIN events e ON e.seq = w.event_seq \
               WHERE w.plugin = ?1 ORDER BY w.event_seq";
    let mut find = db.prepare_cached(sql)?;
    let rows = find.query_map([plugin.as_str()], |row| {
        Ok(WaitingEvent {
            seq: row.get::<_, i64>(0)? as Seq,
            attempts: row.get(1)?,
            next: row::time(row, 2)?,
            session_id: row::parsed(row, 3)?,
            project_id: row::parsed(row, 4)?,
        })
    })?;
    rows.collect()
}

/// The places of events that wait for a plugin and are gone from the log, in order.
pub(super) fn waiting_in_vain(db: &Connection, plugin: &PluginName) -> rusqlite::Result<Vec<Seq>> {
    let sql = "SELECT event_seq FROM reaction_waiting WHERE plugin = ?1 AND NOT EXISTS \
               (SELECT 1 FROM events WHERE seq = event_seq) ORDER BY event_seq";
    let mut find = db.prepare_cached(sql)?;
    let rows =
        find.query_map([plugin.as_str()], |row| row.get::<_, i64>(0).map(|seq| seq as Seq))?;
    rows.collect()
}

/// By plugin, of those that have not done something.
pub(super) fn backlogs(db: &Connection) -> rusqlite::Result<BTreeMap<String, Backlog>> {
    let mut all = BTreeMap::<String, Backlog>::new();
    for table in ["reaction_waiting", "dead_letters", "escalations"] {
        let sql = format!("SELECT plugin, count(*) FROM {table} GROUP BY plugin");
        let mut find = db.prepare_cached(&sql)?;
        let found =
            find.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
        for row in found {
            let (plugin, number) = row?;
            let backlog = all.entry(plugin).or_default();
            let count = match table {
                "reaction_waiting" => &mut backlog.waiting,
                "dead_letters" => &mut backlog.dead_letters,
                _ => &mut backlog.unresolved,
            };
            *count = number as u64;
        }
    }
    Ok(all)
}

const LETTER: &str = "l.id, l.plugin, l.event_seq, l.event_id, e.subject, l.reason, l.attempts, \
     l.died_us FROM dead_letters l JOIN events e ON e.seq = l.event_seq";

fn letter(row: &Row<'_>) -> rusqlite::Result<Letter> {
    Ok(Letter {
        id: row.get(0)?,
        plugin: row::parsed(row, 1)?,
        event_seq: row.get::<_, i64>(2)? as Seq,
        event_id: row::parsed(row, 3)?,
        subject: row::parsed(row, 4)?,
        reason: row.get(5)?,
        attempts: row.get(6)?,
        died_at: row::time(row, 7)?,
    })
}

/// At most `limit` of them, by number.
pub(super) fn letters(
    db: &Connection,
    query: &LetterQuery,
    limit: usize,
) -> rusqlite::Result<Vec<Letter>> {
    let mut sql = format!("SELECT {LETTER} WHERE l.id > ?1");
    let mut values = vec![Value::from(query.after)];
    if let Some(plugin) = &query.plugin {
        values.push(Value::from(plugin.to_string()));
        let _ = write!(sql, " AND l.plugin = ?{}", values.len());
    }
    if !query.patterns.is_empty() {
        sql.push_str(" AND (0");
        for pattern in &query.patterns {
            values.push(Value::from(pattern.to_string()));
            let _ = write!(sql, " OR subject_matches(?{}, e.subject)", values.len());
        }
        sql.push(')');
    }
    let _ = write!(sql, " ORDER BY l.id LIMIT {limit}");
    let mut find = db.prepare_cached(&sql)?;
    let found = find.query_map(rusqlite::params_from_iter(values), letter)?;
    found.collect()
}

pub(super) fn whole_letter(db: &Connection, id: i64) -> rusqlite::Result<Option<WholeLetter>> {
    // One look at the file's state, so that the parts fit together.
    let db = db.unchecked_transaction()?;
    let sql = format!("SELECT {LETTER} WHERE l.id = ?1");
    let Some(letter) = db.prepare_cached(&sql)?.query_row([id], letter).optional()? else {
        return Ok(None);
    };
    let Some(event) = event(&db, letter.event_seq)? else { return Ok(None) };
    let attempts = trace::attempts(&db, &letter.plugin, letter.event_seq)?;
    Ok(Some(WholeLetter { letter, attempts, event }))
}

/// The event at a place.
pub(super) fn event(db: &Connection, seq: Seq) -> rusqlite::Result<Option<LogEntry>> {
    let sql = format!("SELECT {} FROM events WHERE seq = ?1", row::COLUMNS);
    db.prepare_cached(&sql)?.query_row([seq as i64], row::read).optional()
}

#[cfg(test)]
mod tests;
