//! The accept loop: our own, since it sets what a public face needs. A client that dribbles its
//! headers is cut off, connections are counted, and on shutdown each one ends after its answer.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::{debug, warn};

use super::{Guard, router};
use crate::host::Host;

/// A request's headers have to be here within this time.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// One connection's read buffer, in bytes, and so the most that a request's headers may take.
const BUFFER_BYTES: usize = 64 << 10;
/// The most headers of a request.
const HEADERS: usize = 64;
/// The most connections at once; further ones wait.
const CONNECTIONS: usize = 1024;
/// How long a shutdown waits for answers that are under way.
const DRAIN: Duration = Duration::from_secs(10);
/// Before accepting again when the process has no file descriptor left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Why the server does not start.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Somebody else listens there.
    #[error("{address} is in use (stop what listens there, or name another with --listen)")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be used.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Reserves `address`, so that a second host notices before it opens anything.
    ///
    /// # Errors
    /// [`ServerError`] when it cannot be reserved.
    pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
        TcpListener::bind(address).await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ServerError::InUse { address },
            _ => ServerError::Bind { address, source },
        })
    }

    /// Answers on `listener`.
    ///
    /// # Errors
    /// [`ServerError::Bind`] when the listener has no address.
    pub fn start(
        listener: TcpListener,
        host: Arc<Host>,
        guard: Guard,
    ) -> Result<Self, ServerError> {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let address = listener
            .local_addr()
            .map_err(|source| ServerError::Bind { address: unknown, source })?;
        let (closing, closed) = watch::channel(false);
        let router = router(host, guard, closed.clone());
        let task = tokio::spawn(accept(listener, router, closed));
        Ok(Self { address, closing, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets answers under way end for at most ten seconds, ends streams.
    pub async fn stop(self) {
        self.closing.send_replace(true);
        if let Err(e) = self.task.await {
            warn!("the HTTP server ended badly: {e}");
        }
    }
}

async fn accept(listener: TcpListener, router: axum::Router, mut closing: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            } => accepted,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        let (stream, place) = match accepted {
            (Ok((stream, _)), Ok(place)) => (stream, place),
            (Err(e), _) => {
                warn!("cannot accept a connection: {e}");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
            (_, Err(_)) => break,
        };
        // Answers are small and wanted at once.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(BUFFER_BYTES)
            .max_headers(HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                debug!("a connection ended: {e}");
            }
            drop(place);
        });
    }
    drop(listener);
    if timeout(DRAIN, graceful.shutdown()).await.is_err() {
        warn!("some requests did not end within {} s and were cut off", DRAIN.as_secs());
    }
}
