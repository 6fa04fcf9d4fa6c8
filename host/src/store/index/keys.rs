//! What an event can be found by.

use crate::event::{LogEntry, Seq};

/// One way to find events: each event has at most one value in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Dimension {
    Type = 0,
    /// The second token of the subject.
    Category = 1,
    Project = 2,
    Session = 3,
    /// The third token of the subject, where it has four: the project, or a node's host.
    Owner = 4,
    Priority = 5,
    /// Has the one value `dropped` for what a filter hid.
    Dropped = 6,
}

impl Dimension {
    pub(super) const ALL: [Self; 7] = [
        Self::Type,
        Self::Category,
        Self::Project,
        Self::Session,
        Self::Owner,
        Self::Priority,
        Self::Dropped,
    ];
}

/// The one value of [`Dimension::Dropped`].
pub(super) const DROPPED: &str = "dropped";

/// An event, as far as the index knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys<'a> {
    pub(super) seq: Seq,
    pub(super) event_type: &'a str,
    pub(super) priority: &'a str,
    pub(super) session: &'a str,
    pub(super) project: &'a str,
    pub(super) subject: &'a str,
    /// Microseconds since 1970.
    pub(super) timestamp: i64,
    pub(super) dropped: bool,
}

impl<'a> Keys<'a> {
    pub(super) fn of(entry: &'a LogEntry) -> Self {
        let event = &entry.event;
        Self {
            seq: entry.seq,
            event_type: event.event_type.as_str(),
            priority: event.priority.as_str(),
            session: event.session_id.as_str(),
            project: event.project_id.as_str(),
            subject: entry.subject.as_str(),
            timestamp: event.timestamp.micros(),
            dropped: entry.dropped.is_some(),
        }
    }

    /// Its value in each dimension that it has one in.
    pub(super) fn values(&self) -> impl Iterator<Item = (Dimension, &'a str)> {
        let mut tokens = self.subject.split('.').skip(1);
        let category = tokens.next();
        let owner = tokens.next().filter(|_| tokens.next().is_some());
        [
            (Dimension::Type, Some(self.event_type)),
            (Dimension::Category, category),
            (Dimension::Project, Some(self.project)),
            (Dimension::Session, Some(self.session)),
            (Dimension::Owner, owner),
            (Dimension::Priority, Some(self.priority)),
            (Dimension::Dropped, self.dropped.then_some(DROPPED)),
        ]
        .into_iter()
        .filter_map(|(dimension, value)| Some((dimension, value?)))
    }
}
