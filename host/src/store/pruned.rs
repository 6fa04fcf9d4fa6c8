//! What is no longer in the log, to the event.
//!
//! `seq` is given without gaps, so a place up to the head that has no event was pruned. The table
//! `pruned` says the same without a look at the events: for each segment of the log a Roaring bitmap
//! of the places that are gone, a few bytes where they are neighbours and 8 KiB at most. It changes in
//! the transaction that deletes the events, so after any crash the two agree.
//!
//! Whoever follows the log finds out here what it has missed, and questions leave out what the search
//! index still knows. A reader in the living part of the log, behind everything that was ever
//! pruned, asks nothing.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
};

use roaring::RoaringBitmap;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, types::Type};
use serde::Serialize;

use crate::event::Seq;

/// What hangs on one event. What waits for a plugin is left: whoever comes back to it finds the event
/// gone, and says so.
const OF_AN_EVENT: [&str; 5] = [
    "DELETE FROM reaction_steps WHERE event_seq = ?1",
    "DELETE FROM reaction_attempts WHERE event_seq = ?1",
    "DELETE FROM dead_letters WHERE event_seq = ?1",
    "DELETE FROM escalations WHERE event_seq = ?1",
    "DELETE FROM undelivered WHERE seq = ?1",
];

/// Calls that began in a stretch and have no event left.
const EMPTY_CALLS: &str = "DELETE FROM plugin_calls WHERE first_seq BETWEEN ?1 AND ?2 AND NOT EXISTS \
                           (SELECT 1 FROM events WHERE seq BETWEEN first_seq AND last_seq)";
/// Places from the first to the last event of one call, at most: more than a batch has.
const LONGEST_CALL: Seq = 1024;

/// Events that are gone from a stretch of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first place that is gone.
    pub from: Seq,
    /// The last place that is gone.
    pub to: Seq,
    /// How many are gone from `from` to `to`; with fewer than there are places, others between them
    /// are still there.
    pub count: u64,
}

/// The table, and what is known of it without asking.
pub(super) struct Pruned {
    /// Places of a segment, the same as of the search index.
    size: u32,
    /// The last place that was ever pruned; 0 for none. Raised before the commit, so that who finds an
    /// event gone also finds it at or before this place.
    end: AtomicU64,
}

impl Pruned {
    /// Of a log that no host of this version has opened, nothing was pruned.
    pub(super) fn open(db: &Connection, size: u32) -> rusqlite::Result<Self> {
        if !db.table_exists(None, "pruned")? {
            return Ok(Self { size, end: AtomicU64::new(0) });
        }
        let sql = "SELECT segment, places FROM pruned ORDER BY segment DESC LIMIT 1";
        let last = db.query_row(sql, [], segment).optional()?;
        let end = last
            .and_then(|(number, places)| Some(begin(number, size) + Seq::from(places.max()?) + 1));
        Ok(Self { size, end: AtomicU64::new(end.unwrap_or(0)) })
    }

    /// Nothing behind this place was ever pruned.
    pub(super) fn end(&self) -> Seq {
        self.end.load(Ordering::Acquire)
    }

    /// Deletes the events at `places`, which are in order, and all that hangs on them. The places that
    /// had one.
    pub(super) fn delete(
        &self,
        db: &Transaction<'_>,
        places: &[Seq],
    ) -> rusqlite::Result<Vec<Seq>> {
        let mut event = db.prepare_cached("DELETE FROM events WHERE seq = ?1")?;
        let mut all_else = Vec::with_capacity(OF_AN_EVENT.len());
        for sql in OF_AN_EVENT {
            all_else.push(db.prepare_cached(sql)?);
        }
        let mut gone = Vec::with_capacity(places.len());
        for seq in places {
            if event.execute([*seq as i64])? > 0 {
                for rows in &mut all_else {
                    rows.execute([*seq as i64])?;
                }
                gone.push(*seq);
            }
        }
        if let (Some(first), Some(last)) = (gone.first(), gone.last()) {
            let from = first.saturating_sub(LONGEST_CALL);
            db.prepare_cached(EMPTY_CALLS)?.execute([from as i64, *last as i64])?;
            self.end.fetch_max(*last, Ordering::AcqRel);
        }
        for of_segment in gone.chunk_by(|a, b| self.number(*a) == self.number(*b)) {
            self.mark(db, of_segment)?;
        }
        Ok(gone)
    }

    /// Notes places of one segment.
    fn mark(&self, db: &Transaction<'_>, gone: &[Seq]) -> rusqlite::Result<()> {
        let Some(first) = gone.first() else { return Ok(()) };
        let number = self.number(*first);
        let begin = begin(number, self.size);
        let mut places = read(db, number)?.unwrap_or_default();
        places.extend(gone.iter().map(|seq| (seq - begin - 1) as u32));
        places.optimize();
        let mut bytes = Vec::with_capacity(places.serialized_size());
        // Writing into memory does not fail.
        let _ = places.serialize_into(&mut bytes);
        let sql = "INSERT INTO pruned (segment, events, places) VALUES (?1, ?2, ?3) \
                   ON CONFLICT DO UPDATE SET events = excluded.events, places = excluded.places";
        let values = params![number as i64, places.len() as i64, bytes];
        db.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// Notes that a stretch that never had an event here, behind `after` and up to `until`, is gone, as it
    /// is in the log that this one is made after.
    pub(super) fn note(
        &self,
        db: &Transaction<'_>,
        after: Seq,
        until: Seq,
    ) -> rusqlite::Result<()> {
        let mut at = after;
        while at < until {
            let end = until.min(begin(self.number(at + 1) + 1, self.size));
            let places: Vec<Seq> = (at + 1..=end).collect();
            self.mark(db, &places)?;
            at = end;
        }
        self.end.fetch_max(at, Ordering::AcqRel);
        Ok(())
    }

    /// Places of segment `number` that are gone, counted from its beginning.
    pub(super) fn places(&self, db: &Connection, number: u64) -> rusqlite::Result<RoaringBitmap> {
        match begin(number, self.size) < self.end() {
            true => Ok(read(db, number)?.unwrap_or_default()),
            false => Ok(RoaringBitmap::new()),
        }
    }

    /// Whether segment `number` has no event left.
    pub(super) fn is_whole(&self, db: &Connection, number: u64) -> rusqlite::Result<bool> {
        if begin(number + 1, self.size) > self.end() {
            return Ok(false);
        }
        let sql = "SELECT events FROM pruned WHERE segment = ?1";
        let gone =
            db.prepare_cached(sql)?.query_row([number as i64], |row| row.get(0)).optional()?;
        Ok(gone == Some(self.size))
    }

    /// What is gone behind `after`, up to and with `until`.
    pub(super) fn gap(
        &self,
        db: &Connection,
        after: Seq,
        until: Seq,
    ) -> rusqlite::Result<Option<Gap>> {
        let mut whole: Option<Gap> = None;
        self.stretch(db, after, until, |begin, places| {
            if let (Some(first), Some(last)) = (places.min(), places.max()) {
                let (from, to) = (begin + Seq::from(first) + 1, begin + Seq::from(last) + 1);
                let gap = whole.get_or_insert(Gap { from, to, count: 0 });
                gap.to = to;
                gap.count += places.len();
            }
        })?;
        Ok(whole)
    }

    /// The same, run by run: in each, every place is gone. For short stretches.
    pub(super) fn runs(
        &self,
        db: &Connection,
        after: Seq,
        until: Seq,
    ) -> rusqlite::Result<Vec<Gap>> {
        let mut runs: Vec<Gap> = Vec::new();
        self.stretch(db, after, until, |begin, places| {
            for seq in places.iter().map(|place| begin + Seq::from(place) + 1) {
                match runs.last_mut() {
                    Some(run) if run.to + 1 == seq => {
                        run.to = seq;
                        run.count += 1;
                    }
                    _ => runs.push(Gap { from: seq, to: seq, count: 1 }),
                }
            }
        })?;
        Ok(runs)
    }

    /// Shows `see` what is gone, segment by segment, with where each begins.
    fn stretch(
        &self,
        db: &Connection,
        after: Seq,
        until: Seq,
        mut see: impl FnMut(Seq, &RoaringBitmap),
    ) -> rusqlite::Result<()> {
        let until = until.min(self.end());
        if until <= after {
            return Ok(());
        }
        let sql = "SELECT segment, places FROM pruned WHERE segment BETWEEN ?1 AND ?2 \
                   ORDER BY segment";
        let mut find = db.prepare_cached(sql)?;
        let numbers = [self.number(after + 1) as i64, self.number(until) as i64];
        for found in find.query_map(numbers, segment)? {
            let (number, mut places) = found?;
            let begin = begin(number, self.size);
            let place = |seq: Seq| seq.saturating_sub(begin).min(u64::from(self.size)) as u32;
            places.remove_range(..place(after));
            places.remove_range(place(until)..);
            see(begin, &places);
        }
        Ok(())
    }

    /// The segments that have no event left.
    pub(super) fn whole(&self, db: &Connection) -> rusqlite::Result<HashSet<u64>> {
        let mut find = db.prepare_cached("SELECT segment FROM pruned WHERE events = ?1")?;
        let rows = find.query_map([self.size], |row| row.get::<_, i64>(0).map(|n| n as u64))?;
        rows.collect()
    }

    /// Whether the event at `seq` is gone.
    pub(super) fn has(&self, db: &Connection, seq: Seq) -> rusqlite::Result<bool> {
        Ok(seq > 0 && self.gap(db, seq - 1, seq)?.is_some())
    }

    /// The segment that a place, from 1, is in.
    fn number(&self, seq: Seq) -> u64 {
        (seq - 1) / u64::from(self.size)
    }
}

/// How many events were ever pruned.
pub(super) fn count(db: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(sum(events), 0) FROM pruned";
    db.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0).map(|count| count as u64))
}

fn begin(number: u64, size: u32) -> Seq {
    number * u64::from(size)
}

fn read(db: &Connection, number: u64) -> rusqlite::Result<Option<RoaringBitmap>> {
    let sql = "SELECT segment, places FROM pruned WHERE segment = ?1";
    let found = db.prepare_cached(sql)?.query_row([number as i64], segment).optional()?;
    Ok(found.map(|(_, places)| places))
}

fn segment(row: &Row<'_>) -> rusqlite::Result<(u64, RoaringBitmap)> {
    let places = RoaringBitmap::deserialize_from(row.get_ref(1)?.as_blob()?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, Type::Blob, e.into()))?;
    Ok((row.get::<_, i64>(0)? as u64, places))
}

#[cfg(test)]
mod tests;
