//! An enricher's patch as the places that it sets and takes away.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::{EventPriority, member_path};

/// One place that a patch sets or takes away.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// `priority`, `message`, `data.labels`, `data["odd key"]`.
    pub path: String,
    /// What was there: of a priority alone, since what an enricher masks must not be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Box<RawValue>>,
    /// What is there now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Box<RawValue>>,
    /// Nothing is there any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// Of a recorded patch. `was` is the priority before it.
pub(super) fn differences(
    patch: &str,
    was: Option<EventPriority>,
) -> serde_json::Result<Vec<Difference>> {
    #[derive(Deserialize)]
    struct Patch<'a> {
        #[serde(borrow)]
        priority: Option<&'a RawValue>,
        #[serde(borrow)]
        message: Option<&'a RawValue>,
        // Some even when it is `null`, which replaces all of it.
        #[serde(borrow, default, deserialize_with = "present")]
        data: Option<&'a RawValue>,
    }
    let patch: Patch<'_> = serde_json::from_str(patch)?;
    let mut found = Vec::new();
    if let Some(priority) = patch.priority {
        let from = was.map(|was| serde_json::value::to_raw_value(&was)).transpose()?;
        found.push(Difference { from, ..set("priority".into(), priority) });
    }
    found.extend(patch.message.map(|message| set("message".into(), message)));
    if let Some(data) = patch.data {
        merge("data", data, &mut found)?;
    }
    Ok(found)
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(from).map(Some)
}

fn set(path: String, to: &RawValue) -> Difference {
    Difference { path, from: None, to: Some(to.to_owned()), removed: false }
}

/// RFC 7396: an object opens what is there, `null` in it takes away, everything else replaces. A
/// patch is at most 64 levels deep.
fn merge(path: &str, patch: &RawValue, found: &mut Vec<Difference>) -> serde_json::Result<()> {
    if !patch.get().starts_with('{') {
        found.push(set(path.to_owned(), patch));
        return Ok(());
    }
    let members: IndexMap<String, &RawValue> = serde_json::from_str(patch.get())?;
    if members.is_empty() {
        // What was no object is an empty one now.
        found.push(set(path.to_owned(), patch));
    }
    for (name, member) in members {
        let path = member_path(path, &name);
        match member.get() {
            "null" => found.push(Difference { path, from: None, to: None, removed: true }),
            _ => merge(&path, member, found)?,
        }
    }
    Ok(())
}
