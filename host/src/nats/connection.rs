//! One connection to one server, which is never mended: when it is lost, it has ended.
//!
//! Knows the client library, and nothing of events but the [`Message`].

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use async_nats::{
    Client, Event, ReconnectToServer, ServerAddr, ServerError, StatusCode, Subscriber,
};
use bytes::Bytes;
use futures::StreamExt;
use thiserror::Error;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::{NatsOptions, message::Message, options, window::Token};

/// The handshake's share of a connection attempt, per address.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long a question to the server's own interfaces waits for an answer: a cluster that elects a
/// leader answers none.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The client gives a connection up at the third ping without an answer: a server that is silent
/// or cut off is found within 24 s even when there is nothing to publish.
const PING_EVERY: Duration = Duration::from_secs(8);

/// Messages between the publisher and the client's task. The window bounds what is under way;
/// this only has to be long enough to keep that task busy.
const OUTBOX: usize = 256;

/// Confirmations that may wait to be read: each event and each marker of a full window.
const INBOX: usize = 1024;

/// An address at which nothing ever listens.
const NOWHERE: &str = "nats://127.0.0.1:0";

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot connect to {server}: {reason}")]
pub(super) struct ConnectError {
    /// The server, without user and password.
    pub(super) server: String,
    /// What the library says.
    pub(super) reason: String,
}

pub(super) struct Connection {
    client: Client,
    server: String,
    inbox: String,
    replies: Subscriber,
    complaint: watch::Receiver<Option<String>>,
}

/// What comes from the server.
#[derive(Debug)]
pub(super) enum Heard {
    /// Something came back.
    Reply(Reply),
    /// The server has refused something by name: a permission, a limit.
    Complaint(String),
    /// The connection has ended.
    End,
}

/// Something that came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) to: ReplyTo,
    pub(super) status: Option<StatusCode>,
    pub(super) payload: Bytes,
}

/// What it came back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplyTo {
    Event(Token),
    Marker(Token),
}

impl Connection {
    /// Connects once, under a name that the server's operator sees, to the server whose turn it is at
    /// the `attempt`th attempt.
    pub(super) async fn open(
        options: &NatsOptions,
        attempt: usize,
        name: &str,
    ) -> Result<Self, ConnectError> {
        let Some(server) = options.url.server(attempt) else {
            return Err(ConnectError {
                server: "NATS".into(),
                reason: "no server is named".into(),
            });
        };
        let named = options::redacted(server.as_url_str());
        let error = |reason: String| ConnectError { server: named.clone(), reason };
        let nowhere: ServerAddr =
            NOWHERE.parse().map_err(|e: std::io::Error| error(e.to_string()))?;
        let pool = [server.clone(), nowhere.clone()];
        let (complain, complaint) = watch::channel(None);
        let access = options.access.connect_options(server).map_err(|e| error(e.to_string()))?;
        let client = access
            .name(name)
            .request_timeout(Some(ANSWER_WITHIN))
            .connection_timeout(CONNECT_WITHIN)
            .ping_interval(PING_EVERY)
            .client_capacity(OUTBOX)
            .subscription_capacity(INBOX)
            // The client knows no way to be told "never reconnect": zero means "for ever". So the
            // first attempt goes to the server, and every later one to where it fails at once, which
            // after one such failure ends the client's task.
            .max_reconnects(1)
            .reconnect_to_server_callback({
                let used = Arc::new(AtomicBool::new(false));
                let server = server.clone();
                move |_, _| {
                    let first = !used.swap(true, Ordering::Relaxed);
                    let addr = if first { server.clone() } else { nowhere.clone() };
                    async move { Some(ReconnectToServer { addr, delay: Some(Duration::ZERO) }) }
                }
            })
            .event_callback(move |event| {
                note(&event, &complain);
                std::future::ready(())
            });
        let client = client.connect(&pool[..]).await.map_err(|e| error(e.to_string()))?;
        let inbox = client.new_inbox();
        let replies =
            client.subscribe(format!("{inbox}.*")).await.map_err(|e| error(e.to_string()))?;
        Ok(Self { client, server: named, inbox, replies, complaint })
    }

    /// The server, without user and password.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Connects to the first of the servers that answers, for a command, which does not wait for one.
    pub(super) async fn first(options: &NatsOptions, name: &str) -> Result<Self, String> {
        let mut failure = "no NATS server is named".to_owned();
        for attempt in 0..options.url.servers().len() {
            match Self::open(options, attempt, name).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error.to_string(),
            }
        }
        Err(failure)
    }

    /// For requests to the server's own interfaces.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The largest message that the server takes, headers included, in bytes.
    pub(super) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Hands `message` to the connection; waits while that is busy. `Err` when it has ended. With
    /// `answer_to`, whoever receives the message is asked for an answer to this token.
    pub(super) async fn send(
        &self,
        message: Message,
        answer_to: Option<Token>,
    ) -> Result<(), String> {
        let Message { subject, headers, payload } = message;
        let sent = match answer_to {
            None => self.client.publish_with_headers(subject, headers, payload).await,
            Some(token) => {
                let reply = format!("{}.{token}", self.inbox);
                self.client.publish_with_reply_and_headers(subject, reply, headers, payload).await
            }
        };
        sent.map_err(|e| e.to_string())
    }

    /// Sends a marker to itself; it comes back behind everything sent before it.
    pub(super) async fn mark(&self, token: Token) -> Result<(), String> {
        let subject = format!("{}.m{token}", self.inbox);
        self.client.publish(subject, Bytes::new()).await.map_err(|e| e.to_string())
    }

    /// The next thing that comes from the server. Nothing is lost when the future is dropped before
    /// it is ready.
    pub(super) async fn hear(&mut self) -> Heard {
        loop {
            let message = tokio::select! {
                biased;
                complaint = complaint(&mut self.complaint) => return Heard::Complaint(complaint),
                message = self.replies.next() => message,
            };
            let Some(message) = message else { return Heard::End };
            if let Some(to) = reply_to(&self.inbox, &message.subject) {
                let (status, payload) = (message.status, message.payload);
                return Heard::Reply(Reply { to, status, payload });
            }
        }
    }

    /// Asks the server for something, and returns its complaint where it complains instead.
    pub(super) async fn ask<T>(&mut self, question: impl Future<Output = T>) -> Result<T, String> {
        tokio::select! {
            biased;
            complaint = complaint(&mut self.complaint) => Err(complaint),
            answer = question => Ok(answer),
        }
    }

    /// The last complaint.
    pub(super) fn complained(&self) -> Option<String> {
        self.complaint.borrow().clone()
    }
}

async fn complaint(complaint: &mut watch::Receiver<Option<String>>) -> String {
    let text = match complaint.wait_for(Option::is_some).await {
        Ok(text) => text.clone(),
        Err(_) => None,
    };
    match text {
        Some(text) => text,
        // The client has ended, which shows in what it no longer delivers.
        None => std::future::pending().await,
    }
}

fn reply_to(inbox: &str, subject: &str) -> Option<ReplyTo> {
    let token = subject.strip_prefix(inbox)?.strip_prefix('.')?;
    match token.strip_prefix('m') {
        Some(token) => token.parse().ok().map(ReplyTo::Marker),
        None => token.parse().ok().map(ReplyTo::Event),
    }
}

fn note(event: &Event, complain: &watch::Sender<Option<String>>) {
    match event {
        Event::ServerError(e) => {
            // The library's own prefix says nothing here.
            let text = match e {
                ServerError::Other(text) => text.trim_matches('\'').to_owned(),
                other => other.to_string(),
            };
            warn!("the NATS server complains: {text}");
            complain.send_replace(Some(text));
        }
        Event::LameDuckMode => warn!("the NATS server is about to shut down"),
        other => debug!("NATS connection: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_to_this_sessions_inbox_are_read() {
        let read = |subject: &str| reply_to("_INBOX.a", subject);
        assert_eq!(read("_INBOX.a.17"), Some(ReplyTo::Event(17)));
        assert_eq!(read("_INBOX.a.m17"), Some(ReplyTo::Marker(17)));
        for other in ["_INBOX.b.17", "_INBOX.a", "_INBOX.a17", "_INBOX.a.x", "_INBOX.a.-1"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
