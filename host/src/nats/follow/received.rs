//! A message as the event that it carries: what `message` writes, read back to the byte.

use std::str::FromStr;

use async_nats::{HeaderName, Message};

use crate::{
    event::{Cause, Draft, LogId, ROOT, Reason, Subject, Timestamp},
    nats::{
        Prefix,
        message::{CAUSED_BY, COMMITTED, DIGEST, HOPS, ORIGIN, PREVIOUS, REPLAY, SEQ},
    },
    store::{Copied, NewEntry, Passage},
};

/// An event of some log.
#[derive(Debug)]
pub(super) struct Received {
    /// Which log.
    pub(super) origin: LogId,
    /// The event, as it stands there.
    pub(super) copied: Copied,
}

/// Whether a message is history that somebody has replayed.
pub(super) fn is_replay(message: &Message) -> bool {
    text(message, &REPLAY).is_some()
}

/// The event that a message carries; `None` for a message that no host has sent.
///
/// # Errors
/// What of it cannot be read, and why.
pub(super) fn read(message: &Message, prefix: &Prefix) -> Result<Option<Received>, String> {
    let Some(origin) = header::<LogId>(message, &ORIGIN)? else { return Ok(None) };
    let now = Timestamp::now();
    let event = Draft::parse(&message.payload).map_err(|e| format!("the event: {e}"))?;
    let event = event.into_event(now);
    let caused_by = text(message, &CAUSED_BY).map(cause).transpose()?;
    let entry = NewEntry {
        event,
        subject: subject(&message.subject, prefix)?,
        digest: required(message, &DIGEST)?,
        caused_by,
        hops: required(message, &HOPS)?,
        dropped: None,
        passage: Passage::default(),
    };
    let (seq, previous) = (required(message, &SEQ)?, required(message, &PREVIOUS)?);
    if seq <= previous {
        return Err(format!("{SEQ} {seq} is not behind {PREVIOUS} {previous}"));
    }
    let committed_at = required(message, &COMMITTED)?;
    Ok(Some(Received { origin, copied: Copied { seq, previous, committed_at, entry } }))
}

/// The subject inside of a host.
fn subject(wire: &str, prefix: &Prefix) -> Result<Subject, String> {
    let inside = match wire.split_once('.') {
        Some((first, rest)) if first == prefix.as_str() => format!("{ROOT}.{rest}"),
        _ => return Err(format!("its subject {wire} does not begin with {prefix}")),
    };
    inside.parse().map_err(|e: Reason| format!("its subject {wire}: {e}"))
}

/// `<event id> <plugin>`
fn cause(text: &str) -> Result<Cause, String> {
    let wrong = |reason: String| format!("{CAUSED_BY} {text:?}: {reason}");
    let (event, plugin) =
        text.split_once(' ').ok_or_else(|| wrong("not an event and a plugin".into()))?;
    Ok(Cause {
        event_id: event.parse().map_err(|e: Reason| wrong(e.to_string()))?,
        plugin: plugin.parse().map_err(|e: Reason| wrong(e.to_string()))?,
    })
}

fn text<'a>(message: &'a Message, name: &HeaderName) -> Option<&'a str> {
    Some(message.headers.as_ref()?.get(name.clone())?.as_str())
}

fn header<T: FromStr<Err: std::fmt::Display>>(
    message: &Message,
    name: &HeaderName,
) -> Result<Option<T>, String> {
    let parse = |text: &str| text.parse().map_err(|e| format!("{name} {text:?}: {e}"));
    text(message, name).map(parse).transpose()
}

fn required<T: FromStr<Err: std::fmt::Display>>(
    message: &Message,
    name: &HeaderName,
) -> Result<T, String> {
    header(message, name)?.ok_or_else(|| format!("it has no header {name}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        event::{EventType, LogEntry},
        nats::message,
    };

    fn on_the_wire(entry: &LogEntry, prefix: &Prefix, previous: u64) -> Message {
        let sent = message::Message::new(entry, prefix, origin(), previous).unwrap();
        Message {
            subject: sent.subject.to_string().into(),
            reply: None,
            length: sent.payload.len(),
            payload: sent.payload,
            headers: Some(sent.headers),
            status: None,
            description: None,
        }
    }

    fn origin() -> LogId {
        "0b5c29a8-51d1-4a3e-9e0e-6f0d4e8f2a11".parse().unwrap()
    }

    prop_compose! {
        fn any_entry()(
            kind in any::<prop::sample::Index>(),
            custom in "([a-z0-9_-]{1,20})?",
            text in any::<Option<String>>(),
            data in prop_oneof![
                Just("null".to_owned()),
                Just(r#"{"a":1.50,"b":[1e2,{"é":"\u0000\"\\"}],"a2":12345678901234567890}"#.to_owned()),
                any::<String>().prop_map(|text| serde_json::json!({ "t": text }).to_string()),
            ],
            micros in -62_000_000_000_000_000..250_000_000_000_000_000i64,
            committed in 0..4_000_000_000_000_000i64,
            caused in any::<bool>(),
            hops in 0..=16u8,
            seq in 1..u64::from(u32::MAX),
        ) -> LogEntry {
            let built_in = kind.get(&EventType::BUILT_IN).clone();
            let kind = match custom.is_empty() {
                true => built_in,
                false => format!("custom.{custom}").parse().unwrap(),
            };
            let mut draft = Draft::new(kind, "atlas".parse().unwrap(), "s-1".parse().unwrap());
            draft.message = text.and_then(|text| text.parse().ok());
            draft.data = data.parse().ok();
            draft.timestamp = Timestamp::from_micros(micros);
            let digest = draft.digest();
            let event = draft.into_event(Timestamp::now());
            let cause = Cause { event_id: event.id, plugin: "a-plugin".parse().unwrap() };
            let (subject, at) = (event.subject(), Timestamp::from_micros(committed).unwrap());
            LogEntry::new(seq, event, subject, caused.then_some(cause), hops, None, at)
                .with_digest(digest)
        }
    }

    proptest! {
        #[test]
        fn what_a_host_sends_is_read_as_it_stands_in_its_log(
            entry in any_entry(),
            prefix in "[A-Za-z0-9_-]{1,20}",
            before in 1..9u64,
        ) {
            let prefix: Prefix = prefix.parse().unwrap();
            let previous = entry.seq.saturating_sub(before);
            let Received { origin: from, copied } =
                read(&on_the_wire(&entry, &prefix, previous), &prefix).unwrap().unwrap();
            prop_assert_eq!(from, origin());
            prop_assert_eq!((copied.seq, copied.previous), (entry.seq, previous));
            prop_assert_eq!(copied.committed_at, entry.committed_at);
            let NewEntry { event, subject, digest, caused_by, hops, dropped, .. } = copied.entry;
            prop_assert_eq!(event.data.as_str(), entry.event.data.as_str());
            prop_assert_eq!(event, entry.event.clone());
            prop_assert_eq!(subject, entry.subject.clone());
            prop_assert_eq!(Some(digest), entry.digest);
            prop_assert_eq!(caused_by, entry.caused_by.clone());
            prop_assert_eq!((hops, dropped), (entry.hops, None));
        }
    }

    #[test]
    fn what_no_host_has_sent_is_none_and_what_is_torn_says_where() {
        let draft = Draft::new(EventType::CiFailing, "a".parse().unwrap(), "s".parse().unwrap());
        let (digest, event) = (draft.digest(), draft.into_event(Timestamp::now()));
        let subject = event.subject();
        let at = Timestamp::now();
        let entry = LogEntry::new(7, event, subject, None, 0, None, at).with_digest(digest);
        let prefix = Prefix::default();
        let whole = || on_the_wire(&entry, &prefix, 6);
        let mut other = whole();
        other.headers = None;
        assert!(read(&other, &prefix).unwrap().is_none());
        let fault = |change: &dyn Fn(&mut Message)| {
            let mut message = whole();
            change(&mut message);
            read(&message, &prefix).unwrap_err()
        };
        for (name, value) in [
            ("Ennio-Seq", "x"),
            ("Ennio-Digest", "00"),
            ("Ennio-Committed", "now"),
            ("Ennio-Origin", ""),
        ] {
            let said = fault(&|message| message.headers.as_mut().unwrap().insert(name, value));
            assert!(said.starts_with(name), "{said}");
        }
        assert!(
            fault(&|m| m.headers.as_mut().unwrap().insert("Ennio-Previous", "7"))
                .contains("behind")
        );
        assert!(fault(&|message| message.payload = "{}".into()).starts_with("the event: "));
        assert!(fault(&|message| message.subject = "acme.ci.a.failing".into()).contains("acme.ci"));
    }
}
