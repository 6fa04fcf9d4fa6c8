//! `[reaction]` in the sidecar: how a reaction gets its events, when it acts, and what it waits for
//! after it has.

use std::{fmt, time::Duration};

use serde::Deserialize;

use super::manifest::bounded;
use crate::{
    event::{SubjectPattern, Timestamp},
    span::Span,
};

/// How a reaction gets its events, and what it waits for after it has acted.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(try_from = "Written")]
pub struct Reaction {
    /// How often an event is tried again before it becomes a dead letter, at most 100. Default 5.
    pub retries: Retries,
    /// Which events wait for an earlier one that waits for its next attempt. Default: none.
    pub ordered: Option<Ordered>,
    /// How many events it reacts to at once, each in an instance of its own, 1 to 16. Default 1. More
    /// than 1 only for a component that does not import `wasi:keyvalue`: a bucket has one writer.
    pub concurrency: Concurrency,
    /// Where a plugin begins that was never loaded before. Default: the log's end.
    pub start: Start,
    /// What people call the rule that the plugin carries out. Default: the plugin's name.
    pub rule: Option<RuleName>,
    /// How many events it takes before the plugin sees one. Default: each is seen.
    pub threshold: Option<Threshold>,
    /// What has to come after the plugin has acted. Default: nothing.
    pub escalation: Option<Escalation>,
}

/// The plugin sees an event only when it is the last of so many within a span; then counting begins
/// anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// How many, 2 to 1 000.
    pub count: Count,
    /// Between the times at which the first and the last of them happened, at most.
    pub within: Span,
    /// What they have in common. Default: project and session.
    #[serde(default)]
    pub by: CountedBy,
}

/// What events have in common that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedBy {
    /// Project and session.
    #[default]
    Session,
    /// The project.
    Project,
    /// That the plugin subscribes to them.
    Plugin,
}

/// What has to come after a reaction has acted, and what happens when it does not.
#[derive(Debug, Clone, PartialEq)]
pub struct Escalation {
    /// When it is escalated, after the event was reacted to.
    pub after: Duration,
    /// What resolves it: events of the same project and session.
    pub resolved_by: Vec<SubjectPattern>,
    /// How long after each escalation the next one comes. Default: there is one.
    pub repeat: Option<Duration>,
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

/// The name of a rule: 1 to 64 of `[A-Za-z0-9_.-]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RuleName(String);

impl RuleName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RuleName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        match (1..=64).contains(&text.len()) && text.bytes().all(is_name) {
            true => Ok(Self(text)),
            false => Err(format!("{text:?} is no name of a rule: 1 to 64 of [A-Za-z0-9_.-]")),
        }
    }
}

bounded! {
    /// A count, 0 to 100.
    Retries, 0..=100, 5
}
bounded! {
    /// A count, 1 to 16.
    Concurrency, 1..=16, 1
}
bounded! {
    /// A count, 2 to 1 000.
    Count, 2..=1000, 2
}

/// The shortest span until an escalation, and between two.
const LEAST: Duration = Duration::from_secs(1);

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    retries: Retries,
    ordered: Option<Ordered>,
    #[serde(default)]
    concurrency: Concurrency,
    #[serde(default)]
    start: Start,
    rule: Option<RuleName>,
    threshold: Option<Threshold>,
    escalate_after: Option<Span>,
    #[serde(default)]
    resolved_by: Vec<SubjectPattern>,
    repeat: Option<Span>,
}

/// Keys that need each other, or exclude each other.
#[derive(Debug)]
struct Mismatch(&'static str);

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl TryFrom<Written> for Reaction {
    type Error = Mismatch;

    fn try_from(written: Written) -> Result<Self, Mismatch> {
        let Written { escalate_after, resolved_by, repeat, .. } = written;
        let is_short = |span: &Option<Span>| span.is_some_and(|span| span.get() < LEAST);
        if is_short(&escalate_after) || is_short(&repeat) {
            return Err(Mismatch("escalate_after and repeat in [reaction] are at least 1s"));
        }
        let escalation = match escalate_after {
            Some(_) if resolved_by.is_empty() => {
                return Err(Mismatch(
                    "escalate_after in [reaction] needs resolved_by: the subjects of the events that \
                     it waits for",
                ));
            }
            Some(after) => {
                Some(Escalation { after: after.get(), resolved_by, repeat: repeat.map(Span::get) })
            }
            None if !resolved_by.is_empty() || repeat.is_some() => {
                return Err(Mismatch(
                    "resolved_by and repeat in [reaction] need escalate_after: how long it waits",
                ));
            }
            None => None,
        };
        if written.threshold.is_some() && written.concurrency.get() > 1 {
            return Err(Mismatch(
                "threshold in [reaction] counts one event after the other: take concurrency out",
            ));
        }
        Ok(Self {
            retries: written.retries,
            ordered: written.ordered,
            concurrency: written.concurrency,
            start: written.start,
            rule: written.rule,
            threshold: written.threshold,
            escalation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaction(text: &str) -> Result<Reaction, String> {
        toml::from_str::<Reaction>(text).map_err(|e| e.to_string())
    }

    #[test]
    fn it_says_where_a_plugin_begins_what_it_keeps_in_order_and_how_much_it_does_at_once() {
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

    #[test]
    fn keys_that_need_each_other_say_so() {
        let resolved_by = "resolved_by = [\"ennio.ci.*.passing\"]\n";
        let whole = format!("{resolved_by}escalate_after = \"15m\"\nrepeat = \"1h\"");
        let escalation = reaction(&whole).unwrap().escalation.unwrap();
        assert_eq!(escalation.after, Duration::from_secs(900));
        assert_eq!(escalation.repeat, Some(Duration::from_secs(3600)));
        for (text, reason) in [
            (resolved_by, "need escalate_after"),
            ("repeat = \"1h\"", "need escalate_after"),
            ("escalate_after = \"15m\"", "needs resolved_by"),
            (&format!("{resolved_by}escalate_after = \"10ms\""), "at least 1s"),
            ("concurrency = 2\nthreshold = { count = 3, within = \"1m\" }", "take concurrency out"),
            ("threshold = { count = 1, within = \"1m\" }", "is not within 2 to 1000"),
            ("threshold = { count = 2 }", "missing field `within`"),
            ("rule = \"two words\"", "no name of a rule"),
            ("escalate_afer = \"1h\"", "unknown field `escalate_afer`"),
        ] {
            let error = reaction(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
