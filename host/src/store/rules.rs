//! What the rules of reactions remember: what waits to be escalated, and where counting begins anew.
//!
//! Knows the two tables. May not know when anything is due, or what is counted.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::row;
use crate::event::{LogEntry, PluginName, Seq, Timestamp};

/// A reaction that waits for what resolves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// Who has reacted.
    pub plugin: PluginName,
    /// To which event, by its place in the log.
    pub event_seq: Seq,
    /// How often it was escalated.
    pub times: u32,
    /// When it is escalated next.
    pub due: Timestamp,
}

/// A threshold that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Whose it is.
    pub plugin: PluginName,
    /// What the events have in common that were counted.
    pub key: String,
    /// The last of them.
    pub event_seq: Seq,
    /// When that happened.
    pub at: Timestamp,
    /// What was reached before this time has no meaning any more, and is forgotten.
    pub forget_before: Timestamp,
}

pub(super) fn escalate(db: &Transaction<'_>, escalation: &Escalation) -> rusqlite::Result<()> {
    let Escalation { plugin, event_seq, times, due } = escalation;
    let sql = "INSERT INTO escalations (plugin, event_seq, times, due_us) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT DO UPDATE SET times = excluded.times, due_us = excluded.due_us";
    let values = params![plugin.as_str(), *event_seq as i64, times, due.micros()];
    db.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

pub(super) fn resolve(db: &Transaction<'_>, plugin: &PluginName, seq: Seq) -> rusqlite::Result<()> {
    let sql = "DELETE FROM escalations WHERE plugin = ?1 AND event_seq = ?2";
    db.prepare_cached(sql)?.execute(params![plugin.as_str(), seq as i64])?;
    Ok(())
}

pub(super) fn reach(db: &Transaction<'_>, reached: &Reached) -> rusqlite::Result<()> {
    let Reached { plugin, key, event_seq, at, forget_before } = reached;
    let sql = "INSERT INTO thresholds (plugin, key, event_seq, at_us) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT DO UPDATE SET event_seq = excluded.event_seq, at_us = excluded.at_us";
    db.prepare_cached(sql)?.execute(params![
        plugin.as_str(),
        key,
        *event_seq as i64,
        at.micros()
    ])?;
    let sql = "DELETE FROM thresholds WHERE plugin = ?1 AND at_us < ?2";
    db.prepare_cached(sql)?.execute(params![plugin.as_str(), forget_before.micros()])?;
    Ok(())
}

/// When the first of a plugin's escalations is due.
pub(super) fn next_escalation(
    db: &Connection,
    plugin: &PluginName,
) -> rusqlite::Result<Option<Timestamp>> {
    let sql = "SELECT due_us FROM escalations WHERE plugin = ?1 ORDER BY due_us LIMIT 1";
    db.prepare_cached(sql)?.query_row([plugin.as_str()], |row| row::time(row, 0)).optional()
}

/// At most `limit` of what is due at `now`, the longest due first, each with its event; `None` where
/// the log does not have it any more.
pub(super) fn due(
    db: &Connection,
    plugin: &PluginName,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<(Escalation, Option<LogEntry>)>> {
    // One look at the file's state, so that the parts fit together.
    let db = db.unchecked_transaction()?;
    let sql = "SELECT event_seq, times, due_us FROM escalations \
               WHERE plugin = ?1 AND due_us <= ?2 ORDER BY due_us, event_seq LIMIT ?3";
    let mut find = db.prepare_cached(sql)?;
    let rows = find.query_map(params![plugin.as_str(), now.micros(), limit as i64], |row| {
        Ok(Escalation {
            plugin: plugin.clone(),
            event_seq: row.get::<_, i64>(0)? as Seq,
            times: row.get(1)?,
            due: row::time(row, 2)?,
        })
    })?;
    rows.map(|escalation| {
        let escalation = escalation?;
        let event = super::reactions::event(&db, escalation.event_seq)?;
        Ok((escalation, event))
    })
    .collect()
}

/// Where a plugin's threshold for `key` was last reached.
pub(super) fn reached(
    db: &Connection,
    plugin: &PluginName,
    key: &str,
) -> rusqlite::Result<Option<Seq>> {
    let sql = "SELECT event_seq FROM thresholds WHERE plugin = ?1 AND key = ?2";
    let mut find = db.prepare_cached(sql)?;
    find.query_row([plugin.as_str(), key], |row| Ok(row.get::<_, i64>(0)? as Seq)).optional()
}
