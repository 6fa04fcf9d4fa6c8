//! REST, SSE and metrics under `/v1`, on one HTTP server.
//!
//! `server` accepts connections and ends them in order; `guard` decides who may ask at all; one
//! file a group of routes; `problem` is the one place where an error becomes an answer.
//!
//! Knows all rooms but the CLI. May not hold state of its own: what it tells, the host knows.

mod body;
mod control;
mod dashboard;
mod dead_letters;
mod events;
mod guard;
mod observe;
mod parameters;
mod problem;
mod publish;
mod refused;
mod replay;
mod server;
mod state;
mod stats;
mod stream;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use tokio::sync::watch;

pub use guard::{Guard, GuardError, Token};
pub use server::{Server, ServerError};

use crate::host::Host;

/// The largest JSON body, in bytes. The largest event fits four times over; many events are sent as
/// NDJSON, which is streamed.
const JSON_BODY_BYTES: usize = 1 << 20;

/// What every route can see.
#[derive(Clone)]
struct Api {
    host: Arc<Host>,
    /// Turns true when the server is going down: streams end then. Shared, since a receiver is dear
    /// to clone, and each request clones what routes can see.
    closing: Arc<watch::Receiver<bool>>,
}

/// Every route, behind the guard.
fn router(host: Arc<Host>, guard: Guard, closing: watch::Receiver<bool>) -> Router {
    let api = Api { host, closing: Arc::new(closing) };
    let guard = Arc::new(guard);
    Router::new()
        .route("/v1/events", post(publish::publish).get(events::list))
        .route("/v1/events/stats", get(stats::stats))
        .route("/v1/events/stream", get(stream::stream))
        .route("/v1/events/{id}", get(events::one))
        .route("/v1/events/{id}/trace", get(events::trace))
        .route("/v1/plugins", get(observe::plugins))
        .route("/v1/plugins/{name}/{command}", post(control::plugin))
        .route("/v1/plugins/{name}/replay", post(replay::replay))
        .route("/v1/plugins/{name}/state", get(state::usage))
        .route("/v1/plugins/{name}/state/{bucket}", get(state::export).post(state::import))
        .route(
            "/v1/plugins/{name}/state/{bucket}/{key}",
            get(state::get).put(state::put).delete(state::delete),
        )
        .route("/v1/dead-letters", get(dead_letters::list).delete(dead_letters::discard))
        .route("/v1/dead-letters/retry", post(dead_letters::retry))
        .route("/v1/dead-letters/refused", get(refused::list).delete(refused::discard))
        .route("/v1/dead-letters/refused/{id}", get(refused::one).delete(refused::discard_one))
        .route("/v1/dead-letters/{id}", get(dead_letters::one).delete(dead_letters::discard_one))
        .route("/v1/dead-letters/{id}/retry", post(dead_letters::retry_one))
        .route("/v1/dashboard", get(dashboard::dashboard))
        .route("/v1/status", get(observe::status))
        .route("/healthz", get(observe::healthz))
        .route("/readyz", get(observe::readyz))
        .route("/metrics", get(observe::metrics))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(move |request, next| {
            guard::check(Arc::clone(&guard), request, next)
        }))
        .with_state(api)
}
