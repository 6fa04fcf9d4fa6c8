//! Which events may stay, and for how long: the table `[retention]` of the configuration. Plain
//! decisions; knows neither the log nor the clock.

use serde::Deserialize;
use thiserror::Error;

use crate::{
    amount::ByteSize,
    event::{EventPriority, Subject, SubjectPattern, Timestamp},
    span::Span,
    store::Aged,
};

/// The least `max_size`: the tables of a new log take some of it.
const MIN_SIZE: ByteSize = ByteSize(1 << 20);
/// What `ennio_pruned_total` and people call the limits that are not rules.
const LIMITS: [&str; 3] = ["max_age", "max_events", "max_size"];

/// What is deleted from the log. Without a limit, nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "Table")]
pub struct Policy {
    rules: Vec<Rule>,
    max_age: Option<Span>,
    max_events: Option<u64>,
    max_size: Option<ByteSize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    name: String,
    subject: Vec<SubjectPattern>,
    max_priority: EventPriority,
    max_age: Option<Span>,
}

/// The table as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    rules: Vec<WrittenRule>,
    max_age: Option<Span>,
    max_events: Option<u64>,
    max_size: Option<ByteSize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    name: Option<String>,
    #[serde(default)]
    subject: Vec<SubjectPattern>,
    #[serde(default = "any_priority", deserialize_with = "priority")]
    max_priority: EventPriority,
    max_age: MaxAge,
}

fn any_priority() -> EventPriority {
    EventPriority::Critical
}

fn priority<'de, D: serde::Deserializer<'de>>(from: D) -> Result<EventPriority, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

/// A span, or `forever`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct MaxAge(Option<Span>);

impl TryFrom<String> for MaxAge {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "forever" => Ok(Self(None)),
            span => span.parse().map(Some).map(Self),
        }
    }
}

/// Why a policy cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// A name that figures cannot carry.
    #[error(
        "rule {0:?}: a name is 1 to 64 of [a-z0-9_-], and none of max_age, max_events, max_size"
    )]
    Name(String),
    /// Two rules of one name.
    #[error("rule {0:?} is there twice (give each a name of its own)")]
    Twice(String),
    /// Nothing may become any age.
    #[error("{0}: a max_age of 0 would delete every event (write at least 1ms)")]
    NoAge(String),
    /// Nothing may stay.
    #[error("max_events: 0 would delete every event (write at least 1)")]
    NoEvents,
    /// Hardly anything may stay.
    #[error("max_size: {0} is less than an empty log takes (write at least {least})", least = MIN_SIZE)]
    NoSize(ByteSize),
}

impl TryFrom<Table> for Policy {
    type Error = PolicyError;

    fn try_from(table: Table) -> Result<Self, PolicyError> {
        let mut rules: Vec<Rule> = Vec::with_capacity(table.rules.len());
        for (number, rule) in (1..).zip(table.rules) {
            let name = rule.name.unwrap_or_else(|| format!("rule-{number}"));
            let is_allowed =
                |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_-".contains(&c);
            let is_short = (1..=64).contains(&name.len());
            if !is_short || !name.bytes().all(is_allowed) || LIMITS.contains(&name.as_str()) {
                return Err(PolicyError::Name(name));
            }
            if rule.max_age.0.is_some_and(|age| age.get().is_zero()) {
                return Err(PolicyError::NoAge(format!("rule {name:?}")));
            }
            if rules.iter().any(|before| before.name == name) {
                return Err(PolicyError::Twice(name));
            }
            let WrittenRule { subject, max_priority, max_age, .. } = rule;
            rules.push(Rule { name, subject, max_priority, max_age: max_age.0 });
        }
        if table.max_age.is_some_and(|age| age.get().is_zero()) {
            return Err(PolicyError::NoAge("retention".into()));
        }
        if table.max_events == Some(0) {
            return Err(PolicyError::NoEvents);
        }
        if let Some(size) = table.max_size.filter(|size| *size < MIN_SIZE) {
            return Err(PolicyError::NoSize(size));
        }
        let Table { max_age, max_events, max_size, .. } = table;
        Ok(Self { rules, max_age, max_events, max_size })
    }
}

/// Why an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// It is older than this rule, counted from 0, lets it become.
    Rule(usize),
    /// No rule is about it, and it is older than events may become.
    Age,
    /// The log has more events than it may, and this is one of the oldest.
    Events,
    /// The log is larger than it may be, and this is one of the oldest events.
    Size,
}

impl Policy {
    /// Whether everything stays for ever.
    pub fn keeps_everything(&self) -> bool {
        self.ages().is_empty() && self.max_events.is_none() && self.max_size.is_none()
    }

    /// At most so many events stay.
    pub fn max_events(&self) -> Option<u64> {
        self.max_events
    }

    /// The main file has at most so many bytes that hold something.
    pub fn max_size(&self) -> Option<u64> {
        self.max_size.map(|size| size.0)
    }

    /// Every age that something may reach and no more, without repetition, the least first.
    pub fn ages(&self) -> Vec<Span> {
        let rules = self.rules.iter().filter_map(|rule| rule.max_age);
        let mut ages: Vec<Span> = rules.chain(self.max_age).collect();
        ages.sort_unstable();
        ages.dedup();
        ages
    }

    /// How old events of this subject and priority may become, and what says so: the first rule that is
    /// about them, else `max_age`. `None`: as old as can be.
    pub fn age(&self, subject: &Subject, priority: EventPriority) -> Option<(Cause, Span)> {
        let about = |rule: &&Rule| {
            priority <= rule.max_priority
                && (rule.subject.is_empty() || rule.subject.iter().any(|p| p.matches(subject)))
        };
        match (0..).zip(&self.rules).find(|(_, rule)| about(rule)) {
            Some((at, rule)) => rule.max_age.map(|age| (Cause::Rule(at), age)),
            None => self.max_age.map(|age| (Cause::Age, age)),
        }
    }

    /// Why `event` is too old at `now`, if it is.
    pub fn too_old(&self, event: &Aged, now: Timestamp) -> Option<Cause> {
        let (cause, age) = self.age(&event.subject, event.priority)?;
        (event.committed_at <= ago(now, age)?).then_some(cause)
    }

    /// What people and figures call it.
    pub fn name(&self, cause: Cause) -> &str {
        let [age, events, size] = LIMITS;
        match cause {
            Cause::Rule(at) => self.rules.get(at).map_or("", |rule| &rule.name),
            Cause::Age => age,
            Cause::Events => events,
            Cause::Size => size,
        }
    }

    /// Each limit, in the order of the file: what it is, and how far it lets things go.
    pub fn limits(&self) -> Vec<(Cause, String)> {
        let shown = |age: Option<Span>| age.map_or("forever".into(), |age| age.to_string());
        let mut limits: Vec<(Cause, String)> = (0..)
            .zip(&self.rules)
            .map(|(at, rule)| (Cause::Rule(at), shown(rule.max_age)))
            .collect();
        limits.extend(self.max_age.map(|age| (Cause::Age, shown(Some(age)))));
        limits.extend(self.max_events.map(|events| (Cause::Events, events.to_string())));
        limits.extend(self.max_size.map(|size| (Cause::Size, size.to_string())));
        limits
    }
}

/// The moment that lies `age` before `now`; `None` where there was no time yet.
pub(super) fn ago(now: Timestamp, age: Span) -> Option<Timestamp> {
    let micros = i64::try_from(age.get().as_micros()).ok()?;
    Timestamp::from_micros(now.micros().checked_sub(micros)?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::strict_toml;

    fn policy(text: &str) -> Result<Policy, String> {
        strict_toml::from_str(text, Path::new("a.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn the_first_rule_that_is_about_an_event_decides() {
        let policy = policy(
            "max_age = \"30d\"\n\
             [[rules]]\nname = \"nodes\"\nsubject = [\"ennio.node.>\"]\nmax_priority = \"info\"\nmax_age = \"7d\"\n\
             [[rules]]\nsubject = [\"ennio.node.>\", \"ennio.merge.>\"]\nmax_age = \"forever\"\n",
        )
        .unwrap();
        let age = |subject: &str, priority: EventPriority| {
            let age = policy.age(&subject.parse().unwrap(), priority);
            age.map(|(cause, age)| format!("{} {age}", policy.name(cause)))
        };
        assert_eq!(age("ennio.node.a.connected", EventPriority::Info).unwrap(), "nodes 7d");
        assert_eq!(age("ennio.node.a.connected", EventPriority::Action), None);
        assert_eq!(age("ennio.merge.a.ready", EventPriority::Info), None);
        assert_eq!(age("ennio.ci.a.failing", EventPriority::Critical).unwrap(), "max_age 30d");
        assert_eq!(policy.ages().len(), 2);
        let limits: Vec<_> = policy
            .limits()
            .into_iter()
            .map(|(cause, limit)| format!("{} {limit}", policy.name(cause)))
            .collect();
        assert_eq!(limits, ["nodes 7d", "rule-2 forever", "max_age 30d"]);
    }

    #[test]
    fn without_a_limit_everything_stays() {
        assert!(policy("").unwrap().keeps_everything());
        assert!(policy("[[rules]]\nmax_age = \"forever\"\n").unwrap().keeps_everything());
        assert!(!policy("max_size = \"10GiB\"\n").unwrap().keeps_everything());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_reason() {
        for (text, reason) in [
            ("max_events = 0", "0 would delete every event"),
            ("max_size = \"10KiB\"", "max_size: 10.0 KiB is less than an empty log takes"),
            ("max_size = \"10GB\"", "\"GB\" is no unit of size"),
            ("max_age = \"0d\"", "retention: a max_age of 0 would delete every event"),
            ("[[rules]]\nmax_age = \"0s\"", "rule \"rule-1\": a max_age of 0 would delete"),
            ("max_ages = \"1d\"", "did you mean `max_age`?"),
            ("[[rules]]\nsubject = [\"ennio.>\"]", "missing field `max_age`"),
            ("[[rules]]\nmax_age = \"7\"", "a span needs a unit"),
            ("[[rules]]\nmax_age = \"7d\"\nsubject = [\"ennio.>.x\"]", "only the last token"),
            ("[[rules]]\nmax_age = \"7d\"\nmax_priority = \"urgnt\"", "did you mean `urgent`?"),
            ("[[rules]]\nmax_age = \"7d\"\nname = \"max_age\"", "none of max_age, max_events"),
            ("[[rules]]\nmax_age = \"7d\"\nname = \"A b\"", "1 to 64 of [a-z0-9_-]"),
            (
                "[[rules]]\nmax_age = \"7d\"\nname = \"rule-2\"\n[[rules]]\nmax_age = \"7d\"",
                "\"rule-2\" is there twice",
            ),
        ] {
            let error = policy(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
