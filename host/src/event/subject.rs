//! Where an event is published: dot-separated tokens of `[A-Za-z0-9_-]`.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    Category, Data, EventType, ProjectId,
    error::Reason,
    ids::{TOKEN, check, is_token_byte},
};

/// The first token of every subject inside the host. The NATS room alone may write another one on
/// the wire, so patterns in sidecars, queries and code hold on every host.
pub const ROOT: &str = "ennio";

/// A subject without wildcards. Only this module makes one, and only from parsed parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Subject(Box<str>);

impl Subject {
    /// The subject of an event of these parts, after the table of categories.
    ///
    /// A node event is named for `data.host`; where that is missing or no subject token (a host
    /// name with dots), for the project.
    pub fn of(event_type: &EventType, project: &ProjectId, data: &Data) -> Self {
        let category = event_type.category();
        let action = event_type.action();
        let owner = match category {
            Category::Lifecycle => {
                return Self([ROOT, category.token(), action].join(".").into());
            }
            Category::Node => {
                data.host().filter(|host| check(host, 64, TOKEN, is_token_byte).is_ok())
            }
            _ => None,
        };
        let owner = owner.as_deref().unwrap_or(project.as_str());
        Self([ROOT, category.token(), owner, action].join(".").into())
    }

    /// The whole subject.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Subject {
    type Err = Reason;

    /// Reads a subject back from where the host stored it.
    fn from_str(text: &str) -> Result<Self, Reason> {
        for token in text.split('.') {
            check(token, 64, TOKEN, is_token_byte)?;
        }
        Ok(Self(text.into()))
    }
}
