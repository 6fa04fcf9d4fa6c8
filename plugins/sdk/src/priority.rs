use std::fmt;

use serde::{Deserialize, Serialize};

/// How much attention an event wants. Ordered: `Info` is the least.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
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

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Priority::Info => "info",
            Priority::Action => "action",
            Priority::Urgent => "urgent",
            Priority::Critical => "critical",
        })
    }
}
