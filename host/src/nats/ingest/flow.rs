//! Keeps the pipeline busy with what comes in: a lone message goes at once, what comes in the meantime
//! goes together, and several groups are on their way at the same time, in order.

use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _, stream::FuturesOrdered};
use tokio::time::timeout;
use tracing::warn;

use crate::nats::{
    connection::{Connection, Heard},
    retry::End,
    service::{Stop, asked_to_stop},
};

/// The most messages of one group: the pipeline's own batch.
const GROUP: usize = 512;
/// The same, in bytes.
const GROUP_BYTES: usize = 4 << 20;
/// Groups on their way at once: plugins work on one while others are committed and acknowledged.
const IN_FLIGHT: usize = 4;
/// How long what was taken may take to be finished, once it is time to end.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// Messages that were read and are not yet on their way.
struct Waiting<M> {
    messages: Vec<M>,
    bytes: usize,
}

impl<M> Waiting<M> {
    const fn new() -> Self {
        Self { messages: Vec::new(), bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= GROUP || self.bytes >= GROUP_BYTES
    }

    fn add(&mut self, message: M, size: usize) {
        self.messages.push(message);
        self.bytes += size;
    }
}

/// Hands `messages` to `work`, in order, until they or the connection end, or it is time to stop. What
/// was read is finished before this returns, if it can be.
pub(super) async fn flow<M, F>(
    mut messages: impl Stream<Item = Result<M, End>> + Unpin,
    connection: &mut Connection,
    stop: &mut Stop,
    size: impl Fn(&M) -> usize,
    work: impl Fn(Vec<M>) -> F,
) -> End
where
    F: Future<Output = ()>,
{
    let lost = || End::Lost("the connection was lost".into());
    let mut waiting = Waiting::new();
    let mut in_flight = FuturesOrdered::new();
    let mut listens = true;
    let end = loop {
        let may_start = in_flight.is_empty() || (waiting.is_full() && in_flight.len() < IN_FLIGHT);
        if may_start && !waiting.messages.is_empty() {
            let group = std::mem::replace(&mut waiting, Waiting::new());
            in_flight.push_back(work(group.messages));
        }
        tokio::select! {
            biased;
            () = asked_to_stop(stop) => break End::Stopped,
            // First of those that go on, so that groups enter the pipeline in their order.
            Some(()) = in_flight.next() => {}
            heard = connection.hear(), if listens => match heard {
                Heard::Reply(_) => {}
                // The connection would only say it again; that it ended shows in the messages too.
                Heard::Complaint(text) if is_about_an_answer(&text) => {
                    warn!("an answer that a sender asked for is not allowed: {text}");
                    listens = false;
                }
                Heard::Complaint(text) => break End::Held(text),
                Heard::End => break lost(),
            },
            message = messages.next(), if !waiting.is_full() => match message {
                Some(Ok(message)) => {
                    let size = size(&message);
                    waiting.add(message, size);
                }
                Some(Err(end)) => break end,
                None => break lost(),
            },
        }
    };
    // What has arrived already would have to be sent again.
    while end == End::Stopped
        && !waiting.is_full()
        && let Some(Some(Ok(message))) = messages.next().now_or_never()
    {
        let size = size(&message);
        waiting.add(message, size);
    }
    if !waiting.messages.is_empty() {
        in_flight.push_back(work(waiting.messages));
    }
    let finished =
        timeout(FINISH_WITHIN, async { while in_flight.next().await.is_some() {} }).await;
    if finished.is_err() {
        warn!("what came in over NATS was not finished in time");
    }
    end
}

/// Whether the server has refused what a sender asked the host to publish, which is no reason to take
/// nothing more from others. What the host itself publishes goes to the server's own subjects.
fn is_about_an_answer(complaint: &str) -> bool {
    let complaint = complaint.to_ascii_lowercase();
    complaint.contains("permissions violation for publish") && !complaint.contains("\"$js.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_senders_asked_for_is_let_pass() {
        assert!(is_about_an_answer("Permissions Violation for Publish to \"private.x\""));
        assert!(!is_about_an_answer("Permissions Violation for Publish to \"$JS.ACK.S.ennio.1\""));
        assert!(!is_about_an_answer(
            "Permissions Violation for Subscription to \"ennio.ingest.*\""
        ));
        assert!(!is_about_an_answer("Maximum Connections Exceeded"));
    }
}
