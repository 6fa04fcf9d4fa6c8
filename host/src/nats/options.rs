//! Where the server is, who the host is to it, and under which name and to which stream events are
//! published there.

use std::{fmt, str::FromStr};

use async_nats::ServerAddr;
use thiserror::Error;

use super::{Access, StreamOptions};
use crate::event::{ROOT, Reason, Subject};

/// What whoever connects to NATS has to know.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// The server, or the servers of one cluster.
    pub url: NatsUrl,
    /// Who the host is to the server, and how it knows the server.
    pub access: Access,
    /// The first token of every subject on the wire.
    pub prefix: Prefix,
    /// The stream that the host owns, and that takes every event. Without one, streams that others have
    /// made acknowledge what they cover, and the rest goes out over core NATS.
    pub stream: Option<StreamOptions>,
}

impl NatsOptions {
    /// Events under `ennio.>` on this server, without a stream of the host's own.
    pub fn new(url: NatsUrl) -> Self {
        Self { url, access: Access::default(), prefix: Prefix::default(), stream: None }
    }
}

/// The first token of every subject on the wire: 1 to 64 characters of `[A-Za-z0-9_-]`, `ennio`
/// unless said otherwise. Only here does it differ from the token that the host uses inside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prefix(Box<str>);

impl Prefix {
    /// The token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self(ROOT.into())
    }
}

impl FromStr for Prefix {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        // A subject without a dot is one token.
        if text.contains('.') {
            return Err(Reason::BadCharacter { found: '.', allowed: "[A-Za-z0-9_-]" });
        }
        text.parse::<Subject>().map(|token| Self(token.as_str().into()))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One server or, separated by commas, several of one cluster: `nats://host:4222`,
/// `tls://user:password@host`, `nats://token@host`. Shown without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct NatsUrl(Vec<ServerAddr>);

/// Why a text is no NATS URL; shows it without user and password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "NATS URL {url:?}: {reason} (write nats://host:4222, tls://user:password@host:4222, \
     nats://token@host:4222, or several separated by commas)"
)]
pub struct NatsUrlError {
    /// The part at fault.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Whom a URL names.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum InUrl {
    Nobody,
    Token(String),
    User { name: String, password: String },
}

impl NatsUrl {
    /// The server for the `attempt`th attempt: each in its turn.
    pub(super) fn server(&self, attempt: usize) -> Option<&ServerAddr> {
        self.0.iter().cycle().nth(attempt.checked_rem(self.0.len())?)
    }

    /// Whether it says for any of its servers who the host is.
    pub(super) fn names_somebody(&self) -> bool {
        self.0.iter().any(|server| in_url(server) != InUrl::Nobody)
    }

    /// How many servers it names.
    pub(super) fn servers(&self) -> usize {
        self.0.len()
    }
}

/// What the URL says about who the host is. The client library itself ignores it.
pub(super) fn in_url(server: &ServerAddr) -> InUrl {
    match (server.username(), server.password()) {
        (None, None) => InUrl::Nobody,
        (Some(token), None) => InUrl::Token(percent_decoded(token)),
        (name, password) => InUrl::User {
            name: percent_decoded(name.unwrap_or_default()),
            password: percent_decoded(password.unwrap_or_default()),
        },
    }
}

impl FromStr for NatsUrl {
    type Err = NatsUrlError;

    fn from_str(text: &str) -> Result<Self, NatsUrlError> {
        text.split(',').map(|part| server(part.trim())).collect::<Result<_, _>>().map(Self)
    }
}

fn server(text: &str) -> Result<ServerAddr, NatsUrlError> {
    let error = |reason: String| NatsUrlError { url: redacted(text), reason };
    // The library reads an empty text as a host without a name, and fails on it for ever.
    if text.is_empty() {
        return Err(error("empty".into()));
    }
    let server: ServerAddr = text.parse().map_err(|e: std::io::Error| error(e.to_string()))?;
    match server.scheme() {
        "nats" | "tls" if server.host().is_empty() => Err(error("names no host".into())),
        "nats" | "tls" => Ok(server),
        other => Err(error(format!("{other}:// is not supported"))),
    }
}

impl fmt::Display for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, server) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{}", redacted(server.as_url_str()))?;
        }
        Ok(())
    }
}

impl fmt::Debug for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NatsUrl({self})")
    }
}

/// `text` without what stands between its scheme and its host.
pub(super) fn redacted(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    // The last `@`: a password that was not escaped may hold others.
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}{host}")
}

/// `%40` becomes `@`; what is no escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| behind.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = behind.get(if escaped.is_some() { 2.. } else { 0.. }).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_name_several_servers_and_never_shows_its_password() {
        let url: NatsUrl = "nats://bob:s3cr%40t@a:4223, tls://t0ken@b, c".parse().unwrap();
        let shown = format!("{url} {url:?}");
        assert!(shown.starts_with("nats://a:4223,tls://b,nats://c NatsUrl("), "{shown}");
        assert!(!shown.contains("s3cr") && !shown.contains("t0ken") && !shown.contains("bob"));
        let hosts: Vec<_> = (0..4).map(|i| url.server(i).unwrap().host().to_owned()).collect();
        assert_eq!(hosts, ["a", "b", "c", "a"]);
        let of = |i| in_url(url.server(i).unwrap());
        let bob = InUrl::User { name: "bob".into(), password: "s3cr@t".into() };
        assert!(of(0) == bob, "the escape is undone");
        assert!(of(1) == InUrl::Token("t0ken".into()));
        assert!(of(2) == InUrl::Nobody);
    }

    #[test]
    fn what_is_no_nats_url_is_refused_without_showing_its_password() {
        for wrong in
            ["", "http://u:hidden@h", "ws://u:hidden@h", "nats://u:hidden@:x", "a,,b", "nats://"]
        {
            let error = wrong.parse::<NatsUrl>().expect_err(wrong).to_string();
            assert!(!error.contains("hidden"), "{error}");
            assert!(error.contains("write nats://host:4222"), "{error}");
        }
    }

    #[test]
    fn a_prefix_is_one_token() {
        assert_eq!("acme-1".parse::<Prefix>().unwrap().as_str(), "acme-1");
        assert_eq!(Prefix::default().as_str(), "ennio");
        for wrong in ["", "a.b", ">", "*", "a b", "a\r\nPUB x", "é", &"x".repeat(65)] {
            wrong.parse::<Prefix>().expect_err(wrong);
        }
    }
}
