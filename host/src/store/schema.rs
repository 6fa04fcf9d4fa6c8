//! Opening the database file: refuse what is not ours, bring the rest up to date.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use super::{OpenError, row};
use crate::event::LogId;

/// "Enno": tells our files from other SQLite files.
const APPLICATION_ID: i64 = 0x456e_6e6f;

/// Before this version, a write and a checkpoint at once could lose commits.
const REQUIRED_SQLITE: (i32, &str) = (3_051_003, "3.51.3");

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A WAL longer than this is cut back when it starts anew, in bytes.
const WAL_KEEP_BYTES: i64 = 64 << 20;

const STEPS: &[M<'_>] = &[
    M::up(include_str!("migrations/01_log.sql")),
    M::up(include_str!("migrations/02_index.sql")),
    M::up(include_str!("migrations/03_state.sql")),
    M::up(include_str!("migrations/04_no_inline_index.sql")),
    M::up(include_str!("migrations/05_plugins.sql")),
    M::up(include_str!("migrations/06_plain_check.sql")),
    M::up(include_str!("migrations/07_reactions.sql")),
    M::up(include_str!("migrations/08_rules.sql")),
    M::up(include_str!("migrations/09_trace.sql")),
    M::up(include_str!("migrations/10_retention.sql")),
    M::up(include_str!("migrations/11_sinks.sql")),
    M::up(include_str!("migrations/12_refused.sql")),
    M::up(include_str!("migrations/13_follow.sql")),
];
const MIGRATIONS: Migrations<'_> = Migrations::from_slice(STEPS);

/// The one connection that writes, and the lock that keeps other hosts away.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) lock: File,
}

pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    let (required, required_name) = REQUIRED_SQLITE;
    if rusqlite::version_number() < required {
        return Err(OpenError::OldSqlite { found: rusqlite::version(), required: required_name });
    }
    let lock = lock(path)?;
    let sqlite = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenError::NotADatabase { path: path.into() },
        _ => OpenError::Sqlite { path: path.into(), source },
    };
    let mut connection = Connection::open(path).map_err(sqlite)?;
    refuse_foreign(&connection, path).map_err(|e| match e {
        Refusal::Open(e) => e,
        Refusal::Sqlite(e) => sqlite(e),
    })?;
    prepare(&connection).map_err(sqlite)?;
    MIGRATIONS
        .to_latest(&mut connection)
        .map_err(|source| OpenError::Migration { path: path.into(), source: Box::new(source) })?;
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(sqlite)?;
    // Only now: a migration may have to change the words of the schema.
    connection
        .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)
        .map_err(sqlite)?;
    Ok(Opened { connection, lock })
}

/// Like [`open_reader`], of a file that nobody has looked at yet.
pub(super) fn open_stranger(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenError::NotADatabase { path: path.into() },
        _ => OpenError::Sqlite { path: path.into(), source },
    };
    let connection = open_reader(path).map_err(sqlite)?;
    refuse_foreign(&connection, path).map_err(|e| match e {
        Refusal::Open(e) => e,
        Refusal::Sqlite(e) => sqlite(e),
    })?;
    Ok(connection)
}

/// Who the log is to readers elsewhere.
pub(super) fn origin(connection: &Connection) -> rusqlite::Result<LogId> {
    connection.query_row("SELECT origin FROM identity", [], |row| row::parsed(row, 0))
}

/// A connection that can only read.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    super::query::add_functions(&connection)?;
    Ok(connection)
}

/// Never opens the database file itself: closing a second descriptor of it would drop SQLite's own
/// locks.
fn lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = sibling(path, "-lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(|source| OpenError::File { path: lock_path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.into() }),
        Err(TryLockError::Error(source)) => Err(OpenError::File { path: lock_path, source }),
    }
}

pub(super) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

enum Refusal {
    Open(OpenError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sqlite(e)
    }
}

fn refuse_foreign(connection: &Connection, path: &Path) -> Result<(), Refusal> {
    let number =
        |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |r| r.get(0))?;
    let application = number("application_id")?;
    let version = number("user_version")?;
    // A file without tables is a new one; a half-made one of ours has no application id yet, but
    // its migrations ran in one transaction each.
    let ours = application == APPLICATION_ID || tables == 0 || is_unfinished(connection)?;
    if !ours {
        return Err(Refusal::Open(OpenError::ForeignDatabase { path: path.into() }));
    }
    let known = STEPS.len() as i64;
    if version > known {
        let path = path.into();
        return Err(Refusal::Open(OpenError::NewerSchema { path, found: version, known }));
    }
    Ok(())
}

/// Whether the host died between its first migration and the stamp.
fn is_unfinished(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT count(*) = 2 FROM sqlite_master WHERE name IN ('events_id', 'dead_letters')",
        [],
        |row| row.get(0),
    )
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Holds for a new file only, and must come before its first page: what is pruned can then be given
    // back to the file system in small steps.
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEEP_BYTES)?;
    // The writer decides when: after it has answered, never inside a commit.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // The inner pages of the indexes stay in memory, which SQLite's 2 MB would not hold. Kibibytes.
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}
