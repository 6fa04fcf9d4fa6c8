//! The words of messages, in the index file: which events have a word, by FTS5.
//!
//! FTS5 is given the words that [`each_word`] finds, in lower case and with spaces between, and told
//! to split at ASCII alone: so a word here is what a word is to [`TextSearch::matches`], and what is
//! found is exact. Nothing but the lists of places is stored. The words follow the log at their own
//! pace, behind the other ways to find events; what they have not come to is looked at one by one.
//!
//! Each word stands behind the number of its segment, so that a search touches what the segment has:
//! the words that begin with a letter are many, and FTS5 merges the lists of all before the first
//! place is known. FTS5 cannot take words out without their messages, so every sixteen segments have
//! a table of their own, which is dropped when all of them are.

use roaring::RoaringBitmap;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::segment::begin;
use crate::event::{Seq, TextSearch, Word, each_word};

/// Segments whose words are in one table.
const OF_A_TABLE: u64 = 16;

pub(super) const SCHEMA: &str = "
-- How far they have come: one row.
CREATE TABLE words_end (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    seq      INTEGER NOT NULL,
    id       TEXT    NOT NULL -- of the event at this place, to tell logs apart
) STRICT;
";

/// The last event whose words are in the file.
pub(super) struct End {
    pub(super) seq: Seq,
    pub(super) id: String,
}

pub(super) fn end(index: &Connection) -> rusqlite::Result<Option<End>> {
    let mut find = index.prepare_cached("SELECT seq, id FROM words_end")?;
    find.query_row([], |row| Ok(End { seq: row.get::<_, i64>(0)? as Seq, id: row.get(1)? }))
        .optional()
}

/// Adds the messages that follow on [`end`]; the last of them has this id. All of it or nothing.
pub(super) fn add(
    index: &mut Connection,
    segment_size: u32,
    messages: &[(Seq, String)],
    id: &str,
) -> rusqlite::Result<()> {
    let Some((last, _)) = messages.last() else { return Ok(()) };
    let transaction = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let segment_of = |seq: Seq| seq.saturating_sub(1) / u64::from(segment_size);
    let is_one = |a: &(Seq, String), b: &(Seq, String)| {
        segment_of(a.0) / OF_A_TABLE == segment_of(b.0) / OF_A_TABLE
    };
    for messages in messages.chunk_by(is_one) {
        let Some((first, _)) = messages.first() else { continue };
        let table = table(segment_of(*first));
        // For each word of a segment, the places in the log whose messages have it.
        transaction.execute_batch(&format!(
            "CREATE VIRTUAL TABLE IF NOT EXISTS {table} USING fts5 \
             (message, content = '', columnsize = 0, detail = none, tokenize = 'ascii')"
        ))?;
        let sql = format!("INSERT INTO {table} (rowid, message) VALUES (?1, ?2)");
        let mut insert = transaction.prepare_cached(&sql)?;
        let mut words = String::new();
        for (seq, message) in messages {
            let segment = in_segment(segment_of(*seq));
            words.clear();
            each_word(message, |word| {
                words.extend([&segment, word, " "]);
                true
            });
            insert.execute(params![*seq as i64, words])?;
        }
    }
    let sql = "INSERT OR REPLACE INTO words_end (only_row, seq, id) VALUES (1, ?1, ?2)";
    transaction.execute(sql, params![*last as i64, id])?;
    transaction.commit()
}

/// The places of a segment, up to and with `end` in the log, whose messages have all words.
pub(super) fn find(
    index: &Connection,
    search: &TextSearch,
    segment: u64,
    segment_size: u32,
    end: Seq,
) -> rusqlite::Result<RoaringBitmap> {
    let begin = begin(segment, segment_size);
    if end <= begin {
        return Ok(RoaringBitmap::new());
    }
    let table = table(segment);
    let sql =
        format!("SELECT rowid FROM {table} WHERE {table} MATCH ?1 AND rowid > ?2 AND rowid <= ?3");
    let mut find = index.prepare_cached(&sql)?;
    let expression = expression(search, segment);
    let mut rows = find.query(params![expression, begin as i64, end as i64])?;
    let mut found = RoaringBitmap::new();
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>(0)? as Seq;
        found.insert((seq - begin - 1) as u32);
    }
    Ok(found)
}

/// Drops the tables of which no segment is left, as `is_gone` says.
pub(super) fn forget(index: &Connection, is_gone: impl Fn(u64) -> bool) -> rusqlite::Result<()> {
    let tables: Vec<String> = {
        let sql = "SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%'";
        let mut find = index.prepare_cached(sql)?;
        find.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
    };
    for name in tables {
        let number = name.strip_prefix(PREFIX).and_then(|number| number.parse::<u64>().ok());
        let Some(first) = number.map(|number| number * OF_A_TABLE) else { continue };
        if (first..first + OF_A_TABLE).all(&is_gone) {
            index.execute_batch(&format!("DROP TABLE {}", table(first)))?;
        }
    }
    Ok(())
}

const PREFIX: &str = "words_of_";

/// The table that has the words of a segment.
fn table(segment: u64) -> String {
    format!("{PREFIX}{}", segment / OF_A_TABLE)
}

/// The search in the language of FTS5. Words hold letters and digits alone, so none can end its
/// quotes.
fn expression(search: &TextSearch, segment: u64) -> String {
    let word = |word: &Word| {
        let star = if word.is_prefix { "*" } else { "" };
        format!("\"{}{}\"{star}", in_segment(segment), word.text)
    };
    search.words().iter().map(word).collect::<Vec<_>>().join(" AND ")
}

/// What stands before a word in the file: eight digits, so that no other number and word look the same.
fn in_segment(segment: u64) -> String {
    format!("{segment:08x}")
}
