//! One event as NATS carries it.
//!
//! The client library publishes to `a.*`, loses what goes to `a..b`, and panics on a line break in
//! a header. Here neither can be said: subjects are made from a [`Prefix`] and a [`Subject`], and
//! header values from types whose alphabet holds no line break.
//!
//! **What a reader needs to keep the same log.** The payload is the event's eight fields, to the byte
//! of `data` as the log has it; `ennio` in place of the prefix makes the wire's subject the log's. The
//! headers are the rest of the row: `Nats-Msg-Id` (the id), `Ennio-Seq`, `Ennio-Hops`,
//! `Ennio-Caused-By`, `Ennio-Committed` (when the host committed it) and `Ennio-Digest` (of what the
//! sender said). What a filter hid is not published, and neither is what is too large, so `Ennio-Seq`
//! has holes; `Ennio-Previous` names the event that was published before this one, 0 for the first.
//! A reader whose last event of this log is another has missed something, or sees something again:
//! that is a `Ennio-Seq` it has already. `Ennio-Origin` says which log it is: a reader that finds
//! another than the one it knows reads another host's events, or those of a log that began anew. A
//! message without either is no link of that chain: a replay (`Ennio-Replay`), or somebody else's.

use std::fmt;

use async_nats::{
    HeaderMap, HeaderName, HeaderValue,
    header::{NATS_EXPECTED_LAST_SEQUENCE, NATS_MESSAGE_ID, ParseHeaderValueError},
};
use bytes::Bytes;
use thiserror::Error;

use super::{Prefix, ReplayId};
use crate::event::{
    Cause, Digest, EventId, LogEntry, LogId, PluginName, Reason, Seq, Subject, Timestamp,
};

/// The place in the log.
pub(super) const SEQ: HeaderName = HeaderName::from_static("Ennio-Seq");
/// What a reaction reacted to, and the plugin: `<event id> <plugin>`.
pub(super) const CAUSED_BY: HeaderName = HeaderName::from_static("Ennio-Caused-By");
/// Reactions between this event and one that came from outside.
pub(super) const HOPS: HeaderName = HeaderName::from_static("Ennio-Hops");
/// The place of the event that was published before this one; 0 for the first.
pub(super) const PREVIOUS: HeaderName = HeaderName::from_static("Ennio-Previous");
/// Which log this is: a UUID.
pub(super) const ORIGIN: HeaderName = HeaderName::from_static("Ennio-Origin");
/// When the host committed it: RFC 3339, to the microsecond.
pub(super) const COMMITTED: HeaderName = HeaderName::from_static("Ennio-Committed");
/// Of the content as it was sent: 32 hexadecimal digits.
pub(super) const DIGEST: HeaderName = HeaderName::from_static("Ennio-Digest");
/// The replay that an event is sent in; news has none.
pub(super) const REPLAY: HeaderName = HeaderName::from_static("Ennio-Replay");

/// A subject on the wire: tokens of `[A-Za-z0-9_-]`, the first of them the configured prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct WireSubject(Subject);

impl WireSubject {
    /// `subject` with `prefix` in place of its first token.
    ///
    /// # Errors
    /// [`Reason`], which for these two types does not happen.
    pub(super) fn new(prefix: &Prefix, subject: &Subject) -> Result<Self, Reason> {
        match subject.as_str().split_once('.') {
            Some((root, _)) if root == prefix.as_str() => Ok(Self(subject.clone())),
            Some((_, rest)) => format!("{prefix}.{rest}").parse().map(Self),
            None => prefix.as_str().parse().map(Self),
        }
    }

    /// As a subject, to be matched against patterns.
    pub(super) fn as_subject(&self) -> &Subject {
        &self.0
    }
}

impl fmt::Display for WireSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl async_nats::subject::ToSubject for WireSubject {
    fn to_subject(&self) -> async_nats::Subject {
        async_nats::Subject::from(self.0.as_str())
    }
}

/// An event ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// Where to.
    pub(super) subject: WireSubject,
    /// The envelope.
    pub(super) headers: HeaderMap,
    /// The event's eight fields as JSON.
    pub(super) payload: Bytes,
}

/// Why an event cannot be sent, now or ever.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Unsendable {
    /// Larger than the server takes.
    #[error("{size} bytes, but the server takes at most {limit} (raise its max_payload)")]
    TooLarge {
        /// With headers, in bytes.
        size: usize,
        /// The server's `max_payload`, in bytes.
        limit: usize,
    },
    /// The stream takes no message of this size.
    #[error("refused by the stream: {0} (raise the stream's max_msg_size)")]
    TooLargeForStream(String),
    /// Not expressible, which for a parsed event does not happen.
    #[error("cannot be written as a NATS message: {0}")]
    Malformed(String),
}

impl Message {
    /// `entry` of the log `origin` under `prefix`; `previous` is the place of what was published before
    /// it.
    ///
    /// # Errors
    /// [`Unsendable::Malformed`], which for a parsed event does not happen.
    pub(super) fn new(
        entry: &LogEntry,
        prefix: &Prefix,
        origin: LogId,
        previous: Seq,
    ) -> Result<Self, Unsendable> {
        let mut message = Self::of(entry, prefix)?;
        message.headers.insert(PREVIOUS, value(&previous).map_err(malformed)?);
        message.headers.insert(ORIGIN, value(&origin).map_err(malformed)?);
        Ok(message)
    }

    /// What is the same whenever the event is sent.
    fn of(entry: &LogEntry, prefix: &Prefix) -> Result<Self, Unsendable> {
        let subject = WireSubject::new(prefix, &entry.subject)
            .map_err(|reason| Unsendable::Malformed(reason.to_string()))?;
        let headers = headers(entry).map_err(malformed)?;
        let payload = serde_json::to_vec(&entry.event)
            .map_err(|e| Unsendable::Malformed(e.to_string()))?
            .into();
        Ok(Self { subject, headers, payload })
    }

    /// To be stored behind what has the sequence `last` in the stream, or not at all.
    ///
    /// # Errors
    /// [`Unsendable::Malformed`], which for a number does not happen.
    pub(super) fn behind(mut self, last: u64) -> Result<Self, Unsendable> {
        self.headers.insert(NATS_EXPECTED_LAST_SEQUENCE, value(&last).map_err(malformed)?);
        Ok(self)
    }

    /// `entry` under `prefix`, as a replay sends it: without what makes it part of what the host publishes,
    /// `Ennio-Previous` and `Ennio-Origin`.
    ///
    /// # Errors
    /// As [`Message::new`].
    pub(super) fn replayed(
        entry: &LogEntry,
        prefix: &Prefix,
        replay: &ReplayId,
    ) -> Result<Self, Unsendable> {
        let mut message = Self::of(entry, prefix)?;
        let id = value(&Replayed { id: entry.event.id, replay }).map_err(malformed)?;
        message.headers.insert(NATS_MESSAGE_ID, id);
        message.headers.insert(REPLAY, value(replay).map_err(malformed)?);
        Ok(message)
    }

    /// What the server counts against its `max_payload`: headers and payload, in bytes.
    pub(super) fn size(&self) -> usize {
        let lines = self.headers.iter().flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            // ": " and the line break.
            values.iter().map(move |value| name.len() + value.as_str().len() + 4)
        });
        // The first line, and the empty one that ends the headers.
        "NATS/1.0\r\n\r\n".len() + lines.sum::<usize>() + self.payload.len()
    }
}

fn malformed(_: ParseHeaderValueError) -> Unsendable {
    Unsendable::Malformed("a header holds a line break".into())
}

fn headers(entry: &LogEntry) -> Result<HeaderMap, ParseHeaderValueError> {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, value(&entry.event.id)?);
    headers.insert(SEQ, value(&entry.seq)?);
    headers.insert(COMMITTED, value(&entry.committed_at)?);
    headers.insert(HOPS, value(&entry.hops)?);
    if let Some(digest) = &entry.digest {
        headers.insert(DIGEST, value(digest)?);
    }
    if let Some(cause) = &entry.caused_by {
        headers.insert(CAUSED_BY, value(cause)?);
    }
    Ok(headers)
}

fn value(of: &impl OneLine) -> Result<HeaderValue, ParseHeaderValueError> {
    of.text().parse()
}

/// What can stand in a header because nothing of its type holds a line break. Text that a sender
/// chose freely, such as an event's message, has no place here.
trait OneLine {
    fn text(&self) -> String;
}

impl OneLine for EventId {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl OneLine for ReplayId {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl OneLine for LogId {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl OneLine for Digest {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl OneLine for Timestamp {
    fn text(&self) -> String {
        self.to_string()
    }
}

/// An event as one replay sends it, which is another message than the first time.
struct Replayed<'a> {
    id: EventId,
    replay: &'a ReplayId,
}

impl OneLine for Replayed<'_> {
    fn text(&self) -> String {
        format!("{}-replay-{}", self.id.text(), self.replay.text())
    }
}

impl OneLine for PluginName {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl OneLine for Seq {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl OneLine for u8 {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl OneLine for Cause {
    fn text(&self) -> String {
        format!("{} {}", self.event_id.text(), self.plugin.text())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Draft, EventType, Timestamp};

    prop_compose! {
        /// Entries from whatever the edge lets in: hostile texts that do not parse are left out.
        fn any_entry()(
            custom in any::<Option<String>>(),
            project in prop_oneof!["[A-Za-z0-9_-]{1,64}", "\\PC{1,8}", any::<String>()],
            session in prop_oneof!["[A-Za-z0-9_.:-]{1,128}", any::<String>()],
            host in prop_oneof!["[a-z0-9.\r\n*> -]{0,12}", any::<String>()],
            plugin in prop_oneof!["[A-Za-z0-9_-]{1,64}", any::<String>(), Just("a\r\nX: y".to_owned())],
            message in any::<String>(),
            kind in any::<prop::sample::Index>(),
            seq in any::<u64>(),
            hops in any::<u8>(),
        ) -> Option<LogEntry> {
            let built_in = kind.get(&EventType::BUILT_IN).clone();
            let kind = custom.map_or(Ok(built_in), |action| format!("custom.{action}").parse());
            let mut draft = Draft::new(kind.ok()?, project.parse().ok()?, session.parse().ok()?);
            draft.message = message.parse().ok();
            draft.data = serde_json::json!({ "host": host }).to_string().parse().ok();
            let digest = draft.digest();
            let event = draft.into_event(Timestamp::now());
            let caused_by = plugin.parse().ok().map(|plugin| Cause { event_id: event.id, plugin });
            let subject = event.subject();
            let entry = LogEntry::new(seq, event, subject, caused_by, hops, None, Timestamp::now());
            Some(entry.with_digest(digest))
        }
    }

    fn origin() -> LogId {
        "0b5c29a8-51d1-4a3e-9e0e-6f0d4e8f2a11".parse().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_entry_yields_a_message_that_means_something_else_on_the_wire(
            entry in any_entry(),
            prefix in prop_oneof!["[A-Za-z0-9_-]{1,64}", any::<String>()],
        ) {
            let (Some(entry), Ok(prefix)) = (entry, prefix.parse::<Prefix>()) else { return Ok(()) };
            let message = Message::new(&entry, &prefix, origin(), entry.seq / 2).unwrap();
            let subject = message.subject.to_string();
            let tokens: Vec<_> = subject.split('.').collect();
            prop_assert_eq!(tokens[0], prefix.as_str());
            prop_assert_eq!(tokens.len(), entry.subject.as_str().split('.').count());
            for token in tokens {
                prop_assert!(!token.is_empty());
                prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
            }
            prop_assert_eq!(message.headers.len(), 7 + usize::from(entry.caused_by.is_some()));
            for (name, values) in message.headers.iter() {
                prop_assert_eq!(values.len(), 1, "{}", name);
                prop_assert!(values[0].as_str().bytes().all(|b| b.is_ascii_graphic() || b == b' '));
            }
            let payload: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            prop_assert_eq!(payload.as_object().unwrap().len(), 8);
        }
    }

    #[test]
    fn a_replay_marks_its_messages_and_takes_them_out_of_the_chain() {
        let draft =
            Draft::new(EventType::CiFailing, "atlas".parse().unwrap(), "s".parse().unwrap());
        let event = draft.into_event(Timestamp::now());
        let (id, subject) = (event.id, event.subject());
        let entry = LogEntry::new(7, event, subject, None, 0, None, Timestamp::now());
        let prefix = Prefix::default();
        let replay: ReplayId = "0123456789ab".parse().unwrap();
        let first = Message::new(&entry, &prefix, origin(), 6).unwrap();
        let mut again = Message::replayed(&entry, &prefix, &replay).unwrap();
        let header = |name: HeaderName| again.headers.get(name).unwrap().as_str().to_owned();
        assert_eq!(header(REPLAY), "0123456789ab");
        assert_eq!(header(NATS_MESSAGE_ID), format!("{id}-replay-0123456789ab"));
        assert_eq!(again.headers.len(), first.headers.len() - 1);
        let id = first.headers.get(NATS_MESSAGE_ID).unwrap().clone();
        again.headers.insert(NATS_MESSAGE_ID, id);
        // It is no link of the chain that a reader checks.
        let chain = [PREVIOUS, ORIGIN];
        for (name, values) in first.headers.iter().filter(|(name, _)| !chain.contains(name)) {
            assert_eq!(again.headers.get(name.clone()), values.first(), "{name}");
        }
        assert_eq!((again.subject, again.payload), (first.subject, first.payload));
    }

    #[test]
    fn the_prefix_replaces_the_first_token_and_nothing_else() {
        let prefix: Prefix = "acme".parse().unwrap();
        for (inside, outside) in [
            ("ennio.ci.atlas.failing", "acme.ci.atlas.failing"),
            ("ennio.lifecycle.all_complete", "acme.lifecycle.all_complete"),
            ("ennio.custom.ennio.ennio", "acme.custom.ennio.ennio"),
        ] {
            let subject = WireSubject::new(&prefix, &inside.parse().unwrap()).unwrap();
            assert_eq!(subject.to_string(), outside);
        }
    }
}
