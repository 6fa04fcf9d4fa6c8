//! Recorded answers to HTTP requests: what a plugin that is only tried hears in the place of a
//! network. The same request always has the same answer.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Response, StatusCode, Uri,
    header::{HeaderName, HeaderValue},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use thiserror::Error;

use crate::strict_toml;

/// The largest body of an answer, in bytes, as of one from a network.
const BODY: usize = 1 << 20;

/// Answers by method and URL.
#[derive(Debug, Default)]
pub struct Recorded(HashMap<(Method, String), Reply>);

/// Why a file holds no recorded answers.
#[derive(Debug, Error)]
pub enum RecordedError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Toml(#[from] strict_toml::TomlError),
    /// The same request has two answers.
    #[error("{}: {request} is answered twice (one answer for a method and URL)", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// `GET http://…`.
        request: String,
    },
}

/// The file: `[[answer]]` as often as need be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    answer: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// `GET` unless given.
    #[serde(default, deserialize_with = "method")]
    method: Method,
    /// Whole, with its query.
    #[serde(deserialize_with = "url")]
    url: Uri,
    /// 200 unless given.
    #[serde(default, deserialize_with = "status")]
    status: StatusCode,
    #[serde(default, deserialize_with = "headers")]
    headers: HeaderMap,
    #[serde(default, deserialize_with = "body")]
    body: Bytes,
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Recorded {
    /// Reads the file at `path`: TOML, an `[[answer]]` for each request, with `method` (`GET` unless
    /// given), `url`, `status` (200 unless given), `headers` and `body` (at most 1 MiB).
    ///
    /// # Errors
    /// [`RecordedError`] when it cannot be read, or is wrong.
    pub fn read(path: &Path) -> Result<Self, RecordedError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| RecordedError::Read { path: path.into(), source })?;
        let file: File = strict_toml::from_str(&text, path)?;
        let mut replies = HashMap::new();
        for Entry { method, url, status, headers, body } in file.answer {
            let request = (method, url.to_string());
            let twice = format!("{} {}", request.0, request.1);
            if replies.insert(request, Reply { status, headers, body }).is_some() {
                return Err(RecordedError::Twice { path: path.into(), request: twice });
            }
        }
        Ok(Self(replies))
    }

    /// The answer to a request; `None` when none is recorded.
    pub(super) fn answer(&self, method: &Method, uri: &Uri) -> Option<Response<Bytes>> {
        let Reply { status, headers, body } = self.0.get(&(method.clone(), uri.to_string()))?;
        let mut response = Response::new(body.clone());
        *response.status_mut() = *status;
        *response.headers_mut() = headers.clone();
        Some(response)
    }
}

fn method<'de, D: Deserializer<'de>>(from: D) -> Result<Method, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn url<'de, D: Deserializer<'de>>(from: D) -> Result<Uri, D::Error> {
    let text = String::deserialize(from)?;
    let url: Uri = text.parse().map_err(|e| D::Error::custom(format!("{text:?}: {e}")))?;
    match url.scheme_str() {
        Some("http" | "https") => Ok(url),
        _ => Err(D::Error::custom(format!("{text:?} is no whole URL (http:// or https://)"))),
    }
}

fn status<'de, D: Deserializer<'de>>(from: D) -> Result<StatusCode, D::Error> {
    let code = u16::deserialize(from)?;
    StatusCode::from_u16(code).map_err(|_| D::Error::custom(format!("{code} is no HTTP status")))
}

fn headers<'de, D: Deserializer<'de>>(from: D) -> Result<HeaderMap, D::Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in BTreeMap::<String, String>::deserialize(from)? {
        let fault = |e: String| D::Error::custom(format!("header {name:?}: {e}"));
        let key = HeaderName::try_from(&*name).map_err(|e| fault(e.to_string()))?;
        headers.insert(key, HeaderValue::try_from(value).map_err(|e| fault(e.to_string()))?);
    }
    Ok(headers)
}

fn body<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(from)?;
    match text.len() {
        0..=BODY => Ok(text.into()),
        bytes => Err(D::Error::custom(format!("{bytes} bytes, at most {BODY} are allowed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Recorded, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Recorded::read(file.path()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_request_is_answered_by_its_method_and_url() {
        let recorded = read(
            r#"
            [[answer]]
            url = "https://api.example.com/team?of=atlas"
            headers = { content-type = "application/json" }
            body = '{"team":"core"}'
            [[answer]]
            method = "POST"
            url = "http://api.example.com"
            status = 503
            "#,
        )
        .unwrap();
        let answer = |method, url: &str| recorded.answer(&method, &url.parse().unwrap());
        let team = answer(Method::GET, "https://api.example.com/team?of=atlas").unwrap();
        assert_eq!((team.status().as_u16(), &team.body()[..]), (200, &br#"{"team":"core"}"#[..]));
        assert_eq!(team.headers()["content-type"], "application/json");
        let posted = answer(Method::POST, "http://api.example.com/").unwrap();
        assert_eq!((posted.status().as_u16(), posted.body().len()), (503, 0));
        assert!(answer(Method::GET, "https://api.example.com/team").is_none());
        assert!(answer(Method::PUT, "http://api.example.com/").is_none());
    }

    #[test]
    fn a_wrong_file_says_where_and_why() {
        for (text, reason) in [
            ("[[answer]]\nurl = \"/team\"", "line 2: \"/team\" is no whole URL"),
            ("[[answer]]\nurl = \"http://a/\"\nstatus = 7", "line 3: 7 is no HTTP status"),
            (
                "[[answer]]\nurl = \"http://a/\"\nstat = 7",
                "unknown key `stat` (did you mean `status`?)",
            ),
            (
                "[[answer]]\nurl = \"http://a\"\n[[answer]]\nurl = \"http://a/\"",
                "GET http://a/ is answered twice",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
