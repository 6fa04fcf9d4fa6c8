//! An event as a sender gives it: the only place where JSON becomes an event.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{
    Data, Event, EventError, EventId, EventPriority, EventType, Message, ProjectId, Reason,
    SessionId, Timestamp, error::nearest,
};

const FIELDS: [&str; 8] =
    ["id", "event_type", "priority", "session_id", "project_id", "timestamp", "message", "data"];
const ENVELOPE: [&str; 6] =
    ["seq", "caused_by", "hops", "dropped_by", "drop_reason", "committed_at"];

/// What a sender said, validated, with what was left out still open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Minted by the host when left out; then the event can not be recognised as a repetition.
    pub id: Option<EventId>,
    /// What happened.
    pub event_type: EventType,
    /// `info` when left out.
    pub priority: Option<EventPriority>,
    /// The session it is about.
    pub session_id: SessionId,
    /// The project that owns it.
    pub project_id: ProjectId,
    /// The time of admission when left out.
    pub timestamp: Option<Timestamp>,
    /// Empty when left out.
    pub message: Option<Message>,
    /// `null` when left out.
    pub data: Option<Data>,
}

/// The first 16 bytes of a SHA-256 over what the sender said. Two drafts with the same digest say
/// the same; what the host filled in has no part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 16]);

impl Draft {
    /// A draft with all that has no default.
    pub fn new(event_type: EventType, project_id: ProjectId, session_id: SessionId) -> Self {
        Self {
            id: None,
            event_type,
            priority: None,
            session_id,
            project_id,
            timestamp: None,
            message: None,
            data: None,
        }
    }

    /// Reads one JSON object. A member that is `null` counts as left out.
    ///
    /// # Errors
    /// [`EventError`] with the first field that is unknown, missing, given twice or out of its
    /// bounds, and why; its field is `body` when `json` is no JSON object.
    pub fn parse(json: &[u8]) -> Result<Self, EventError> {
        let mut fault = None;
        let mut reader = serde_json::Deserializer::from_slice(json);
        let members = Members { fault: &mut fault }
            .deserialize(&mut reader)
            .and_then(|members| reader.end().map(|()| members));
        match (members, fault) {
            (_, Some(fault)) => Err(fault),
            (Ok(members), None) => members.try_into(),
            (Err(e), None) if e.is_data() => Err(EventError::new(
                "body",
                Reason::WrongType { expected: "a JSON object, one event" },
            )),
            (Err(e), None) => Err(EventError::new("body", Reason::Syntax(e.to_string()))),
        }
    }

    /// What identifies the content as it was sent.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        let mut part = |value: Option<&str>| match value {
            // The length keeps neighbours apart, and tells left out from empty.
            Some(value) => {
                hash.update((value.len() as u64).to_le_bytes());
                hash.update(value.as_bytes());
            }
            None => hash.update(u64::MAX.to_le_bytes()),
        };
        part(Some(self.event_type.as_str()));
        part(self.priority.map(EventPriority::as_str));
        part(Some(self.session_id.as_str()));
        part(Some(self.project_id.as_str()));
        part(self.message.as_ref().map(Message::as_str));
        part(self.data.as_ref().map(Data::as_str));
        hash.update(self.timestamp.map_or(i64::MIN, Timestamp::micros).to_le_bytes());
        let full: [u8; 32] = hash.finalize().into();
        let mut short = [0; 16];
        short.copy_from_slice(full.split_at(16).0);
        Digest(short)
    }

    /// The event, with `now` as its time where the sender gave none.
    pub fn into_event(self, now: Timestamp) -> Event {
        Event {
            id: self.id.unwrap_or_else(EventId::mint),
            event_type: self.event_type,
            priority: self.priority.unwrap_or_default(),
            session_id: self.session_id,
            project_id: self.project_id,
            timestamp: self.timestamp.unwrap_or(now),
            message: self.message.unwrap_or_default(),
            data: self.data.unwrap_or_default(),
        }
    }
}

impl From<Event> for Draft {
    fn from(event: Event) -> Self {
        Self {
            id: Some(event.id),
            event_type: event.event_type,
            priority: Some(event.priority),
            session_id: event.session_id,
            project_id: event.project_id,
            timestamp: Some(event.timestamp),
            message: Some(event.message),
            data: Some(event.data),
        }
    }
}

/// The eight members, each still raw, so that an error can name its field.
#[derive(Default)]
struct Raw<'a>([Option<&'a RawValue>; 8]);

impl<'a> Raw<'a> {
    fn get(&self, field: &'static str) -> Option<&'a RawValue> {
        let at = FIELDS.iter().position(|name| *name == field)?;
        self.0.get(at).copied().flatten().filter(|raw| raw.get() != "null")
    }

    fn text<T: FromStr<Err = Reason>>(&self, field: &'static str) -> Result<Option<T>, EventError> {
        let Some(raw) = self.get(field) else { return Ok(None) };
        let text: Cow<'_, str> = match serde_json::from_str(raw.get()) {
            Ok(Text(text)) => text,
            Err(e) if e.is_data() => {
                return Err(EventError::new(field, Reason::WrongType { expected: "a string" }));
            }
            Err(e) => return Err(EventError::new(field, Reason::Syntax(e.to_string()))),
        };
        text.parse().map(Some).map_err(|reason| EventError::new(field, reason))
    }

    fn required<T: FromStr<Err = Reason>>(&self, field: &'static str) -> Result<T, EventError> {
        self.text(field)?.ok_or_else(|| EventError::new(field, Reason::Missing))
    }
}

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl TryFrom<Raw<'_>> for Draft {
    type Error = EventError;

    fn try_from(raw: Raw<'_>) -> Result<Self, EventError> {
        let data = raw.get("data").map(|data| data.get().parse());
        Ok(Self {
            id: raw.text("id")?,
            event_type: raw.required("event_type")?,
            priority: raw.text("priority")?,
            session_id: raw.required("session_id")?,
            project_id: raw.required("project_id")?,
            timestamp: raw.text("timestamp")?,
            message: raw.text("message")?,
            data: data.transpose().map_err(|reason| EventError::new("data", reason))?,
        })
    }
}

/// Collects the members of one object; what is no member of an event is left in `fault`, since a
/// serde error can only be a text.
struct Members<'f> {
    fault: &'f mut Option<EventError>,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Raw<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Raw<'de>, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Raw<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw<'de>, A::Error> {
        let mut raw = Raw::default();
        while let Some(Text(key)) = map.next_key()? {
            let slot = FIELDS.iter().position(|name| *name == key).and_then(|at| raw.0.get_mut(at));
            let fault = match slot {
                Some(slot) => slot.replace(map.next_value()?).map(|_| Reason::Twice),
                None => {
                    map.next_value::<IgnoredAny>()?;
                    Some(match ENVELOPE.contains(&&*key) {
                        true => Reason::HostOnly,
                        false => Reason::UnknownField(nearest(&key, FIELDS)),
                    })
                }
            };
            if let Some(reason) = fault {
                let field: String = key.chars().take(64).collect();
                *self.fault = Some(EventError::new(field, reason));
                return Err(A::Error::custom("see fault"));
            }
        }
        Ok(raw)
    }
}
