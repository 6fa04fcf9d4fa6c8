//! What the host tells of itself: plugins, status, signs of life, metrics.

use std::sync::atomic::Ordering;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    metrics::{PluginLabels, RuleLabels, SinkLabels, SpaceLabels},
    nats::{CURSOR, NatsState, NatsStatus},
    plugin::{PluginState, PluginStatus},
    retention::RetentionStatus,
};

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
/// host is ready without it: what waits for it waits in the log.
pub(super) async fn readyz(State(api): State<Api>) -> Result<String, Problem> {
    api.host.log().cursor("readyz").await?;
    let nats = api.host.nats().map(NatsStatus::snapshot).map(|nats| {
        let lag = api.host.bus().head().saturating_sub(nats.cursor);
        format!("nats {}, {lag} events behind\n", nats.state.as_str())
    });
    Ok(format!("ready\n{}", nats.unwrap_or_default()))
}

pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let host = &api.host;
    let metrics = host.metrics().for_scrape();
    let head = host.bus().head();
    metrics.bus_subscribers.set(host.bus().subscribers() as i64);
    metrics.bus_lagged.inner().store(host.bus().lagged(), Ordering::Relaxed);
    // A plugin that was unloaded leaves no figure behind, and a counter begins anew with a version,
    // as counters do with a process.
    for plugin in host.plugins().await {
        let labels = PluginLabels { plugin: plugin.name };
        metrics.plugin_calls.get_or_create(&labels).inc_by(plugin.calls);
        metrics.plugin_events.get_or_create(&labels).inc_by(plugin.events);
        metrics.plugin_failures.get_or_create(&labels).inc_by(plugin.failures);
        metrics.plugin_denials.get_or_create(&labels).inc_by(plugin.denials);
        metrics.plugin_seconds.get_or_create(&labels).inc_by(plugin.time_seconds);
        metrics.plugin_memory.get_or_create(&labels).set(plugin.memory_bytes as i64);
        metrics.plugin_loads.get_or_create(&labels).inc_by(plugin.loads);
        metrics.plugin_rollbacks.get_or_create(&labels).inc_by(plugin.rollbacks);
        let disabled = plugin.state == PluginState::Disabled;
        metrics.plugin_disabled.get_or_create(&labels).set(disabled.into());
        let quarantined = plugin.state == PluginState::Quarantined;
        metrics.plugin_quarantined.get_or_create(&labels).set(quarantined.into());
    }
    // Of plugins that are not loaded too: nobody else would remember them.
    for (plugin, backlog) in host.log().backlogs().await.unwrap_or_default() {
        let labels = PluginLabels { plugin };
        metrics.reaction_waiting.get_or_create(&labels).set(backlog.waiting as i64);
        metrics.dead_letters.get_or_create(&labels).set(backlog.dead_letters as i64);
        metrics.unresolved.get_or_create(&labels).set(backlog.unresolved as i64);
    }
    for (plugin, position) in host.reactions() {
        let labels = SinkLabels { sink: format!("reaction/{plugin}") };
        metrics.lag.get_or_create(&labels).set(head.saturating_sub(position) as i64);
    }
    if let Some(nats) = host.nats().map(NatsStatus::snapshot) {
        let connected = matches!(nats.state, NatsState::Publishing | NatsState::Held);
        metrics.nats_connected.set(connected.into());
        metrics.nats_held.set((nats.state == NatsState::Held).into());
        metrics.nats_published.set(nats.sent as i64);
        metrics.nats_skipped.set(nats.skipped as i64);
        let labels = SinkLabels { sink: CURSOR.to_owned() };
        metrics.lag.get_or_create(&labels).set(head.saturating_sub(nats.cursor) as i64);
    }
    for (sink, missed) in host.bus().overtaken() {
        metrics.overtaken.get_or_create(&SinkLabels { sink }).inc_by(missed.events);
    }
    if let Some(retention) = host.retention().map(RetentionStatus::snapshot) {
        for (rule, count) in retention.pruned {
            metrics.pruned.get_or_create(&RuleLabels { rule }).inc_by(count);
        }
        let held = retention.held.map_or(0, |held| held.until.saturating_sub(held.at));
        metrics.retention_held.set(held as i64);
        for (space, bytes) in [("used", retention.used_bytes), ("free", retention.free_bytes)] {
            metrics.log_bytes.get_or_create(&SpaceLabels { space }).set(bytes as i64);
        }
    }
    match metrics.text() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(e) => Problem::unreadable_body(e).into_response(),
    }
}
