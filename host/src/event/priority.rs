//! How much attention an event wants.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::error::{Reason, excerpt, nearest};

/// How much attention an event wants; ordered, [`Info`](Self::Info) is the least.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum EventPriority {
    /// Status updates, completions.
    #[default]
    Info,
    /// Something needs attention.
    Action,
    /// Immediate human attention.
    Urgent,
    /// A system-level failure.
    Critical,
}

impl EventPriority {
    /// All four, least first.
    pub const ALL: [Self; 4] = [Self::Info, Self::Action, Self::Urgent, Self::Critical];

    /// The next one; the greatest has none, and stays.
    pub const fn raised(self) -> Self {
        match self {
            Self::Info => Self::Action,
            Self::Action => Self::Urgent,
            Self::Urgent | Self::Critical => Self::Critical,
        }
    }

    /// The JSON name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Action => "action",
            Self::Urgent => "urgent",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for EventPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EventPriority {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        Self::ALL.into_iter().find(|p| p.as_str() == text).ok_or_else(|| Reason::UnknownName {
            found: excerpt(text),
            what: "priority",
            nearest: nearest(text, Self::ALL.map(Self::as_str)),
        })
    }
}
