//! What the host tells of itself: plugins, status, signs of life, metrics.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::nats::{FollowState, FollowStatus, NatsStatus};
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

/// The log can be read, so events can be taken and asked for. How NATS is doing is told as well, but a
/// host is ready without it: what waits for it waits in the log. So is a follower, whatever it misses.
pub(super) async fn readyz(State(api): State<Api>) -> Result<String, Problem> {
    api.host.log().cursor("readyz").await?;
    let nats = api.host.nats().map(NatsStatus::snapshot).map(|nats| {
        let lag = api.host.bus().head().saturating_sub(nats.cursor);
        format!("nats {}, {lag} events behind\n", nats.state.as_str())
    });
    let follow = api.host.follow().map(FollowStatus::snapshot).map(|now| {
        let (state, lag, gaps) = (now.state.as_str(), now.lag, now.gaps_in_words());
        let trouble = match (now.state, now.last_error) {
            (FollowState::Following, _) | (_, None) => String::new(),
            (_, Some((_, error))) => format!(": {error}"),
        };
        format!("follow {state}, {lag} messages behind, {gaps}{trouble}\n")
    });
    let ingest = api.host.ingest().map(|ingest| ingest.snapshot().state.as_str());
    let ingest = ingest.map(|state| format!("ingest {state}\n"));
    Ok(["ready\n".into()].into_iter().chain(nats).chain(ingest).chain(follow).collect())
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
