//! What is no longer in the log, to the event.
//!
//! `seq` is given without gaps, so a place up to the head that has no event was pruned. The table
//! `pruned` says the same without a look at the events: for each segment of the log a Roaring bitmap
//! of the places that are gone, a few bytes where they are neighbours and 8 KiB at most. It changes in
//! the transaction that deletes the events, so after any crash the two agree.
//!
//! A log that is a copy of another one never had some of its places (`following`). Those are in the table
//! `absent` as well: gone like the others, but nothing that anybody has missed.
//!
//! Whoever follows the log finds out here what it has missed, and questions leave out what the search
//! index still knows. A reader in the living part of the log, behind everything that was ever
//! pruned, asks nothing.

use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
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

/// The table of all that is gone, and that of what nobody misses.
const PRUNED: &str = "pruned";
const ABSENT: &str = "absent";

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

/// Places without an event between two events of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hole {
    /// They lie behind this place.
    pub(super) after: Seq,
    /// Up to and with this one, events are missing; `after` when none is.
    pub(super) lost: Seq,
    /// The last of them.
    pub(super) until: Seq,
}

/// The tables, and what is known of them without asking.
pub(super) struct Pruned {
    /// Places of a segment, the same as of the search index.
    size: u32,
    /// The last place that was ever pruned; 0 for none. Raised before the commit, so that who finds an
    /// event gone also finds it at or before this place.
    end: AtomicU64,
    /// Whether there are places that nobody misses.
    has_absent: AtomicBool,
}

impl Pruned {
    /// Of a log that no host of this version has opened, nothing was pruned.
    pub(super) fn open(db: &Connection, size: u32) -> rusqlite::Result<Self> {
        if !db.table_exists(None, "pruned")? {
            return Ok(Self { size, end: AtomicU64::new(0), has_absent: AtomicBool::new(false) });
        }
        let sql = "SELECT segment, places FROM pruned ORDER BY segment DESC LIMIT 1";
        let last = db.query_row(sql, [], segment).optional()?;
        let end = last
            .and_then(|(number, places)| Some(begin(number, size) + Seq::from(places.max()?) + 1));
        let has_absent = absent(db)? > 0;
        Ok(Self {
            size,
            end: AtomicU64::new(end.unwrap_or(0)),
            has_absent: AtomicBool::new(has_absent),
        })
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
        self.mark(db, PRUNED, gone.iter().map(|seq| (seq - 1, *seq)))?;
        Ok(gone)
    }

    /// Notes that a copy passes over these places, which are in order.
    pub(super) fn pass(&self, db: &Transaction<'_>, holes: &[Hole]) -> rusqlite::Result<()> {
        let Some(last) = holes.last() else { return Ok(()) };
        self.end.fetch_max(last.until, Ordering::AcqRel);
        self.mark(db, PRUNED, holes.iter().map(|hole| (hole.after, hole.until)))?;
        let unmissed = holes.iter().filter(|hole| hole.lost < hole.until);
        if unmissed.clone().next().is_some() {
            self.has_absent.store(true, Ordering::Release);
        }
        self.mark(db, ABSENT, unmissed.map(|hole| (hole.lost, hole.until)))
    }

    /// Notes the places behind the one and up to the other of each pair.
    fn mark(
        &self,
        db: &Transaction<'_>,
        table: &str,
        stretches: impl Iterator<Item = (Seq, Seq)>,
    ) -> rusqlite::Result<()> {
        let mut of_segments: BTreeMap<u64, RoaringBitmap> = BTreeMap::new();
        for (after, until) in stretches {
            for number in self.number(after + 1)..=self.number(until) {
                let begin = begin(number, self.size);
                let place = |seq: Seq| seq.saturating_sub(begin).min(u64::from(self.size)) as u32;
                of_segments.entry(number).or_default().insert_range(place(after)..place(until));
            }
        }
        for (number, mut places) in of_segments {
            places |= read(db, table, number)?.unwrap_or_default();
            places.optimize();
            let mut bytes = Vec::with_capacity(places.serialized_size());
            // Writing into memory does not fail.
            let _ = places.serialize_into(&mut bytes);
            let sql = format!(
                "INSERT INTO {table} (segment, events, places) VALUES (?1, ?2, ?3) \
                 ON CONFLICT DO UPDATE SET events = excluded.events, places = excluded.places"
            );
            let values = params![number as i64, places.len() as i64, bytes];
            db.prepare_cached(&sql)?.execute(values)?;
        }
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
        if after >= until {
            return Ok(());
        }
        self.end.fetch_max(until, Ordering::AcqRel);
        self.mark(db, PRUNED, std::iter::once((after, until)))
    }

    /// Places of segment `number` that are gone, counted from its beginning.
    pub(super) fn places(&self, db: &Connection, number: u64) -> rusqlite::Result<RoaringBitmap> {
        match begin(number, self.size) < self.end() {
            true => Ok(read(db, PRUNED, number)?.unwrap_or_default()),
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

    /// What is gone behind `after`, up to and with `until`, but for what nobody misses.
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

    /// Shows `see` what is gone and missed, segment by segment, with where each begins.
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
            if self.has_absent.load(Ordering::Acquire) {
                places -= read(db, ABSENT, number)?.unwrap_or_default();
            }
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
        if seq == 0 || seq > self.end() {
            return Ok(false);
        }
        let number = self.number(seq);
        Ok(self.places(db, number)?.contains((seq - begin(number, self.size) - 1) as u32))
    }

    /// The segment that a place, from 1, is in.
    fn number(&self, seq: Seq) -> u64 {
        (seq - 1) / u64::from(self.size)
    }
}

/// How many places are gone.
pub(super) fn count(db: &Connection) -> rusqlite::Result<u64> {
    events(db, PRUNED)
}

/// How many of them nobody misses; none in a log that no host of this version has opened.
pub(super) fn absent(db: &Connection) -> rusqlite::Result<u64> {
    match db.table_exists(None, ABSENT)? {
        true => events(db, ABSENT),
        false => Ok(0),
    }
}

fn events(db: &Connection, table: &str) -> rusqlite::Result<u64> {
    let sql = format!("SELECT coalesce(sum(events), 0) FROM {table}");
    db.prepare_cached(&sql)?.query_row([], |row| row.get::<_, i64>(0).map(|count| count as u64))
}

fn begin(number: u64, size: u32) -> Seq {
    number * u64::from(size)
}

fn read(db: &Connection, table: &str, number: u64) -> rusqlite::Result<Option<RoaringBitmap>> {
    let sql = format!("SELECT segment, places FROM {table} WHERE segment = ?1");
    let found = db.prepare_cached(&sql)?.query_row([number as i64], segment).optional()?;
    Ok(found.map(|(_, places)| places))
}

fn segment(row: &Row<'_>) -> rusqlite::Result<(u64, RoaringBitmap)> {
    let places = RoaringBitmap::deserialize_from(row.get_ref(1)?.as_blob()?)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, Type::Blob, e.into()))?;
    Ok((row.get::<_, i64>(0)? as u64, places))
}

#[cfg(test)]
mod tests;
