//! History on NATS once more, from a process that is no host: on the real subjects, marked.
//!
//! **On the wire.** As the publisher sends it, with two differences. `Ennio-Replay` holds the id of
//! the replay, so that a receiver can tell history from news. `Nats-Msg-Id` is
//! `<event id>-replay-<replay id>`: a stream takes the event although it has it, and takes what the
//! same replay sends twice once, as long as its duplicate window lasts.
//!
//! **Confirmed** means what it means for the publisher: acknowledged by the stream that covers the
//! subject, or else read by the server. A chunk is confirmed whole or counts as not sent.
//!
//! Knows one connection and no log: whoever reads the log hands over entries, and remembers which
//! chunks are done.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::time::{interval, timeout};
use uuid::Uuid;

use super::{
    NatsOptions,
    ack::{self, Answer},
    connection::{Connection, Heard, Reply, ReplyTo},
    coverage::{self, Coverage},
    message::{Message, Unsendable},
    window::{CONFIRM_WITHIN, Proof, Token, Window},
};
use crate::{
    event::{LogEntry, Seq},
    store::Place,
};

/// Between two looks at what waits for a confirmation.
const TICK: Duration = Duration::from_millis(200);

/// Between two looks at what the streams cover.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Which replay: 12 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayId(Box<str>);

impl ReplayId {
    const DIGITS: usize = 12;

    /// One that no other replay has.
    pub fn mint() -> Self {
        Self(Uuid::new_v4().simple().to_string().chars().take(Self::DIGITS).collect())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReplayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ReplayId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text.len() == Self::DIGITS && text.bytes().all(is_digit) {
            true => Ok(Self(text.into())),
            false => Err(format!(
                "{text:?} is no id of a replay, which has {} hexadecimal digits",
                Self::DIGITS
            )),
        }
    }
}

/// Why a replay cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// There is no connection, or there is none any more.
    #[error("{0}")]
    Lost(String),
    /// The server refuses something.
    #[error("the NATS server refuses: {0}")]
    Refused(String),
    /// An event is not taken.
    #[error("seq {seq}: {reason}")]
    Event {
        /// Its place in the log.
        seq: Seq,
        /// Why.
        reason: String,
    },
}

/// An event that cannot be sent, for its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its place in the log.
    pub seq: Seq,
    /// Why.
    pub reason: String,
}

/// Sends events of one replay over one connection, which is never mended.
pub struct Replayer {
    options: NatsOptions,
    id: ReplayId,
    connection: Connection,
    server: String,
    coverage: Coverage,
    looked: Instant,
    window: Window,
}

impl Replayer {
    /// Connects to the first of the servers that answers.
    ///
    /// # Errors
    /// [`ReplayError::Lost`] when none does, [`ReplayError::Refused`] when it does not tell what its
    /// streams cover.
    pub async fn connect(options: NatsOptions, id: ReplayId) -> Result<Self, ReplayError> {
        let mut failure = ReplayError::Lost("no NATS server is named".into());
        for attempt in 0..options.url.servers().len() {
            match Connection::open(&options, attempt, "ennio replay").await {
                Ok(mut connection) => {
                    let coverage = ask(&mut connection, &options).await?;
                    let server = connection.server().to_owned();
                    let (looked, window) = (Instant::now(), Window::new(Place::default()));
                    return Ok(Self { options, id, connection, server, coverage, looked, window });
                }
                Err(error) => failure = ReplayError::Lost(error.to_string()),
            }
        }
        Err(failure)
    }

    /// The server, without user and password.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The streams that store what is sent.
    pub fn streams(&self) -> Vec<String> {
        self.coverage.names()
    }

    /// Sends a chunk, and returns when all of it is confirmed. What is too large for the server or
    /// the stream is skipped.
    ///
    /// # Errors
    /// [`ReplayError`]. Some of the chunk may have been sent then, and this value is of no use any
    /// more.
    pub async fn deliver<'a>(
        &mut self,
        chunk: impl IntoIterator<Item = &'a LogEntry>,
    ) -> Result<Vec<Skipped>, ReplayError> {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.coverage = ask(&mut self.connection, &self.options).await?;
            self.looked = Instant::now();
        }
        let mut chunk = chunk.into_iter().peekable();
        let mut skipped = Vec::new();
        let mut tick = interval(TICK);
        loop {
            let is_sent = chunk.peek().is_none();
            if self.window.marker_due() || (is_sent && self.window.marker_useful()) {
                let token = self.window.mark();
                patiently(self.connection.mark(token)).await?;
            }
            if is_sent && self.window.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                _ = tick.tick() => self.look()?,
                heard = self.connection.hear() => self.hear(heard, &mut skipped)?,
                () = std::future::ready(()), if !is_sent && self.window.has_room() => {
                    if let Some(entry) = chunk.next() {
                        self.send(entry, &mut skipped).await?;
                    }
                }
            }
        }
        // A complaint travels another way through the client than a confirmation, and may come a
        // moment after it: one more round trip is that moment.
        let token = self.window.mark();
        patiently(self.connection.mark(token)).await?;
        timeout(CONFIRM_WITHIN, self.hear_back(token)).await.map_err(|_| silent())??;
        self.look()?;
        Ok(skipped)
    }

    async fn send(
        &mut self,
        entry: &LogEntry,
        skipped: &mut Vec<Skipped>,
    ) -> Result<(), ReplayError> {
        let message = match self.message(entry) {
            Ok(message) => message,
            Err(reason) => {
                skipped.push(Skipped { seq: entry.seq, reason: reason.to_string() });
                self.window.skip(entry.seq, Instant::now());
                return Ok(());
            }
        };
        let covered = self.coverage.covers(message.subject.as_subject());
        let proof = if covered { Proof::Stream } else { Proof::Marker };
        let token = self.window.push(entry.seq, message.size(), proof, Instant::now());
        patiently(self.connection.send(message, covered.then_some(token))).await
    }

    fn message(&self, entry: &LogEntry) -> Result<Message, Unsendable> {
        let message = Message::replayed(entry, &self.options.prefix, &self.id)?;
        let (size, limit) = (message.size(), self.connection.max_payload());
        match size > limit {
            true => Err(Unsendable::TooLarge { size, limit }),
            false => Ok(message),
        }
    }

    fn hear(&mut self, heard: Heard, skipped: &mut Vec<Skipped>) -> Result<(), ReplayError> {
        let Reply { to, status, payload } = reply(heard)?;
        let token = match to {
            ReplyTo::Marker(token) => {
                self.window.marker_back(token);
                return Ok(());
            }
            ReplyTo::Event(token) => token,
        };
        let Some(seq) = self.window.waiting(token) else { return Ok(()) };
        match ack::read(status, &payload) {
            Answer::Stored { stream, .. } if self.coverage.has(&stream) => {
                self.window.answered(token, Instant::now());
            }
            // Somebody answered who is no stream of ours.
            Answer::Stored { .. } | Answer::Foreign => {}
            Answer::TooLarge(reason) => {
                let reason = Unsendable::TooLargeForStream(reason).to_string();
                skipped.push(Skipped { seq, reason });
                self.window.refused(token, Instant::now());
            }
            Answer::Refused(reason) | Answer::Again(reason) | Answer::OutOfPlace(reason) => {
                return Err(ReplayError::Event { seq, reason });
            }
        }
        Ok(())
    }

    async fn hear_back(&mut self, marker: Token) -> Result<(), ReplayError> {
        loop {
            let Reply { to, .. } = reply(self.connection.hear().await)?;
            if to == ReplyTo::Marker(marker) {
                return Ok(());
            }
        }
    }

    fn look(&self) -> Result<(), ReplayError> {
        if let Some(complaint) = self.connection.complained() {
            return Err(ReplayError::Refused(complaint));
        }
        match self.window.overdue(Instant::now()) {
            Some((seq, waited)) => {
                let reason = format!("not confirmed within {} s", waited.as_secs());
                Err(ReplayError::Event { seq, reason })
            }
            None => Ok(()),
        }
    }
}

async fn ask(connection: &mut Connection, options: &NatsOptions) -> Result<Coverage, ReplayError> {
    let question = coverage::ask(connection.client().clone(), options.prefix.clone());
    // A complaint says more than that no answer came.
    match connection.ask(question).await {
        Ok(coverage) => coverage.map_err(|error| ReplayError::Refused(error.to_string())),
        Err(complaint) => Err(ReplayError::Refused(complaint)),
    }
}

fn reply(heard: Heard) -> Result<Reply, ReplayError> {
    match heard {
        Heard::Reply(reply) => Ok(reply),
        Heard::Complaint(text) => Err(ReplayError::Refused(text)),
        Heard::End => Err(ReplayError::Lost("the connection to the NATS server was lost".into())),
    }
}

async fn patiently(sending: impl Future<Output = Result<(), String>>) -> Result<(), ReplayError> {
    match timeout(CONFIRM_WITHIN, sending).await {
        Ok(sent) => sent.map_err(ReplayError::Lost),
        Err(_) => Err(silent()),
    }
}

fn silent() -> ReplayError {
    let seconds = CONFIRM_WITHIN.as_secs();
    ReplayError::Lost(format!("the NATS server has read nothing for {seconds} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_twelve_digits_and_can_stand_in_a_header_and_a_file_name() {
        let id = ReplayId::mint();
        assert_eq!(id.as_str().parse(), Ok(id));
        for wrong in ["", "0123456789a", "0123456789abc", "0123456789A_", "../../../etc", "é12345"]
        {
            wrong.parse::<ReplayId>().expect_err(wrong);
        }
    }
}
