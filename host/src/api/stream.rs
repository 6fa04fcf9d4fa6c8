//! The log as server-sent events: from a place on, then live, without a gap or a repetition. What is
//! gone when a client comes to it is an event `pruned` of its own, which says how much that is.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::Stream;
use tokio::sync::watch;
use tracing::warn;

use crate::{
    bus::{Subscription, SubscriptionError},
    metrics::Metrics,
};

use super::{
    Api,
    parameters::{Parameters, seq},
    problem::Problem,
};

/// A comment goes out when nothing else has for this long, so that both ends notice a dead
/// connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Before asking the log again after it failed.
const STORE_RETRY: Duration = Duration::from_secs(1);

pub(super) async fn stream(
    State(api): State<Api>,
    headers: HeaderMap,
    query: RawQuery,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let Parameters { query, .. } = Parameters::of_stream(query)?;
    // A client that comes back says where it was; that is newer than the URL it began with.
    let after = match headers.get("last-event-id") {
        Some(id) => Some(seq("Last-Event-ID", id.to_str().unwrap_or_default())?),
        None => query.after_seq,
    };
    let bus = api.host.bus();
    let head = bus.head();
    if let Some(after) = after
        && after > head
    {
        return Err(Problem::parameter(
            "after_seq",
            format!(
                "{after} is past the end of the log, which is at {head} (is this the host that you were following?)"
            ),
        ));
    }
    let events = match after {
        Some(after) => bus.subscribe_after(query.selection, after),
        None => bus.subscribe(query.selection),
    };
    let live = Live::new(events, watch::Receiver::clone(&api.closing), api.host.metrics().clone());
    let stream = futures::stream::unfold(live, |mut live| async move {
        let event = live.next().await?;
        Some((Ok(event), live))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// One client's stream; counted while it lives.
struct Live {
    events: Subscription,
    closing: watch::Receiver<bool>,
    metrics: Metrics,
}

impl Live {
    fn new(events: Subscription, closing: watch::Receiver<bool>, metrics: Metrics) -> Self {
        metrics.streams.inc();
        Self { events, closing, metrics }
    }

    /// `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let next = tokio::select! {
                next = self.events.next() => next,
                _ = self.closing.wait_for(|closing| *closing) => return None,
            };
            match next {
                // Both are free of line breaks: a number, and JSON on one line.
                Ok(entry) => {
                    return Some(Event::default().id(entry.seq.to_string()).data(entry.json()));
                }
                Err(SubscriptionError::Closed) => return None,
                // With an id: a client that comes back is not told again.
                Err(SubscriptionError::Pruned(gap)) => {
                    let gone = serde_json::to_string(&gap).unwrap_or_default();
                    return Some(
                        Event::default().event("pruned").id(gap.to.to_string()).data(gone),
                    );
                }
                Err(SubscriptionError::Store(e)) => {
                    warn!("a stream waits, the log cannot be read: {e}");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.metrics.streams.dec();
    }
}
