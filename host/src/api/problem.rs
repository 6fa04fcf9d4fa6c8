//! Errors as RFC 9457 problem documents. One exhaustive match an error type.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    event::{EventError, EventId, Seq},
    pipeline::PublishError,
    store::StoreError,
};

/// An error on its way to become an answer. Boxed, so that what succeeds does not pay for it.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(super) struct Problem(Box<Document>);

/// The document of RFC 9457. `field` names the member of an event that is at fault, `parameter`
/// the query parameter, `step` where loading a plugin stopped.
#[derive(Debug, Clone, Serialize)]
struct Document {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let detail = detail.into();
        let status = status.as_u16();
        let (field, parameter, step, id, seq) = (None, None, None, None, None);
        Self(Box::new(Document { kind, title, status, detail, field, parameter, step, id, seq }))
    }

    pub(super) fn not_loaded(step: String, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "urn:ennio:problem:not-loaded",
            "the plugin was not loaded",
            detail,
        );
        problem.0.step = Some(step);
        problem
    }

    pub(super) fn parameter(name: &str, detail: impl std::fmt::Display) -> Self {
        let mut problem = Self::new(
            StatusCode::BAD_REQUEST,
            "urn:ennio:problem:invalid-parameter",
            "invalid query parameter",
            format!("{name}: {detail}"),
        );
        problem.0.parameter = Some(name.to_owned());
        problem
    }

    pub(super) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "urn:ennio:problem:too-large", "too large", detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "urn:ennio:problem:not-found", "not found", detail)
    }

    pub(super) fn too_late(limit: Duration) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "urn:ennio:problem:too-late",
            "the body did not come",
            format!("nothing came for {} s; whole lines before that were taken", limit.as_secs()),
        )
    }

    pub(super) fn unreadable_body(detail: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "urn:ennio:problem:unreadable-body",
            "the body cannot be read",
            detail.to_string(),
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let content = (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let mut response = (status, [content], body).into_response();
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<EventError> for Problem {
    fn from(e: EventError) -> Self {
        let mut problem = Self::new(
            StatusCode::BAD_REQUEST,
            "urn:ennio:problem:invalid-event",
            "invalid event",
            e.to_string(),
        );
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
                let mut problem = Self::new(StatusCode::CONFLICT, kind, "id is taken", detail);
                problem.0.id = Some(id);
                problem.0.seq = Some(seq);
                problem
            }
            PublishError::Held { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:ennio:problem:held",
                "held back by a plugin",
                detail,
            ),
            PublishError::Store(e) => e.into(),
            PublishError::Barred(_) => Self::new(
                StatusCode::CONFLICT,
                "urn:ennio:problem:follower",
                "this host takes no events",
                detail,
            ),
            PublishError::Closed => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:ennio:problem:closing",
                "shutting down",
                detail,
            ),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Self {
        let detail = e.to_string();
        let (status, kind, title) = match e {
            StoreError::Full(_) => (
                StatusCode::INSUFFICIENT_STORAGE,
                "urn:ennio:problem:full",
                "no space, nothing was stored",
            ),
            StoreError::Stale => (
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:ennio:problem:stale",
                "not stored, send it again",
            ),
            StoreError::Failed(_) | StoreError::Closed => (
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:ennio:problem:store-unavailable",
                "the log is not available",
            ),
            StoreError::TooSlow { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:ennio:problem:too-slow",
                "the query took too long",
            ),
            StoreError::TooManyGroups { .. } => (
                StatusCode::BAD_REQUEST,
                "urn:ennio:problem:too-many-groups",
                "there is too much to count",
            ),
            StoreError::Refused(_) | StoreError::Read(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "urn:ennio:problem:store", "the log failed")
            }
        };
        Self::new(status, kind, title, detail)
    }
}

pub(super) async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!(
        "no such path: {} (there are /v1/events, /v1/events/stats, /v1/events/stream, \
         /v1/events/{{id}}, /v1/events/{{id}}/trace, /v1/plugins, /v1/plugins/{{name}}/state, \
         /v1/plugins/{{name}}/{{command}}, /v1/dead-letters, /v1/dead-letters/{{id}}, /v1/status, \
         /healthz, /readyz and /metrics)",
        uri.path()
    ))
}

pub(super) async fn method_not_allowed(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "urn:ennio:problem:method",
        "method not allowed",
        format!("{} does not take this method", uri.path()),
    )
}
