//! One event with all that the log knows of it, as a line of text, both ways.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::hexadecimal;
use crate::{
    event::{Digest, LogEntry, Seq, Subject},
    store::{NewEntry, Passage, trace::StoredStep},
};

/// One event with all that the log knows of it.
#[derive(Debug)]
pub struct Record {
    /// The event in its envelope.
    pub entry: LogEntry,
    /// Of the content as it was sent.
    pub digest: Digest,
    /// What filters and enrichers did with it, in their order, but for keeping it unchanged.
    pub steps: Vec<StoredStep<'static>>,
}

#[derive(Serialize)]
struct Writing<'a> {
    entry: &'a LogEntry,
    subject: &'a Subject,
    digest: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    steps: &'a [StoredStep<'a>],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading<'a> {
    #[serde(borrow)]
    entry: &'a RawValue,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow)]
    digest: Cow<'a, str>,
    #[serde(default)]
    steps: Vec<StoredStep<'static>>,
}

impl Record {
    /// One line of JSON, without the line break.
    ///
    /// # Errors
    /// None that a log can cause.
    pub fn line(&self) -> serde_json::Result<String> {
        let Self { entry, digest, steps } = self;
        let digest = hexadecimal(&digest.0);
        serde_json::to_string(&Writing { entry, subject: &entry.subject, digest, steps })
    }

    /// Reads such a line back.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let reading: Reading<'_> = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let mut entry = LogEntry::parse(reading.entry.get()).map_err(|e| e.to_string())?;
        entry.subject = reading.subject.parse().map_err(|e| format!("subject: {e}"))?;
        let digest = digest(&reading.digest)
            .ok_or_else(|| "digest: must be 32 hexadecimal digits".to_owned())?;
        Ok(Self { steps: reading.steps, entry, digest })
    }

    /// What the log keeps of the steps.
    pub(super) fn steps_column(&self) -> Option<String> {
        // Texts and numbers alone, whose writing cannot fail.
        (!self.steps.is_empty()).then(|| serde_json::to_string(&self.steps).unwrap_or_default())
    }

    /// As the log takes it in, at this place.
    pub(super) fn into_entry(self) -> NewEntry {
        let Self { entry, digest, .. } = self;
        NewEntry {
            event: entry.event,
            subject: entry.subject,
            digest,
            caused_by: entry.caused_by,
            hops: entry.hops,
            dropped: entry.dropped,
            passage: Passage::default(),
        }
    }

    /// The same event at another place.
    pub(super) fn at(self, seq: Seq) -> Self {
        let Self { entry, digest, steps } = self;
        let LogEntry { event, subject, caused_by, hops, dropped, committed_at, .. } = entry;
        let entry = LogEntry::new(seq, event, subject, caused_by, hops, dropped, committed_at);
        Self { entry, digest, steps }
    }
}

fn digest(text: &str) -> Option<Digest> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(|number| Digest(number.to_be_bytes()))
}
