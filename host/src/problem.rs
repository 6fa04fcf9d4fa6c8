//! Errors as RFC 9457 problem documents: the same answer over HTTP and over NATS. One exhaustive match
//! an error type.
//!
//! Knows what can go wrong on the way in and in the log. May not know who asks, or how the answer gets
//! there.

use serde::Serialize;

use crate::{
    event::{EventError, EventId, Seq},
    pipeline::PublishError,
    store::StoreError,
};

/// An error on its way to become an answer. Boxed, so that what succeeds does not pay for it.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Problem(pub(crate) Box<Document>);

/// The document of RFC 9457. `field` names the member of an event that is at fault, `parameter`
/// the query parameter, `step` where loading a plugin stopped.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Document {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) title: &'static str,
    pub(crate) status: u16,
    pub(crate) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<Seq>,
}

impl Problem {
    /// `status` as in HTTP.
    pub(crate) fn of(
        status: u16,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let detail = detail.into();
        let (field, parameter, step, id, seq) = (None, None, None, None, None);
        Self(Box::new(Document { kind, title, status, detail, field, parameter, step, id, seq }))
    }

    /// What is wrong, and the way out.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }
}

impl From<EventError> for Problem {
    fn from(e: EventError) -> Self {
        let mut problem =
            Self::of(400, "urn:ennio:problem:invalid-event", "invalid event", e.to_string());
        problem.0.field = Some(e.field);
        problem
    }
}

impl From<PublishError> for Problem {
    fn from(e: PublishError) -> Self {
        let detail = e.to_string();
        match e {
            PublishError::Conflict { id, seq } => {
                let kind = "urn:ennio:problem:conflict";
                let mut problem = Self::of(409, kind, "id is taken", detail);
                problem.0.id = Some(id);
                problem.0.seq = Some(seq);
                problem
            }
            PublishError::Held { .. } => {
                Self::of(503, "urn:ennio:problem:held", "held back by a plugin", detail)
            }
            PublishError::Store(e) => e.into(),
            PublishError::Barred(_) => {
                Self::of(409, "urn:ennio:problem:follower", "this host takes no events", detail)
            }
            PublishError::Closed => {
                Self::of(503, "urn:ennio:problem:closing", "shutting down", detail)
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Self {
        let detail = e.to_string();
        let (status, kind, title) = match e {
            StoreError::Full(_) => (507, "urn:ennio:problem:full", "no space, nothing was stored"),
            StoreError::Stale => (503, "urn:ennio:problem:stale", "not stored, send it again"),
            StoreError::Failed(_) | StoreError::Closed => {
                (503, "urn:ennio:problem:store-unavailable", "the log is not available")
            }
            StoreError::TooSlow { .. } => {
                (503, "urn:ennio:problem:too-slow", "the query took too long")
            }
            StoreError::TooManyGroups { .. } => {
                (400, "urn:ennio:problem:too-many-groups", "there is too much to count")
            }
            StoreError::Refused(_) | StoreError::Read(_) => {
                (500, "urn:ennio:problem:store", "the log failed")
            }
        };
        Self::of(status, kind, title, detail)
    }
}
