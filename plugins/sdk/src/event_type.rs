//! The names of the event types, and where each is published.
//!
//! The set is closed but for `custom.<action>`; the host admits no other name, so a plugin that
//! compares against these constants can not miss one by a typing error.

use serde_json::Value;

use crate::Event;

macro_rules! event_types {
    ($($constant:ident = $name:literal, $category:literal, $action:literal;)+) => {
        $(
            #[doc = concat!("`", $name, "`, published as `", $category, "…", $action, "`.")]
            pub const $constant: &str = $name;
        )+

        /// Name, category and last subject token of every type.
        const TYPES: &[(&str, &str, &str)] = &[$(($name, $category, $action)),+];
    };
}

event_types! {
    SESSION_SPAWNED = "session_spawned", "sessions", "spawned";
    SESSION_WORKING = "session_working", "sessions", "working";
    SESSION_EXITED = "session_exited", "sessions", "exited";
    SESSION_KILLED = "session_killed", "sessions", "killed";
    SESSION_RESTORED = "session_restored", "sessions", "restored";
    SESSION_CLEANED = "session_cleaned", "sessions", "cleaned";
    STATUS_CHANGED = "status_changed", "sessions", "status_changed";
    ACTIVITY_CHANGED = "activity_changed", "sessions", "activity_changed";
    PR_CREATED = "pr_created", "pr", "created";
    PR_UPDATED = "pr_updated", "pr", "updated";
    PR_MERGED = "pr_merged", "pr", "merged";
    PR_CLOSED = "pr_closed", "pr", "closed";
    CI_PASSING = "ci_passing", "ci", "passing";
    CI_FAILING = "ci_failing", "ci", "failing";
    CI_FIX_SENT = "ci_fix_sent", "ci", "fix_sent";
    CI_FIX_FAILED = "ci_fix_failed", "ci", "fix_failed";
    REVIEW_PENDING = "review_pending", "review", "pending";
    REVIEW_APPROVED = "review_approved", "review", "approved";
    REVIEW_CHANGES_REQUESTED = "review_changes_requested", "review", "changes_requested";
    REVIEW_COMMENTS_SENT = "review_comments_sent", "review", "comments_sent";
    MERGE_READY = "merge_ready", "merge", "ready";
    MERGE_CONFLICTS = "merge_conflicts", "merge", "conflicts";
    MERGE_COMPLETED = "merge_completed", "merge", "completed";
    REACTION_TRIGGERED = "reaction_triggered", "reactions", "triggered";
    REACTION_ESCALATED = "reaction_escalated", "reactions", "escalated";
    ALL_COMPLETE = "all_complete", "lifecycle", "all_complete";
    NODE_CONNECTED = "node_connected", "node", "connected";
    NODE_DISCONNECTED = "node_disconnected", "node", "disconnected";
    NODE_LAUNCHED = "node_launched", "node", "launched";
    NODE_HEALTH_CHECK = "node_health_check", "node", "health_check";
}

/// `ennio.<category>.<whom>.<action>`; lifecycle events concern the host as a whole and have no
/// third token.
pub(crate) fn subject(event: &Event) -> String {
    let project = &event.project_id;
    if let Some(action) = event.event_type.strip_prefix("custom.") {
        return format!("ennio.custom.{project}.{action}");
    }
    match TYPES.iter().find(|(name, ..)| *name == event.event_type) {
        Some((_, "lifecycle", action)) => format!("ennio.lifecycle.{action}"),
        Some((_, "node", action)) => match event.data_value().get("host") {
            Some(Value::String(host)) => format!("ennio.node.{host}.{action}"),
            _ => format!("ennio.node.{project}.{action}"),
        },
        Some((_, category, action)) => format!("ennio.{category}.{project}.{action}"),
        None => format!("ennio.custom.{project}.{}", event.event_type),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::event;

    #[test]
    fn a_subject_names_category_project_and_action() {
        let failing = event(CI_FAILING).project("web").build();
        assert_eq!(failing.subject(), "ennio.ci.web.failing");
        let changed = event(ACTIVITY_CHANGED).project("web").build();
        assert_eq!(changed.subject(), "ennio.sessions.web.activity_changed");
        let custom = event("custom.deployed").project("web").build();
        assert_eq!(custom.subject(), "ennio.custom.web.deployed");
    }

    #[test]
    fn a_lifecycle_subject_has_no_project() {
        assert_eq!(event(ALL_COMPLETE).build().subject(), "ennio.lifecycle.all_complete");
    }

    #[test]
    fn a_node_subject_names_the_host_and_else_the_project() {
        let known = event(NODE_CONNECTED).data(json!({"host": "n7"})).build();
        assert_eq!(known.subject(), "ennio.node.n7.connected");
        let unknown = event(NODE_CONNECTED).project("infra").build();
        assert_eq!(unknown.subject(), "ennio.node.infra.connected");
    }
}
