//! Names that events carry. Each is a bounded string of a fixed alphabet, so none can break out of
//! a subject, a header, a log line or a file name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Timestamp,
    error::{Reason, excerpt},
};

/// The unique identifier of an event: a UUID, 36 characters, lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct EventId(Uuid);

/// The name space of ids that derive from messages.
const OF_MESSAGES: Uuid = Uuid::from_u128(0x9d1c_4f5e_0a63_5b27_8e41_d2b7_6c90_3f18);

impl EventId {
    /// A new UUIDv7, which sorts by the time of its making.
    pub fn mint() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of the `index`th event that `plugin` emits in reaction to `cause`. The same three
    /// always give the same id, so a reaction that runs again emits nothing new.
    pub fn of_reaction(cause: EventId, plugin: &PluginName, index: usize) -> Self {
        Self(Uuid::new_v5(&cause.0, format!("{plugin}/{index}").as_bytes()))
    }

    /// The id of the event that tells that `plugin` has reacted to `cause`; always the same.
    pub fn of_triggered(cause: EventId, plugin: &PluginName) -> Self {
        Self(Uuid::new_v5(&cause.0, format!("{plugin}/triggered").as_bytes()))
    }

    /// The id of the event that tells, for the `times`th time, that nothing has resolved what `plugin`
    /// did about `cause`; always the same.
    pub fn of_escalated(cause: EventId, plugin: &PluginName, times: u32) -> Self {
        Self(Uuid::new_v5(&cause.0, format!("{plugin}/escalated/{times}").as_bytes()))
    }

    /// The id of an event that came without one as the `sequence`th message of a stream, which is
    /// named so that no other one, nor the same made anew, is named the same; always the same id.
    pub fn of_message(stream: &str, sequence: u64) -> Self {
        Self(Uuid::new_v5(&OF_MESSAGES, format!("{stream}/{sequence}").as_bytes()))
    }

    /// Whether it was minted by a clock, so that ids sort by the time of their making: a UUIDv7.
    pub fn is_by_the_clock(&self) -> bool {
        self.0.get_version_num() == 7
    }

    /// A bound: no UUIDv7 minted at `time` or later is less. Times before 1970 count as 1970.
    pub fn least_at(time: Timestamp) -> Self {
        let millis = u128::try_from(time.micros() / 1000).unwrap_or_default();
        Self(Uuid::from_u128(millis << 80))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for EventId {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        uuid(text).map(Self)
    }
}

/// Who a log is to readers elsewhere: a random UUID, made with the database and kept in it, so that
/// readers notice when another log, or one that began anew, takes the place of the one they know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct LogId(Uuid);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for LogId {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        uuid(text).map(Self)
    }
}

/// A UUID in the one spelling that is read.
fn uuid(text: &str) -> Result<Uuid, Reason> {
    let expected = "a UUID of 36 characters";
    // `Uuid` also reads braces, URNs and plain hex; an id has one spelling only.
    if text.len() != 36 {
        let detail = format!("found {:?}", excerpt(text));
        return Err(Reason::Format { expected, detail });
    }
    Uuid::try_parse(text).map_err(|e| Reason::Format { expected, detail: e.to_string() })
}

/// `[A-Za-z0-9_-]`: what a token of a subject may hold.
pub(super) const TOKEN: &str = "[A-Za-z0-9_-]";

pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Checks `text` against a byte class and a length.
pub(super) fn check(
    text: &str,
    limit: usize,
    allowed: &'static str,
    is_allowed: fn(u8) -> bool,
) -> Result<(), Reason> {
    if text.is_empty() {
        return Err(Reason::Empty);
    }
    if let Some(found) = text.chars().find(|c| !c.is_ascii() || !is_allowed(*c as u8)) {
        return Err(Reason::BadCharacter { found, allowed });
    }
    if text.len() > limit {
        return Err(Reason::TooLong { limit, found: text.len(), unit: "characters" });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $limit:literal, $allowed:expr, $is_allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// The longest allowed, in characters.
            pub const MAX: usize = $limit;

            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Reason;

            fn from_str(text: &str) -> Result<Self, Reason> {
                check(text, $limit, $allowed, $is_allowed)?;
                Ok(Self(text.into()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The session an event is about: 1 to 128 characters of `[A-Za-z0-9_.:-]`.
    SessionId, 128, "[A-Za-z0-9_.:-]", |b| is_token_byte(b) || matches!(b, b'.' | b':')
}
name! {
    /// The project that owns an event; a subject token of 1 to 64 characters of `[A-Za-z0-9_-]`.
    ProjectId, 64, TOKEN, is_token_byte
}
name! {
    /// The name of a host among others; a subject token of 1 to 64 characters of `[A-Za-z0-9_-]`.
    NodeName, 64, TOKEN, is_token_byte
}
name! {
    /// A plugin's name, the stem of its file; 1 to 64 characters of `[A-Za-z0-9_-]`.
    PluginName, 64, TOKEN, is_token_byte
}
