//! What the host tells of itself: plugins, status, signs of life, metrics.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::plugin::PluginStatus;

use super::{Api, problem::Problem};

#[derive(Serialize)]
pub(super) struct Plugins {
    plugins: Vec<PluginStatus>,
}

pub(super) async fn plugins(State(api): State<Api>) -> axum::Json<Plugins> {
    axum::Json(Plugins { plugins: api.host.plugins().await })
}

pub(super) async fn status(
    State(api): State<Api>,
) -> Result<axum::Json<serde_json::Value>, Problem> {
    Ok(axum::Json(api.host.status().await?))
}

/// The process lives.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The log can be read, so events can be taken and asked for. How the way in over NATS is doing is no
/// reason to send requests elsewhere, but said.
pub(super) async fn readyz(State(api): State<Api>) -> Result<String, Problem> {
    api.host.log().cursor("readyz").await?;
    let ingest = api.host.ingest().map(|ingest| ingest.snapshot().state.as_str());
    Ok(match ingest {
        Some(state) => format!("ready\nNATS ingest: {state}\n"),
        None => "ready\n".into(),
    })
}

pub(super) async fn metrics(State(api): State<Api>) -> Response {
    match api.host.measure().await.text() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(e) => Problem::unreadable_body(e).into_response(),
    }
}
