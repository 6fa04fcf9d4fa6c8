//! Messages that were refused on the way in, kept with their bytes: for an operator, since whoever sent
//! them may never look again.
//!
//! **Bounds.** Of a message its first 262 144 bytes; 10 000 messages and 64 MiB in all. Older ones are
//! pushed out, and counted. A message of a stream is kept once, however often it is delivered.
//!
//! Knows the two tables. May not know what an event is, or who refused it.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;

use super::row;
use crate::event::Timestamp;

/// What is kept of one message, in bytes.
pub const MAX_REFUSED_BYTES: usize = 256 * 1024;
/// The most messages that are kept.
const MAX_MESSAGES: i64 = 10_000;
/// The most bytes that are kept of all of them.
const MAX_BYTES: i64 = 64 << 20;

/// A message that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// When.
    pub at: Timestamp,
    /// The subject that it came on.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// How long it was, in bytes.
    pub size: u64,
    /// Its bytes, at most [`MAX_REFUSED_BYTES`] of them from the first on.
    pub bytes: Vec<u8>,
    /// The stream that it came from, named so that no other one is named the same, and its place
    /// there; `None` when it came from none.
    pub place: Option<(String, u64)>,
}

/// A refused message, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedMessage {
    /// Its number; never given to another one.
    pub id: i64,
    /// When it was refused.
    pub at: Timestamp,
    /// The subject that it came on.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// How long it was, in bytes.
    pub size: u64,
    /// How many of its bytes are kept, from the first on.
    pub kept: u64,
    /// The stream that it came from, and when that was made.
    pub stream: Option<String>,
    /// Its place there.
    pub stream_seq: Option<u64>,
}

/// How many refused messages there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RefusedCount {
    /// These are kept.
    pub kept: u64,
    /// These were, until newer ones pushed them out; since the log began.
    pub pushed_out: u64,
}

pub(super) fn keep(db: &Transaction<'_>, messages: &[Refused]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO refused (at_us, subject, reason, size, kept, stream, stream_seq, bytes) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING";
    let mut insert = db.prepare_cached(sql)?;
    for message in messages {
        let bytes = message.bytes.get(..MAX_REFUSED_BYTES).unwrap_or(&message.bytes);
        let (stream, seq) = message.place.as_ref().map(|(name, seq)| (name, *seq as i64)).unzip();
        insert.execute(params![
            message.at.micros(),
            message.subject,
            message.reason,
            message.size as i64,
            bytes.len() as i64,
            stream,
            seq,
            bytes,
        ])?;
    }
    push_out(db, MAX_MESSAGES, MAX_BYTES)
}

/// Leaves the newest `messages`, and of these as many as have at most `bytes`.
fn push_out(db: &Transaction<'_>, messages: i64, bytes: i64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM refused WHERE id <= ( \
                   SELECT max(id) FROM ( \
                       SELECT id, row_number() OVER newest AS place, sum(kept) OVER newest AS total \
                       FROM refused WINDOW newest AS (ORDER BY id DESC)) \
                   WHERE place > ?1 OR total > ?2)";
    let gone = db.prepare_cached(sql)?.execute([messages, bytes])?;
    if gone > 0 {
        let sql = "UPDATE refused_pushed_out SET count = count + ?1";
        db.prepare_cached(sql)?.execute([gone as i64])?;
    }
    Ok(())
}

pub(super) fn discard(db: &Transaction<'_>, first: i64, last: i64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM refused WHERE id BETWEEN ?1 AND ?2";
    db.prepare_cached(sql)?.execute([first, last])?;
    Ok(())
}

const COLUMNS: &str = "id, at_us, subject, reason, size, kept, stream, stream_seq";

/// At most `limit` behind the number `after`, the oldest first.
pub(super) fn list(
    db: &Connection,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<RefusedMessage>> {
    let sql = format!("SELECT {COLUMNS} FROM refused WHERE id > ?1 ORDER BY id LIMIT ?2");
    let mut find = db.prepare_cached(&sql)?;
    find.query_map(params![after, limit as i64], read)?.collect()
}

/// One with its bytes.
pub(super) fn one(db: &Connection, id: i64) -> rusqlite::Result<Option<(RefusedMessage, Vec<u8>)>> {
    let sql = format!("SELECT {COLUMNS}, bytes FROM refused WHERE id = ?1");
    let mut find = db.prepare_cached(&sql)?;
    find.query_row([id], |row| Ok((read(row)?, row.get(8)?))).optional()
}

pub(super) fn count(db: &Connection) -> rusqlite::Result<RefusedCount> {
    let sql = "SELECT (SELECT count(*) FROM refused), (SELECT count FROM refused_pushed_out)";
    db.prepare_cached(sql)?.query_row([], |row| {
        let (kept, pushed_out): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(RefusedCount { kept: kept as u64, pushed_out: pushed_out as u64 })
    })
}

fn read(row: &Row<'_>) -> rusqlite::Result<RefusedMessage> {
    Ok(RefusedMessage {
        id: row.get(0)?,
        at: row::time(row, 1)?,
        subject: row.get(2)?,
        reason: row.get(3)?,
        size: row.get::<_, i64>(4)? as u64,
        kept: row.get::<_, i64>(5)? as u64,
        stream: row.get(6)?,
        stream_seq: row.get::<_, Option<i64>>(7)?.map(|seq| seq as u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let opened = super::super::schema::open(&folder.path().join("ennio.db")).unwrap();
        (folder, opened.connection)
    }

    fn refused(bytes: &[u8], place: Option<u64>) -> Refused {
        Refused {
            at: Timestamp::now(),
            subject: "ennio.ingest.atlas".into(),
            reason: "body: not valid JSON".into(),
            size: bytes.len() as u64,
            bytes: bytes.into(),
            place: place.map(|seq| ("ENNIO_INGEST of now".into(), seq)),
        }
    }

    #[test]
    fn a_message_of_a_stream_is_kept_once_and_any_other_each_time() {
        let (_folder, mut connection) = database();
        let db = connection.transaction().unwrap();
        let twice = |place| [refused(b"x", place), refused(b"x", place)];
        keep(&db, &twice(Some(7))).unwrap();
        keep(&db, &twice(None)).unwrap();
        let found = list(&db, 0, 10).unwrap();
        assert_eq!(found.iter().map(|m| m.stream_seq).collect::<Vec<_>>(), [Some(7), None, None]);
        let (whole, bytes) = one(&db, found[0].id).unwrap().unwrap();
        assert_eq!((&whole, bytes.as_slice()), (&found[0], &b"x"[..]));
        assert_eq!(list(&db, found[0].id, 1).unwrap(), found[1..2]);
        discard(&db, found[1].id, found[1].id).unwrap();
        assert_eq!(one(&db, found[1].id).unwrap(), None);
        assert_eq!(count(&db).unwrap(), RefusedCount { kept: 2, pushed_out: 0 });
    }

    #[test]
    fn of_a_long_message_the_beginning_is_kept_and_old_ones_are_pushed_out_and_counted() {
        let (_folder, mut connection) = database();
        let db = connection.transaction().unwrap();
        keep(&db, &[refused(&vec![b'x'; MAX_REFUSED_BYTES + 1], None)]).unwrap();
        let long = list(&db, 0, 1).unwrap().remove(0);
        assert_eq!((long.size, long.kept), (MAX_REFUSED_BYTES as u64 + 1, 262_144));
        for _ in 0..5 {
            keep(&db, &[refused(b"12345", None)]).unwrap();
        }
        push_out(&db, 3, i64::MAX).unwrap();
        assert_eq!(count(&db).unwrap(), RefusedCount { kept: 3, pushed_out: 3 });
        push_out(&db, 3, 14).unwrap();
        assert_eq!(count(&db).unwrap(), RefusedCount { kept: 2, pushed_out: 4 });
        let left = list(&db, 0, 10).unwrap();
        assert_eq!(left.last().unwrap().id, 6, "the newest stay");
    }
}
