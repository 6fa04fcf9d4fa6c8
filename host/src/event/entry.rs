//! An event, and an event with its place in the log.

use std::{borrow::Cow, str::FromStr, sync::OnceLock};

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use serde_json::value::RawValue;

use super::{
    Data, Digest, EventError, EventId, EventPriority, EventType, Message, PluginName, ProjectId,
    Reason, SessionId, Subject, Timestamp,
};

/// A place in the log: gap-free, from 1, in the order of commits.
pub type Seq = u64;

/// The longest chain of reactions. What a reaction emits to an event of this many hops is refused.
pub const MAX_HOPS: u8 = 16;

/// The most that one reaction to one event may want done: events and commands together.
pub const MAX_ACTIONS: usize = 32;

/// One event with all of its eight fields. Serialises to the JSON that NATS carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Unique identifier.
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// How much attention it wants.
    pub priority: EventPriority,
    /// The session it is about.
    pub session_id: SessionId,
    /// The project that owns it.
    pub project_id: ProjectId,
    /// When it happened.
    pub timestamp: Timestamp,
    /// For people.
    pub message: Message,
    /// Structured payload.
    pub data: Data,
}

impl Event {
    /// Where it is published.
    pub fn subject(&self) -> Subject {
        Subject::of(&self.event_type, &self.project_id, &self.data)
    }
}

/// Why an event exists: `plugin` reacted to `event_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The event that was reacted to.
    pub event_id: EventId,
    /// Who reacted.
    pub plugin: PluginName,
}

/// Why an event is hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The plugin that dropped it.
    pub by: PluginName,
    /// The plugin's words, at most 1 024 bytes.
    pub reason: String,
}

/// A committed event and its envelope, which the host alone sets. Serialises to the JSON of API
/// answers: the eight fields and the envelope.
#[derive(Debug)]
pub struct LogEntry {
    /// Its place in the log.
    pub seq: Seq,
    /// The event, as the plugins left it.
    pub event: Event,
    /// Where it is published.
    pub subject: Subject,
    /// Set when a reaction emitted it.
    pub caused_by: Option<Cause>,
    /// Reactions between this event and one that came from outside.
    pub hops: u8,
    /// Set when a filter hid it.
    pub dropped: Option<Dropped>,
    /// When the host committed it.
    pub committed_at: Timestamp,
    /// Of the content as it was sent; `None` for an entry that is of no log.
    pub digest: Option<Digest>,
    json: OnceLock<Box<str>>,
}

impl LogEntry {
    /// Puts an event into its envelope.
    pub fn new(
        seq: Seq,
        event: Event,
        subject: Subject,
        caused_by: Option<Cause>,
        hops: u8,
        dropped: Option<Dropped>,
        committed_at: Timestamp,
    ) -> Self {
        let (digest, json) = (None, OnceLock::new());
        Self { seq, event, subject, caused_by, hops, dropped, committed_at, digest, json }
    }

    /// With the digest of the content as it was sent.
    pub fn with_digest(self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self }
    }

    /// The JSON of API answers, on one line; made once and shared by all who send it.
    pub fn json(&self) -> &str {
        // Neither a map with odd keys nor a failing writer is involved, so this cannot fail.
        self.json.get_or_init(|| serde_json::to_string(self).unwrap_or_default().into())
    }

    /// Reads back what [`LogEntry::json`] wrote, here or on another host. Members that this version
    /// does not know are passed over. Where it is published follows from the event.
    ///
    /// # Errors
    /// [`EventError`] with the first field that no host could have written; its field is `body` when
    /// `json` is no such object.
    pub fn parse(json: &str) -> Result<Self, EventError> {
        let written: Written<'_> = serde_json::from_str(json)
            .map_err(|e| EventError::new("body", Reason::Syntax(e.to_string())))?;
        let dropped = match written.dropped_by {
            Some(by) => Some(Dropped {
                by: field("dropped_by", &by)?,
                reason: written.drop_reason.unwrap_or_default().into_owned(),
            }),
            None => None,
        };
        let caused_by = match written.caused_by {
            Some(cause) => Some(Cause {
                event_id: field("caused_by", &cause.event_id)?,
                plugin: field("caused_by", &cause.plugin)?,
            }),
            None => None,
        };
        let event = Event {
            id: field("id", &written.id)?,
            event_type: field("event_type", &written.event_type)?,
            priority: field("priority", &written.priority)?,
            session_id: field("session_id", &written.session_id)?,
            project_id: field("project_id", &written.project_id)?,
            timestamp: field("timestamp", &written.timestamp)?,
            message: field("message", &written.message)?,
            data: field("data", written.data.get())?,
        };
        let committed_at = field("committed_at", &written.committed_at)?;
        let subject = event.subject();
        Ok(Self::new(written.seq, event, subject, caused_by, written.hops, dropped, committed_at))
    }
}

/// An entry's JSON, its values not looked at yet.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    priority: Cow<'a, str>,
    #[serde(borrow)]
    session_id: Cow<'a, str>,
    #[serde(borrow)]
    project_id: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
    seq: Seq,
    #[serde(borrow)]
    caused_by: Option<WrittenCause<'a>>,
    hops: u8,
    #[serde(borrow)]
    dropped_by: Option<Cow<'a, str>>,
    #[serde(borrow)]
    drop_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    committed_at: Cow<'a, str>,
}

#[derive(Deserialize)]
struct WrittenCause<'a> {
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    plugin: Cow<'a, str>,
}

fn field<T: FromStr<Err = Reason>>(name: &str, text: &str) -> Result<T, EventError> {
    text.parse().map_err(|reason| EventError::new(name, reason))
}

impl Serialize for LogEntry {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let event = &self.event;
        let mut object = to.serialize_struct("LogEntry", 14)?;
        object.serialize_field("id", &event.id)?;
        object.serialize_field("event_type", &event.event_type)?;
        object.serialize_field("priority", &event.priority)?;
        object.serialize_field("session_id", &event.session_id)?;
        object.serialize_field("project_id", &event.project_id)?;
        object.serialize_field("timestamp", &event.timestamp)?;
        object.serialize_field("message", &event.message)?;
        object.serialize_field("data", &event.data)?;
        object.serialize_field("seq", &self.seq)?;
        object.serialize_field("caused_by", &self.caused_by)?;
        object.serialize_field("hops", &self.hops)?;
        object.serialize_field("dropped_by", &self.dropped.as_ref().map(|d| &d.by))?;
        object.serialize_field("drop_reason", &self.dropped.as_ref().map(|d| &d.reason))?;
        object.serialize_field("committed_at", &self.committed_at)?;
        object.end()
    }
}
