//! An event as a sender gives it: the only place where JSON becomes an event.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
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

impl fmt::Display for Digest {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Digest {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        let wrong = Reason::WrongType { expected: "32 hexadecimal digits" };
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| wrong)?;
        Ok(Self(number.to_be_bytes()))
    }
}

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

    /// Reads one JSON object, in one pass. A member that is `null` counts as left out.
    ///
    /// # Errors
    /// [`EventError`] with the first field that is unknown, given twice, out of its bounds or, at
    /// the end, missing, and why; its field is `body` when `json` is no JSON object.
    pub fn parse(json: &[u8]) -> Result<Self, EventError> {
        Self::read(json)?.try_into()
    }

    /// Reads one JSON object that came in at a place for the events of `project`, which need not say
    /// so themselves.
    ///
    /// # Errors
    /// Those of [`Draft::parse`], and `project_id` where it names another project.
    pub fn parse_for(json: &[u8], project: &ProjectId) -> Result<Self, EventError> {
        let mut members = Self::read(json)?;
        match &members.project_id {
            Some(found) if found != project => {
                let (found, expected) = (found.to_string(), project.to_string());
                return Err(EventError::new(
                    "project_id",
                    Reason::OtherProject { found, expected },
                ));
            }
            Some(_) => {}
            None => members.project_id = Some(project.clone()),
        }
        members.try_into()
    }

    fn read(json: &[u8]) -> Result<Members, EventError> {
        let mut place = Place::Body;
        let mut reader = serde_json::Deserializer::from_slice(json);
        let members = Reader { place: &mut place }
            .deserialize(&mut reader)
            .and_then(|members| reader.end().map(|()| members));
        match (members, place) {
            (Ok(members), _) => Ok(members),
            (Err(_), Place::Fault(fault)) => Err(fault),
            (Err(e), Place::Field(field)) if e.is_data() => {
                Err(EventError::new(field, Reason::WrongType { expected: "a string" }))
            }
            (Err(e), Place::Field(field)) if e.is_syntax() => {
                Err(EventError::new(field, Reason::Syntax(e.to_string())))
            }
            (Err(e), Place::Body) if e.is_data() => Err(EventError::new(
                "body",
                Reason::WrongType { expected: "a JSON object, one event" },
            )),
            (Err(e), _) => Err(EventError::new("body", Reason::Syntax(e.to_string()))),
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

/// What an object said of the eight members.
#[derive(Default)]
struct Members {
    id: Option<EventId>,
    event_type: Option<EventType>,
    priority: Option<EventPriority>,
    session_id: Option<SessionId>,
    project_id: Option<ProjectId>,
    timestamp: Option<Timestamp>,
    message: Option<Message>,
    data: Option<Data>,
}

impl TryFrom<Members> for Draft {
    type Error = EventError;

    fn try_from(members: Members) -> Result<Self, EventError> {
        let missing = |field| move || EventError::new(field, Reason::Missing);
        Ok(Self {
            id: members.id,
            event_type: members.event_type.ok_or_else(missing("event_type"))?,
            priority: members.priority,
            session_id: members.session_id.ok_or_else(missing("session_id"))?,
            project_id: members.project_id.ok_or_else(missing("project_id"))?,
            timestamp: members.timestamp,
            message: members.message,
            data: members.data,
        })
    }
}

/// Where reading has come to, since a serde error cannot name a field.
enum Place {
    /// Between the members.
    Body,
    /// In the value of this member.
    Field(&'static str),
    /// This is wrong, and reading ended.
    Fault(EventError),
}

struct Reader<'p> {
    place: &'p mut Place,
}

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Reader<'_> {
    fn fault<E: serde::de::Error>(&mut self, field: &str, reason: Reason) -> E {
        let field: String = field.chars().take(64).collect();
        *self.place = Place::Fault(EventError::new(field, reason));
        E::custom("see the place")
    }

    /// The next value, which has to be a string or `null`.
    fn text<'de, T, A>(&mut self, field: &'static str, map: &mut A) -> Result<Option<T>, A::Error>
    where
        T: FromStr<Err = Reason>,
        A: MapAccess<'de>,
    {
        let Some(Text(text)) = map.next_value()? else { return Ok(None) };
        text.parse().map(Some).map_err(|reason| self.fault(field, reason))
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Members;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Members, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::default();
        let mut seen = [false; FIELDS.len()];
        while let Some(Text(key)) = map.next_key()? {
            let at = FIELDS.iter().position(|name| *name == key);
            let Some((field, seen)) = at.and_then(|at| FIELDS.get(at).zip(seen.get_mut(at))) else {
                map.next_value::<IgnoredAny>()?;
                return Err(match ENVELOPE.contains(&&*key) {
                    true => self.fault(&key, Reason::HostOnly),
                    false => self.fault(&key, Reason::UnknownField(nearest(&key, FIELDS))),
                });
            };
            if std::mem::replace(seen, true) {
                return Err(self.fault(field, Reason::Twice));
            }
            *self.place = Place::Field(field);
            match *field {
                "id" => members.id = self.text(field, &mut map)?,
                "event_type" => members.event_type = self.text(field, &mut map)?,
                "priority" => members.priority = self.text(field, &mut map)?,
                "session_id" => members.session_id = self.text(field, &mut map)?,
                "project_id" => members.project_id = self.text(field, &mut map)?,
                "timestamp" => members.timestamp = self.text(field, &mut map)?,
                "message" => members.message = self.text(field, &mut map)?,
                // Read as text, not as a value: it stays as it was sent.
                _ => {
                    let data = map.next_value::<Option<&RawValue>>()?.map(|raw| raw.get().parse());
                    members.data = data.transpose().map_err(|reason| self.fault(field, reason))?;
                }
            }
            *self.place = Place::Body;
        }
        Ok(members)
    }
}
