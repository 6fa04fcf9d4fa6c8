//! In what a stream is not what it shall be, and what can be done about it. Plain comparing: nothing
//! here asks a server, and nothing changes a stream.

use std::{collections::BTreeSet, fmt, time::Duration};

use serde::{Deserialize, de::IgnoredAny};

use super::{
    Prefix, StreamOptions,
    stream_options::{UNLIMITED, nanos, subjects},
};
use crate::span::Span;

impl StreamOptions {
    /// In what `found` is not what it shall be, each with the way out; nothing when it is.
    pub(super) fn differences(&self, prefix: &Prefix, found: &Found) -> Vec<Difference> {
        let stream = self.name(prefix);
        let mut differences = Vec::new();
        let mut compare = |property: &'static str, found: String, wanted: String, way: Way| {
            if found != wanted {
                let stream = stream.clone();
                differences.push(Difference { stream, property, found, wanted, way });
            }
        };
        let joined = joined(&subjects(prefix));
        let edit = Way::Edit(format!("--subjects={joined}"));
        compare("subjects", self::joined(&found.subjects), joined, edit);
        compare("retention", found.retention.clone(), "limits".into(), Way::Remake);
        compare("discard", found.discard.clone(), "old".into(), Way::Edit("--discard=old".into()));
        let line = write(&format!("storage = {:?}", found.storage));
        compare("storage", found.storage.clone(), self.storage.as_str().into(), Way::Write(line));
        let edit = format!("--replicas={}", self.replicas.0);
        let way = Way::Either(write(&format!("replicas = {}", found.num_replicas)), edit);
        compare("num_replicas", found.num_replicas.to_string(), self.replicas.0.to_string(), way);
        let (age, wanted) = (span(found.max_age), span(nanos(self.max_age)));
        let edit = format!("--max-age={}", if self.max_age.is_some() { &*wanted } else { "0s" });
        compare(
            "max_age",
            age.clone(),
            wanted,
            key("max_age", found.max_age > 0, &age, true, edit),
        );
        let (bytes, wanted) = (limit(found.max_bytes), limit(self.max_bytes.unwrap_or(UNLIMITED)));
        let edit = format!("--max-bytes={}", self.max_bytes.unwrap_or(UNLIMITED));
        let way = key("max_bytes", found.max_bytes > 0, &bytes, false, edit);
        compare("max_bytes", bytes.clone(), wanted, way);
        let window = span(found.duplicate_window);
        let wanted = self.duplicate_window.0.to_string();
        let way = key("duplicate_window", true, &window, true, format!("--dupe-window={wanted}"));
        compare("duplicate_window", window.clone(), wanted, way);
        for (property, found, flag) in [
            ("max_msgs", found.max_msgs, "--max-msgs=-1"),
            ("max_msgs_per_subject", found.max_msgs_per_subject, "--max-msgs-per-subject=-1"),
            ("max_msg_size", found.max_msg_size, "--max-msg-size=-1"),
        ] {
            compare(property, limit(found), limit(UNLIMITED), Way::Edit(flag.into()));
        }
        for (property, found, way) in [
            ("no_ack", found.no_ack, Way::Edit("--ack".into())),
            ("sealed", found.sealed, Way::Remake),
            ("mirror", found.mirror.is_some(), Way::Remake),
            ("sources", found.sources.as_ref().is_some_and(|all| !all.is_empty()), Way::Remake),
            ("subject_transform", found.subject_transform.is_some(), Way::Remake),
        ] {
            let said = |is: bool| if is { "set" } else { "unset" }.to_owned();
            compare(property, said(found), said(false), way);
        }
        differences
    }
}
/// Whatever their order.
fn joined(subjects: &[String]) -> String {
    let sorted: BTreeSet<_> = subjects.iter().map(String::as_str).collect();
    sorted.into_iter().collect::<Vec<_>>().join(",")
}

/// As much of a stream's configuration as matters, in the server's words.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    #[serde(default)]
    pub(super) subjects: Vec<String>,
    retention: String,
    #[serde(default)]
    discard: String,
    storage: String,
    #[serde(default)]
    num_replicas: i64,
    #[serde(default)]
    max_age: i64,
    #[serde(default)]
    max_bytes: i64,
    #[serde(default)]
    max_msgs: i64,
    #[serde(default)]
    max_msgs_per_subject: i64,
    #[serde(default)]
    max_msg_size: i64,
    #[serde(default)]
    duplicate_window: i64,
    #[serde(default)]
    no_ack: bool,
    #[serde(default)]
    sealed: bool,
    mirror: Option<IgnoredAny>,
    sources: Option<Vec<IgnoredAny>>,
    subject_transform: Option<IgnoredAny>,
}

/// A property that is not what it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    stream: String,
    property: &'static str,
    found: String,
    wanted: String,
    way: Way,
}

/// How the two can be brought together.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// Something in the configuration.
    Write(String),
    /// A flag of `nats stream edit`.
    Edit(String),
    /// Either.
    Either(String, String),
    /// No server changes that.
    Remake,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, property, found, wanted, way } = self;
        write!(f, "{property} is {found}, not {wanted} (")?;
        match way {
            Way::Write(line) => write!(f, "{line})"),
            Way::Edit(flag) => write!(f, "run `nats stream edit {stream} {flag}`)"),
            Way::Either(line, flag) => {
                write!(f, "{line}, or run `nats stream edit {stream} {flag}`)")
            }
            Way::Remake => write!(f, "no server changes that: `nats stream rm {stream}`)"),
        }
    }
}

fn write(line: &str) -> String {
    format!("write `{line}` in [nats.stream]")
}

/// A key that is left out of the file where the stream has no such limit.
fn key(key: &str, is_limited: bool, found: &str, is_text: bool, edit: String) -> Way {
    let line = match (is_limited, is_text) {
        (true, true) => write(&format!("{key} = {found:?}")),
        (true, false) => write(&format!("{key} = {found}")),
        (false, _) => format!("leave {key} out of [nats.stream]"),
    };
    Way::Either(line, edit)
}
/// Nanoseconds as people write them. What no [`Span`] expresses keeps its digits.
fn span(nanos: i64) -> String {
    match u64::try_from(nanos) {
        Ok(0) | Err(_) => "unlimited".into(),
        Ok(nanos) if nanos % 1_000_000 == 0 => Span::from(Duration::from_nanos(nanos)).to_string(),
        Ok(nanos) => format!("{nanos}ns"),
    }
}

fn limit(found: i64) -> String {
    if found > 0 { found.to_string() } else { "unlimited".into() }
}
#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn options(toml: &str) -> StreamOptions {
        toml::from_str(toml).unwrap()
    }

    /// The stream as it would be made, with some properties otherwise.
    fn found(options: &StreamOptions, otherwise: &[(&str, Value)]) -> Found {
        let mut config = options.config(&Prefix::default());
        for (property, value) in otherwise {
            config[*property] = value.clone();
        }
        serde_json::from_value(config).unwrap()
    }
    #[test]
    fn a_stream_that_was_made_as_configured_does_not_differ() {
        for toml in [
            "",
            "name = \"LOG\"\nreplicas = 3\nstorage = \"memory\"\nmax_age = \"30d\"\n\
             max_bytes = 1000000\nduplicate_window = \"1h\"",
        ] {
            let options = options(toml);
            let found = found(&options, &[("placement", json!({"tags": ["x"]}))]);
            assert_eq!(options.differences(&Prefix::default(), &found), [], "{toml}");
        }
    }

    #[test]
    fn each_difference_names_the_property_both_values_and_the_way_out() {
        let options = options("max_age = \"30d\"");
        for (property, value, said) in [
            (
                "num_replicas",
                json!(3),
                "num_replicas is 3, not 1 (write `replicas = 3` in [nats.stream], or run \
                 `nats stream edit ENNIO_EVENTS --replicas=1`)",
            ),
            (
                "storage",
                json!("memory"),
                "storage is memory, not file (write `storage = \"memory\"` in [nats.stream])",
            ),
            (
                "max_age",
                json!(3_600_000_000_000_i64),
                "max_age is 1h, not 30d (write `max_age = \"1h\"` in [nats.stream], or run \
                 `nats stream edit ENNIO_EVENTS --max-age=30d`)",
            ),
            (
                "max_age",
                json!(0),
                "max_age is unlimited, not 30d (leave max_age out of [nats.stream], or run \
                 `nats stream edit ENNIO_EVENTS --max-age=30d`)",
            ),
            (
                "max_bytes",
                json!(1000),
                "max_bytes is 1000, not unlimited (write `max_bytes = 1000` in [nats.stream], or \
                 run `nats stream edit ENNIO_EVENTS --max-bytes=-1`)",
            ),
            (
                "duplicate_window",
                json!(1_500_000_000_i64),
                "duplicate_window is 1500ms, not 2m (write `duplicate_window = \"1500ms\"` in \
                 [nats.stream], or run `nats stream edit ENNIO_EVENTS --dupe-window=2m`)",
            ),
            (
                "retention",
                json!("workqueue"),
                "retention is workqueue, not limits (no server changes that: \
                 `nats stream rm ENNIO_EVENTS`)",
            ),
            (
                "max_msgs",
                json!(5),
                "max_msgs is 5, not unlimited (run `nats stream edit ENNIO_EVENTS --max-msgs=-1`)",
            ),
            (
                "sources",
                json!([{"name": "OTHER"}]),
                "sources is set, not unset (no server changes that: `nats stream rm ENNIO_EVENTS`)",
            ),
        ] {
            let differences =
                options.differences(&Prefix::default(), &found(&options, &[(property, value)]));
            let told: Vec<_> = differences.iter().map(ToString::to_string).collect();
            assert_eq!(told, [said]);
        }
    }

    #[test]
    fn subjects_are_those_of_events_alone_whatever_their_order() {
        let prefix: Prefix = "acme".parse().unwrap();
        let options = StreamOptions::default();
        assert_eq!(options.name(&prefix), "ACME_EVENTS");
        let mut subjects = subjects(&prefix);
        assert_eq!((subjects.len(), &*subjects[1]), (9, "acme.pr.>"));
        let other = |s: &String| {
            ["commands", "metrics", "dashboard", "ingest"].iter().any(|o| s.contains(o))
        };
        assert!(!subjects.iter().any(other));
        subjects.reverse();
        let found = |subjects: &[String]| {
            let mut config = options.config(&prefix);
            config["subjects"] = json!(subjects);
            serde_json::from_value::<Found>(config).unwrap()
        };
        assert_eq!(options.differences(&prefix, &found(&subjects)), []);
        let told = options.differences(&prefix, &found(&subjects[1..]));
        assert!(
            told[0].to_string().starts_with("subjects is acme.ci.>,acme.lifecycle.>,"),
            "{told:?}"
        );
        assert_eq!(options.differences(&prefix, &found(&["acme.>".into()])).len(), 1);
    }
}
