//! The closed set of event types, and the categories that decide their subjects.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::{
    error::{Reason, excerpt, nearest},
    ids::{TOKEN, check, is_token_byte},
};

/// What part of the fleet an event is about. Decides the shape of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// `ennio.sessions.{project_id}.{action}`
    Sessions,
    /// `ennio.pr.{project_id}.{action}`
    Pr,
    /// `ennio.ci.{project_id}.{action}`
    Ci,
    /// `ennio.review.{project_id}.{action}`
    Review,
    /// `ennio.merge.{project_id}.{action}`
    Merge,
    /// `ennio.reactions.{project_id}.{action}`
    Reactions,
    /// `ennio.lifecycle.{action}`
    Lifecycle,
    /// `ennio.node.{host}.{action}`; host is `data.host`, else the project.
    Node,
    /// `ennio.custom.{project_id}.{action}`
    Custom,
}

impl Category {
    /// All nine.
    pub const ALL: [Self; 9] = [
        Self::Sessions,
        Self::Pr,
        Self::Ci,
        Self::Review,
        Self::Merge,
        Self::Reactions,
        Self::Lifecycle,
        Self::Node,
        Self::Custom,
    ];

    /// The second token of the subject.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Pr => "pr",
            Self::Ci => "ci",
            Self::Review => "review",
            Self::Merge => "merge",
            Self::Reactions => "reactions",
            Self::Lifecycle => "lifecycle",
            Self::Node => "node",
            Self::Custom => "custom",
        }
    }
}

macro_rules! event_types {
    ($($(#[$doc:meta])* $variant:ident $name:literal $category:ident $action:literal;)*) => {
        /// What happened. The JSON names are `snake_case` (`ci_failing`); the names written here
        /// (`CiFailing`) are read as well. A team's own types are `custom.<action>`.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum EventType {
            $($(#[$doc])* $variant,)*
            /// `custom.<action>`: what a team's own plugins and tools emit.
            Custom(CustomAction),
        }

        impl EventType {
            /// The thirty types of the closed set, in the order of the subject table.
            pub const BUILT_IN: [Self; 30] = [$(Self::$variant),*];

            const NAMES: [&'static str; 30] = [$($name),*];

            /// Which part of the fleet it is about.
            pub fn category(&self) -> Category {
                match self {
                    $(Self::$variant => Category::$category,)*
                    Self::Custom(_) => Category::Custom,
                }
            }

            /// The last token of the subject: `failing` for `ci_failing`.
            pub fn action(&self) -> &str {
                match self {
                    $(Self::$variant => $action,)*
                    Self::Custom(action) => action.token(),
                }
            }

            /// The JSON name.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Custom(action) => &action.0,
                }
            }
        }

        impl FromStr for EventType {
            type Err = Reason;

            fn from_str(text: &str) -> Result<Self, Reason> {
                match text {
                    $($name | stringify!($variant) => Ok(Self::$variant),)*
                    _ => CustomAction::from_type_name(text).map(Self::Custom),
                }
            }
        }
    };
}

event_types! {
    /// A session started.
    SessionSpawned "session_spawned" Sessions "spawned";
    /// A session is at work.
    SessionWorking "session_working" Sessions "working";
    /// A session ended by itself.
    SessionExited "session_exited" Sessions "exited";
    /// A session was ended by somebody.
    SessionKilled "session_killed" Sessions "killed";
    /// An ended session was taken up again.
    SessionRestored "session_restored" Sessions "restored";
    /// What an ended session left behind was removed.
    SessionCleaned "session_cleaned" Sessions "cleaned";
    /// A session's status changed.
    StatusChanged "status_changed" Sessions "status_changed";
    /// What a session is doing changed.
    ActivityChanged "activity_changed" Sessions "activity_changed";
    /// A pull request was opened.
    PrCreated "pr_created" Pr "created";
    /// A pull request got new commits or another text.
    PrUpdated "pr_updated" Pr "updated";
    /// A pull request was merged.
    PrMerged "pr_merged" Pr "merged";
    /// A pull request was closed without merging.
    PrClosed "pr_closed" Pr "closed";
    /// All checks pass.
    CiPassing "ci_passing" Ci "passing";
    /// A check fails.
    CiFailing "ci_failing" Ci "failing";
    /// The failure was sent to an agent to fix.
    CiFixSent "ci_fix_sent" Ci "fix_sent";
    /// The fix did not help.
    CiFixFailed "ci_fix_failed" Ci "fix_failed";
    /// A review was asked for.
    ReviewPending "review_pending" Review "pending";
    /// A reviewer approved.
    ReviewApproved "review_approved" Review "approved";
    /// A reviewer wants changes.
    ReviewChangesRequested "review_changes_requested" Review "changes_requested";
    /// Review comments were sent to an agent.
    ReviewCommentsSent "review_comments_sent" Review "comments_sent";
    /// A pull request can be merged.
    MergeReady "merge_ready" Merge "ready";
    /// A pull request conflicts with its base.
    MergeConflicts "merge_conflicts" Merge "conflicts";
    /// A merge was completed.
    MergeCompleted "merge_completed" Merge "completed";
    /// A reaction acted.
    ReactionTriggered "reaction_triggered" Reactions "triggered";
    /// What a reaction waited for did not come in time.
    ReactionEscalated "reaction_escalated" Reactions "escalated";
    /// Everything is done.
    AllComplete "all_complete" Lifecycle "all_complete";
    /// A node joined.
    NodeConnected "node_connected" Node "connected";
    /// A node left.
    NodeDisconnected "node_disconnected" Node "disconnected";
    /// A node was started.
    NodeLaunched "node_launched" Node "launched";
    /// A node tells how it is.
    NodeHealthCheck "node_health_check" Node "health_check";
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

const CUSTOM_PREFIX: &str = "custom.";

/// The full name of a team's own type, `custom.<action>`; the action is a subject token of 1 to 64
/// characters of `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CustomAction(Box<str>);

impl CustomAction {
    fn from_type_name(text: &str) -> Result<Self, Reason> {
        let Some(action) = text.strip_prefix(CUSTOM_PREFIX) else {
            return Err(Reason::UnknownName {
                found: excerpt(text),
                what: "event type",
                nearest: nearest(text, EventType::NAMES),
            });
        };
        check(action, 64, TOKEN, is_token_byte)?;
        Ok(Self(text.into()))
    }

    fn token(&self) -> &str {
        self.0.strip_prefix(CUSTOM_PREFIX).unwrap_or(&self.0)
    }
}
