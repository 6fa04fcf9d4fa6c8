//! The one language in which somebody chooses events: NATS's own subject patterns.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use super::{
    Subject,
    error::Reason,
    ids::{TOKEN, check, is_token_byte},
};

/// The longest pattern, in bytes.
const MAX_BYTES: usize = 512;

/// A subject pattern: tokens of `[A-Za-z0-9_-]`, `*` for exactly one token, and `>`, as the last
/// token only, for one or more. At most 512 bytes. Matches exactly what a NATS server matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubjectPattern(Box<str>);

impl SubjectPattern {
    /// `ennio.>`: every event.
    pub fn everything() -> Self {
        Self("ennio.>".into())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `subject` is chosen.
    pub fn matches(&self, subject: &Subject) -> bool {
        let mut tokens = subject.as_str().split('.');
        for wanted in self.0.split('.') {
            match (wanted, tokens.next()) {
                (">", found) => return found.is_some(),
                ("*", Some(_)) => {}
                (literal, Some(token)) if literal == token => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }

    /// The part before the first wildcard, which every chosen subject starts with. Ends in a dot
    /// or is the whole pattern.
    pub fn literal_prefix(&self) -> &str {
        match self.0.find(['*', '>']) {
            Some(at) => self.0.get(..at).unwrap_or_default(),
            None => &self.0,
        }
    }
}

/// Why a text is not a subject pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "subject pattern {pattern:?}: token {position} {reason} \
     (write tokens like ennio.ci.*.failing; `*` is one token, `>` the rest)"
)]
pub struct PatternError {
    /// The pattern, cut to 512 characters.
    pub pattern: String,
    /// Which token is at fault, from 1.
    pub position: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl FromStr for SubjectPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let error = |position, reason: String| PatternError {
            pattern: text.chars().take(MAX_BYTES).collect(),
            position,
            reason,
        };
        if text.len() > MAX_BYTES {
            return Err(error(1, format!("is part of more than {MAX_BYTES} bytes")));
        }
        let last = text.split('.').count();
        for (position, token) in (1..).zip(text.split('.')) {
            match token {
                "*" => {}
                ">" if position == last => {}
                ">" => {
                    return Err(error(position, "is `>`, which only the last token may be".into()));
                }
                token => check(token, MAX_BYTES, TOKEN, is_token_byte).map_err(|reason| {
                    let reason = match reason {
                        Reason::Empty => "is empty".to_owned(),
                        other => other.to_string(),
                    };
                    error(position, reason)
                })?,
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for SubjectPattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SubjectPattern {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
