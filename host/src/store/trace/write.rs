//! Writes what belongs to a trace, within the transaction of what it is about. Nothing here may
//! refuse an event: what is there already is left as it is.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Called, Lineup, Member, Passage, PluginCall, Reacted, json};
use crate::event::{Seq, Timestamp};

/// Marks of a sink that are closer together become one, in microseconds.
const MARK_EVERY: i64 = 1_000_000;

/// The lineup that the last event met.
pub(in crate::store) fn last_lineup(db: &Connection) -> rusqlite::Result<Option<Arc<Lineup>>> {
    let sql = "SELECT members FROM lineups ORDER BY from_seq DESC LIMIT 1";
    db.query_row(sql, [], |row| Ok(Arc::new(Lineup(row.get(0)?)))).optional()
}

/// Records how the events of one transaction came through the plugins.
pub(in crate::store) struct Recorder<'a> {
    db: &'a Transaction<'a>,
    lineup: Option<Arc<Lineup>>,
}

impl<'a> Recorder<'a> {
    /// `lineup` is what the last event met.
    pub(in crate::store) fn new(db: &'a Transaction<'a>, lineup: Option<Arc<Lineup>>) -> Self {
        Self { db, lineup }
    }

    /// What is recorded beside the event's own row.
    pub(in crate::store) fn record(
        &mut self,
        seq: Seq,
        at: Timestamp,
        passage: &Passage,
    ) -> rusqlite::Result<()> {
        if let Some(lineup) = passage.lineup.as_ref().filter(|lineup| !self.knows(lineup)) {
            let sql = "INSERT INTO lineups (from_seq, at_us, members) VALUES (?1, ?2, ?3)";
            self.db.prepare_cached(sql)?.execute(params![seq as i64, at.micros(), lineup.0])?;
            self.lineup = Some(Arc::clone(lineup));
        }
        passage.calls.iter().try_for_each(|call| self.call(seq, call))
    }

    /// What the last event of the transaction met.
    pub(in crate::store) fn lineup(self) -> Option<Arc<Lineup>> {
        self.lineup
    }

    fn knows(&self, lineup: &Arc<Lineup>) -> bool {
        let same = |known: &Arc<Lineup>| Arc::ptr_eq(known, lineup) || known == lineup;
        self.lineup.as_ref().is_some_and(same)
    }

    fn call(&self, first: Seq, call: &PluginCall) -> rusqlite::Result<()> {
        let PluginCall { plugin, role, span, events, called, error } = call;
        let sql = "INSERT INTO plugin_calls (plugin, role, first_seq, last_seq, version, events, \
                   took_ns, said, unsaid, error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
                   ON CONFLICT DO NOTHING";
        self.db.prepare_cached(sql)?.execute(params![
            plugin.as_str(),
            role.as_str(),
            first as i64,
            (first + span) as i64,
            &*called.version,
            *events as i64,
            nanos(called.took),
            json(&called.said),
            called.unsaid as i64,
            error,
        ])?;
        Ok(())
    }
}

/// From the place `from` on, events come to this version of a reaction.
pub(in crate::store) fn reacts(
    db: &Transaction<'_>,
    from: Seq,
    member: &Member,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let (plugin, from, member) = (member.plugin.as_str(), from as i64, json(member));
    // Of a version that was there too short to come to an event.
    let sql = "DELETE FROM reaction_versions WHERE plugin = ?1 AND from_seq >= ?2";
    db.prepare_cached(sql)?.execute(params![plugin, from])?;
    let sql =
        "SELECT member FROM reaction_versions WHERE plugin = ?1 ORDER BY from_seq DESC LIMIT 1";
    let mut find = db.prepare_cached(sql)?;
    let last: Option<String> = find.query_row([plugin], |row| row.get(0)).optional()?;
    if last.as_ref() != Some(&member) {
        let sql = "INSERT INTO reaction_versions (plugin, from_seq, at_us, member) VALUES (?1, ?2, ?3, ?4)";
        db.prepare_cached(sql)?.execute(params![plugin, from, at.micros(), member])?;
    }
    Ok(())
}

/// A reaction did something, or not without trouble.
pub(in crate::store) fn reacted(db: &Transaction<'_>, reacted: &Reacted) -> rusqlite::Result<()> {
    let Reacted { plugin, event_seq, attempt, at, called, emitted, commands } = reacted;
    // An event that is delivered again after a crash: what was done last is what counts.
    let sql = "INSERT OR REPLACE INTO reaction_steps (event_seq, plugin, version, attempt, at_us, \
               took_ns, emitted, commands, said, unsaid) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    db.prepare_cached(sql)?.execute(params![
        *event_seq as i64,
        plugin.as_str(),
        &*called.version,
        attempt,
        at.micros(),
        nanos(called.took),
        *emitted as i64,
        json(commands),
        json(&called.said),
        called.unsaid as i64,
    ])?;
    Ok(())
}

/// What the columns `version, took_ns, said, unsaid` of a failed attempt hold.
pub(in crate::store) fn attempt_columns(
    called: Option<&Called>,
) -> (Option<&str>, Option<i64>, Option<String>, Option<i64>) {
    match called {
        Some(called) => (
            Some(&called.version),
            Some(nanos(called.took)),
            Some(json(&called.said)),
            Some(called.unsaid as i64),
        ),
        None => (None, None, None, None),
    }
}

/// A sink has done everything up to `seq`, but for what it could not take.
pub(in crate::store) fn delivered(
    db: &Transaction<'_>,
    sink: &str,
    seq: Seq,
    skipped: &[(Seq, String)],
    at: Timestamp,
) -> rusqlite::Result<()> {
    for (seq, reason) in skipped {
        let sql = "INSERT OR REPLACE INTO undelivered (sink, seq, reason) \
                   SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM events WHERE seq = ?2)";
        db.prepare_cached(sql)?.execute(params![sink, *seq as i64, reason])?;
    }
    let sql = "SELECT seq, at_us FROM marks WHERE sink = ?1 ORDER BY seq DESC LIMIT 2";
    let mut find = db.prepare_cached(sql)?;
    let marks = find.query_map([sink], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let marks: Vec<(i64, i64)> = marks.collect::<Result<_, _>>()?;
    let (seq, at) = (seq as i64, at.micros());
    if marks.first().is_some_and(|(last, _)| *last >= seq) {
        return Ok(());
    }
    // The last one says little where the one before it is less than a second ago.
    if let [(last, _), (_, before)] = marks.as_slice()
        && (0..MARK_EVERY).contains(&(at - before))
    {
        let sql = "DELETE FROM marks WHERE sink = ?1 AND seq = ?2";
        db.prepare_cached(sql)?.execute(params![sink, last])?;
    }
    let sql = "INSERT INTO marks (sink, seq, at_us) VALUES (?1, ?2, ?3)";
    db.prepare_cached(sql)?.execute(params![sink, seq, at])?;
    Ok(())
}

pub(super) fn nanos(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
