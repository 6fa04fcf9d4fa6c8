//! What is different between two JSON texts: the places where they part, each with both sides as
//! they were written, so that no number loses a digit.

use indexmap::IndexMap;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::value::RawValue;

use crate::event::{Event, member_path};

/// Below this, values are compared as texts.
const MAX_DEPTH: usize = 64;

/// One place where two texts part.
#[derive(Debug, Clone)]
pub struct Difference {
    /// `data.labels[2]`, `data["odd key"]`.
    pub path: String,
    /// `None`: there was nothing.
    pub from: Option<Box<RawValue>>,
    /// `None`: there is nothing any more.
    pub to: Option<Box<RawValue>>,
}

impl Difference {
    pub(super) fn whole(path: &str, from: Option<&RawValue>, to: Option<&RawValue>) -> Self {
        Self {
            path: path.to_owned(),
            from: from.map(ToOwned::to_owned),
            to: to.map(ToOwned::to_owned),
        }
    }
}

/// What is different between two states of an event, in what a plugin may change.
pub(super) fn changes(before: &Event, after: &Event) -> Vec<Difference> {
    let mut found = Vec::new();
    let texts = [
        ("priority", before.priority.as_str(), after.priority.as_str()),
        ("message", before.message.as_str(), after.message.as_str()),
    ];
    for (field, before, after) in texts {
        if before != after {
            let raw = |text: &str| serde_json::value::to_raw_value(text).ok();
            found.push(Difference { path: field.into(), from: raw(before), to: raw(after) });
        }
    }
    differences("data", before.data.raw(), after.data.raw(), &mut found);
    found
}

/// Adds to `found` every place below `path` where the two part. Objects are compared member by
/// member, arrays of one length element by element, everything else to the byte.
pub(super) fn differences(path: &str, from: &RawValue, to: &RawValue, found: &mut Vec<Difference>) {
    compare(path, from, to, MAX_DEPTH, found);
}

fn compare(path: &str, from: &RawValue, to: &RawValue, depth: usize, found: &mut Vec<Difference>) {
    if from.get() == to.get() {
        return;
    }
    let Some(below) = depth.checked_sub(1) else {
        return found.push(Difference::whole(path, Some(from), Some(to)));
    };
    if let (Some(from), Some(mut to)) = (object(from), object(to)) {
        for (key, from) in &from {
            let path = member_path(path, key);
            match to.shift_remove(key) {
                Some(to) => compare(&path, from, to, below, found),
                None => found.push(Difference::whole(&path, Some(from), None)),
            }
        }
        let added =
            to.iter().map(|(key, to)| Difference::whole(&member_path(path, key), None, Some(to)));
        return found.extend(added);
    }
    match (array(from), array(to)) {
        (Some(from), Some(to)) if from.len() == to.len() => {
            for (at, (from, to)) in from.iter().zip(to).enumerate() {
                compare(&format!("{path}[{at}]"), from, to, below, found);
            }
        }
        _ => found.push(Difference::whole(path, Some(from), Some(to))),
    }
}

fn object(raw: &RawValue) -> Option<IndexMap<String, &RawValue>> {
    raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

fn array(raw: &RawValue) -> Option<Vec<&RawValue>> {
    raw.get().starts_with('[').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

/// As an object: what became of each path.
pub(super) fn by_path<S: Serializer>(differences: &[Difference], to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Sides<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<&'a RawValue>,
    }
    let mut map = to.serialize_map(Some(differences.len()))?;
    for Difference { path, from, to } in differences {
        map.serialize_entry(path, &Sides { from: from.as_deref(), to: to.as_deref() })?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(from: &str, to: &str) -> Vec<String> {
        let [from, to] =
            [from, to].map(|text| serde_json::from_str::<Box<RawValue>>(text).unwrap());
        let mut found = Vec::new();
        differences("data", &from, &to, &mut found);
        let text =
            |side: Option<Box<RawValue>>| side.map_or("-".to_owned(), |raw| raw.get().into());
        found.into_iter().map(|d| format!("{}: {} {}", d.path, text(d.from), text(d.to))).collect()
    }

    #[test]
    fn places_are_named_and_what_is_alike_is_left_out() {
        let from = r#"{"a":1,"b":{"c":[1,2,{"d":3}],"e":null},"odd key":1}"#;
        let to = r#"{"a":1,"b":{"c":[1,2,{"d":4}],"f":[]},"odd key":2}"#;
        assert_eq!(
            found(from, to),
            ["data.b.c[2].d: 3 4", "data.b.e: null -", "data.b.f: - []", "data[\"odd key\"]: 1 2"]
        );
        assert_eq!(found("[1,2]", "[1]"), ["data: [1,2] [1]"]);
        assert_eq!(found("null", r#"{"a":1}"#), ["data: null {\"a\":1}"]);
        assert!(found("[1]", "[1]").is_empty());
    }

    #[test]
    fn numbers_are_compared_and_shown_to_the_last_digit() {
        let (from, to) = ("123456789012345678901234567890", "123456789012345678901234567891");
        assert_eq!(found(from, to), [format!("data: {from} {to}")]);
    }

    #[test]
    fn nesting_without_end_is_no_recursion_without_end() {
        let nested = |inner| format!("{}{inner}{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(found(&nested("1"), &nested("2")).len(), 1);
    }
}
