//! What every promise needs: a host to run and kill, a client, components, patience.

mod checker;
mod guests;
mod host;
mod http;
#[allow(dead_code, reason = "`cargo bench` prints what the tests leave unread")]
pub mod reloading;
mod server;
pub mod wat;

use std::time::{Duration, Instant};

pub use checker::{Checker, Fault};
pub use guests::{Plugins, guest};
pub use host::{Host, Setup, ennio};
pub use http::{event, numbered};
pub use server::{Reply, Server};

/// How long anything may take before a test gives up on it. Generous: a busy machine is no fault.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until `condition` gives something.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
