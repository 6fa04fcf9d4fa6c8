//! Problem documents as answers over HTTP, and those that only HTTP has.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

pub(super) use crate::problem::Problem;

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self::of(status.as_u16(), kind, title, detail)
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

pub(super) async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!(
        "no such path: {} (there are /v1/events, /v1/events/stats, /v1/events/stream, \
         /v1/events/{{id}}, /v1/events/{{id}}/trace, /v1/plugins, /v1/plugins/{{name}}/state, \
         /v1/plugins/{{name}}/{{command}}, /v1/dead-letters, /v1/dead-letters/{{id}}, \
         /v1/dead-letters/refused, /v1/dead-letters/refused/{{id}}, /v1/dashboard, /v1/status, /healthz, /readyz and /metrics)",
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
