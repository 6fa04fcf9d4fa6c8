//! HTTP for guests: `wasi:http/outgoing-handler`, to the destinations that the sidecar grants.
//!
//! A request is checked by its authority before anything happens; a name is resolved here, once, and
//! the connection goes to an address that was checked, so that no second resolution can answer
//! something else. Redirects are not followed: the guest's next request is checked like any other.
//! Connections are not kept: each request has one of its own, which ends with the call at the latest.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, Uri,
    body::Incoming,
    client::conn::http1,
    http::uri::{PathAndQuery, Scheme},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, ClientConfig, RootCertStore, pki_types::ServerName},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks, io::TokioIo,
};

use super::{
    address::{AllowList, Destination},
    capabilities::{Denials, DenialsInCall},
    recorded::Recorded,
};

/// Requests of one call, those that failed included.
const REQUESTS_A_CALL: u32 = 16;
/// From the name to a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// Headers of a response, and what hyper reads ahead of a body, in bytes.
const RESPONSE_HEAD: usize = 64 << 10;
/// One body, either way, in bytes.
const BODY: usize = 1 << 20;
/// Headers of one request as they lie in memory, in bytes. A guest may hold several hundred.
const REQUEST_HEAD: usize = 16 << 10;
/// What a guest writes of a body in one go, in bytes. Two such pieces may wait for the network.
const BODY_PIECE: usize = 16 << 10;
/// Names that are resolved at once for one plugin. The operating system's resolver holds a thread,
/// and cannot be interrupted when a call ends.
const LOOKUPS: usize = 4;

type Body = WasiBody;
type Answer = (Response<Body>, Box<dyn Future<Output = Result<(), Error>> + Send>);
type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// What one version of a plugin may reach, and the way there. Shared by its instances.
pub(super) struct Client {
    allowed: AllowList,
    resolve: Resolve,
    lookups: Arc<Semaphore>,
}

impl Client {
    pub(super) fn new(granted: &[Destination]) -> Self {
        let client = Self {
            allowed: AllowList::new(granted),
            resolve: |host, port| Ok((host, port).to_socket_addrs()?.collect()),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        };
        if !client.allowed.is_empty() {
            // Reading certificates takes a while: now, and not within somebody's call.
            tls();
        }
        client
    }

    /// Where `uri` leads.
    fn destination(uri: &Uri) -> Result<Destination, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        if authority.as_str().contains('@') {
            // It would go out in the `Host` header.
            return Err(Error::HttpRequestUriInvalid);
        }
        let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None => default,
        };
        Destination::new(authority.host(), port).ok_or(Error::HttpRequestUriInvalid)
    }

    /// The addresses of `destination` that may be connected to.
    async fn addresses(
        &self,
        destination: &Destination,
        call: &Call,
    ) -> Result<Vec<SocketAddr>, Error> {
        let resolved = match destination.address() {
            Some(address) => vec![address],
            None => self.look_up(destination).await?,
        };
        let mut refused = None;
        let mut admitted = Vec::new();
        for address in resolved {
            match self.allowed.admits(destination, address.ip()) {
                Ok(()) => admitted.push(address),
                Err(kind) => refused = Some((address.ip(), kind)),
            }
        }
        match refused {
            Some((ip, kind)) if admitted.is_empty() => {
                let port = destination.port();
                let itself = SocketAddr::new(ip, port);
                call.deny(&format!(
                    "http: {destination} resolves to {ip}, which is {kind} (add \"{itself}\" to \
                     [capabilities] http if it is meant)"
                ));
                Err(Error::DestinationIpProhibited)
            }
            _ if admitted.is_empty() => Err(Error::DestinationNotFound),
            _ => Ok(admitted),
        }
    }

    async fn look_up(&self, destination: &Destination) -> Result<Vec<SocketAddr>, Error> {
        let unknown = |e: String| {
            debug!("{destination} cannot be resolved: {e}");
            Error::DnsError { rcode: Some(e), info_code: None }
        };
        let turn = Arc::clone(&self.lookups).acquire_owned().await;
        let turn = turn.map_err(|e| unknown(e.to_string()))?;
        let (host, port, resolve) = (destination.host(), destination.port(), self.resolve);
        let found = tokio::task::spawn_blocking(move || {
            let found = resolve(&host, port);
            // Not before: this thread is what there must not be too many of.
            drop(turn);
            found
        });
        found.await.map_err(|e| unknown(e.to_string()))?.map_err(|e| unknown(e.to_string()))
    }

    async fn connect(
        &self,
        destination: &Destination,
        is_tls: bool,
        call: &Call,
    ) -> Result<Box<dyn Stream>, Error> {
        let mut last = Error::DestinationNotFound;
        for address in self.addresses(destination, call).await? {
            match TcpStream::connect(address).await {
                Ok(stream) if is_tls => return secure(destination, stream).await,
                Ok(stream) => return Ok(Box::new(stream)),
                Err(e) => {
                    debug!("{destination}: {address}: {e}");
                    last = match e.kind() {
                        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
                        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
                        _ => Error::DestinationUnavailable,
                    };
                }
            }
        }
        Err(last)
    }

    async fn exchange(
        self: Arc<Self>,
        destination: Destination,
        request: Request<Body>,
        options: RequestOptions,
        call: Arc<Call>,
    ) -> Result<Answer, Error> {
        let is_tls = request.uri().scheme() == Some(&Scheme::HTTPS);
        let patience = options.connect_timeout.unwrap_or(CONNECT).min(CONNECT);
        let stream = timeout(patience, self.connect(&destination, is_tls, &call))
            .await
            .map_err(|_| Error::ConnectionTimeout)??;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(RESPONSE_HEAD)
            .handshake::<_, Body>(TokioIo::new(stream))
            .await
            .map_err(|e| failure(&destination, &e))?;
        let ended = call.ended.clone();
        let driver = wasmtime_wasi::runtime::spawn(async move {
            // How it went is what the request or the body says.
            ended.run_until_cancelled(connection).await.map(|_| ())
        });
        let request = to_send(request)?;
        let answer = sender.send_request(request);
        let answer = match options.first_byte_timeout {
            Some(patience) => {
                timeout(patience, answer).await.map_err(|_| Error::ConnectionReadTimeout)?
            }
            None => answer.await,
        };
        let answer = answer.map_err(|e| failure(&destination, &e))?;
        let answer = answer.map(|body| bounded(body, destination));
        // The connection lives as long as the guest holds the response.
        Ok((
            answer,
            Box::new(async move {
                driver.await;
                Ok(())
            }),
        ))
    }
}

/// The request in the form in which it goes to a server, its body bounded.
fn to_send(request: Request<Body>) -> Result<Request<Body>, Error> {
    let (mut parts, body) = request.into_parts();
    // An authority in the request line is for proxies.
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    parts.uri =
        Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
    let body = Limited::new(body, BODY).map_err(|e| match e.downcast::<Error>() {
        Ok(e) => *e,
        Err(_) => Error::HttpRequestBodySize(Some(BODY as u64)),
    });
    Ok(Request::from_parts(parts, body.boxed_unsync()))
}

/// The recorded answer, once the guest has said all of its request.
async fn from_memory(
    recorded: Arc<Recorded>,
    request: Request<Body>,
    call: Arc<Call>,
) -> Result<Answer, Error> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    to_send(request)?.into_body().collect().await?;
    let Some(answer) = recorded.answer(&method, &uri) else {
        call.deny(&format!("http: {method} {uri} has no recorded answer"));
        return Err(Error::HttpRequestDenied);
    };
    let answer = answer.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync());
    Ok((answer, Box::new(std::future::ready(Ok(())))))
}

fn bounded(body: Incoming, destination: Destination) -> Body {
    let body = Limited::new(body, BODY).map_err(move |e| match e.downcast::<hyper::Error>() {
        Ok(e) => failure(&destination, &e),
        Err(e) if e.is::<LengthLimitError>() => Error::HttpResponseBodySize(Some(BODY as u64)),
        Err(e) => Error::InternalError(Some(e.to_string())),
    });
    body.boxed_unsync()
}

/// What hyper says, as the guest is told.
fn failure(destination: &Destination, error: &hyper::Error) -> Error {
    debug!("{destination}: {error:?}");
    let source = std::error::Error::source(error);
    if let Some(Error::HttpRequestBodySize(size)) = source.and_then(|e| e.downcast_ref()) {
        return Error::HttpRequestBodySize(*size);
    }
    let io = source.and_then(|source| source.downcast_ref::<io::Error>());
    match error {
        e if e.is_parse_too_large() => Error::HttpResponseHeaderSectionSize(None),
        e if e.is_incomplete_message() => Error::HttpResponseIncomplete,
        _ if io.is_some_and(|e| e.kind() == io::ErrorKind::UnexpectedEof) => {
            Error::HttpResponseIncomplete
        }
        e if e.is_closed() || e.is_canceled() || io.is_some() => Error::ConnectionTerminated,
        _ => Error::HttpProtocolError,
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn secure(destination: &Destination, stream: TcpStream) -> Result<Box<dyn Stream>, Error> {
    let name =
        ServerName::try_from(destination.host()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let config = tls().ok_or(Error::ConfigurationError)?;
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(e) => {
            debug!("{destination}: {e}");
            let cause = e.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
            Err(match cause {
                Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
                Some(_) => Error::TlsProtocolError,
                None => Error::ConnectionTerminated,
            })
        }
    }
}

/// One setting for all plugins, over the roots of the operating system (or of `SSL_CERT_FILE`).
fn tls() -> Option<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (known, _) = roots.add_parsable_certificates(found.certs);
        if known == 0 {
            warn!(
                "no certificate roots on this machine, so plugins cannot use https (install \
                 ca-certificates, or set SSL_CERT_FILE): {:?}",
                found.errors
            );
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        match builder.with_safe_default_protocol_versions() {
            Ok(builder) => {
                Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
            }
            Err(e) => {
                warn!("TLS cannot be set up, so plugins cannot use https: {e}");
                None
            }
        }
    });
    config.clone()
}

/// One call, as far as HTTP is concerned.
struct Call {
    /// Why no request is allowed in this call, whatever is granted.
    forbidden: Option<&'static str>,
    requests: AtomicU32,
    denied: DenialsInCall,
    denials: Arc<Denials>,
    ended: CancellationToken,
}

impl Call {
    fn is_untouched(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0 && self.denied.is_none()
    }

    fn deny(&self, what: &str) {
        self.denials.tell(&self.denied, what);
    }
}

/// One instance's side of HTTP.
pub(super) struct Http {
    client: Arc<Client>,
    denials: Arc<Denials>,
    /// Answers in the place of the network.
    recorded: Option<Arc<Recorded>>,
    call: Arc<Call>,
}

impl Http {
    pub(super) fn new(
        client: Arc<Client>,
        denials: Arc<Denials>,
        recorded: Option<Arc<Recorded>>,
    ) -> Self {
        let call = Self::call(&denials, Some("before the first event"));
        Self { client, denials, recorded, call }
    }

    pub(super) fn context() -> WasiHttpCtx {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(REQUEST_HEAD);
        context
    }

    /// A new call begins; `forbidden` says why it may send no requests, whatever is granted.
    pub(super) fn begin_call(&mut self, forbidden: Option<&'static str>) {
        match Arc::get_mut(&mut self.call) {
            // Most calls ask for nothing, and should cost nothing.
            Some(call) if call.is_untouched() => call.forbidden = forbidden,
            _ => {
                self.end_call();
                self.call = Self::call(&self.denials, forbidden);
            }
        }
    }

    /// How many requests the call has sent.
    pub(super) fn requests(&self) -> u32 {
        self.call.requests.load(Ordering::Relaxed).min(REQUESTS_A_CALL)
    }

    /// What the call has not finished is broken off.
    pub(super) fn end_call(&self) {
        if !self.call.is_untouched() {
            self.call.ended.cancel();
        }
    }

    fn call(denials: &Arc<Denials>, forbidden: Option<&'static str>) -> Arc<Call> {
        Arc::new(Call {
            forbidden,
            requests: AtomicU32::new(0),
            denied: DenialsInCall::default(),
            denials: Arc::clone(denials),
            ended: CancellationToken::new(),
        })
    }

    /// Where the request may go.
    fn admit(&self, request: &Request<Body>) -> Result<Destination, Error> {
        let destination = Client::destination(request.uri())?;
        if request.method() == Method::CONNECT {
            return Err(Error::HttpRequestMethodInvalid);
        }
        if let Some(reason) = self.call.forbidden {
            self.call.deny(&format!("http: {destination}: no requests {reason}"));
            return Err(Error::HttpRequestDenied);
        }
        if !self.client.allowed.grants(&destination) {
            self.call.deny(&format!(
                "http: {destination} is not granted (add \"{destination}\" to [capabilities] http)"
            ));
            return Err(Error::HttpRequestDenied);
        }
        match self.call.requests.fetch_add(1, Ordering::Relaxed) {
            before if before < REQUESTS_A_CALL => Ok(destination),
            _ => Err(Error::ConnectionLimitReached),
        }
    }
}

impl WasiHttpHooks for Http {
    fn send_request(
        &mut self,
        request: Request<Body>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, Error>> + Send> {
        let destination = match self.admit(&request) {
            Ok(destination) => destination,
            Err(e) => return Box::new(std::future::ready(Err(e))),
        };
        let options = options.unwrap_or_default();
        let call = Arc::clone(&self.call);
        let ended = call.ended.clone();
        if let Some(recorded) = self.recorded.clone() {
            let answer = from_memory(recorded, request, call);
            return Box::new(async move {
                ended.run_until_cancelled(answer).await.unwrap_or(Err(Error::ConnectionTerminated))
            });
        }
        let client = Arc::clone(&self.client);
        Box::new(async move {
            let exchange = client.exchange(destination, request, options, call);
            ended.run_until_cancelled(exchange).await.unwrap_or(Err(Error::ConnectionTerminated))
        })
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        1
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_PIECE
    }
}

#[cfg(test)]
mod tests;
