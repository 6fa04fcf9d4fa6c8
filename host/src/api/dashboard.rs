//! Changes as server-sent events: what NATS has on `ennio.dashboard.*`, from now on.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::Stream;
use tokio::sync::watch;

use super::Api;
use crate::dashboard::Listener;

/// A comment goes out when nothing else has for this long, so that both ends notice a dead
/// connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) async fn dashboard(
    State(api): State<Api>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = api.host.board().listen();
    let closing = watch::Receiver::clone(&api.closing);
    let stream =
        futures::stream::unfold((changes, closing), |(mut changes, mut closing)| async move {
            let event = next(&mut changes, &mut closing).await?;
            Some((Ok(event), (changes, closing)))
        });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

/// `None` ends the stream.
async fn next(changes: &mut Listener, closing: &mut watch::Receiver<bool>) -> Option<Event> {
    let notice = tokio::select! {
        notice = changes.next() => notice?,
        _ = closing.wait_for(|closing| *closing) => return None,
    };
    let json = serde_json::to_string(&notice).unwrap_or_default();
    Some(Event::default().event(notice.change.action()).data(json))
}
