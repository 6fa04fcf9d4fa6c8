//! The index on disk: finished segments, in a SQLite file of its own.
//!
//! Nothing in here is the only copy of anything. So commits do not wait for the disk
//! (`synchronous=NORMAL`: a power cut may cost the last segment, which is made again), and a file
//! that is damaged, of another version or of another log is thrown away and made anew.

use std::path::{Path, PathBuf};

use roaring::RoaringBitmap;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::{keys::Dimension, plan::Postings, segment::Segment, words};
use crate::{event::Seq, store::schema::sibling};

/// Of what the file holds and how. Another number: made anew.
const VERSION: i64 = 3;

const SCHEMA: &str = "
-- A finished run of events: all of those with these places in the log.
CREATE TABLE segments (
    number  INTEGER PRIMARY KEY,
    last_id TEXT    NOT NULL, -- of its last event, to tell logs apart
    min_us  INTEGER NOT NULL,
    max_us  INTEGER NOT NULL,
    times   BLOB    NOT NULL  -- when each happened: 64 bits each, little endian, microseconds
) STRICT;

-- For each value, the places in the segment that have it: a Roaring bitmap.
CREATE TABLE postings (
    segment   INTEGER NOT NULL,
    dimension INTEGER NOT NULL,
    value     TEXT    NOT NULL,
    places    BLOB    NOT NULL,
    PRIMARY KEY (segment, dimension, value)
) STRICT, WITHOUT ROWID;
";

/// Where the index of the log at `path` lies.
pub(in crate::store) fn path_of(path: &Path) -> PathBuf {
    sibling(path, "-index")
}

/// The connection that writes.
pub(super) struct Writer {
    connection: Connection,
    segment_size: u32,
}

/// The last finished segment: its number, and the id of its last event.
pub(super) struct Last {
    pub(super) number: u64,
    pub(super) last_id: String,
}

impl Writer {
    /// Opens the file, or makes it anew when it is not one that was made like this.
    pub(super) fn open(path: &Path, segment_size: u32) -> rusqlite::Result<Self> {
        match Self::open_as_it_is(path, segment_size) {
            Ok(Some(writer)) => Ok(writer),
            Ok(None) | Err(_) => Self::make(path, segment_size),
        }
    }

    /// An empty file in place of whatever lies there.
    pub(super) fn make(path: &Path, segment_size: u32) -> rusqlite::Result<Self> {
        for suffix in ["", "-wal", "-shm"] {
            // Not there is as good.
            let _ = std::fs::remove_file(sibling(path, suffix));
        }
        let connection = Connection::open(path)?;
        prepare(&connection)?;
        connection.execute_batch(SCHEMA)?;
        connection.execute_batch(words::SCHEMA)?;
        connection.pragma_update(None, "application_id", segment_size)?;
        connection.pragma_update(None, "user_version", VERSION)?;
        Ok(Self { connection, segment_size })
    }

    fn open_as_it_is(path: &Path, segment_size: u32) -> rusqlite::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let connection = Connection::open(path)?;
        prepare(&connection)?;
        let number =
            |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let fits = number("user_version")? == VERSION
            && number("application_id")? == i64::from(segment_size);
        Ok(fits.then_some(Self { connection, segment_size }))
    }

    pub(super) fn last(&self) -> rusqlite::Result<Option<Last>> {
        let sql = "SELECT number, last_id FROM segments ORDER BY number DESC LIMIT 1";
        let last = |row: &rusqlite::Row<'_>| {
            Ok(Last { number: row.get::<_, i64>(0)? as u64, last_id: row.get(1)? })
        };
        self.connection.query_row(sql, [], last).optional()
    }

    /// How far the words of messages have come.
    pub(super) fn words_end(&self) -> rusqlite::Result<Option<words::End>> {
        words::end(&self.connection)
    }

    /// Adds the words of the messages that follow; the last of them has this id.
    pub(super) fn add_words(
        &mut self,
        messages: &[(Seq, String)],
        last_id: &str,
    ) -> rusqlite::Result<()> {
        words::add(&mut self.connection, self.segment_size, messages, last_id)
    }

    /// Adds a finished segment: all of it or nothing.
    pub(super) fn add(&mut self, segment: &Segment, last_id: &str) -> rusqlite::Result<()> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let number = segment.number as i64;
        {
            let sql = "INSERT INTO postings (segment, dimension, value, places) \
                       VALUES (?1, ?2, ?3, ?4)";
            let mut insert = transaction.prepare_cached(sql)?;
            let mut bytes = Vec::new();
            for (dimension, value, places) in segment.postings() {
                bytes.clear();
                // Writing into memory does not fail.
                let _ = places.serialize_into(&mut bytes);
                insert.execute(params![number, dimension as i64, value, bytes])?;
            }
        }
        let times: Vec<u8> = segment.times.iter().flat_map(|time| time.to_le_bytes()).collect();
        let sql = "INSERT INTO segments (number, last_id, min_us, max_us, times) \
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        transaction.execute(
            sql,
            params![number, last_id, segment.times.iter().min(), segment.times.iter().max(), times],
        )?;
        transaction.commit()
    }

    /// The finished segments that are there.
    pub(super) fn numbers(&self) -> rusqlite::Result<Vec<u64>> {
        let mut find = self.connection.prepare_cached("SELECT number FROM segments")?;
        let rows = find.query_map([], |row| row.get::<_, i64>(0).map(|number| number as u64))?;
        rows.collect()
    }

    /// Forgets the words of segments that are gone, table by table.
    pub(super) fn drop_words(&self, is_gone: impl Fn(u64) -> bool) -> rusqlite::Result<()> {
        words::forget(&self.connection, is_gone)
    }

    /// Forgets a segment, but for its words.
    pub(super) fn drop_segment(&mut self, number: u64) -> rusqlite::Result<()> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for sql in
            ["DELETE FROM postings WHERE segment = ?1", "DELETE FROM segments WHERE number = ?1"]
        {
            transaction.prepare_cached(sql)?.execute([number as i64])?;
        }
        transaction.commit()
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -8_192)
}

/// A connection that can only read.
pub(in crate::store) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path_of(path), flags)?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    Ok(connection)
}

/// A finished segment, over a connection that reads.
pub(super) struct Stored<'a> {
    connection: &'a Connection,
    number: i64,
    events: u32,
}

impl<'a> Stored<'a> {
    pub(super) fn new(connection: &'a Connection, number: u64, events: u32) -> Self {
        Self { connection, number: number as i64, events }
    }
}

impl Postings for Stored<'_> {
    type Error = rusqlite::Error;

    fn len(&self) -> u32 {
        self.events
    }

    fn get(&self, dimension: Dimension, value: &str) -> rusqlite::Result<Option<RoaringBitmap>> {
        let sql =
            "SELECT places FROM postings WHERE segment = ?1 AND dimension = ?2 AND value = ?3";
        let mut find = self.connection.prepare_cached(sql)?;
        find.query_row(params![self.number, dimension as i64, value], |row| {
            RoaringBitmap::deserialize_from(row.get_ref(0)?.as_blob()?).map_err(|e| damaged(0, e))
        })
        .optional()
    }

    fn values(&self, dimension: Dimension) -> rusqlite::Result<Vec<(String, RoaringBitmap)>> {
        let sql = "SELECT value, places FROM postings WHERE segment = ?1 AND dimension = ?2";
        let mut find = self.connection.prepare_cached(sql)?;
        let rows = find.query_map(params![self.number, dimension as i64], |row| {
            let places = row.get_ref(1)?.as_blob()?;
            let places = RoaringBitmap::deserialize_from(places).map_err(|e| damaged(1, e))?;
            Ok((row.get(0)?, places))
        })?;
        rows.collect()
    }

    fn times(&self, places: &RoaringBitmap) -> rusqlite::Result<Vec<i64>> {
        let sql = "SELECT times FROM segments WHERE number = ?1";
        self.connection.prepare_cached(sql)?.query_row([self.number], |row| {
            let (times, _) = row.get_ref(0)?.as_blob()?.as_chunks::<8>();
            let time = |place: u32| times.get(place as usize).copied().map(i64::from_le_bytes);
            Ok(places.iter().filter_map(time).collect())
        })
    }

    fn within(&self, since: i64, until: i64) -> rusqlite::Result<RoaringBitmap> {
        let sql = "SELECT min_us, max_us FROM segments WHERE number = ?1";
        let mut find = self.connection.prepare_cached(sql)?;
        let (min, max): (i64, i64) =
            find.query_row([self.number], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if max < since || min >= until {
            return Ok(RoaringBitmap::new());
        }
        if min >= since && max < until {
            return Ok(all(self.events));
        }
        let sql = "SELECT times FROM segments WHERE number = ?1";
        self.connection.prepare_cached(sql)?.query_row([self.number], |row| {
            let (times, _) = row.get_ref(0)?.as_blob()?.as_chunks::<8>();
            Ok(places_within(times.iter().map(|time| i64::from_le_bytes(*time)), since, until))
        })
    }
}

impl Postings for Segment {
    type Error = rusqlite::Error;

    fn len(&self) -> u32 {
        self.times.len() as u32
    }

    fn get(&self, dimension: Dimension, value: &str) -> rusqlite::Result<Option<RoaringBitmap>> {
        Ok(Self::get(self, dimension, value))
    }

    fn values(&self, dimension: Dimension) -> rusqlite::Result<Vec<(String, RoaringBitmap)>> {
        let all = self.postings_of(dimension);
        Ok(all.map(|(value, places)| (value.to_owned(), places)).collect())
    }

    fn times(&self, places: &RoaringBitmap) -> rusqlite::Result<Vec<i64>> {
        Ok(places.iter().filter_map(|place| self.times.get(place as usize).copied()).collect())
    }

    fn within(&self, since: i64, until: i64) -> rusqlite::Result<RoaringBitmap> {
        Ok(places_within(self.times.iter().copied(), since, until))
    }
}

fn places_within(times: impl Iterator<Item = i64>, since: i64, until: i64) -> RoaringBitmap {
    let within = (0u32..).zip(times).filter(|(_, time)| (since..until).contains(time));
    RoaringBitmap::from_sorted_iter(within.map(|(place, _)| place)).unwrap_or_default()
}

fn all(events: u32) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    all.insert_range(0..events);
    all
}

fn damaged(column: usize, e: std::io::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, e.into())
}
