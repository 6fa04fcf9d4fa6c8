//! Which events somebody wants: one meaning for the bus, the store, REST, SSE and the CLI.

use super::{
    DataCondition, EventPriority, EventType, LogEntry, ProjectId, SessionId, SubjectPattern,
    TextSearch, Timestamp,
};

/// A choice of events. Empty lists and `None` choose everything; what is given must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Any of these types.
    pub types: Vec<EventType>,
    /// Any of these subject patterns.
    pub patterns: Vec<SubjectPattern>,
    /// Owned by this project.
    pub project: Option<ProjectId>,
    /// About this session.
    pub session: Option<SessionId>,
    /// At least this priority.
    pub min_priority: EventPriority,
    /// Happened at this time or later.
    pub since: Option<Timestamp>,
    /// Happened before this time.
    pub until: Option<Timestamp>,
    /// Has these values in its data, all of them.
    pub data: Vec<DataCondition>,
    /// Has these words in its message.
    pub text: Option<TextSearch>,
    /// Also events that a filter hid.
    pub include_dropped: bool,
}

impl Selection {
    /// Every event that no filter hid.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Only this project's.
    pub fn project(mut self, project: ProjectId) -> Self {
        self.project = Some(project);
        self
    }

    /// Only events of this priority or above.
    pub fn min_priority(mut self, least: EventPriority) -> Self {
        self.min_priority = least;
        self
    }

    /// Whether `entry` is chosen.
    pub fn matches(&self, entry: &LogEntry) -> bool {
        let event = &entry.event;
        (self.include_dropped || entry.dropped.is_none())
            && event.priority >= self.min_priority
            && (self.types.is_empty() || self.types.contains(&event.event_type))
            && self.project.as_ref().is_none_or(|project| *project == event.project_id)
            && self.session.as_ref().is_none_or(|session| *session == event.session_id)
            && self.since.is_none_or(|since| event.timestamp >= since)
            && self.until.is_none_or(|until| event.timestamp < until)
            && (self.patterns.is_empty() || self.patterns.iter().any(|p| p.matches(&entry.subject)))
            && self.content_matches(event.message.as_str(), event.data.as_str())
    }

    /// Whether what only the event itself can tell is as wanted. Free where nothing of it is asked.
    pub(crate) fn content_matches(&self, message: &str, data: &str) -> bool {
        self.text.as_ref().is_none_or(|text| text.matches(message))
            && self.data.iter().all(|condition| condition.matches_raw(data))
    }
}

impl From<EventType> for Selection {
    fn from(event_type: EventType) -> Self {
        Self { types: vec![event_type], ..Self::default() }
    }
}

impl From<SubjectPattern> for Selection {
    fn from(pattern: SubjectPattern) -> Self {
        Self { patterns: vec![pattern], ..Self::default() }
    }
}
