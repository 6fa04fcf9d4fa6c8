//! The publisher against real servers.

mod access;
mod away;
mod core;
mod own;
mod own_faults;
mod patterns;
mod streams;

use std::{sync::Arc, time::Duration};

use async_nats::jetstream;
use futures::{FutureExt, StreamExt};

use super::{
    testing::{DEADLINE, NatsCluster, NatsServer},
    *,
};
use crate::{
    bus::{Announcer, Bus},
    event::{Cause, Data, Draft, Dropped, Event, EventId, EventType, LogEntry, Seq, Timestamp},
    store::{Batch, NewEntry, Passage, Store},
};

/// A log with its bus, which outlives publishers.
struct Log {
    store: Arc<Store>,
    bus: Bus,
    folder: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }

    fn open(folder: tempfile::TempDir) -> Self {
        let announcer = Announcer::new();
        let feed = announcer.feed();
        let store = Arc::new(Store::open(&folder.path().join("ennio.db"), announcer).unwrap());
        let bus = feed.bus(store.reader().clone(), store.head_at_open());
        Self { store, bus, folder }
    }

    async fn restart(self) -> Self {
        self.store.close().await;
        let Self { folder, store, bus } = self;
        drop((store, bus));
        Self::open(folder)
    }

    async fn commit(&self, entries: Vec<NewEntry>) -> Vec<Arc<LogEntry>> {
        let (answer, outcome) = tokio::sync::oneshot::channel();
        let done = Box::new(move |result| drop(answer.send(result)));
        self.store.submit(Batch { entries, effects: vec![], state: vec![], done }).await;
        outcome.await.unwrap().unwrap()
    }

    async fn commit_some(&self, count: usize, event_type: EventType) -> Vec<Arc<LogEntry>> {
        self.commit((0..count).map(|_| entry(event_type.clone())).collect()).await
    }

    fn publish_to(&self, server: &NatsServer) -> Publisher {
        let options = NatsOptions::new(server.url().parse().unwrap());
        self.publish_with(options)
    }

    fn publish_with(&self, options: NatsOptions) -> Publisher {
        Publisher::spawn(options, Arc::clone(&self.store), self.bus.clone())
    }

    async fn cursor(&self) -> Option<Seq> {
        self.store.reader().cursor(CURSOR).await.unwrap()
    }
}

fn entry(event_type: EventType) -> NewEntry {
    let draft = Draft::new(event_type, "atlas".parse().unwrap(), "s-1".parse().unwrap());
    let digest = draft.digest();
    let event = draft.into_event(Timestamp::now());
    let subject = event.subject();
    let passage = Passage::default();
    NewEntry { event, subject, digest, caused_by: None, hops: 0, dropped: None, passage }
}

async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(DEADLINE, wait).await;
    waited.unwrap_or_else(|_| panic!("{what}: not within {} s", DEADLINE.as_secs()))
}

async fn reaches(publisher: &Publisher, seq: Seq) -> Snapshot {
    let status = publisher.status();
    let reached = tokio::time::timeout(DEADLINE, status.wait_for(|now| now.cursor >= seq)).await;
    match reached {
        Ok(Some(snapshot)) => snapshot,
        _ => panic!("the cursor does not reach {seq}: {:?}", status.snapshot()),
    }
}

async fn is(publisher: &Publisher, condition: impl FnMut(&Snapshot) -> bool) -> Snapshot {
    let status = publisher.status();
    match tokio::time::timeout(DEADLINE, status.wait_for(condition)).await {
        Ok(Some(snapshot)) => snapshot,
        _ => panic!("not so within the deadline: {:?}", status.snapshot()),
    }
}

async fn stop(publisher: Publisher) {
    publisher.stop(Duration::from_secs(10)).await.unwrap();
}

async fn connect(server: &NatsServer) -> async_nats::Client {
    async_nats::connect(server.url()).await.unwrap()
}

/// A subscription that the server knows of when this returns.
async fn listen(client: &async_nats::Client, pattern: &str) -> async_nats::Subscriber {
    let subscriber = client.subscribe(pattern.to_owned()).await.unwrap();
    round_trip(client).await;
    subscriber
}

/// Returns when the server has read all that this client sent.
async fn round_trip(client: &async_nats::Client) {
    let inbox = client.new_inbox();
    let mut own = client.subscribe(inbox.clone()).await.unwrap();
    client.publish(inbox, "".into()).await.unwrap();
    within("a round trip", own.next()).await.unwrap();
}

/// The next message, if it has been delivered already.
fn waiting(subscriber: &mut async_nats::Subscriber) -> Option<async_nats::Message> {
    // Without Tokio's budget for one task, which would now and then say that there is none.
    tokio::task::unconstrained(subscriber.next()).now_or_never().flatten()
}

fn seq_of(message: &async_nats::Message) -> Seq {
    places_of(message).0
}

/// The event's place in the log, and that of the event published before it.
fn places_of(message: &async_nats::Message) -> (Seq, Seq) {
    let headers = message.headers.as_ref().unwrap();
    let place = |name| headers.get(name).unwrap().as_str().parse().unwrap();
    (place(message::SEQ), place(message::PREVIOUS))
}

/// The stream's messages: (place in the log, id, subject), in the stream's order.
async fn contents(client: &async_nats::Client, stream: &str) -> Vec<(Seq, String, String)> {
    let jetstream = jetstream::new(client.clone());
    let stream = jetstream.get_stream(stream).await.unwrap();
    let last = stream.get_info().await.unwrap().state.messages;
    let consumer =
        stream.create_consumer(jetstream::consumer::pull::OrderedConfig::default()).await.unwrap();
    let messages = consumer.messages().await.unwrap().take(last as usize);
    let read = messages.map(|message| {
        let message = message.unwrap();
        let headers = message.headers.as_ref().unwrap();
        let id = headers.get(async_nats::header::NATS_MESSAGE_ID).unwrap().to_string();
        (seq_of(&message), id, message.subject.to_string())
    });
    within("the stream's messages", read.collect()).await
}

async fn create_stream(client: &async_nats::Client, name: &str, subjects: &[&str]) {
    let subjects = subjects.iter().map(|subject| subject.to_string()).collect();
    let config = jetstream::stream::Config { name: name.into(), subjects, ..Default::default() };
    jetstream::new(client.clone()).create_stream(config).await.unwrap();
}

fn places_and_ids(entries: &[Arc<LogEntry>]) -> Vec<(Seq, String)> {
    entries.iter().map(|entry| (entry.seq, entry.event.id.to_string())).collect()
}

fn without_subject(contents: Vec<(Seq, String, String)>) -> Vec<(Seq, String)> {
    contents.into_iter().map(|(seq, id, _)| (seq, id)).collect()
}
