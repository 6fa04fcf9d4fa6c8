//! The search index over the log: what makes `query.rs` fast, and nothing else.
//!
//! Today it is three SQLite indexes that every commit keeps up to date, which rewrites a page for
//! each new key. This module is the seam: who replaces them (an index that is filled behind the
//! log in sorted steps) changes the migration here and the plan in `query.rs`, and neither the
//! `events` table nor the writer.

/// Makes the index in a database that has none.
pub(super) const MIGRATION: &str = include_str!("migrations/02_index.sql");
