//! Why something is not an event: always the field, the reason, and where there is one the way out.

use std::fmt;

use thiserror::Error;

/// A field that cannot be part of an event, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {reason}")]
pub struct EventError {
    /// The field's JSON name; `body` when the text as a whole is at fault.
    pub field: String,
    /// What is wrong with it.
    pub reason: Reason,
}

impl EventError {
    /// An error about `field`.
    pub fn new(field: impl Into<String>, reason: Reason) -> Self {
        Self { field: field.into(), reason }
    }
}

/// What is wrong with one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A field without a default was left out.
    Missing,
    /// The same field stands twice in one object.
    Twice,
    /// No such field; the nearest one that exists, if any is near.
    UnknownField(Option<&'static str>),
    /// Part of the envelope, which the host alone sets.
    HostOnly,
    /// Another JSON type than the field has.
    WrongType {
        /// What the field is: "a string".
        expected: &'static str,
    },
    /// Longer than its bound.
    TooLong {
        /// The bound, in `unit`.
        limit: usize,
        /// What was given, in `unit`.
        found: usize,
        /// "characters" or "bytes".
        unit: &'static str,
    },
    /// Nothing where at least one character is needed.
    Empty,
    /// A character outside of the allowed set.
    BadCharacter {
        /// The first such character.
        found: char,
        /// The set, as a character class.
        allowed: &'static str,
    },
    /// Nested deeper than this many levels.
    TooDeep {
        /// Levels of arrays and objects.
        limit: usize,
    },
    /// Not one of a closed set; the nearest member, if any is near.
    UnknownName {
        /// What was given, cut to 64 characters.
        found: String,
        /// What the set is: "event type".
        what: &'static str,
        /// The nearest member.
        nearest: Option<&'static str>,
    },
    /// Not written as the field's format wants it.
    Format {
        /// The format: "a UUID".
        expected: &'static str,
        /// What was found instead.
        detail: String,
    },
    /// Another project than the place where it came in is for.
    OtherProject {
        /// What the event says.
        found: String,
        /// The project of the place.
        expected: String,
    },
    /// Not JSON at all.
    Syntax(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing (every event needs it)"),
            Self::Twice => f.write_str("given twice"),
            Self::UnknownField(Some(nearest)) => {
                write!(f, "no such field (did you mean `{nearest}`?)")
            }
            Self::UnknownField(None) => f.write_str(
                "no such field (an event has id, event_type, priority, session_id, project_id, \
                 timestamp, message and data; what is your own belongs into data)",
            ),
            Self::HostOnly => f.write_str("set by the host, never by a sender (leave it out)"),
            Self::WrongType { expected } => write!(f, "must be {expected}"),
            Self::TooLong { limit, found, unit } => {
                write!(f, "too long: {found} {unit}, at most {limit} are allowed")
            }
            Self::Empty => f.write_str("must not be empty"),
            Self::BadCharacter { found, allowed } => {
                write!(f, "holds {found:?}, only {allowed} is allowed")
            }
            Self::TooDeep { limit } => write!(f, "nested deeper than {limit} levels"),
            Self::UnknownName { found, what, nearest } => {
                write!(f, "unknown {what} {found:?}")?;
                match nearest {
                    Some(nearest) => write!(f, " (did you mean `{nearest}`?)"),
                    None => Ok(()),
                }
            }
            Self::Format { expected, detail } => write!(f, "must be {expected}: {detail}"),
            Self::OtherProject { found, expected } => write!(
                f,
                "is {found:?}, but the subject that it came on is for {expected:?} (send it to its own \
                 project's subject, or leave project_id out)"
            ),
            Self::Syntax(detail) => write!(f, "not valid JSON: {detail}"),
        }
    }
}

impl std::error::Error for Reason {}

/// The member of `names` that `found` was most likely meant to be.
pub(super) fn nearest(
    found: &str,
    names: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(found, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// At most 64 characters of what was found, for an error text.
pub(super) fn excerpt(found: &str) -> String {
    found.chars().take(64).collect()
}
