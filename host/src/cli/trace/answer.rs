//! `GET /v1/events/{id}/trace`, as far as this command reads it; with the leniency of `answers`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{cli::answers::Entry, event::Seq};

/// What an event came from.
#[derive(Debug, Deserialize)]
pub(super) struct Causes {
    #[serde(default)]
    pub(super) causes: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Story {
    pub(super) event: Entry,
    #[serde(default)]
    pub(super) pipeline: Vec<Passed>,
    #[serde(default)]
    pub(super) published: Vec<Published>,
    #[serde(default)]
    pub(super) reactions: Vec<Reaction>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Passed {
    pub(super) plugin: String,
    pub(super) role: String,
    pub(super) version: Option<String>,
    pub(super) hash: Option<String>,
    pub(super) outcome: String,
    pub(super) reason: Option<String>,
    pub(super) error: Option<String>,
    pub(super) changes: Vec<Difference>,
    pub(super) took_us: Option<f64>,
    pub(super) calls: Vec<Call>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Difference {
    pub(super) path: String,
    pub(super) from: Option<Box<RawValue>>,
    pub(super) to: Option<Box<RawValue>>,
    pub(super) removed: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Call {
    pub(super) first_seq: Seq,
    pub(super) last_seq: Seq,
    pub(super) events: u64,
    pub(super) hash: Option<String>,
    pub(super) took_us: f64,
    pub(super) said: Vec<Line>,
    pub(super) unsaid: u64,
    pub(super) error: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line {
    pub(super) level: String,
    pub(super) context: String,
    pub(super) message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Published {
    pub(super) sink: String,
    pub(super) state: String,
    pub(super) after: Option<String>,
    pub(super) by: Option<String>,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reaction {
    pub(super) plugin: String,
    pub(super) version: Option<String>,
    pub(super) hash: Option<String>,
    pub(super) outcome: String,
    pub(super) at: Option<String>,
    pub(super) took_us: Option<f64>,
    pub(super) said: Vec<Line>,
    pub(super) unsaid: u64,
    pub(super) failed_attempts: Vec<Attempt>,
    pub(super) next_at: Option<String>,
    pub(super) dead_letter: Option<i64>,
    pub(super) commands: Vec<String>,
    pub(super) emitted: Vec<Story>,
    pub(super) left_out: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Attempt {
    pub(super) attempt: u32,
    pub(super) at: String,
    pub(super) error: String,
    pub(super) hash: Option<String>,
    pub(super) took_us: Option<f64>,
    pub(super) said: Vec<Line>,
    pub(super) unsaid: u64,
}
