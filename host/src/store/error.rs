//! What can go wrong between the host and its database file.

use std::path::PathBuf;

use thiserror::Error;

/// Why a database cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The linked SQLite may lose commits.
    #[error(
        "SQLite {found} is linked, but versions before {required} can lose commits \
         (build with the bundled SQLite)"
    )]
    OldSqlite {
        /// The linked version.
        found: &'static str,
        /// The least version.
        required: &'static str,
    },
    /// Not a database at all.
    #[error("{}: not a SQLite database (name another file with --db, or move this one away)", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// A database of somebody else.
    #[error("{}: a SQLite database, but not an Ennio log (name another file with --db)", path.display())]
    ForeignDatabase {
        /// The file.
        path: PathBuf,
    },
    /// Written by a later version.
    #[error(
        "{}: written by a newer Ennio (schema version {found}, this one knows up to {known}; \
         upgrade Ennio, or name another file with --db)", path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The latest version that this build knows.
        known: i64,
    },
    /// Another host has it.
    #[error("{}: in use by another Ennio host (one log has one host; stop it, or name another file with --db)", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The folder or the file cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// SQLite refuses.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The schema cannot be brought up to date.
    #[error("{}: cannot bring the schema up to date: {source}", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: Box<rusqlite_migration::Error>,
    },
}

/// Why a read or a commit failed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum StoreError {
    /// No space: nothing of the batch is stored; the same batch can be sent again later.
    #[error("the disk or the database is full: {0}")]
    Full(String),
    /// The batch breaks a rule of the schema (an id that is in the log already): nothing of it, nor
    /// of what shared its transaction, is stored.
    #[error("refused by the database: {0}")]
    Refused(String),
    /// Whether the batch is stored is unknown, and the store takes no more: restart the host and
    /// send again by id.
    #[error("the database failed, the outcome of the last commit is unknown: {0}")]
    Failed(String),
    /// The batch was decided on a plugin's state that did not reach the disk: nothing of it is
    /// stored; the same events can be sent again at once.
    #[error("not stored: an earlier write that this was decided on did not reach the disk")]
    Stale,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A query ran longer than its budget.
    #[error("the query took longer than {seconds} s (narrow it by project, session, type or seq)")]
    TooSlow {
        /// The budget.
        seconds: u64,
    },
    /// What was asked for falls into too many groups to be counted.
    #[error("there are more than {most} groups to count (narrow it by project, type or time)")]
    TooManyGroups {
        /// How many there may be.
        most: usize,
    },
    /// A query failed.
    #[error("cannot read the log: {0}")]
    Read(String),
}
