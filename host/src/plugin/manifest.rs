//! The sidecar: what the operator says of a plugin, in `NAME.toml` beside `NAME.wasm`.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::address::Destination;
use crate::{
    control::CommandName,
    event::{EventPriority, SubjectPattern, Timestamp},
};

/// What happens to an event that a filter or an enricher fails on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It goes on as if the plugin were not there.
    #[default]
    Pass,
    /// It is stored as dropped by the plugin, with the failure as the reason.
    Drop,
    /// It is not accepted: its sender gets an error that says to try again.
    Hold,
}

/// A sidecar. Every key is optional; an unknown one is an error.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Which events the plugin sees. Default: what the component describes, else every event.
    pub subscribe: Option<Vec<SubjectPattern>>,
    /// The least priority that it sees. Default: what the component describes.
    #[serde(default, deserialize_with = "priority")]
    pub min_priority: Option<EventPriority>,
    /// Filters and enrichers run by (order, name). Default 50.
    #[serde(default = "default_order")]
    pub order: i32,
    /// What happens to an event that the plugin fails on. Default `pass`.
    #[serde(default)]
    pub on_error: OnError,
    /// SHA-256 of the component, 64 hexadecimal digits: another one is not loaded.
    pub sha256: Option<Sha256Hex>,
    /// Handed to the guest through `wasi:config/store`.
    #[serde(default)]
    pub config: BTreeMap<String, toml::Value>,
    /// What it may do. Nothing is granted by default.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// How a reaction gets its events.
    #[serde(default)]
    pub reaction: Reaction,
}

/// What a plugin may do.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// Which subjects the events that it emits may have.
    #[serde(default)]
    pub emit: Vec<SubjectPattern>,
    /// Which commands a reaction may give to the host.
    #[serde(default)]
    pub commands: Vec<CommandName>,
    /// Where it may send HTTP requests, each as `host:port`. For reactions and enrichers.
    #[serde(default)]
    pub http: Vec<Destination>,
    /// Variables of the host's environment that it sees, by name, with the values that they have when
    /// it is loaded.
    #[serde(default)]
    pub env: Vec<String>,
    /// Folders that it may read, by their absolute paths, which they have in the guest too.
    #[serde(default)]
    pub fs: Vec<PathBuf>,
}

/// A SHA-256 in hexadecimal digits, lower case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Sha256Hex(String);

impl TryFrom<String> for Sha256Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => {
                Err(format!("{text:?} is no SHA-256: 64 hexadecimal digits, as sha256sum prints"))
            }
        }
    }
}

impl PartialEq<str> for Sha256Hex {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl fmt::Display for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a plugin may use.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory of one instance, in mebibytes, 1 to 1024. Default 64.
    #[serde(default)]
    pub memory_mib: MemoryMib,
    /// One call, host calls and waiting included, in milliseconds, 1 to 60 000. Default 1 000 for
    /// filters and enrichers, 10 000 for reactions.
    pub deadline_ms: Option<DeadlineMs>,
    /// What each of its two buckets may hold, in mebibytes, 1 to 1024. Default 16.
    #[serde(default)]
    pub state_mib: StateMib,
    /// Lines of its log, 512 bytes each, that are kept in a second, 0 to 10 000; as many may come at
    /// once. Default 200.
    #[serde(default)]
    pub log_lines_per_second: LogLines,
}

/// How a reaction gets its events.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reaction {
    /// How often an event is tried again before it becomes a dead letter, at most 100. Default 5.
    #[serde(default)]
    pub retries: Retries,
    /// Which events wait for an earlier one that waits for its next attempt. Default: none.
    pub ordered: Option<Ordered>,
    /// How many events it reacts to at once, each in an instance of its own, 1 to 16. Default 1. More
    /// than 1 only for a component that does not import `wasi:keyvalue`: a bucket has one writer.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// Where a plugin begins that was never loaded before. Default: the log's end.
    #[serde(default)]
    pub start: Start,
}

/// What events have in common that a reaction sees in their order, whatever fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordered {
    /// Their session.
    Session,
    /// Their project.
    Project,
}

/// Where a reaction that has no cursor yet begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Start {
    /// Behind the last event.
    #[default]
    End,
    /// With the first event.
    Beginning,
    /// With the first event that was committed at this time or later.
    At(Timestamp),
}

impl TryFrom<toml::Value> for Start {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        // TOML has times of its own; those without an offset are no moment, and RFC 3339 says so.
        let text = match &value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match text.as_str() {
            "end" => Ok(Self::End),
            "beginning" => Ok(Self::Beginning),
            time => time.parse().map(Self::At).map_err(|_| {
                format!(
                    "{time:?} is no start (write \"end\", \"beginning\", or a time like \
                     \"2026-08-01T00:00:00Z\")"
                )
            }),
        }
    }
}

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident, $range:expr, $default:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "i64")]
        pub struct $name(u32);

        impl $name {
            /// The number.
            pub fn get(self) -> u32 {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($default)
            }
        }

        impl TryFrom<i64> for $name {
            type Error = String;

            fn try_from(value: i64) -> Result<Self, String> {
                let range = $range;
                u32::try_from(value)
                    .ok()
                    .filter(|value| range.contains(value))
                    .map(Self)
                    .ok_or_else(|| format!("{value} is not within {} to {}", range.start(), range.end()))
            }
        }
    };
}

bounded! {
    /// Mebibytes, 1 to 1024.
    MemoryMib, 1..=1024, 64
}
bounded! {
    /// Mebibytes, 1 to 1024.
    StateMib, 1..=1024, 16
}
bounded! {
    /// Milliseconds, 1 to 60 000.
    DeadlineMs, 1..=60_000, 1_000
}
bounded! {
    /// A count, 0 to 10 000.
    LogLines, 0..=10_000, 200
}
bounded! {
    /// A count, 0 to 100.
    Retries, 0..=100, 5
}
bounded! {
    /// A count, 1 to 16.
    Concurrency, 1..=16, 1
}

impl Manifest {
    /// What one call of a filter or an enricher may take.
    pub fn pipeline_deadline(&self) -> Duration {
        Duration::from_millis(self.limits.deadline_ms.unwrap_or_default().get().into())
    }

    /// What one call of a reaction may take.
    pub fn reaction_deadline(&self) -> Duration {
        const DEFAULT_MS: u32 = 10_000;
        Duration::from_millis(self.limits.deadline_ms.map_or(DEFAULT_MS, DeadlineMs::get).into())
    }

    /// What each of its buckets may hold, in bytes.
    pub fn state_quota(&self) -> u64 {
        u64::from(self.limits.state_mib.get()) << 20
    }

    /// The configuration as `wasi:config/store` has it: texts as they are, anything else as JSON.
    pub fn config_values(&self) -> impl Iterator<Item = (String, String)> {
        self.config.iter().map(|(key, value)| {
            let text = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Datetime(time) => time.to_string(),
                // TOML's other values all have a JSON form; NaN and infinity become null.
                other => serde_json::to_string(other).unwrap_or_default(),
            };
            (key.clone(), text)
        })
    }
}

/// What holds without a sidecar: what holds with an empty one.
impl Default for Manifest {
    fn default() -> Self {
        Self {
            subscribe: None,
            min_priority: None,
            order: default_order(),
            on_error: OnError::default(),
            sha256: None,
            config: BTreeMap::new(),
            capabilities: Capabilities::default(),
            limits: Limits::default(),
            reaction: Reaction::default(),
        }
    }
}

fn default_order() -> i32 {
    50
}

fn priority<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<EventPriority>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sidecar_says_what_an_empty_one_says() {
        assert_eq!(toml::from_str::<Manifest>("").unwrap(), Manifest::default());
    }

    #[test]
    fn a_reaction_says_where_it_begins_what_it_keeps_in_order_and_how_much_it_does_at_once() {
        let reaction = |text: &str| toml::from_str::<Reaction>(text).map_err(|e| e.to_string());
        let time = Start::At("2026-08-01T00:00:00Z".parse().unwrap());
        for (text, start) in [
            ("", Start::End),
            ("start = \"end\"", Start::End),
            ("start = \"beginning\"", Start::Beginning),
            ("start = \"2026-08-01T02:00:00+02:00\"", time),
            ("start = 2026-08-01T00:00:00Z", time),
        ] {
            assert_eq!(reaction(text).unwrap().start, start, "{text}");
        }
        for text in ["start = \"now\"", "start = 3", "start = 2026-08-01"] {
            let error = reaction(text).unwrap_err();
            assert!(error.contains("write \"end\", \"beginning\", or a time"), "{error}");
        }
        assert_eq!(reaction("ordered = \"project\"").unwrap().ordered, Some(Ordered::Project));
        assert!(reaction("ordered = \"type\"").is_err());
        assert_eq!(reaction("concurrency = 16").unwrap().concurrency.get(), 16);
        for concurrency in [0, 17] {
            let error = reaction(&format!("concurrency = {concurrency}")).unwrap_err();
            assert!(error.contains("is not within 1 to 16"), "{error}");
        }
    }
}
