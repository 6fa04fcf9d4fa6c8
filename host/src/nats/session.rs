//! One connection's life: follow the log from the cursor, send, listen for confirmations, keep the
//! cursor. Ends with the first thing that goes wrong; the next session starts from the cursor.

use std::{sync::Arc, time::Duration, time::Instant};

use futures::future::{BoxFuture, Fuse, FusedFuture, FutureExt};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};
use tracing::debug;

use super::{
    CURSOR, NatsOptions,
    ack::{self, Answer},
    connection::{Connection, Heard, Reply, ReplyTo},
    coverage::{self, Coverage, CoverageError},
    message::{Message, Unsendable, WireSubject},
    retry::End,
    status::{Counts, Reporter},
    stream::{Stream, StreamError},
    window::{CONFIRM_WITHIN, Proof, Window},
};
use crate::{
    bus::{Bus, Subscription, SubscriptionError},
    event::{LogEntry, Selection, Seq},
    store::{Effect, Place, Store, StoreError},
};

/// Between two savings of the cursor: what a killed host publishes again is at most what it
/// published in twice this time.
const SAVE_EVERY: Duration = Duration::from_millis(200);

/// Between two looks at what the streams cover.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Acknowledgements in a row that show that nobody else is publishing to the stream any more.
const ALONE_AFTER: u32 = 64;

/// What every session of one publisher works with.
pub(super) struct Context {
    pub(super) options: NatsOptions,
    pub(super) store: Arc<Store>,
    pub(super) bus: Bus,
    pub(super) report: Reporter,
    /// Becomes the moment until which there is time to finish.
    pub(super) stop: watch::Receiver<Option<tokio::time::Instant>>,
}

impl Context {
    /// The stream that the host owns.
    fn stream(&self) -> Option<Stream<'_>> {
        let options = self.options.stream.as_ref()?;
        Some(Stream::new(options, &self.options.prefix))
    }
}

struct Session<'a> {
    context: &'a Context,
    connection: Connection,
    log: Subscription,
    coverage: Coverage,
    window: Window,
    counts: Counts,
    /// Events that cannot be published, since the cursor on disk.
    skipped: Vec<(Seq, String)>,
    /// What was sent last, in this session or before.
    previous: Seq,
    /// What sequence that will have in the host's own stream; known from the first acknowledgement on,
    /// which the window waits for.
    last: Option<u64>,
    /// Acknowledgements that still have to follow on each other before the window opens to more than one
    /// event. Only where somebody else publishes to the stream, does it take more than one.
    unsure: u32,
    /// The sequence of the last of these.
    acknowledged: Option<u64>,
    /// The session ends because something was out of place.
    is_crowded: bool,
    /// On disk.
    saved: Place,
    /// Confirmed at the last tick.
    confirmed: Place,
    /// Confirmed at the last tick but one, and not complained about since: a complaint travels
    /// another way through the client than a marker, and may come a moment after it.
    settled: Place,
    /// The complaint that ended the session before.
    suspicion: Option<String>,
    /// An event like the one that was complained about. It is sent when everything before it is
    /// settled, so that another complaint repeats this event and no other.
    suspect: Option<Arc<LogEntry>>,
}

/// What a session leaves to the next one.
#[derive(Debug, Clone, Default)]
pub(super) struct Legacy {
    /// How far everything is done.
    pub(super) cursor: Place,
    /// The complaint that ended the session.
    pub(super) complaint: Option<String>,
    /// Something was out of place in the host's own stream.
    pub(super) is_crowded: bool,
}

/// Runs one session.
pub(super) async fn run(context: &Context, attempt: usize, legacy: Legacy) -> (End, Legacy) {
    let mut stop = context.stop.clone();
    let opened = tokio::select! {
        biased;
        _ = asked_to_stop(&mut stop) => return (End::Stopped, legacy),
        opened = open(context, attempt, &legacy) => opened,
    };
    let mut session = match opened {
        Ok(session) => session,
        Err(end) => return (end, legacy),
    };
    let end = match session.follow(&mut stop).await {
        Ok(()) => End::Stopped,
        Err(end) => end,
    };
    session.finish(end).await
}

async fn open<'a>(
    context: &'a Context,
    attempt: usize,
    legacy: &Legacy,
) -> Result<Session<'a>, End> {
    let cursor = legacy.cursor;
    let mut connection = Connection::open(&context.options, attempt, "ennio publisher")
        .await
        .map_err(|error| End::Lost(error.to_string()))?;
    let client = connection.client().clone();
    let (coverage, cursor) = match context.stream() {
        Some(stream) => {
            let (origin, head) = (context.store.origin(), context.bus.head());
            let opened = connection.ask(stream.open(&client, origin, cursor, head)).await;
            // A complaint says more than that no answer came.
            opened.map_err(End::Held)??
        }
        None => {
            let ask = coverage::ask(client, context.options.prefix.clone());
            let coverage = connection.ask(ask).await.map_err(|reason| CoverageError { reason });
            (coverage.flatten().map_err(|error| End::Held(error.to_string()))?, cursor)
        }
    };
    context.report.connected(connection.server());
    context.report.covered_by(coverage.names());
    Ok(Session {
        context,
        connection,
        log: context.bus.subscribe_after(Selection::everything(), cursor.seq),
        coverage,
        window: Window::new(cursor),
        counts: Counts::default(),
        skipped: Vec::new(),
        previous: cursor.taken,
        last: None,
        unsure: if legacy.is_crowded { ALONE_AFTER } else { 1 },
        acknowledged: None,
        is_crowded: false,
        saved: legacy.cursor,
        confirmed: cursor,
        settled: cursor,
        suspicion: legacy.complaint.clone(),
        suspect: None,
    })
}

/// The moment until which there is time to finish, once the publisher is to stop. Whoever forgets
/// the publisher has stopped it as well.
pub(super) async fn asked_to_stop(
    stop: &mut watch::Receiver<Option<tokio::time::Instant>>,
) -> tokio::time::Instant {
    match stop.wait_for(Option::is_some).await {
        Ok(until) => until.unwrap_or_else(tokio::time::Instant::now),
        Err(_) => tokio::time::Instant::now(),
    }
}

impl Session<'_> {
    /// `Ok` when it was told to stop, or when the log was closed and all of it is published.
    async fn follow(
        &mut self,
        stop: &mut watch::Receiver<Option<tokio::time::Instant>>,
    ) -> Result<(), End> {
        let mut tick = interval(SAVE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look: Fuse<BoxFuture<'_, Result<Coverage, End>>> = Fuse::terminated();
        let mut looked = Instant::now();
        // Once set, nothing new is sent; what is under way has until then to be confirmed.
        let mut until: Option<tokio::time::Instant> = None;
        loop {
            if self.window.marker_due() {
                self.mark(stop).await?;
            }
            if until.is_some() && self.window.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                moment = asked_to_stop(stop), if until.is_none() => until = Some(moment),
                now = tick.tick() => {
                    if until.is_some_and(|until| now >= until) {
                        return Ok(());
                    }
                    self.tick().await?;
                    if let Some(entry) = self.cleared() {
                        self.send(&entry, stop).await?;
                    }
                    if looked.elapsed() >= LOOK_EVERY && look.is_terminated() {
                        looked = Instant::now();
                        look = look_again(self.context, self.connection.client().clone()).boxed().fuse();
                    }
                }
                coverage = &mut look, if !look.is_terminated() => match coverage {
                    Ok(coverage) => self.cover(coverage),
                    // What was known still holds; a stream that is gone will not acknowledge.
                    Err(End::Lost(reason)) => self.context.report.warn(reason),
                    Err(end) => return Err(end),
                },
                heard = self.connection.hear() => match heard {
                    Heard::Reply(reply) => self.hear(&reply)?,
                    Heard::Complaint(text) => return Err(End::Held(text)),
                    Heard::End => return Err(End::Lost("the connection was lost".into())),
                },
                entry = self.log.next(), if until.is_none() && self.may_send() => {
                    match entry {
                        Ok(entry) if self.is_suspect(&entry) => self.suspect = Some(entry),
                        Ok(entry) => self.send(&entry, stop).await?,
                        Err(SubscriptionError::Closed) => {
                            until = Some(tokio::time::Instant::now() + CONFIRM_WITHIN);
                        }
                        Err(SubscriptionError::Pruned(gap)) => {
                            self.context.bus.missed(CURSOR, gap);
                        }
                        Err(error) => return Err(End::Held(error.to_string())),
                    }
                }
                // Nothing is left to send: find out what has arrived.
                () = std::future::ready(()), if self.window.marker_useful() => {
                    self.mark(stop).await?;
                }
            }
        }
    }

    fn may_send(&self) -> bool {
        self.suspect.is_none() && self.window.has_room()
    }

    fn is_suspect(&self, entry: &LogEntry) -> bool {
        // The server quotes the subject that it refuses.
        self.suspicion.as_ref().is_some_and(|complaint| {
            WireSubject::new(&self.context.options.prefix, &entry.subject)
                .is_ok_and(|subject| complaint.contains(&format!("\"{subject}\"")))
        })
    }

    /// The suspect, once everything before it is settled. After that one nobody is suspected.
    fn cleared(&mut self) -> Option<Arc<LogEntry>> {
        let before = self.suspect.as_ref()?.seq - 1;
        if self.settled.seq < before {
            return None;
        }
        self.suspicion = None;
        self.suspect.take()
    }

    /// How far the log has been followed: everything up to here was sent or is not to be sent.
    fn followed(&self) -> Seq {
        self.suspect.as_ref().map_or(self.log.position(), |suspect| suspect.seq - 1)
    }

    async fn send(
        &mut self,
        entry: &LogEntry,
        stop: &mut watch::Receiver<Option<tokio::time::Instant>>,
    ) -> Result<(), End> {
        let message = match self.message(entry) {
            Ok(message) => message,
            Err(reason) => {
                self.skip(entry.seq, &reason);
                self.window.skip(entry.seq, Instant::now());
                return Ok(());
            }
        };
        let covered = self.coverage.covers(message.subject.as_subject());
        let proof = if covered { Proof::Stream } else { Proof::Marker };
        let token = self.window.push(entry.seq, message.size(), proof, Instant::now());
        self.previous = entry.seq;
        self.last = self.last.map(|last| last + 1);
        self.counts.sent += 1;
        patiently(self.connection.send(message, covered.then_some(token)), stop).await
    }

    fn message(&self, entry: &LogEntry) -> Result<Message, Unsendable> {
        let Context { options, store, .. } = self.context;
        let message = Message::new(entry, &options.prefix, store.origin(), self.previous)?;
        let message = match self.last {
            Some(last) => message.behind(last)?,
            None => message,
        };
        let (size, limit) = (message.size(), self.connection.max_payload());
        if size > limit {
            // The server would close the connection, again and again.
            return Err(Unsendable::TooLarge { size, limit });
        }
        Ok(message)
    }

    async fn mark(
        &mut self,
        stop: &mut watch::Receiver<Option<tokio::time::Instant>>,
    ) -> Result<(), End> {
        let token = self.window.mark();
        patiently(self.connection.mark(token), stop).await
    }

    fn hear(&mut self, reply: &Reply) -> Result<(), End> {
        let token = match reply.to {
            ReplyTo::Marker(token) => {
                self.window.marker_back(token);
                return Ok(());
            }
            ReplyTo::Event(token) => token,
        };
        let Some(seq) = self.window.waiting(token) else { return Ok(()) };
        match ack::read(reply.status, &reply.payload) {
            Answer::Stored { stream, seq, duplicate } if self.coverage.has(&stream) => {
                self.counts.acknowledged += 1;
                self.counts.duplicates += u64::from(duplicate);
                self.window.answered(token, Instant::now());
                if self.context.options.stream.is_some() && self.last.is_none() {
                    self.find_place(seq, duplicate);
                }
            }
            Answer::Stored { stream, .. } => debug!("event {seq}: {stream} is no stream of ours"),
            Answer::Foreign => debug!("event {seq}: somebody answered who is no stream"),
            Answer::TooLarge(reason) => {
                self.skip(seq, &Unsendable::TooLargeForStream(reason));
                self.window.refused(token, Instant::now());
            }
            Answer::OutOfPlace(reason) => {
                self.is_crowded = true;
                return Err(End::Interrupted(format!("event {seq}: {reason}")));
            }
            Answer::Again(reason) => {
                return Err(End::Interrupted(format!("event {seq}: {reason}")));
            }
            Answer::Refused(reason) => return Err(End::Held(format!("event {seq}: {reason}"))),
        }
        Ok(())
    }

    /// Opens the window as soon as it is clear what an event's condition has to be. Until then one event
    /// at a time keeps the order.
    fn find_place(&mut self, stored: u64, duplicate: bool) {
        // Behind a repetition, the stream has others.
        if !duplicate {
            let follows = self.acknowledged.is_none_or(|before| before + 1 == stored);
            self.unsure = if follows { self.unsure.saturating_sub(1) } else { ALONE_AFTER };
            self.acknowledged = Some(stored);
        }
        match self.unsure {
            0 => self.last = Some(stored),
            _ => self.window.narrow(),
        }
    }

    fn skip(&mut self, seq: Seq, reason: &Unsendable) {
        self.context.report.skipped(seq, reason);
        self.skipped.push((seq, reason.to_string()));
    }

    fn cover(&mut self, coverage: Coverage) {
        if coverage != self.coverage {
            self.context.report.covered_by(coverage.names());
            self.coverage = coverage;
        }
    }

    async fn tick(&mut self) -> Result<(), End> {
        if let Some(complaint) = self.connection.complained() {
            return Err(End::Held(complaint));
        }
        if let Some((seq, limit)) = self.window.overdue(Instant::now()) {
            let reason = format!("event {seq}: not confirmed within {} s", limit.as_secs());
            return Err(End::Interrupted(reason));
        }
        // Events that nobody sends, because a filter hid them, are done as well.
        self.window.pass(self.followed());
        self.settled = std::mem::replace(&mut self.confirmed, self.window.confirmed());
        self.save(self.settled).await
    }

    async fn save(&mut self, place: Place) -> Result<(), End> {
        if place.seq > self.saved.seq {
            let mut skipped = self.skipped.clone();
            skipped.retain(|(skipped, _)| *skipped <= place.seq);
            let moved = Effect::Delivered { sink: CURSOR.into(), place, skipped };
            match self.context.store.apply(vec![moved]).await {
                Ok(()) => {
                    self.saved = place;
                    self.skipped.retain(|(skipped, _)| *skipped > place.seq);
                }
                // Nothing is lost but the place: a restart would publish from the last saved one.
                Err(error @ StoreError::Full(_)) => {
                    self.context.report.warn(format!("the cursor is not saved: {error}"));
                }
                Err(error) => return Err(End::Held(format!("the cursor is not saved: {error}"))),
            }
        }
        self.context.report.progress(self.saved.seq, &mut self.counts);
        Ok(())
    }

    async fn finish(mut self, end: End) -> (End, Legacy) {
        if end == End::Stopped {
            self.window.pass(self.followed());
        }
        let complaint = self.connection.complained();
        let cursor = match complaint {
            Some(_) => self.settled,
            None => self.window.confirmed(),
        };
        let end = match self.save(cursor).await {
            Err(unsaved) if end != End::Stopped => unsaved,
            Err(End::Held(reason) | End::Lost(reason) | End::Interrupted(reason)) => {
                self.context.report.warn(reason);
                end
            }
            Ok(()) | Err(End::Stopped) => end,
        };
        let is_crowded = self.is_crowded || self.unsure > 1;
        (end, Legacy { cursor, complaint, is_crowded })
    }
}

/// What the streams cover now. `Lost` when that cannot be found out at the moment.
async fn look_again(context: &Context, client: async_nats::Client) -> Result<Coverage, End> {
    match context.stream() {
        Some(stream) => stream.check(&client).await.map_err(|error| match error {
            StreamError::Unavailable { .. } => End::Lost(error.to_string()),
            other => other.into(),
        }),
        None => coverage::ask(client, context.options.prefix.clone())
            .await
            .map_err(|error| End::Lost(error.to_string())),
    }
}

/// Waits while the connection is busy, but neither longer than a confirmation may take, nor longer
/// than there is time to finish.
async fn patiently(
    sending: impl Future<Output = Result<(), String>>,
    stop: &mut watch::Receiver<Option<tokio::time::Instant>>,
) -> Result<(), End> {
    tokio::select! {
        biased;
        sent = timeout(CONFIRM_WITHIN, sending) => match sent {
            Ok(sent) => sent.map_err(End::Lost),
            Err(_) => {
                let seconds = CONFIRM_WITHIN.as_secs();
                Err(End::Lost(format!("the server has read nothing for {seconds} s")))
            }
        },
        () = async { sleep_until(asked_to_stop(stop).await).await } => Err(End::Stopped),
    }
}
