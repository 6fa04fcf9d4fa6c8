//! HTTP requests, through `wasi:http`: for reactions and enrichers, and only to the hosts that the
//! sidecar grants.
//!
//! ```toml
//! [capabilities]
//! http = ["hooks.example.com:443"]
//! ```
//!
//! ```
//! use ennio_plugin::{http, testing};
//!
//! # testing::http(|_| Ok(http::Response::new(204)));
//! # fn post() -> Result<(), http::Error> {
//! let answer = http::post("https://hooks.example.com/builds")
//!     .header("idempotency-key", "0190a0b0-0000-7000-8000-000000000001")
//!     .json(&serde_json::json!({"text": "CI is failing"}))
//!     .send()?;
//! assert!(answer.is_success());
//! # Ok(())
//! # }
//! # post().unwrap();
//! ```
//!
//! Each request has a connection of its own. Redirects are not followed: look at the status and at
//! `answer.header("location")`. A call sends at most 16 requests; bodies are at most 1 MiB either way.
//! In a test, [`testing::http`](crate::testing::http) plays the servers.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host;

/// What a request may take when it does not say: half of what a reaction has by default, so that a
/// slow server is an [`Error::Timeout`], and not the end of the instance.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Begins a request that reads.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// Begins a request that hands something in.
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
}

/// A request on its way; [`send`](Request::send) sends it and waits for the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Whole, `http://` or `https://`; a fragment is not sent.
    pub url: String,
    /// Names and values, in their order. `Host` and `Content-Length` are set by themselves.
    pub headers: Vec<(String, String)>,
    /// Empty for none. At most 1 MiB.
    pub body: Vec<u8>,
    /// From now to the last byte of the answer. 5 seconds unless told otherwise.
    pub timeout: Duration,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Request {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: TIMEOUT,
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to this value as JSON, and `Content-Type` to fit.
    #[expect(
        clippy::expect_used,
        reason = "a value that is not plain data is the author's mistake"
    )]
    pub fn json(self, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("a body is plain data");
        self.header("content-type", "application/json").body(body)
    }

    /// Sets how long all of it may take. The call's own deadline ends it in any case.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the request and waits for the whole answer, whatever its status.
    ///
    /// # Errors
    ///
    /// [`Error`] when there is no answer.
    pub fn send(self) -> Result<Response, Error> {
        let target = Target::of(&self)?;
        host::http(&self, &target)
    }
}

/// A URL in the parts that the host takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) is_tls: bool,
    pub(crate) authority: &'a str,
    /// Begins with `/` or `?`, or is empty.
    pub(crate) path_and_query: &'a str,
}

impl<'a> Target<'a> {
    /// The target of a request that can be sent.
    fn of(request: &'a Request) -> Result<Self, Error> {
        let url = &request.url;
        // Not named: the URL of a webhook is a secret, and this ends in a log.
        let wrong = || Error::Invalid("not a URL that begins with http:// or https://".into());
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong()),
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _fragment)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at(end);
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || !is_plain(rest) {
            return Err(wrong());
        }
        for (name, value) in &request.headers {
            if name.is_empty() || !is_plain(name) || name.contains(':') {
                return Err(Error::Invalid(format!("{name:?} is not the name of a header")));
            }
            if value.bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) {
                return Err(Error::Invalid(format!(
                    "the header {name} has a line break or another control character"
                )));
            }
        }
        Ok(Target { is_tls, authority, path_and_query })
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200, 404, ...
    pub status: u16,
    /// Names and values, in their order; what is not UTF-8 in a value is replaced.
    pub headers: Vec<(String, String)>,
    /// At most 1 MiB; a larger one is an [`Error::Failed`].
    pub body: Vec<u8>,
}

impl Response {
    /// An answer without headers and body, for tests.
    pub fn new(status: u16) -> Self {
        Response { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header, for tests.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body, for tests.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// When it is none, or does not read as the type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The request cannot be sent as it is: its URL, its method or a header. It will not do better
    /// the next time.
    Invalid(String),
    /// The sidecar does not grant this host, or its name resolves to an address inside the host's own
    /// network that is not granted itself. It will not do better until the sidecar changes.
    Denied(String),
    /// There was no whole answer in time.
    Timeout,
    /// Anything else: no such name, no connection, a certificate that is not trusted, a connection
    /// that broke, an answer that is too large.
    Failed(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Invalid(text) | Error::Failed(text) => f.write_str(text),
            Error::Denied(text) => write!(f, "denied: {text}"),
            Error::Timeout => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing;

    fn target(url: &str) -> Option<(bool, String, String)> {
        let request = get(url);
        let target = Target::of(&request).ok()?;
        Some((target.is_tls, target.authority.into(), target.path_and_query.into()))
    }

    #[test]
    fn a_url_is_taken_apart() {
        for (url, is_tls, authority, path) in [
            ("http://a", false, "a", ""),
            ("HTTPS://a:8443/", true, "a:8443", "/"),
            ("https://a/b?c=d#e", true, "a", "/b?c=d"),
            ("http://[::1]:80?q", false, "[::1]:80", "?q"),
        ] {
            assert_eq!(target(url), Some((is_tls, authority.into(), path.into())), "{url}");
        }
        for url in ["", "a", "a/b", "ftp://a", "http://", "http:///b", "http://a b", "http://a/\n"]
        {
            assert_eq!(target(url), None, "{url:?}");
        }
    }

    #[test]
    fn a_header_cannot_smuggle_another_one() {
        let error = get("http://a").header("x", "1\r\nhost: b").send().unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
        let error = get("http://a").header("x: 1\r\ny", "2").send().unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }

    #[test]
    fn without_a_server_everything_is_denied_as_without_a_grant() {
        assert!(matches!(get("http://a").send(), Err(Error::Denied(_))));
    }

    #[test]
    fn a_test_plays_the_server() {
        testing::http(|request| {
            assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "http://a/b"));
            let headers = [("x", "y"), ("content-type", "application/json")];
            assert_eq!(request.headers, headers.map(|(k, v)| (k.to_owned(), v.to_owned())));
            Ok(Response::new(201).with_header("X-Seen", "yes").with_body(request.body.clone()))
        });
        let answer = post("http://a/b").header("x", "y").json(&json!({"n": 1})).send().unwrap();
        assert!(answer.is_success());
        assert_eq!(answer.header("x-seen"), Some("yes"));
        assert_eq!(answer.json::<serde_json::Value>().unwrap(), json!({"n": 1}));
        assert_eq!(answer.text(), "{\"n\":1}");
    }
}
