//! Which subjects a stream acknowledges.
//!
//! Asked of the server in its own words, with as little of the answer read as is needed: a newer
//! server's additions then break nothing.

use std::fmt;

use async_nats::{Client, client::RequestErrorKind};
use serde::Deserialize;
use thiserror::Error;

use super::{Prefix, ack::Refusal};
use crate::event::{Category, Subject, SubjectPattern};

/// Lists the streams of the account, a page at a time.
const LIST: &str = "$JS.API.STREAM.LIST";

/// Pages read at most. A server lists 256 streams on one.
const MAX_PAGES: usize = 100;

/// JetStream is off for this account, or for this server.
pub(super) const NOT_ENABLED: [u64; 2] = [10_039, 10_076];

/// The streams that take in what the host publishes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Coverage(Vec<Stream>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stream {
    name: String,
    patterns: Vec<SubjectPattern>,
}

/// Why it is not known what the streams cover. Then nothing may be published: what a stream covers
/// would else be sent without waiting for its acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "cannot tell what the streams cover: {LIST}: {reason} (the host's NATS user needs to publish \
     to {LIST}, and to subscribe to _INBOX.>)"
)]
pub(super) struct CoverageError {
    /// What the server or the library says.
    pub(super) reason: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    total: usize,
    streams: Option<Vec<Listed>>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Listed {
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    name: String,
    #[serde(default)]
    subjects: Vec<String>,
    #[serde(default)]
    no_ack: bool,
}

impl Coverage {
    /// Whether a stream acknowledges what is published to `subject`.
    pub(super) fn covers(&self, subject: &Subject) -> bool {
        self.0.iter().any(|stream| stream.patterns.iter().any(|p| p.matches(subject)))
    }

    /// Whether this is one of the streams.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|stream| stream.name == name)
    }

    /// The streams' names.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|stream| stream.name.clone()).collect()
    }

    /// Of one stream, whose patterns are known.
    pub(super) fn of(name: &str, patterns: &[String]) -> Self {
        let patterns = patterns.iter().filter_map(|text| text.parse().ok()).collect();
        Self(vec![Stream { name: name.into(), patterns }])
    }

    fn add(&mut self, config: Config, prefix: &Prefix) {
        if config.no_ack {
            return;
        }
        // A pattern that does not parse holds characters that no subject of an event has, and so
        // matches none.
        let patterns = config.subjects.iter().filter_map(|text| text.parse().ok());
        let patterns: Vec<_> = patterns.filter(|pattern| is_ours(pattern, prefix)).collect();
        if !patterns.is_empty() {
            self.0.push(Stream { name: config.name, patterns });
        }
    }
}

impl fmt::Display for Coverage {
    /// The streams with the patterns that matter, like `CI (ennio.ci.>), ALL (>)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, stream) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            let patterns: Vec<_> = stream.patterns.iter().map(SubjectPattern::as_str).collect();
            write!(f, "{comma}{} ({})", stream.name, patterns.join(","))?;
        }
        Ok(())
    }
}

/// Whether `pattern` can match the subject of an event under `prefix`.
fn is_ours(pattern: &SubjectPattern, prefix: &Prefix) -> bool {
    let mut tokens = pattern.as_str().split('.');
    let is_category = |token| Category::ALL.iter().any(|category| category.token() == token);
    match tokens.next() {
        Some(">") => true,
        Some(first) if first == "*" || first == prefix.as_str() => {
            tokens.next().is_some_and(|second| matches!(second, "*" | ">") || is_category(second))
        }
        _ => false,
    }
}

/// Asks the server. No JetStream, for the server or the account, is no coverage.
pub(super) async fn ask(client: Client, prefix: Prefix) -> Result<Coverage, CoverageError> {
    let error = |reason: String| CoverageError { reason };
    let mut coverage = Coverage::default();
    let mut seen = 0;
    for _ in 0..MAX_PAGES {
        let question = format!(r#"{{"offset":{seen}}}"#);
        let answer = match client.request(LIST, question.into()).await {
            Ok(answer) => answer,
            Err(e) if e.kind() == RequestErrorKind::NoResponders => return Ok(coverage),
            Err(e) => return Err(error(e.to_string())),
        };
        let page: Page =
            serde_json::from_slice(&answer.payload).map_err(|e| error(e.to_string()))?;
        match page.error {
            Some(refusal) if NOT_ENABLED.contains(&refusal.err_code) => return Ok(coverage),
            Some(refusal) => return Err(error(refusal.to_string())),
            None => {}
        }
        let streams = page.streams.unwrap_or_default();
        seen += streams.len();
        let last = streams.is_empty() || seen >= page.total;
        streams.into_iter().for_each(|listed| coverage.add(listed.config, &prefix));
        if last {
            return Ok(coverage);
        }
    }
    Err(error(format!("more than {seen} streams")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_streams_that_acknowledge_cover_and_only_what_their_patterns_match() {
        let prefix = Prefix::default();
        let mut coverage = Coverage::default();
        for config in [
            r#"{"name":"CI","subjects":["ennio.ci.>","$KV.x.>","ennio..x"],"retention":"new!"}"#,
            r#"{"name":"FIRE","subjects":["ennio.pr.>"],"no_ack":true}"#,
            r#"{"name":"MIRROR"}"#,
            r#"{"name":"OTHER","subjects":["acme.>"]}"#,
            r#"{"name":"INGEST","subjects":["ennio.ingest.>","ennio"]}"#,
        ] {
            coverage.add(serde_json::from_str(config).unwrap(), &prefix);
        }
        assert_eq!(coverage.names(), ["CI"]);
        assert!(coverage.has("CI") && !coverage.has("FIRE"));
        assert!(coverage.covers(&"ennio.ci.atlas.failing".parse().unwrap()));
        for not in ["ennio.pr.atlas.created", "ennio.ci", "ennio.x"] {
            assert!(!coverage.covers(&not.parse().unwrap()), "{not}");
        }
    }
}
