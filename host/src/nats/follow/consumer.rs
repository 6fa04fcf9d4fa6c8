//! The stream, as a follower reads it: a consumer on the server that lasts as long as a session, and
//! that is asked for a batch at a time.
//!
//! Nothing is acknowledged: how far the stream was read stands in the follower's own database. Each
//! message carries the consumer's count of what it has sent, so one that got lost on the way is noticed
//! and ends the session; it is never taken for one that the stream does not have.
//!
//! Asked in the server's own words, as `stream` does. The client library's own reader of batches does
//! not tell a connection that has ended from a batch that has.

use std::time::Duration;

use async_nats::{Client, StatusCode, Subscriber, jetstream};
use futures::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::nats::{
    coverage::NOT_ENABLED,
    retry::End,
    stream::{NO_LEADER, NOT_FOUND, NoAnswer, ask},
};

/// Messages of one batch: less than what the connection holds for who is slow.
const BATCH: usize = 512;

/// The same, in bytes, unless the server takes messages that are larger.
const BATCH_BYTES: usize = 8 << 20;

/// How long the server keeps a batch open that is not full.
const EXPIRES: Duration = Duration::from_secs(30);

/// The server says this often that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A server that says nothing for longer is away.
const SILENCE: Duration = Duration::from_secs(12);

/// The server forgets the consumer when nobody has asked it for so long.
const FORGET: Duration = Duration::from_mins(1);

/// The stream, as its server describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Info {
    /// When it was made.
    pub(super) created: String,
    pub(super) state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct State {
    /// The last sequence that it has given; 0 for none.
    pub(super) last_seq: u64,
}

/// A message of the stream.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) message: async_nats::Message,
    /// Its place in the stream.
    pub(super) stream_seq: u64,
    /// How many the stream has behind it.
    pub(super) pending: u64,
}

pub(super) struct Consumer {
    client: Client,
    context: jetstream::Context,
    next_subject: String,
    inbox: String,
    /// Batches asked for. What the server says about one goes to an inbox of its own, since it may come
    /// when the next one is open.
    asked: u64,
    replies: Subscriber,
    /// What the server is asked for, as JSON.
    question: String,
    /// Messages that the server may still send without being asked again.
    open: usize,
    /// Messages that have come.
    seen: u64,
    heard: Instant,
}

/// Asks the server about a stream.
pub(super) async fn look(client: &Client, stream: &str) -> Result<Info, End> {
    let subject = format!("$JS.API.STREAM.INFO.{stream}");
    ask(client, &subject, String::new()).await.map_err(|e| no_answer(e, stream, &subject))
}

impl Consumer {
    /// Reads `stream` from its sequence `from` on. `max_payload` is the server's largest message, in
    /// bytes.
    pub(super) async fn make(
        client: &Client,
        stream: &str,
        from: u64,
        max_payload: usize,
    ) -> Result<Self, End> {
        #[derive(Deserialize)]
        struct Made {
            name: String,
        }
        let subject = format!("$JS.API.CONSUMER.CREATE.{stream}");
        let config = json!({
            "stream_name": stream,
            "config": {
                "description": "an Ennio follower",
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": from,
                "ack_policy": "none",
                "replay_policy": "instant",
                "inactive_threshold": FORGET.as_nanos() as u64,
                "mem_storage": true,
                "num_replicas": 1,
            },
        });
        let made: Made = ask(client, &subject, config.to_string())
            .await
            .map_err(|e| no_answer(e, stream, &subject))?;
        let inbox = client.new_inbox();
        let lost = |e: String| End::Lost(e);
        let replies =
            client.subscribe(format!("{inbox}.*")).await.map_err(|e| lost(e.to_string()))?;
        let question = json!({
            "batch": BATCH,
            // Two messages of the largest size, with what the server counts besides.
            "max_bytes": BATCH_BYTES.max(max_payload.saturating_mul(2)),
            "expires": EXPIRES.as_nanos() as u64,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
        });
        Ok(Self {
            client: client.clone(),
            context: jetstream::new(client.clone()),
            next_subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{}", made.name),
            inbox,
            asked: 0,
            replies,
            question: question.to_string(),
            open: 0,
            seen: 0,
            heard: Instant::now(),
        })
    }

    /// The next message. Nothing is lost when the future is dropped before it is ready.
    pub(super) async fn next(&mut self) -> Result<Taken, End> {
        loop {
            if self.open == 0 {
                let inbox = self.of_batch(self.asked + 1);
                let (subject, question) = (self.next_subject.clone(), self.question.clone());
                let asked = self.client.publish_with_reply(subject, inbox, question.into());
                asked.await.map_err(|e| End::Lost(e.to_string()))?;
                self.open = BATCH;
                self.asked += 1;
            }
            let came = timeout_at(self.heard + SILENCE, self.replies.next()).await;
            let message = match came {
                Ok(Some(message)) => message,
                Ok(None) => return Err(End::Lost("the connection was lost".into())),
                Err(_) => {
                    let seconds = SILENCE.as_secs();
                    let reason = format!("the server has said nothing for {seconds} s");
                    return Err(End::Interrupted(reason));
                }
            };
            self.heard = Instant::now();
            if let Some(taken) = self.hear(message)? {
                return Ok(taken);
            }
        }
    }

    /// The next message, if it is here already.
    pub(super) fn waiting(&mut self) -> Option<Result<Taken, End>> {
        while self.open > 0 {
            let message = self.replies.next().now_or_never()??;
            match self.hear(message) {
                Ok(Some(taken)) => return Some(Ok(taken)),
                Ok(None) => {}
                Err(end) => return Some(Err(end)),
            }
        }
        None
    }

    fn of_batch(&self, number: u64) -> String {
        format!("{}.{number}", self.inbox)
    }

    /// `None` for what the server only says about the batch.
    fn hear(&mut self, message: async_nats::Message) -> Result<Option<Taken>, End> {
        match message.status {
            None | Some(StatusCode::OK) => self.take(message).map(Some),
            Some(StatusCode::IDLE_HEARTBEAT) => Ok(None),
            // Of a batch that is over already.
            Some(_) if *message.subject != *self.of_batch(self.asked) => Ok(None),
            Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => {
                self.open = 0;
                Ok(None)
            }
            Some(StatusCode::NO_RESPONDERS) => {
                Err(End::Interrupted("the server has forgotten the consumer".into()))
            }
            Some(status) => {
                let says = message.description.unwrap_or_default();
                // Full by its bytes before it was by its messages.
                if says.starts_with("Message Size Exceeds") || says.starts_with("Batch Completed") {
                    self.open = 0;
                    return Ok(None);
                }
                Err(End::Interrupted(format!("the server ended the reading: {status} {says}")))
            }
        }
    }

    fn take(&mut self, message: async_nats::Message) -> Result<Taken, End> {
        let message = jetstream::Message { message, context: self.context.clone() };
        let info = message.info().map_err(|e| End::Interrupted(e.to_string()))?;
        let (stream_seq, pending) = (info.stream_sequence, info.pending);
        self.open = self.open.saturating_sub(1);
        self.seen += 1;
        if info.consumer_sequence != self.seen {
            let reason = format!("messages before {stream_seq} of the stream got lost on the way");
            return Err(End::Interrupted(reason));
        }
        Ok(Taken { message: message.message, stream_seq, pending })
    }
}

fn no_answer(no_answer: NoAnswer, stream: &str, subject: &str) -> End {
    match no_answer {
        NoAnswer::NoResponders => End::Held(format!(
            "JetStream is not enabled for the follower's account: {subject} (start the server with \
             -js, and the host with `jetstream = true` in [nats])"
        )),
        NoAnswer::Refusal(refusal) if NOT_ENABLED.contains(&refusal.err_code) => {
            End::Held(format!("{refusal} (start the server with -js)"))
        }
        NoAnswer::Refusal(refusal) if refusal.err_code == NOT_FOUND => End::Held(format!(
            "there is no stream {stream} (the host makes it when it has `jetstream = true` in \
             [nats]; `stream` in [follow] names another one)"
        )),
        NoAnswer::Refusal(refusal) if NO_LEADER.contains(&refusal.err_code) => {
            End::Interrupted(format!("stream {stream}: {refusal}"))
        }
        NoAnswer::Refusal(refusal) => End::Held(format!("{subject}: {refusal}")),
        NoAnswer::Other(reason) => End::Interrupted(reason),
    }
}
