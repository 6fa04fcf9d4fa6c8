//! What filters and enrichers did with an event, as its column `steps` holds it: a JSON array, written
//! with the event, read by whoever looks at history. A column and no table, since a second insert for
//! an event would cost a fifth of the throughput.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Did, Passage, Role, Step, json, write::nanos};
use crate::event::{EventPriority, PluginName, Subject};

/// One step of an event: what a filter or an enricher did, wherever that was not "kept, unchanged".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredStep<'a> {
    /// Who.
    pub plugin: Cow<'a, PluginName>,
    /// As what.
    pub role: Role,
    /// SHA-256 of the component, hexadecimal.
    pub version: Cow<'a, str>,
    /// What it did.
    pub outcome: StoredOutcome,
    /// Changed: JSON, the changed members of priority, message and data (an RFC 7396 patch); failed:
    /// why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
    /// The priority before, when that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was_priority: Option<EventPriority>,
    /// The subject before, when that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was_subject: Option<Cow<'a, Subject>>,
    /// The event's share of the call, in nanoseconds; not known of old ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ns: Option<i64>,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredOutcome {
    /// The event was changed.
    Changed,
    /// The event was hidden.
    Dropped,
    /// The plugin failed on it.
    Failed,
}

/// What the column `steps` of an event holds.
pub(in crate::store) fn steps_column(passage: &Passage) -> Option<String> {
    if passage.steps.is_empty() {
        return None;
    }
    Some(json(&passage.steps.iter().map(StoredStep::from).collect::<Vec<_>>()))
}

impl<'a> From<&'a Step> for StoredStep<'a> {
    fn from(step: &'a Step) -> Self {
        let (outcome, detail, change) = match &step.did {
            Did::Changed(change) => (StoredOutcome::Changed, Some(&change.patch), Some(change)),
            Did::Dropped => (StoredOutcome::Dropped, None, None),
            Did::Failed(error) => (StoredOutcome::Failed, Some(error), None),
        };
        Self {
            plugin: Cow::Borrowed(&step.plugin),
            role: step.role,
            version: Cow::Borrowed(&step.version),
            outcome,
            detail: detail.map(|text| Cow::Borrowed(text.as_str())),
            was_priority: change.and_then(|change| change.was_priority),
            was_subject: change.and_then(|change| change.was_subject.as_ref()).map(Cow::Borrowed),
            took_ns: Some(nanos(step.took)),
        }
    }
}
