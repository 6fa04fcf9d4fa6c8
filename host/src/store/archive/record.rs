//! One event with all that the log knows of it, as a line of text, both ways.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::hexadecimal;
use crate::{
    event::{Digest, LogEntry, PluginName, Seq, Subject},
    store::{Change, NewEntry},
};

/// One event with all that the log knows of it.
#[derive(Debug)]
pub struct Record {
    /// The event in its envelope.
    pub entry: LogEntry,
    /// Of the content as it was sent.
    pub digest: Digest,
    /// What enrichers changed, in their order.
    pub changes: Vec<Change>,
}

#[derive(Serialize)]
struct Writing<'a> {
    entry: &'a LogEntry,
    subject: &'a Subject,
    digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<WritingChange<'a>>,
}

#[derive(Serialize)]
struct WritingChange<'a> {
    plugin: &'a PluginName,
    version: &'a str,
    patch: &'a RawValue,
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
    #[serde(borrow, default)]
    changes: Vec<ReadingChange<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadingChange<'a> {
    plugin: PluginName,
    version: String,
    #[serde(borrow)]
    patch: &'a RawValue,
}

impl Record {
    /// One line of JSON, without the line break.
    ///
    /// # Errors
    /// When what an enricher changed is no JSON, which no host writes.
    pub fn line(&self) -> serde_json::Result<String> {
        let Self { entry, digest, changes } = self;
        let changes = changes.iter().map(|Change { plugin, version, patch }| {
            serde_json::from_str(patch).map(|patch| WritingChange { plugin, version, patch })
        });
        let changes = changes.collect::<Result<_, _>>()?;
        let digest = hexadecimal(&digest.0);
        serde_json::to_string(&Writing { entry, subject: &entry.subject, digest, changes })
    }

    /// Reads such a line back.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let reading: Reading<'_> = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let mut entry = LogEntry::parse(reading.entry.get()).map_err(|e| e.to_string())?;
        entry.subject = reading.subject.parse().map_err(|e| format!("subject: {e}"))?;
        let changes = reading.changes.into_iter().map(|change| Change {
            plugin: change.plugin,
            version: change.version.into(),
            patch: change.patch.get().to_owned(),
        });
        let digest = digest(&reading.digest)
            .ok_or_else(|| "digest: must be 32 hexadecimal digits".to_owned())?;
        Ok(Self { changes: changes.collect(), entry, digest })
    }

    /// As the log takes it in, at this place.
    pub(super) fn into_entry(self) -> NewEntry {
        let Self { entry, digest, changes } = self;
        NewEntry {
            event: entry.event,
            subject: entry.subject,
            digest,
            caused_by: entry.caused_by,
            hops: entry.hops,
            dropped: entry.dropped,
            changes,
        }
    }

    /// The same event at another place.
    pub(super) fn at(self, seq: Seq) -> Self {
        let Self { entry, digest, changes } = self;
        let LogEntry { event, subject, caused_by, hops, dropped, committed_at, .. } = entry;
        let entry = LogEntry::new(seq, event, subject, caused_by, hops, dropped, committed_at);
        Self { entry, digest, changes }
    }
}

fn digest(text: &str) -> Option<Digest> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(|number| Digest(number.to_be_bytes()))
}
