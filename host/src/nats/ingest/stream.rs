//! Events from a stream: acknowledged, with the server's confirmation, after their commit.

use std::{sync::Arc, time::Duration};

use async_nats::{
    Client,
    jetstream::{self, AckKind, Message},
};
use futures::{FutureExt as _, StreamExt as _, future::join_all};
use tracing::debug;

use super::{
    flow::flow,
    intake::{Arrived, Intake, Outcome, Place},
    setup,
};
use crate::nats::{
    connection::Connection,
    retry::End,
    service::{Session, Stop, asked_to_stop},
};

/// What the server may have sent and the host not yet read, in bytes: with the server's largest message
/// that says how many are asked for at once.
const BUFFER_BYTES: usize = 64 << 20;
/// The most messages that are asked for at once; fewer than the connection holds.
const BUFFER: usize = 512;
/// The longest time after which a message is to be delivered again, in seconds.
const MAX_DELAY: u64 = 60;

pub(super) struct FromStream {
    pub(super) intake: Arc<Intake>,
}

impl Session for FromStream {
    const NAME: &'static str = "ennio ingest";

    async fn run(&mut self, mut connection: Connection, stop: &mut Stop) -> (End, bool) {
        let client = connection.client().clone();
        let subject = self.intake.subject();
        let at_once = (BUFFER_BYTES / connection.max_payload().max(1)).clamp(1, BUFFER);
        let context = jetstream::new(client.clone());
        let open = setup::open(context, &self.intake.prefix, &subject, at_once);
        let opened = tokio::select! {
            biased;
            () = asked_to_stop(stop) => return (End::Stopped, false),
            opened = connection.ask(open.boxed()) => opened,
        };
        let source = match opened {
            Ok(Ok(source)) => source,
            Ok(Err(reason)) | Err(reason) => return (End::Held(reason), false),
        };
        self.intake.report.listening(&format!("stream {} ({subject})", source.stream));
        let name: Arc<str> = source.identity.into();
        let work = |group| work(Arc::clone(&self.intake), client.clone(), Arc::clone(&name), group);
        let size = |message: &Message| message.payload.len();
        let messages = source.messages.map(|message| {
            message.map_err(|e| End::Held(format!("the consumer {}: {e}", setup::CONSUMER)))
        });
        (flow(messages, &mut connection, stop, size, work).await, true)
    }

    fn ended(&mut self, end: &End) {
        self.intake.report.ended(end);
    }
}

/// Commits a group, keeps what is no event, then tells the server what became of each message. What it
/// does not hear is delivered again, and recognised.
async fn work(intake: Arc<Intake>, client: Client, stream: Arc<str>, group: Vec<Message>) {
    let arrived: Vec<_> = group.iter().map(|message| arrived(message, &stream)).collect();
    let outcomes = intake.take(&arrived).await;
    let refused = arrived.iter().zip(&outcomes).filter_map(|(message, outcome)| match outcome {
        Outcome::Refused(problem) => Some(message.refused(problem)),
        Outcome::Stored(_) | Outcome::Later(_) => None,
    });
    let kept = intake.keep(refused.collect()).await.is_ok();
    let told = group.iter().zip(&arrived).zip(&outcomes).map(|((message, arrived), outcome)| {
        let (intake, client) = (&intake, &client);
        async move {
            let later = || AckKind::Nak(Some(delay(arrived)));
            let told = match outcome {
                Outcome::Stored(_) => message.double_ack().await,
                Outcome::Refused(_) if kept => message.double_ack_with(AckKind::Term).await,
                // It would be gone otherwise.
                Outcome::Refused(_) | Outcome::Later(_) => message.ack_with(later()).await,
            };
            if let Err(e) = told {
                debug!("the server has not confirmed what became of a message: {e}");
                intake.report.failed(format!("an acknowledgement was not confirmed: {e}"));
            }
            // What is put off will be answered when it is decided.
            if !matches!(outcome, Outcome::Later(_)) {
                intake.answer(client, None, arrived, outcome).await;
            }
        }
    });
    join_all(told).await;
}

fn arrived(message: &Message, stream: &Arc<str>) -> Arrived {
    let place = message.info().ok().map(|info| Place {
        stream: Arc::clone(stream),
        seq: info.stream_sequence,
        delivered: u32::try_from(info.delivered).unwrap_or(1),
    });
    Arrived {
        subject: message.subject.clone(),
        headers: message.headers.clone(),
        payload: message.payload.clone(),
        place,
    }
}

/// The wait before the next delivery: 1 s, 2 s, 4 s and so on.
fn delay(message: &Arrived) -> Duration {
    let times = message.place.as_ref().map_or(1, |place| place.delivered);
    let doubled = 1u64.checked_shl(times.saturating_sub(1)).unwrap_or(MAX_DELAY);
    Duration::from_secs(doubled.clamp(1, MAX_DELAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_off_comes_back_later_and_later_but_within_a_minute() {
        let after = |delivered| {
            let place = Some(Place { stream: "s".into(), seq: 1, delivered });
            let (subject, payload) = ("ennio.ingest.a".into(), Default::default());
            delay(&Arrived { subject, headers: None, payload, place }).as_secs()
        };
        let waits: Vec<_> = [0, 1, 2, 3, 6, 7, 64, 65, u32::MAX].map(after).into();
        assert_eq!(waits, [1, 1, 2, 4, 32, 60, 60, 60, 60]);
    }
}
