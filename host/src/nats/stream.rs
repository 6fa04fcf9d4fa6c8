//! The stream that the host owns, on the server: made when it is not there, compared with the
//! configuration when it is, never changed. What it holds last says from where to go on.
//!
//! One log writes to it. Each event but the first of a connection is sent with the stream's sequence
//! before it as a condition (`Nats-Expected-Last-Sequence`), so whatever gets lost between a server
//! that ends and one that takes over, no later event is stored without the earlier ones. (The id of the
//! event before it would do as well, but a replica that catches up after a restart forgets the last
//! id, disagrees with the others about the condition, and gives the stream up.)
//!
//! What is sent again is taken up behind the stream's last event, not behind the last acknowledgement
//! that was heard: so a stream has each event once however long the host was cut off, and gets again
//! what a server lost with its disk. That holds where the last event stands for all before it, which
//! is looked at (`Ennio-Previous`): a message of somebody else's takes the place that an event of ours
//! had reckoned with, and lets the next one pass. Then the cursor counts, and the duplicate window; the
//! event that was passed comes late, but it comes. From then on one event is under way at a time, until
//! the others are quiet: a replay, say, of which the stream takes a copy too.
//!
//! Asked in the server's own words, as `coverage` does.

use async_nats::{Client, client::RequestErrorKind};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures::StreamExt as _;
use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;
use tracing::{info, warn};

use super::{
    Prefix, StreamOptions,
    ack::Refusal,
    coverage::{self, Coverage, NOT_ENABLED},
    difference::Found,
    message,
    retry::End,
};
use crate::{
    event::{LogId, Seq},
    store::Place,
};

pub(super) const NOT_FOUND: u64 = 10_059;
const NO_MESSAGE: u64 = 10_037;
const OVERLAP: u64 = 10_065;

/// A cluster, or a stream of one, has no leader at the moment, or not all of its servers are there.
pub(super) const NO_LEADER: [u64; 4] = [10_008, 10_009, 10_118, 10_194];

/// The host's stream, as the session sees it.
pub(super) struct Stream<'a> {
    name: String,
    options: &'a StreamOptions,
    prefix: &'a Prefix,
}

/// Why nothing is sent to the stream.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum StreamError {
    #[error(
        "JetStream is not enabled for the host's account (start the server with `jetstream` in its \
         configuration or with -js, or leave `jetstream` out of [nats])"
    )]
    NotEnabled,
    #[error("stream {stream} is not as [nats.stream] says: {differences}")]
    Differs { stream: String, differences: String },
    #[error(
        "stream {stream} cannot be made: {reason}: {others} (take the subjects of events from it with \
         `nats stream edit`, or delete it, or give this host a `prefix` of its own in [nats])"
    )]
    Overlaps { stream: String, reason: String, others: String },
    #[error(
        "stream {stream} holds events of another log: {found}, up to its event {seq}; this one is \
         {origin} (two hosts need a `prefix` each in [nats]; where this log takes the other's place, \
         `nats stream purge {stream}` empties the stream)"
    )]
    Foreign { stream: String, found: LogId, seq: Seq, origin: LogId },
    #[error(
        "stream {stream} holds events of this log up to {seq}, but the log ends at {head}: the database \
         is an older copy (bring back the newer one; where it is lost, `nats stream purge {stream}` \
         empties the stream)"
    )]
    Ahead { stream: String, seq: Seq, head: Seq },
    #[error("stream {0} is gone")]
    Gone(String),
    #[error("stream {stream}: {reason} (the host's NATS user needs to publish to {subject})")]
    Refused { stream: String, reason: String, subject: String },
    #[error("stream {stream} cannot be asked at the moment: {reason}")]
    Unavailable { stream: String, reason: String },
}

impl From<StreamError> for End {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Gone(_) | StreamError::Unavailable { .. } => {
                Self::Interrupted(error.to_string())
            }
            _ => Self::Held(error.to_string()),
        }
    }
}

/// What the stream holds last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    origin: LogId,
    seq: Seq,
    previous: Seq,
    /// Its own place in the stream.
    at: u64,
}

/// Messages that are asked for at once.
const READ_AT_ONCE: usize = 32;

/// Messages that are looked at, at most. More than this are only unheard of when the host was killed while
/// it published faster than most servers take.
const MOST_READ: usize = 10_000;

#[derive(Deserialize)]
struct Info {
    config: Found,
    #[serde(default)]
    state: State,
}

#[derive(Deserialize, Default)]
struct State {
    #[serde(default)]
    last_seq: u64,
}

#[derive(Deserialize)]
struct Stored {
    message: StoredMessage,
}

#[derive(Deserialize)]
struct StoredMessage {
    seq: u64,
    #[serde(default)]
    hdrs: String,
}

/// Why a question has no answer.
pub(super) enum NoAnswer {
    NoResponders,
    Refusal(Refusal),
    Other(String),
}

impl<'a> Stream<'a> {
    pub(super) fn new(options: &'a StreamOptions, prefix: &'a Prefix) -> Self {
        Self { name: options.name(prefix), options, prefix }
    }

    /// Makes the stream where it is not there, and finds out from where to go on: behind `cursor`,
    /// unless the stream itself says otherwise. `head` is the end of the log `origin`.
    pub(super) async fn open(
        &self,
        client: &Client,
        origin: LogId,
        cursor: Place,
        head: Seq,
    ) -> Result<(Coverage, Place), StreamError> {
        let info = match self.look(client).await {
            Err(StreamError::Gone(_)) => {
                let info = self.make(client).await?;
                self.tell_made(cursor);
                info
            }
            found => found?,
        };
        let end = info.state.last_seq;
        let question = r#"{"last_by_subj":">"}"#.to_owned();
        let Some(last) = self.message(client, question).await? else {
            return Ok((self.coverage(&info), cursor));
        };
        let place = match self.place(&last, end, origin, cursor, head)? {
            ahead
                if ahead.taken > cursor.taken && !self.is_linked(client, &last, cursor).await? =>
            {
                cursor
            }
            place => place,
        };
        Ok((self.coverage(&info), place))
    }

    /// Whether the stream is still there and as it shall be.
    pub(super) async fn check(&self, client: &Client) -> Result<Coverage, StreamError> {
        self.look(client).await.map(|info| self.coverage(&info))
    }

    async fn look(&self, client: &Client) -> Result<Info, StreamError> {
        let subject = format!("$JS.API.STREAM.INFO.{}", self.name);
        match ask::<Info>(client, &subject, String::new()).await {
            Ok(info) => self.as_configured(info),
            Err(NoAnswer::Refusal(refusal)) if refusal.err_code == NOT_FOUND => {
                Err(StreamError::Gone(self.name.clone()))
            }
            Err(other) => Err(self.error(other, subject)),
        }
    }

    fn as_configured(&self, info: Info) -> Result<Info, StreamError> {
        let differences = self.options.differences(self.prefix, &info.config);
        match differences.is_empty() {
            true => Ok(info),
            false => {
                let all: Vec<_> = differences.iter().map(ToString::to_string).collect();
                Err(StreamError::Differs { stream: self.name.clone(), differences: all.join("; ") })
            }
        }
    }

    async fn make(&self, client: &Client) -> Result<Info, StreamError> {
        let subject = format!("$JS.API.STREAM.CREATE.{}", self.name);
        let config = self.options.config(self.prefix).to_string();
        match ask::<Info>(client, &subject, config).await {
            Ok(info) => self.as_configured(info),
            Err(NoAnswer::Refusal(refusal)) if refusal.err_code == OVERLAP => {
                Err(StreamError::Overlaps {
                    stream: self.name.clone(),
                    reason: refusal.to_string(),
                    others: self.others(client).await,
                })
            }
            Err(other) => Err(self.error(other, subject)),
        }
    }

    fn tell_made(&self, cursor: Place) {
        let name = &self.name;
        match cursor.taken {
            0 => info!("made the NATS stream {name}, which was not there"),
            taken => warn!(
                "the NATS stream {name} was not there, though events up to {taken} have been \
                 published: it was made anew, and begins with what comes behind event {}",
                cursor.seq
            ),
        }
    }

    /// The streams that take in events already.
    async fn others(&self, client: &Client) -> String {
        match coverage::ask(client.clone(), self.prefix.clone()).await {
            Ok(others) => others.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// What a message of the stream says of its event; `None` when there is none, or it is not one of a
    /// host's.
    async fn message(&self, client: &Client, which: String) -> Result<Option<Last>, StreamError> {
        let subject = format!("$JS.API.STREAM.MSG.GET.{}", self.name);
        match ask::<Stored>(client, &subject, which).await {
            Ok(stored) => Ok(envelope(&stored.message)),
            Err(NoAnswer::Refusal(refusal)) if refusal.err_code == NO_MESSAGE => Ok(None),
            Err(other) => Err(self.error(other, subject)),
        }
    }

    /// Whether everything between `cursor` and `last` stands in the stream, each behind the other.
    async fn is_linked(
        &self,
        client: &Client,
        last: &Last,
        cursor: Place,
    ) -> Result<bool, StreamError> {
        let mut previous = last.previous;
        let before = (1..last.at).rev().take(MOST_READ);
        let mut before = futures::stream::iter(before)
            .map(|at| self.message(client, format!(r#"{{"seq":{at}}}"#)))
            .buffered(READ_AT_ONCE);
        while previous > cursor.taken {
            match before.next().await.transpose()?.flatten() {
                Some(found) if found.origin == last.origin && found.seq == previous => {
                    previous = found.previous;
                }
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// From where to go on, when `last` stands for all before it. `end` is the stream's last sequence.
    fn place(
        &self,
        last: &Last,
        end: u64,
        origin: LogId,
        cursor: Place,
        head: Seq,
    ) -> Result<Place, StreamError> {
        let (stream, seq) = (self.name.clone(), last.seq);
        if last.origin != origin {
            return Err(StreamError::Foreign { stream, found: last.origin, seq, origin });
        }
        if seq > head {
            return Err(StreamError::Ahead { stream, seq, head });
        }
        // Somebody may have deleted the last ones by hand, who does not want them back.
        let is_lost = seq < cursor.taken && last.at == end;
        if is_lost {
            warn!(
                "the NATS stream {stream} ends with event {seq}, though events up to {} were \
                 acknowledged: its server lost them, and they are published again",
                cursor.taken
            );
        }
        match seq > cursor.taken || is_lost {
            true => Ok(Place { seq, taken: seq }),
            false => Ok(cursor),
        }
    }

    fn coverage(&self, info: &Info) -> Coverage {
        Coverage::of(&self.name, &info.config.subjects)
    }

    fn error(&self, no_answer: NoAnswer, subject: String) -> StreamError {
        let stream = self.name.clone();
        match no_answer {
            NoAnswer::NoResponders => StreamError::NotEnabled,
            NoAnswer::Refusal(refusal) if NOT_ENABLED.contains(&refusal.err_code) => {
                StreamError::NotEnabled
            }
            NoAnswer::Refusal(refusal) if NO_LEADER.contains(&refusal.err_code) => {
                StreamError::Unavailable { stream, reason: refusal.to_string() }
            }
            NoAnswer::Refusal(refusal) => {
                StreamError::Refused { stream, reason: refusal.to_string(), subject }
            }
            NoAnswer::Other(reason) => StreamError::Unavailable { stream, reason },
        }
    }
}

/// What the message says of its event; `None` when it is not one of a host's.
fn envelope(message: &StoredMessage) -> Option<Last> {
    let headers = BASE64.decode(&message.hdrs).ok()?;
    let headers = String::from_utf8(headers).ok()?;
    let header = |name: &async_nats::HeaderName| {
        let name: &str = name.as_ref();
        let lines = headers.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim()).next()
    };
    let origin = header(&message::ORIGIN)?.parse().ok()?;
    let place = |name| header(name)?.parse().ok();
    let (seq, previous) = (place(&message::SEQ)?, place(&message::PREVIOUS)?);
    Some(Last { origin, seq, previous, at: message.seq })
}

/// Asks the server's own interface at `subject`.
pub(super) async fn ask<T: DeserializeOwned>(
    client: &Client,
    subject: &str,
    payload: String,
) -> Result<T, NoAnswer> {
    #[derive(Deserialize)]
    struct Refused {
        error: Refusal,
    }
    let answer = client.request(subject.to_owned(), payload.into()).await;
    let answer = answer.map_err(|e| match e.kind() {
        RequestErrorKind::NoResponders => NoAnswer::NoResponders,
        _ => NoAnswer::Other(format!("{subject}: {e}")),
    })?;
    if let Ok(Refused { error }) = serde_json::from_slice(&answer.payload) {
        return Err(NoAnswer::Refusal(error));
    }
    serde_json::from_slice(&answer.payload)
        .map_err(|e| NoAnswer::Other(format!("{subject}: the answer cannot be read: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "0b5c29a8-51d1-4a3e-9e0e-6f0d4e8f2a11";
    const ANOTHERS: &str = "0b5c29a8-51d1-4a3e-9e0e-6f0d4e8f2a12";

    #[test]
    fn a_stream_says_from_where_to_go_on() {
        let (options, prefix) = (StreamOptions::default(), Prefix::default());
        let stream = Stream::new(&options, &prefix);
        let cursor = Place { seq: 12, taken: 10 };
        let place = |origin: &str, seq, end| {
            let last = Last { origin: origin.parse().unwrap(), seq, previous: seq - 1, at: 30 };
            stream.place(&last, end, OURS.parse().unwrap(), cursor, 20)
        };
        assert_eq!(place(OURS, 10, 30), Ok(cursor), "what lies between is hidden");
        assert_eq!(place(OURS, 15, 30), Ok(Place { seq: 15, taken: 15 }), "unheard of, but there");
        assert_eq!(place(OURS, 7, 30), Ok(Place { seq: 7, taken: 7 }), "lost with a disk");
        assert_eq!(place(OURS, 7, 33), Ok(cursor), "deleted by hand");
        assert!(matches!(place(OURS, 21, 30), Err(StreamError::Ahead { seq: 21, head: 20, .. })));
        assert!(matches!(place(ANOTHERS, 7, 30), Err(StreamError::Foreign { seq: 7, .. })));
    }

    #[test]
    fn a_message_of_somebody_else_says_nothing() {
        let read =
            |headers: &str| envelope(&StoredMessage { seq: 5, hdrs: BASE64.encode(headers) });
        let ours = format!(
            "NATS/1.0\r\nEnnio-Seq: 7\r\nEnnio-Previous: 4\r\nEnnio-Origin: {OURS}\r\n\r\n"
        );
        let origin = OURS.parse().unwrap();
        assert_eq!(read(&ours), Some(Last { origin, seq: 7, previous: 4, at: 5 }));
        for other in ["", "NATS/1.0\r\nEnnio-Seq: 7\r\n\r\n", "NATS/1.0\r\nEnnio-Origin: x\r\n\r\n"]
        {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(envelope(&StoredMessage { seq: 5, hdrs: "%".into() }), None);
    }
}
