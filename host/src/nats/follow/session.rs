//! One connection's life: find the stream, read on where the store says, take what comes. Ends with the
//! first thing that goes wrong; the next session starts from what is stored.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::warn;

use super::{
    FollowOptions, OnGap,
    consumer::{self, Consumer, Info, Taken},
    progress::{self, Verdict},
    received::{self, Received},
    status::Reporter,
};
use crate::{
    event::{EventId, Seq},
    nats::{
        connection::{Connection, Heard},
        retry::End,
    },
    store::{Copied, Followed, Store, StoreError},
};

/// Events of one commit: no more than the bus has slots, so that who keeps up does not fall behind.
const BATCH: usize = 512;

/// The same, in bytes of their messages.
const BATCH_BYTES: usize = 4 << 20;

/// What every session of one follower works with.
pub(super) struct Context {
    pub(super) options: FollowOptions,
    pub(super) store: Arc<Store>,
    pub(super) report: Reporter,
    /// Turns true when the follower is to end.
    pub(super) stop: watch::Receiver<bool>,
}

/// How far the other log was followed, on disk.
#[derive(Debug)]
pub(super) struct Place {
    /// The last event that is here; 0 for none.
    pub(super) last: Seq,
    followed: Option<Followed>,
}

impl Place {
    /// Where the last follower stopped. To be read before anything is taken.
    pub(super) async fn read(store: &Store) -> Result<Self, StoreError> {
        Ok(Self { last: store.head_at_open(), followed: store.reader().followed().await? })
    }
}

/// Shows what is known before there is a connection.
pub(super) async fn show(context: &Context, place: &Place) {
    show_gaps(context).await;
    if let Some(followed) = &place.followed {
        context.report.at(followed.origin, place.last, followed.stream_seq);
    }
}

async fn show_gaps(context: &Context) {
    match context.store.reader().missing().await {
        Ok((count, gaps)) => context.report.gaps(count, gaps),
        Err(e) => warn!("what is missing cannot be read: {e}"),
    }
}

/// Whoever forgets the follower has stopped it as well.
pub(super) async fn asked_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Runs one session. `place` is how far it came.
pub(super) async fn run(context: &Context, attempt: usize, place: &mut Place) -> End {
    let mut stop = context.stop.clone();
    let opened = tokio::select! {
        biased;
        () = asked_to_stop(&mut stop) => return End::Stopped,
        opened = open(context, attempt, place) => opened,
    };
    let (mut connection, mut consumer) = match opened {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    loop {
        let first = tokio::select! {
            biased;
            () = asked_to_stop(&mut stop) => return End::Stopped,
            heard = connection.hear() => match heard {
                Heard::Reply(_) => continue,
                Heard::Complaint(text) => return End::Held(text),
                Heard::End => return End::Lost("the connection was lost".into()),
            },
            taken = consumer.next() => taken,
        };
        let first = match first {
            Ok(first) => first,
            Err(end) => return end,
        };
        let mut batch = Batch::new(context, place);
        let mut next = Some(Ok(first));
        // What is here already goes with it; what was read before a fault is kept.
        let end = loop {
            match next {
                None => break None,
                Some(Err(end)) => break Some(end),
                Some(Ok(taken)) => {
                    if let Err(end) = batch.add(&taken) {
                        break Some(end);
                    }
                }
            }
            next = if batch.is_full() { None } else { consumer.waiting() };
        };
        if let Err(end) = batch.commit(place).await {
            return end;
        }
        if let Some(end) = end {
            return end;
        }
    }
}

/// Connects, and makes sure that the stream is the one that was followed before.
async fn open(
    context: &Context,
    attempt: usize,
    place: &mut Place,
) -> Result<(Connection, Consumer), End> {
    let Context { options, store, report, .. } = context;
    let connection = Connection::open(&options.server, attempt, "ennio follower").await;
    let mut connection = connection.map_err(|e| End::Lost(e.to_string()))?;
    let (client, stream) = (connection.client().clone(), options.stream_name());
    // A complaint says more than that no answer came.
    let info = connection.ask(consumer::look(&client, &stream)).await;
    let info = info.map_err(End::Held).flatten()?;
    let (followed, reset) = begin(place.followed.as_ref(), &stream, &info);
    if let Some(text) = reset {
        report.reset(text);
    }
    if place.followed.as_ref() != Some(&followed) {
        store.copy(Vec::new(), followed.clone()).await.map_err(held)?;
        place.followed = Some(followed.clone());
    }
    report.at(followed.origin, place.last, followed.stream_seq);
    let from = followed.stream_seq + 1;
    let max_payload = connection.max_payload();
    let consumer = connection.ask(Consumer::make(&client, &stream, from, max_payload)).await;
    let consumer = consumer.map_err(End::Held).flatten()?;
    let lag = info.state.last_seq.saturating_sub(followed.stream_seq);
    report.following(connection.server(), from, lag);
    Ok((connection, consumer))
}

/// From where a stream is to be read, and what there is to say where it is not the one that was read
/// before.
fn begin(known: Option<&Followed>, stream: &str, info: &Info) -> (Followed, Option<String>) {
    let anew = |origin| Followed {
        origin,
        stream: stream.to_owned(),
        created: info.created.clone(),
        stream_seq: 0,
    };
    let Some(known) = known else { return (anew(None), None) };
    let (at, last) = (known.stream_seq, info.state.last_seq);
    let reason = match known {
        Followed { stream: other, .. } if other != stream => {
            format!("stream {stream} is read in the place of {other}")
        }
        Followed { created, .. } if *created != info.created => format!(
            "stream {stream} was made anew at {} (the one that was followed is of {created})",
            info.created
        ),
        _ if at > last => format!(
            "stream {stream} ends at its sequence {last}, though it was read up to {at}: its server \
             has lost the rest"
        ),
        _ => return (known.clone(), None),
    };
    let text = format!("{reason}: it is read from its beginning; events that are here are known");
    (anew(known.origin), Some(text))
}

/// Messages that become one commit.
struct Batch<'a> {
    context: &'a Context,
    stream: String,
    followed: Option<Followed>,
    /// The last event, here or in the batch.
    last: Seq,
    entries: Vec<Copied>,
    /// Events of places that are taken, to be compared.
    again: Vec<(EventId, Seq)>,
    messages: usize,
    bytes: usize,
    lag: u64,
    has_gap: bool,
}

impl<'a> Batch<'a> {
    fn new(context: &'a Context, place: &Place) -> Self {
        Self {
            context,
            stream: context.options.stream_name(),
            followed: place.followed.clone(),
            last: place.last,
            entries: Vec::new(),
            again: Vec::new(),
            messages: 0,
            bytes: 0,
            lag: 0,
            has_gap: false,
        }
    }

    fn is_full(&self) -> bool {
        self.messages >= BATCH || self.bytes >= BATCH_BYTES
    }

    /// `Err` when the message, and all behind it, cannot be taken.
    fn add(&mut self, taken: &Taken) -> Result<(), End> {
        let at = taken.stream_seq;
        let read = received::read(&taken.message, &self.context.options.server.prefix);
        let read = read.map_err(|reason| {
            let stream = &self.stream;
            End::Held(format!(
                "message {at} of stream {stream} is no event that can be taken: {reason} \
                 (`nats stream rmm {stream} {at}` removes it)"
            ))
        })?;
        match read {
            None if received::is_replay(&taken.message) => {}
            None => self.context.report.foreign(&taken.message.subject),
            Some(received) => self.judge(received, at)?,
        }
        self.messages += 1;
        self.bytes += taken.message.length;
        self.lag = taken.pending;
        if let Some(followed) = &mut self.followed {
            followed.stream_seq = at;
        }
        Ok(())
    }

    fn judge(&mut self, received: Received, at: u64) -> Result<(), End> {
        let Received { origin, copied } = received;
        let known = self.followed.as_ref().and_then(|followed| followed.origin);
        let (seq, last, stream) = (copied.seq, self.last, &self.stream);
        match progress::judge(known, last, origin, copied.previous, seq) {
            Verdict::Again => self.again.push((copied.entry.event.id, seq)),
            Verdict::Foreign => {
                let known = known.map_or_else(String::new, |known| known.to_string());
                return Err(End::Held(format!(
                    "message {at} of stream {stream} is event {seq} of another log, {origin}; this is \
                     a copy of {known} up to {last} (start with an empty database to follow the \
                     other one)"
                )));
            }
            Verdict::Torn => return Err(self.torn(seq)),
            Verdict::Next { missing } => {
                if let Some(until) = missing {
                    self.context.report.missing(last, until);
                    if self.context.options.on_gap == OnGap::Stop {
                        return Err(End::Held(format!(
                            "events behind {last}, up to {until}, are missing from stream {stream} \
                             (`on_gap = \"continue\"` in [follow] goes on behind them)"
                        )));
                    }
                    self.has_gap = true;
                }
                self.last = seq;
                if let Some(followed) = &mut self.followed {
                    followed.origin = Some(origin);
                }
                self.entries.push(copied);
            }
        }
        Ok(())
    }

    fn torn(&self, seq: Seq) -> End {
        let (stream, last) = (&self.stream, self.last);
        End::Held(format!(
            "event {seq} in stream {stream} does not fit what is here up to {last}: the host's log \
             has gone back, to an older copy of its database, and gives places anew (start with an \
             empty database to follow it)"
        ))
    }

    /// Stores what was taken.
    async fn commit(self, place: &mut Place) -> Result<(), End> {
        let Some(followed) = self.followed.clone().filter(|_| self.messages > 0) else {
            return Ok(());
        };
        let (store, report) = (&self.context.store, &self.context.report);
        if let Some(seq) = self.differs().await.map_err(held)? {
            return Err(self.torn(seq));
        }
        let (taken, repeated) = (self.entries.len(), self.again.len());
        store.copy(self.entries, followed.clone()).await.map_err(held)?;
        if self.has_gap {
            // First, so that who sees the place sees what is missing before it.
            show_gaps(self.context).await;
        }
        report.at(followed.origin, self.last, followed.stream_seq);
        report.took(taken, repeated, self.lag);
        place.last = self.last;
        place.followed = Some(followed);
        Ok(())
    }

    /// The first place that came again with another event than the one that is here. One that retention
    /// took, or that never came, is not compared.
    async fn differs(&self) -> Result<Option<Seq>, StoreError> {
        if self.again.is_empty() {
            return Ok(None);
        }
        let reader = self.context.store.reader();
        let ids = self.again.iter().map(|(id, _)| *id).collect();
        let known = reader.known(ids).await?;
        for ((id, seq), known) in self.again.iter().zip(known) {
            let differs = match known {
                Some(known) => known.seq != *seq,
                // Of this batch, and stored in a moment; or another event stands there.
                None => match self.entries.iter().find(|copied| copied.seq == *seq) {
                    Some(copied) => copied.entry.event.id != *id,
                    None => reader.at(*seq).await?.is_some(),
                },
            };
            if differs {
                return Ok(Some(*seq));
            }
        }
        Ok(None)
    }
}

fn held(error: StoreError) -> End {
    End::Held(format!("the log takes nothing: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nats::follow::consumer::State;

    #[test]
    fn a_stream_is_read_on_only_where_it_is_the_one_that_was_read() {
        let info =
            |created: &str, last_seq| Info { created: created.into(), state: State { last_seq } };
        let known = Followed {
            origin: Some("0b5c29a8-51d1-4a3e-9e0e-6f0d4e8f2a11".parse().unwrap()),
            stream: "E".into(),
            created: "then".into(),
            stream_seq: 7,
        };
        for last in [7, 8, 900] {
            assert_eq!(begin(Some(&known), "E", &info("then", last)), (known.clone(), None));
        }
        let (first, said) = begin(None, "E", &info("then", 9));
        assert_eq!((first.origin, first.stream_seq, said), (None, 0, None));
        for (stream, info, says) in [
            ("E", info("now", 9), "was made anew at now"),
            ("E", info("then", 6), "ends at its sequence 6"),
            ("F", info("then", 9), "in the place of E"),
        ] {
            let (anew, said) = begin(Some(&known), stream, &info);
            assert_eq!((anew.origin, anew.stream_seq), (known.origin, 0));
            let said = said.unwrap();
            assert!(said.contains(says), "{said}");
        }
    }
}
