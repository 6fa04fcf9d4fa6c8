//! The host's own figures, in Prometheus's terms. A leaf: whoever does something counts it here,
//! and the API prints it.

use std::{collections::BTreeMap, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::event::EventType;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EventLabels {
    /// `accepted`, `dropped`, `duplicate`, `conflict`, `held`.
    pub stage: &'static str,
    /// The event's type.
    pub event_type: String,
}

/// One plugin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PluginLabels {
    /// Its name.
    pub plugin: String,
}

/// One subscriber of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SinkLabels {
    /// The cursor's name.
    pub sink: String,
}

/// A part of the log's main file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SpaceLabels {
    /// `used` or `free`.
    pub space: &'static str,
}

/// One limit of retention.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RuleLabels {
    /// The rule's name, or `max_age`, `max_events`, `max_size`.
    pub rule: String,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// `accepted`, `duplicate`, `refused`, `deferred`; `redelivered` counts some of these again.
    pub outcome: &'static str,
}

/// All figures of one host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Events by what became of them and their type.
    pub events: Family<EventLabels, Counter>,
    /// Events in one batch handed to the writer.
    pub batch_events: Histogram,
    /// From the begin of a transaction to the flush, in seconds.
    pub commit_seconds: Histogram,
    /// The last place in the log.
    pub head: Gauge,
    /// How many events lie between a sink's cursor and the head.
    pub lag: Family<SinkLabels, Gauge>,
    /// Events deleted, by what said so.
    pub pruned: Family<RuleLabels, Counter>,
    /// Places between the cursor that retention waits for and how far it would go; 0 while it waits
    /// for none.
    pub retention_held: Gauge,
    /// Bytes of the log's main file, with and without something in them.
    pub log_bytes: Family<SpaceLabels, Gauge>,
    /// Events that were deleted before a cursor came to them.
    pub overtaken: Family<SinkLabels, Counter>,
    /// Live SSE streams.
    pub streams: Gauge,
    /// Subscribers of the bus: streams, reactions, NATS, embedding code.
    pub bus_subscribers: Gauge,
    /// Times that a subscriber fell behind the broadcast and read from the log instead.
    pub bus_lagged: Counter,
    /// Calls into a guest.
    pub plugin_calls: Family<PluginLabels, Counter>,
    /// Events in those calls.
    pub plugin_events: Family<PluginLabels, Counter>,
    /// Calls and events that failed.
    pub plugin_failures: Family<PluginLabels, Counter>,
    /// Requests for what was not granted.
    pub plugin_denials: Family<PluginLabels, Counter>,
    /// Time in the guest, in seconds.
    pub plugin_seconds: Family<PluginLabels, Counter<f64, AtomicU64>>,
    /// An instance's memory, in bytes.
    pub plugin_memory: Family<PluginLabels, Gauge>,
    /// Whether it keeps failing and is left alone, 0 or 1.
    pub plugin_quarantined: Family<PluginLabels, Gauge>,
    /// Versions loaded.
    pub plugin_loads: Family<PluginLabels, Counter>,
    /// Times that the version before took over again.
    pub plugin_rollbacks: Family<PluginLabels, Counter>,
    /// Whether an operator has taken it out of the flow, 0 or 1.
    pub plugin_disabled: Family<PluginLabels, Gauge>,
    /// Events that a reaction comes back to.
    pub reaction_waiting: Family<PluginLabels, Gauge>,
    /// Events that a reaction gave up on.
    pub dead_letters: Family<PluginLabels, Gauge>,
    /// Events that reactions acted on, and that wait to be resolved.
    pub unresolved: Family<PluginLabels, Gauge>,
    /// Whether the stream of another host is read, 0 or 1.
    pub following: Gauge,
    /// Messages that this stream has and that were not read.
    pub follow_lag: Gauge,
    /// Events taken from it since the start.
    pub follow_taken: Gauge,
    /// How often events were missing from it, ever.
    pub follow_gaps: Gauge,
    /// Whether the NATS connection stands, 0 or 1.
    pub nats_connected: Gauge,
    /// Whether it stands, but the server or a stream refuses something, 0 or 1.
    pub nats_held: Gauge,
    /// Events handed to the NATS server since the host started, repetitions included.
    pub nats_published: Gauge,
    /// Events that were too large for the NATS server since the host started.
    pub nats_skipped: Gauge,
    /// 1 while the plugin folder follows its bucket.
    pub mirror_following: Gauge,
    /// Objects of the bucket that are not taken.
    pub mirror_refused: Gauge,
    /// Messages that came in over NATS.
    pub ingested: Family<OutcomeLabels, Counter>,
    /// Refused messages that are kept.
    pub refused: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            events: Family::default(),
            batch_events: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: Histogram::new(exponential_buckets(0.0001, 2.0, 16)),
            head: Gauge::default(),
            lag: Family::default(),
            pruned: Family::default(),
            retention_held: Gauge::default(),
            log_bytes: Family::default(),
            overtaken: Family::default(),
            streams: Gauge::default(),
            bus_subscribers: Gauge::default(),
            bus_lagged: Counter::default(),
            plugin_calls: Family::default(),
            plugin_events: Family::default(),
            plugin_failures: Family::default(),
            plugin_denials: Family::default(),
            plugin_seconds: Family::default(),
            plugin_memory: Family::default(),
            plugin_quarantined: Family::default(),
            plugin_loads: Family::default(),
            plugin_rollbacks: Family::default(),
            plugin_disabled: Family::default(),
            reaction_waiting: Family::default(),
            dead_letters: Family::default(),
            unresolved: Family::default(),
            following: Gauge::default(),
            follow_lag: Gauge::default(),
            follow_taken: Gauge::default(),
            follow_gaps: Gauge::default(),
            nats_connected: Gauge::default(),
            nats_held: Gauge::default(),
            nats_published: Gauge::default(),
            nats_skipped: Gauge::default(),
            mirror_following: Gauge::default(),
            mirror_refused: Gauge::default(),
            ingested: Family::default(),
            refused: Gauge::default(),
        }
    }
}

impl Metrics {
    /// The same figures, but those of plugins and sinks empty: each scrape fills in what runs at that
    /// moment, and two scrapes at once must not fill in each other's.
    pub fn for_scrape(&self) -> Self {
        Self {
            lag: Family::default(),
            pruned: Family::default(),
            overtaken: Family::default(),
            plugin_calls: Family::default(),
            plugin_events: Family::default(),
            plugin_failures: Family::default(),
            plugin_denials: Family::default(),
            plugin_seconds: Family::default(),
            plugin_memory: Family::default(),
            plugin_loads: Family::default(),
            plugin_rollbacks: Family::default(),
            plugin_disabled: Family::default(),
            plugin_quarantined: Family::default(),
            reaction_waiting: Family::default(),
            dead_letters: Family::default(),
            unresolved: Family::default(),
            ingested: Family::default(),
            ..self.clone()
        }
    }

    /// Counts events of these types, all at the same stage.
    pub fn events<'a>(&self, stage: &'static str, types: impl Iterator<Item = &'a EventType>) {
        // A batch has few types, and a label costs more than a number.
        let mut counts = BTreeMap::<&str, u64>::new();
        types.for_each(|event_type| *counts.entry(event_type.as_str()).or_default() += 1);
        for (event_type, count) in counts {
            let labels = EventLabels { stage, event_type: event_type.to_owned() };
            self.events.get_or_create(&labels).inc_by(count);
        }
    }

    /// The text that a Prometheus server scrapes.
    ///
    /// # Errors
    /// When the text cannot be written, which no figure of ours causes.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("ennio");
        let r = &mut registry;
        r.register("events", "Events by what became of them", self.events.clone());
        r.register(
            "batch_events",
            "Events in one batch handed to the writer",
            self.batch_events.clone(),
        );
        r.register_with_unit(
            "commit",
            "One transaction until it is on disk",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        r.register("log_head", "The last place in the log", self.head.clone());
        r.register(
            "cursor_lag_events",
            "Events between a sink's cursor and the head",
            self.lag.clone(),
        );
        r.register("pruned", "Events that retention deleted", self.pruned.clone());
        r.register(
            "retention_held_places",
            "Places that retention leaves for a cursor that is behind",
            self.retention_held.clone(),
        );
        r.register_with_unit("log", "The log's main file", Unit::Bytes, self.log_bytes.clone());
        r.register(
            "overtaken_events",
            "Events that retention deleted before a sink came to them",
            self.overtaken.clone(),
        );
        r.register("bus_subscribers", "Subscribers of the bus", self.bus_subscribers.clone());
        r.register(
            "bus_lagged",
            "Times that a subscriber read from the log instead",
            self.bus_lagged.clone(),
        );
        r.register("sse_streams", "Live SSE streams", self.streams.clone());
        r.register("plugin_calls", "Calls into the running version", self.plugin_calls.clone());
        r.register("plugin_events", "Events in those calls", self.plugin_events.clone());
        r.register("plugin_failures", "Calls and events that failed", self.plugin_failures.clone());
        r.register(
            "plugin_denials",
            "Requests of the running version for what it was not granted",
            self.plugin_denials.clone(),
        );
        r.register_with_unit(
            "plugin_time",
            "Time in the guest",
            Unit::Seconds,
            self.plugin_seconds.clone(),
        );
        r.register_with_unit(
            "plugin_memory",
            "The instance's memory",
            Unit::Bytes,
            self.plugin_memory.clone(),
        );
        r.register(
            "plugin_quarantined",
            "Whether it keeps failing and is left alone",
            self.plugin_quarantined.clone(),
        );
        r.register("plugin_loads", "Versions loaded since the start", self.plugin_loads.clone());
        r.register(
            "plugin_rollbacks",
            "Times that the version before took over again",
            self.plugin_rollbacks.clone(),
        );
        r.register(
            "plugin_disabled",
            "Whether an operator has taken it out of the flow",
            self.plugin_disabled.clone(),
        );
        r.register(
            "reaction_waiting_events",
            "Events that a reaction comes back to",
            self.reaction_waiting.clone(),
        );
        r.register("dead_letters", "Events that a reaction gave up on", self.dead_letters.clone());
        r.register(
            "unresolved_reactions",
            "Events that a reaction acted on and that wait to be resolved or escalated",
            self.unresolved.clone(),
        );
        r.register(
            "following",
            "Whether the stream of another host is read",
            self.following.clone(),
        );
        r.register(
            "follow_lag_messages",
            "Messages of that stream that were not read",
            self.follow_lag.clone(),
        );
        r.register("follow_taken", "Events taken from that stream", self.follow_taken.clone());
        r.register(
            "follow_gaps",
            "How often events were missing from that stream",
            self.follow_gaps.clone(),
        );
        r.register(
            "nats_connected",
            "Whether the NATS connection stands",
            self.nats_connected.clone(),
        );
        r.register(
            "nats_held",
            "Whether the server or a stream refuses what is to be published",
            self.nats_held.clone(),
        );
        r.register(
            "nats_published",
            "Events handed to the NATS server",
            self.nats_published.clone(),
        );
        r.register(
            "nats_skipped",
            "Events too large for the NATS server",
            self.nats_skipped.clone(),
        );
        r.register(
            "mirror_following",
            "Whether the plugin folder follows its bucket",
            self.mirror_following.clone(),
        );
        r.register(
            "mirror_refused",
            "Objects of the bucket that are not taken",
            self.mirror_refused.clone(),
        );
        r.register(
            "ingest_messages",
            "Messages that came in over NATS by what became of them",
            self.ingested.clone(),
        );
        r.register("refused_messages", "Refused messages that are kept", self.refused.clone());
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}
