//! The host's HTTP API, and the one place that makes error texts of what can go wrong with it.

use std::{error::Error as _, io, net::IpAddr, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use eventsource_stream::{EventStreamError, Eventsource as _};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use thiserror::Error;

use super::answers::Problem;

/// Where a host answers that was told nothing else.
pub(super) const DEFAULT_URL: &str = "http://127.0.0.1:7117";
/// A host that takes longer to answer a connection is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A host that is silent for longer, within an answer or a stream, is away: streams carry a
/// comment at least every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// Which host to talk to.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Connection {
    /// Where the host answers; http only, put a proxy or tunnel in front for TLS
    #[arg(long, env = "ENNIO_URL", value_name = "URL", value_parser = parse_url)]
    #[arg(default_value = DEFAULT_URL)]
    url: Url,
    /// The host's bearer token; better given as ENNIO_TOKEN, since flags can be seen by others
    #[arg(long, env = "ENNIO_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
}

fn parse_url(text: &str) -> Result<Url, String> {
    let example = "give an address like http://127.0.0.1:7117";
    let url = Url::parse(text).map_err(|error| format!("{error} ({example})"))?;
    match url.scheme() {
        "http" if !url.username().is_empty() || url.password().is_some() => {
            Err("names a user (hand a token over with --token)".into())
        }
        "http" if url.has_host() => Ok(url),
        "https" => Err("https is not spoken here (let a proxy or tunnel do TLS)".into()),
        other => Err(format!("{other}: is not http:// ({example})")),
    }
}

/// Why a request got no good answer.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    /// No connection could be made. `reason` is empty for the plain case, nobody listening.
    #[error(
        "no host answers at {url}{reason} (start one with `ennio serve`, or name another with --url)"
    )]
    Unreachable { url: String, reason: String },
    /// The connection ended before the answer did.
    #[error("the host at {url} broke off: {reason}")]
    Broken { url: String, reason: String },
    /// The host says what is wrong.
    #[error("{problem}{hint}")]
    Refused { status: StatusCode, problem: Problem, hint: &'static str },
    /// Something answers that is no Ennio host, or one of another time.
    #[error(
        "{url} answers {status} with something that is no answer of an Ennio host: {reason} (is --url right, and the host's version?)"
    )]
    Strange { url: String, status: StatusCode, reason: String },
    /// The token cannot be sent.
    #[error(
        "the token holds a character that no HTTP header can carry (check --token and ENNIO_TOKEN)"
    )]
    Token,
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    SetUp(String),
}

impl ClientError {
    /// Whether the same request may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Refused { status, .. } | Self::Strange { status, .. } => is_passing(*status),
            Self::Token | Self::SetUp(_) => false,
        }
    }
}

/// Whether an answer of this status speaks of the moment, not of the request.
pub(super) fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Waits between two tries: from 0.1 to 5 seconds, doubled each time, with jitter, without end.
pub(super) fn waits() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times()
        .with_jitter()
        .build()
}

/// A query string, in order.
pub(super) type Params = Vec<(&'static str, String)>;

/// One message of a stream.
pub(super) type Message = eventsource_stream::Event;

/// A client of one host.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    pub(super) fn new(connection: &Connection) -> Result<Self, ClientError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = connection.token.as_deref().filter(|token| !token.is_empty()) {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| ClientError::Token)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("ennio/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE);
        if is_loopback(&connection.url) {
            // A proxy's own loopback is another machine.
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| ClientError::SetUp(root(&error)))?;
        Ok(Self { http, base: connection.url.clone() })
    }

    /// The host's address, as people write it.
    pub(super) fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        params: &Params,
    ) -> Result<T, ClientError> {
        let response = self.send(self.request(Method::GET, path).query(params)).await?;
        let status = response.status();
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|error| self.strange(status, error.to_string()))
    }

    /// What lies at a path, as it is.
    pub(super) async fn get_bytes<P: AsRef<str>>(
        &self,
        path: &[P],
    ) -> Result<Vec<u8>, ClientError> {
        let response = self.send(self.request(Method::GET, path)).await?;
        self.body(response).await
    }

    pub(super) async fn put<P: AsRef<str>>(
        &self,
        path: &[P],
        body: Vec<u8>,
    ) -> Result<(), ClientError> {
        let request = self.request(Method::PUT, path);
        let request = request.header(CONTENT_TYPE, "application/octet-stream").body(body);
        self.send(request).await.map(drop)
    }

    pub(super) async fn delete<P: AsRef<str>>(&self, path: &[P]) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, path)).await.map(drop)
    }

    /// Deletes what is chosen, and says what became of it.
    pub(super) async fn delete_some<T: DeserializeOwned, P: AsRef<str>>(
        &self,
        path: &[P],
        params: &Params,
    ) -> Result<T, ClientError> {
        let response = self.send(self.request(Method::DELETE, path).query(params)).await?;
        let status = response.status();
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|error| self.strange(status, error.to_string()))
    }

    /// Posts lines of JSON.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        params: &Params,
        lines: Vec<u8>,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::POST, path).query(params);
        let request = request.header(CONTENT_TYPE, "application/x-ndjson").body(lines);
        let response = self.send(request).await?;
        let status = response.status();
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|error| self.strange(status, error.to_string()))
    }

    /// Sends lines of JSON, one event each. The answer has a receipt or a problem for each, in
    /// their order.
    pub(super) async fn publish(&self, lines: &[&str]) -> Result<Vec<Box<RawValue>>, ClientError> {
        #[derive(Deserialize)]
        struct Many {
            results: Vec<Box<RawValue>>,
        }
        let mut body = lines.join("\n");
        body.push('\n');
        let request = self
            .request(Method::POST, &["events"])
            .header(CONTENT_TYPE, "application/x-ndjson")
            .body(body);
        let response = self.send(request).await?;
        let status = response.status();
        let body = self.body(response).await?;
        let results = match serde_json::from_slice::<Many>(&body) {
            Ok(many) => many.results,
            Err(_) => serde_json::from_slice(&body)
                .map(|one| vec![one])
                .map_err(|error| self.strange(status, error.to_string()))?,
        };
        match results.len() == lines.len() {
            true => Ok(results),
            false => {
                let reason = format!("{} results for {} events", results.len(), lines.len());
                Err(self.strange(status, reason))
            }
        }
    }

    /// Opens the stream of events.
    pub(super) async fn stream(
        &self,
        params: &Params,
    ) -> Result<impl Stream<Item = Result<Message, ClientError>> + Unpin + use<>, ClientError> {
        let request = self
            .request(Method::GET, &["events", "stream"])
            .header(ACCEPT, "text/event-stream")
            .query(params);
        let response = self.send(request).await?;
        let is_stream = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        if !is_stream {
            return Err(self.strange(response.status(), "no event stream".into()));
        }
        let url = self.url().to_owned();
        let messages = response.bytes_stream().eventsource().map_err(move |error| {
            let reason = match error {
                EventStreamError::Transport(error) => root(&error),
                EventStreamError::Utf8(error) => error.to_string(),
                EventStreamError::Parser(_) => "not an event stream".into(),
            };
            ClientError::Broken { url: url.clone(), reason }
        });
        Ok(messages.boxed())
    }

    fn request<P: AsRef<str>>(&self, method: Method, path: &[P]) -> RequestBuilder {
        let mut url = self.base.clone();
        // Only addresses that cannot have a path have none, and http is not among them.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        self.http.request(method, url)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.body(response).await?;
        let problem: Problem = serde_json::from_slice(&body)
            .map_err(|_| self.strange(status, "an error without a problem description".into()))?;
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                " (the host's token goes into --token or ENNIO_TOKEN)"
            }
            _ => "",
        };
        Err(ClientError::Refused { status, problem, hint })
    }

    async fn body(&self, response: Response) -> Result<Vec<u8>, ClientError> {
        response.bytes().await.map(Into::into).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &reqwest::Error) -> ClientError {
        let url = self.url().to_owned();
        if !error.is_connect() {
            return ClientError::Broken { url, reason: root(error) };
        }
        let reason = match is_refused(error) {
            true => String::new(),
            false => format!(": {}", root(error)),
        };
        ClientError::Unreachable { url, reason }
    }

    fn strange(&self, status: StatusCode, reason: String) -> ClientError {
        ClientError::Strange { url: self.url().to_owned(), status, reason }
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// The innermost reason: the layers around it repeat the address.
fn root(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".into();
    }
    sources(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

fn is_refused(error: &reqwest::Error) -> bool {
    sources(error)
        .filter_map(|source| source.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn sources(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |source| (*source).source())
}
