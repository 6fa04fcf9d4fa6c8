//! An event as it was sent, out of what the log keeps of it.
//!
//! The log has events as the plugins left them, and what each enricher changed: the new values, not
//! those that they replaced. That is on purpose, since a plugin that takes a secret out of an event
//! does so before it is on disk. But the log also has a digest of what the sender said. So what the
//! enrichers added is taken out again, what they replaced is tried where there are few values that
//! it can have had (a priority, an empty message), and the digest says whether that is the event as
//! it was sent, to the last byte. Where it says no, something was overwritten for good.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    event::{Data, Digest, Draft, Event, EventPriority, Message},
    store::Changed,
};

/// What an enricher changed, as the pipeline records it.
#[derive(Default, Deserialize)]
struct Patch {
    priority: Option<String>,
    message: Option<String>,
    data: Option<Box<RawValue>>,
}

impl Patch {
    fn of(change: &Changed) -> Option<Self> {
        serde_json::from_str(&change.patch).ok()
    }
}

/// Changes `event` as an enricher did. Whether it could: nothing of the log cannot.
pub(super) fn redo(event: &mut Event, change: &Changed) -> Option<()> {
    let Patch { priority, message, data } = Patch::of(change)?;
    if let Some(priority) = priority {
        event.priority = priority.parse().ok()?;
    }
    if let Some(message) = message {
        event.message = message.parse().ok()?;
    }
    if let Some(data) = data {
        event.data = event.data.merged(data.get()).ok()?;
    }
    Some(())
}

/// The event as it was sent; `None` when that is not in the log any more.
pub(super) fn as_sent(event: &Event, changes: &[Changed], digest: Digest) -> Option<Event> {
    let mut data = event.data.clone();
    let (mut has_priority, mut has_message, mut has_data) = (false, false, false);
    for change in changes.iter().rev() {
        let patch = Patch::of(change)?;
        has_priority |= patch.priority.is_some();
        has_message |= patch.message.is_some();
        if let Some(patch) = patch.data {
            has_data = true;
            data = data.without(patch.get()).ok()?;
        }
    }
    let mut sent = Event { data, ..event.clone() };
    if has_message {
        sent.message = Message::default();
    }
    let priorities = match has_priority {
        true => EventPriority::ALL.to_vec(),
        false => vec![event.priority],
    };
    // An object that is empty now may have been made by an enricher.
    let mut payloads = vec![sent.data.clone()];
    if has_data && sent.data.as_str() == "{}" {
        payloads.push(Data::default());
    }
    for data in payloads {
        for priority in &priorities {
            sent = Event { data: data.clone(), priority: *priority, ..sent };
            if was_said(&sent, digest) {
                return Some(sent);
            }
        }
    }
    None
}

/// Whether some sender's words for this event have that digest: what has a default may have been
/// left out.
fn was_said(event: &Event, digest: Digest) -> bool {
    let full = Draft::from(event.clone());
    let can_lack = [
        true,
        event.priority == EventPriority::default(),
        event.message == Message::default(),
        event.data == Data::default(),
    ];
    (0..1_u8 << can_lack.len()).any(|choice| {
        let lacks = |at: usize| choice & (1 << at) != 0;
        if (0..can_lack.len()).any(|at| lacks(at) && !can_lack.get(at).is_some_and(|can| *can)) {
            return false;
        }
        let mut draft = full.clone();
        draft.timestamp = draft.timestamp.filter(|_| !lacks(0));
        draft.priority = draft.priority.filter(|_| !lacks(1));
        draft.message = draft.message.filter(|_| !lacks(2));
        draft.data = draft.data.filter(|_| !lacks(3));
        draft.digest() == digest
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{EventType, Timestamp};

    fn change(patch: &str) -> Changed {
        Changed {
            plugin: "p".parse().unwrap(),
            patch: patch.parse::<Data>().unwrap().as_str().to_owned(),
        }
    }

    fn draft(priority: Option<EventPriority>, message: Option<&str>, data: Option<&str>) -> Draft {
        let mut draft =
            Draft::new(EventType::CiFailing, "p".parse().unwrap(), "s".parse().unwrap());
        draft.priority = priority;
        draft.message = message.map(|text| text.parse().unwrap());
        draft.data = data.map(|text| text.parse().unwrap());
        draft
    }

    /// What the log has of it, and what is made of that.
    fn restored(draft: &Draft, changes: &[Changed]) -> (Event, Option<Event>) {
        let sent = draft.clone().into_event(Timestamp::now());
        let mut stored = sent.clone();
        changes.iter().for_each(|change| redo(&mut stored, change).unwrap());
        let found = as_sent(&stored, changes, draft.digest());
        (sent, found)
    }

    #[test]
    fn what_was_added_or_raised_is_taken_back() {
        let triage = change(r#"{"priority":"urgent","data":{"triage":{"class":"test"}}}"#);
        let tag = change(r#"{"priority":"critical","data":{"tag":"v1"}}"#);
        for priority in [None, Some(EventPriority::Action), Some(EventPriority::Info)] {
            for data in [None, Some("{}"), Some(r#"{"log":"x","n":1.50}"#)] {
                let draft = draft(priority, Some("red"), data);
                let (sent, found) = restored(&draft, &[triage.clone(), tag.clone()]);
                assert_eq!(found, Some(sent), "{draft:?}");
            }
        }
        let (sent, found) = restored(&draft(None, None, None), &[change(r#"{"message":"said"}"#)]);
        assert_eq!(found, Some(sent), "a message where there was none");
    }

    #[test]
    fn what_was_overwritten_is_gone() {
        for (draft, patch) in [
            (draft(None, Some("password=1"), None), r#"{"message":"password=***"}"#),
            (draft(None, None, Some(r#"{"key":"a"}"#)), r#"{"data":{"key":"***"}}"#),
            (draft(None, None, Some(r#"{"key":"a"}"#)), r#"{"data":{"key":null}}"#),
            (draft(None, None, Some("[1]")), r#"{"data":{"key":1}}"#),
        ] {
            assert_eq!(restored(&draft, &[change(patch)]).1, None, "{patch}");
        }
    }

    proptest! {
        /// Whatever enrichers did: either the truth is found, or nothing.
        #[test]
        fn what_is_restored_is_what_was_sent(
            data in "\\{(\"[ab]\":[0-2])?\\}",
            patches in prop::collection::vec("\\{\"[abc]\":(null|[0-2]|\\{\"[ab]\":1\\})\\}", 0..4),
        ) {
            let changes: Vec<Changed> =
                patches.iter().map(|patch| change(&format!("{{\"data\":{patch}}}"))).collect();
            let (sent, found) = restored(&draft(None, Some("m"), Some(&data)), &changes);
            if let Some(found) = found {
                prop_assert_eq!(found, sent);
            }
        }
    }
}
