//! What the stream that the host owns shall be.

use std::{str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::Prefix;
use crate::{
    event::{Category, Reason},
    span::Span,
};

/// The stream that the host owns, with the properties that it shall have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamOptions {
    /// Default: the prefix in capitals and `_EVENTS`.
    pub name: Option<StreamName>,
    /// Servers of the cluster that hold it, 1 to 5. Default 1.
    pub replicas: Replicas,
    /// `file` or `memory`. Default `file`.
    pub storage: Storage,
    /// Events that are older are removed from it, not from the log; at least 100 ms. Default: none are.
    #[serde(deserialize_with = "stream_span")]
    pub max_age: Option<Span>,
    /// The oldest events are removed from it when it is larger, in bytes, at least 1. Default: none are.
    #[serde(deserialize_with = "size")]
    pub max_bytes: Option<i64>,
    /// How long the stream recognises an event that is sent again; at least 100 ms, at most `max_age`.
    /// Default two minutes.
    pub duplicate_window: Window,
}

/// A stream's name: 1 to 128 characters of `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct StreamName(String);

/// How many servers hold a stream: 1 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Replicas(pub(super) u8);

/// Where a server keeps a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In memory: gone when its servers end.
    Memory,
}

/// How long a stream remembers ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Window(pub(super) Span);

/// The shortest span that a server takes.
const SHORTEST: Duration = Duration::from_millis(100);

/// What a stream's limit says that has none.
pub(super) const UNLIMITED: i64 = -1;

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            name: None,
            replicas: Replicas(1),
            storage: Storage::File,
            max_age: None,
            max_bytes: None,
            duplicate_window: Window::default(),
        }
    }
}

impl Default for Window {
    fn default() -> Self {
        Self(Span::from(Duration::from_mins(2)))
    }
}

impl StreamOptions {
    /// Says what of this no server takes.
    ///
    /// # Errors
    /// The keys that contradict each other.
    pub fn check(&self) -> Result<(), String> {
        match self.max_age {
            Some(age) if age.get() < self.duplicate_window.0.get() => Err(format!(
                "duplicate_window ({}) is longer than max_age ({age}), which no server takes",
                self.duplicate_window.0
            )),
            _ => Ok(()),
        }
    }

    /// The stream's name.
    pub(super) fn name(&self, prefix: &Prefix) -> String {
        match &self.name {
            Some(name) => name.0.clone(),
            None => format!("{}_EVENTS", prefix.as_str().to_ascii_uppercase()),
        }
    }

    /// What a server is told to make.
    pub(super) fn config(&self, prefix: &Prefix) -> Value {
        json!({
            "name": self.name(prefix),
            "description": format!("Committed events of an Ennio host, under {prefix}"),
            "subjects": subjects(prefix),
            "retention": "limits",
            "discard": "old",
            "storage": self.storage.as_str(),
            "num_replicas": self.replicas.0,
            "max_age": nanos(self.max_age),
            "max_bytes": self.max_bytes.unwrap_or(UNLIMITED),
            "max_msgs": UNLIMITED,
            "max_msgs_per_subject": UNLIMITED,
            "max_msg_size": UNLIMITED,
            "max_consumers": UNLIMITED,
            "duplicate_window": nanos(Some(self.duplicate_window.0)),
            "allow_direct": true,
        })
    }
}

/// Where events go: one subject a category, never those of commands, metrics or the way in.
pub(super) fn subjects(prefix: &Prefix) -> Vec<String> {
    Category::ALL.iter().map(|category| format!("{prefix}.{}.>", category.token())).collect()
}
/// As the server writes it; 0 is none.
pub(super) fn nanos(span: Option<Span>) -> i64 {
    span.map_or(0, |span| i64::try_from(span.get().as_nanos()).unwrap_or(i64::MAX))
}
impl Storage {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
        }
    }
}

impl FromStr for StreamName {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        let allowed = "[A-Za-z0-9_-]";
        let is_allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        match text.chars().find(|c| !is_allowed(c)) {
            Some(found) => Err(Reason::BadCharacter { found, allowed }),
            None if text.is_empty() => Err(Reason::Empty),
            None if text.len() > 128 => {
                Err(Reason::TooLong { limit: 128, found: text.len(), unit: "characters" })
            }
            None => Ok(Self(text.into())),
        }
    }
}

impl TryFrom<String> for StreamName {
    type Error = Reason;

    fn try_from(text: String) -> Result<Self, Reason> {
        text.parse()
    }
}

impl TryFrom<i64> for Replicas {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        match u8::try_from(number) {
            Ok(number @ 1..=5) => Ok(Self(number)),
            _ => Err(format!("{number} replicas: a stream has 1 to 5")),
        }
    }
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        long_enough(text.parse()?).map(Self)
    }
}

fn long_enough(span: Span) -> Result<Span, String> {
    match span.get() < SHORTEST {
        true => Err(format!("{span} is shorter than 100ms, which no server takes")),
        false => Ok(span),
    }
}

fn stream_span<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Span>, D::Error> {
    let span = Span::deserialize(from)?;
    long_enough(span).map(Some).map_err(serde::de::Error::custom)
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let bytes = i64::deserialize(from)?;
    match bytes > 0 {
        true => Ok(Some(bytes)),
        false => Err(serde::de::Error::custom(format!(
            "{bytes} bytes hold no event (leave the key out for no limit)"
        ))),
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    fn options(toml: &str) -> Result<StreamOptions, String> {
        let options: StreamOptions = toml::from_str(toml).map_err(|e| e.message().to_owned())?;
        options.check().map(|()| options)
    }
    #[test]
    fn what_no_server_takes_is_refused_with_the_reason() {
        for (toml, reason) in [
            ("replicas = 0", "0 replicas: a stream has 1 to 5"),
            ("replicas = 6", "6 replicas: a stream has 1 to 5"),
            ("name = \"a.b\"", "'.'"),
            ("name = \"\"", "empty"),
            ("max_age = \"10ms\"", "10ms is shorter than 100ms"),
            ("duplicate_window = \"0s\"", "0s is shorter than 100ms"),
            ("max_bytes = 0", "0 bytes hold no event"),
            ("max_age = \"1m\"", "duplicate_window (2m) is longer than max_age (1m)"),
            ("storage = \"tape\"", "unknown variant `tape`"),
            ("max_msgs = 1", "unknown field `max_msgs`"),
        ] {
            let said = options(toml).expect_err(toml);
            assert!(said.contains(reason), "{toml}: {said}");
        }
    }
}
