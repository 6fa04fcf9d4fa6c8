//! What a plugin did, as a file for CI: one JSON object a line for each event that fared otherwise
//! than without the plugin, and the totals. Without times, memory and log lines, so that the same
//! component makes the same file everywhere.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{
    difference::{Difference, by_path, differences},
    story::{Commanded, Emitted, Story, Totals},
};
use crate::event::{EventId, EventType};

/// The name of the line with the totals.
const TOTALS: &str = "totals";

/// A snapshot.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// By what each line is about.
    lines: IndexMap<String, Box<RawValue>>,
}

/// Why a text is no snapshot.
#[derive(Debug, Error)]
#[error("line {line}: {reason} (write the file anew with --update)")]
pub struct SnapshotError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

#[derive(Serialize)]
struct Line<'a> {
    event: EventId,
    event_type: &'a EventType,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "changes")]
    changes: &'a [Difference],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    emits: &'a [Emitted],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    commands: &'a [Commanded],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    failures: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
}

impl Snapshot {
    /// Adds what the plugin did with one event, if it did anything.
    pub fn add(&mut self, story: &Story) {
        if !story.is_news() {
            return;
        }
        let line = Line {
            event: story.id,
            event_type: &story.event_type,
            dropped: story.dropped.as_deref(),
            held: story.held.as_deref(),
            changes: &story.changes,
            emits: &story.emits,
            commands: &story.commands,
            failures: &story.failures,
            attempts: (story.attempts > 1).then_some(story.attempts),
        };
        self.put(format!("event {}", story.id), &line);
    }

    /// Adds the totals, at the end.
    pub fn close(&mut self, totals: Totals) {
        #[derive(Serialize)]
        struct Line {
            totals: Totals,
        }
        self.put(TOTALS.into(), &Line { totals });
    }

    fn put(&mut self, about: String, line: &impl Serialize) {
        // Only strings, numbers and JSON that is JSON already: this cannot fail.
        if let Ok(line) = serde_json::value::to_raw_value(line) {
            self.lines.insert(about, line);
        }
    }

    /// Reads a snapshot back.
    ///
    /// # Errors
    /// [`SnapshotError`] with the first line that is none.
    pub fn parse(text: &str) -> Result<Self, SnapshotError> {
        #[derive(Deserialize)]
        struct About {
            event: Option<EventIdText>,
        }
        #[derive(Deserialize)]
        struct EventIdText(String);

        let mut lines = IndexMap::new();
        for (at, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
            let fault = |e: serde_json::Error| SnapshotError { line: at, reason: e.to_string() };
            let line: Box<RawValue> = serde_json::from_str(text).map_err(fault)?;
            let about: About = serde_json::from_str(text).map_err(fault)?;
            let about = about.event.map_or(TOTALS.into(), |id| format!("event {}", id.0));
            lines.insert(about, line);
        }
        Ok(Self { lines })
    }

    /// The file.
    pub fn text(&self) -> String {
        self.lines.values().map(|line| format!("{line}\n")).collect()
    }

    /// Where `found` parts from what this one expects, by what the line is about. A line that only
    /// one of them has parts as a whole.
    pub fn differences(&self, found: &Self) -> Vec<(String, Vec<Difference>)> {
        let mut all = Vec::new();
        for (about, expected) in &self.lines {
            let mut parts = Vec::new();
            match found.lines.get(about) {
                Some(found) => differences("", expected, found, &mut parts),
                None => parts.push(Difference::whole("", Some(expected), None)),
            }
            if !parts.is_empty() {
                all.push((about.clone(), parts));
            }
        }
        for (about, found) in &found.lines {
            if !self.lines.contains_key(about) {
                all.push((about.clone(), vec![Difference::whole("", None, Some(found))]));
            }
        }
        all
    }
}

fn changes<S: serde::Serializer>(changes: &&[Difference], to: S) -> Result<S::Ok, S::Error> {
    by_path(changes, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn snapshot(lines: &[String]) -> Snapshot {
        Snapshot::parse(&lines.join("\n")).unwrap()
    }

    fn dropped(reason: &str) -> String {
        format!(r#"{{"event":"{ID}","dropped":"{reason}"}}"#)
    }

    #[test]
    fn a_snapshot_says_where_another_parts_from_it() {
        let expected = snapshot(&[dropped("chatty"), r#"{"totals":{"events":1}}"#.into()]);
        let same = Snapshot::parse(&expected.text()).unwrap();
        assert!(expected.differences(&same).is_empty());
        let other = snapshot(&[dropped("loud"), r#"{"totals":{"events":1}}"#.into()]);
        let [(about, parts)] = &expected.differences(&other)[..] else { panic!() };
        assert_eq!(*about, format!("event {ID}"));
        assert_eq!(parts[0].path, "dropped");
        assert_eq!(parts[0].from.as_ref().unwrap().get(), r#""chatty""#);
        assert_eq!(parts[0].to.as_ref().unwrap().get(), r#""loud""#);
        let none = snapshot(&[r#"{"totals":{"events":1}}"#.into()]);
        assert!(expected.differences(&none)[0].1[0].to.is_none());
        assert!(none.differences(&expected)[0].1[0].from.is_none());
    }

    #[test]
    fn what_is_no_snapshot_is_refused_with_its_line() {
        let error = Snapshot::parse(&format!("{}\nnonsense\n", dropped("x"))).unwrap_err();
        assert!(error.to_string().starts_with("line 2: "), "{error}");
    }
}
