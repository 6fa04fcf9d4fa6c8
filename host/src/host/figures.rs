//! The host's figures, as they are at the moment when somebody asks: for Prometheus, and as JSON for
//! NATS.

use std::sync::atomic::Ordering;

use futures::future::{BoxFuture, FutureExt as _};
use serde_json::{Map, Value};

use super::operator::Operator;
use crate::{
    metrics::{Metrics, OutcomeLabels, PluginLabels, RuleLabels, SinkLabels, SpaceLabels},
    nats::{Figures, FollowState, FollowStatus, MirrorState, MirrorStatus, NatsState, NatsStatus},
    plugin::PluginState,
    retention::RetentionStatus,
};

impl Operator {
    /// Every figure.
    pub(super) async fn measure(&self) -> Metrics {
        let metrics = self.metrics.for_scrape();
        let head = self.bus.head();
        metrics.bus_subscribers.set(self.bus.subscribers() as i64);
        metrics.bus_lagged.inner().store(self.bus.lagged(), Ordering::Relaxed);
        // A plugin that was unloaded leaves no figure behind, and a counter begins anew with a version,
        // as counters do with a process.
        for plugin in self.plugins().await {
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
        for (plugin, backlog) in self.store.reader().backlogs().await.unwrap_or_default() {
            let labels = PluginLabels { plugin };
            metrics.reaction_waiting.get_or_create(&labels).set(backlog.waiting as i64);
            metrics.dead_letters.get_or_create(&labels).set(backlog.dead_letters as i64);
            metrics.unresolved.get_or_create(&labels).set(backlog.unresolved as i64);
        }
        for (sink, position) in self.cursors() {
            let lag = head.saturating_sub(position) as i64;
            metrics.lag.get_or_create(&SinkLabels { sink }).set(lag);
        }
        if let Some(nats) = self.nats.as_ref().map(NatsStatus::snapshot) {
            let connected = matches!(nats.state, NatsState::Publishing | NatsState::Held);
            metrics.nats_connected.set(connected.into());
            metrics.nats_held.set((nats.state == NatsState::Held).into());
            metrics.nats_published.set(nats.sent as i64);
            metrics.nats_skipped.set(nats.skipped as i64);
        }
        if let Some(mirror) = self.mirror.as_ref().map(MirrorStatus::snapshot) {
            metrics.mirror_following.set((mirror.state == MirrorState::Following).into());
            metrics.mirror_refused.set(mirror.refused.len() as i64);
        }
        if let Some(now) = self.follow.as_ref().map(FollowStatus::snapshot) {
            metrics.following.set((now.state == FollowState::Following).into());
            metrics.follow_lag.set(now.lag as i64);
            metrics.follow_taken.set(now.taken as i64);
            metrics.follow_gaps.set(now.gap_count as i64);
        }
        for (sink, missed) in self.bus.overtaken() {
            metrics.overtaken.get_or_create(&SinkLabels { sink }).inc_by(missed.events);
        }
        if let Some(retention) = self.retention.as_ref().map(RetentionStatus::snapshot) {
            for (rule, count) in retention.pruned {
                metrics.pruned.get_or_create(&RuleLabels { rule }).inc_by(count);
            }
            let held = retention.held.map_or(0, |held| held.until.saturating_sub(held.at));
            metrics.retention_held.set(held as i64);
            for (space, bytes) in [("used", retention.used_bytes), ("free", retention.free_bytes)] {
                metrics.log_bytes.get_or_create(&SpaceLabels { space }).set(bytes as i64);
            }
        }
        if let Some(ingest) = &self.ingest {
            for (outcome, count) in ingest.snapshot().counts.named() {
                metrics.ingested.get_or_create(&OutcomeLabels { outcome }).inc_by(count);
            }
        }
        let refused = self.store.reader().refused_count().await.unwrap_or_default();
        metrics.refused.set(refused.kept as i64);
        metrics
    }
}

impl Figures for Operator {
    fn figures(&self) -> BoxFuture<'_, Result<Map<String, Value>, String>> {
        async {
            let status = self.status().await.map_err(|e| e.to_string())?;
            let text = self.measure().await.text().map_err(|e| e.to_string())?;
            let mut all = Map::new();
            all.insert("status".into(), status);
            all.insert("figures".into(), Value::Object(as_json(&text)));
            Ok(all)
        }
        .boxed()
    }
}

/// Prometheus's text by the names that it uses, with their labels: one number each. The buckets of
/// histograms are left out, their sums and counts are not.
fn as_json(text: &str) -> Map<String, Value> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let figures = samples.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        let whole = || value.parse::<i64>().ok().map(Value::from);
        let value = whole().or_else(|| value.parse::<f64>().ok().map(Value::from))?;
        (!name.contains("_bucket{")).then(|| (name.to_owned(), value))
    });
    figures.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::EventType;

    #[test]
    fn every_figure_of_the_scrape_has_its_name_and_its_number() {
        let metrics = Metrics::default();
        metrics.events("accepted", [&EventType::CiFailing, &EventType::CiFailing].into_iter());
        metrics.head.set(2);
        metrics.commit_seconds.observe(0.25);
        let figures = as_json(&metrics.text().unwrap());
        let accepted = "ennio_events_total{stage=\"accepted\",event_type=\"ci_failing\"}";
        assert_eq!(figures[accepted], 2);
        assert_eq!(figures["ennio_log_head"], 2);
        assert_eq!(figures["ennio_commit_seconds_sum"], json!(0.25));
        assert!(figures.keys().all(|name| !name.contains("bucket")));
    }
}
