//! What can go wrong between a log and its text.

use std::path::PathBuf;

use thiserror::Error;

use super::FORMAT;
use crate::{event::Seq, store::OpenError};

/// Why an export cannot be written, read or imported.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database cannot be read or written.
    #[error("{}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The text cannot be written.
    #[error("cannot be written: {0}")]
    Write(std::io::Error),
    /// The text cannot be read.
    #[error("cannot be read: {0}")]
    Read(std::io::Error),
    /// An event of the log cannot be written as JSON.
    #[error("seq {seq} cannot be written as JSON: {reason} (`ennio doctor` checks the file)")]
    Unwritable {
        /// The event.
        seq: Seq,
        /// Why.
        reason: String,
    },
    /// No export at all.
    #[error(
        "no export of an Ennio log: {0} (events of another origin come in with `ennio emit`; a name \
         that ends in .zst is read as zstd)"
    )]
    NotAnExport(String),
    /// Written by a later version.
    #[error("an export of format {0}, this Ennio knows {FORMAT} (upgrade Ennio)")]
    NewerFormat(u32),
    /// A line is wrong.
    #[error("line {line}: {reason} (the file was changed since it was exported)")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The last line is missing.
    #[error(
        "it ends behind line {line}, without its last line: the export was cut short, or the copy \
         of it was (export or copy it again)"
    )]
    Truncated {
        /// The last whole line, from 1.
        line: u64,
    },
    /// Not what was exported.
    #[error("not what was exported: {0} (copy or export it again)")]
    Damaged(String),
    /// The database holds something else.
    #[error(
        "{}: holds other events than the export, seq {seq} for one (import into an empty database: \
         name another file with --db, or move this one away)", path.display()
    )]
    Differs {
        /// The database.
        path: PathBuf,
        /// The first place where the two differ.
        seq: Seq,
    },
}
