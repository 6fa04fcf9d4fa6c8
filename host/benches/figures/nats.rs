//! Out to NATS: through core while events come, and through JetStream as fast as it acknowledges.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::jetstream::{self, stream};
use ennio::{
    event::Draft,
    host::{Builder, Host, NodeOptions},
    nats::{NatsOptions, StreamOptions},
};
use futures::{FutureExt, StreamExt};
use tokio::runtime::Runtime;

use crate::{
    Scale,
    events::Source,
    nats_server::NatsServer,
    table::{Goal, Table},
};

const BATCH: usize = 512;
/// Acknowledgements that the bare publisher waits for at once.
const IN_FLIGHT: usize = 256;

pub fn rows(runtime: &Runtime, scale: Scale, table: &mut Table) {
    let events = scale.stream as usize;
    // The subscriber shares the machine with the host, so the server has to hold more for it than
    // its 64 MB.
    let server = NatsServer::configured("max_pending: 1GB");
    let bare = runtime.block_on(bare_core(&server, events));
    let core = runtime.block_on(core(&server, events));
    table.row("publish, commit, NATS core", Some(bare), core, "events/s", Goal::AtLeast(50_000.0));
    let server = NatsServer::jetstream();
    let bare = runtime.block_on(bare_jetstream(&server, events));
    let out = runtime.block_on(jetstream(&server, events));
    table.row("JetStream, acknowledged, with ids", Some(bare), out, "events/s", Goal::Share(0.8));
}

fn lines(count: usize) -> Vec<(String, String, bytes::Bytes)> {
    let mut source = Source::new();
    let line = |_| {
        let event = source.draft().into_event(ennio::event::Timestamp::now());
        let subject = event.subject().to_string();
        (event.id.to_string(), subject, serde_json::to_vec(&event).unwrap().into())
    };
    (0..count).map(line).collect()
}

async fn bare_core(server: &NatsServer, events: usize) -> f64 {
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut last = client.subscribe("bare.last").await.unwrap();
    let lines = lines(events);
    let begun = Instant::now();
    for (_, subject, body) in lines {
        client.publish(subject.replacen("ennio", "bare", 1), body).await.unwrap();
    }
    client.flush().await.unwrap();
    let took = begun.elapsed();
    // What the server has not read yet is not to meet the host's messages.
    client.publish("bare.last", bytes::Bytes::new()).await.unwrap();
    last.next().await.unwrap();
    events as f64 / took.as_secs_f64()
}

/// A host that publishes its events there, and nothing of itself.
fn publishing(database: &std::path::Path, server: &NatsServer) -> Builder {
    let silent = NodeOptions { events: false, ..NodeOptions::default() };
    Host::builder(database).nats(options(server)).node(silent).dashboard(false).metrics_every(None)
}

/// From the first publish to the last event at a NATS subscriber.
async fn core(server: &NatsServer, events: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let client = async_nats::ConnectOptions::new()
        .subscription_capacity(1 << 20)
        .connect(server.url())
        .await
        .unwrap();
    let mut messages = client.subscribe("ennio.>").await.unwrap();
    client.flush().await.unwrap();
    let host = publishing(&folder.path().join("ennio.db"), server);
    let host = Arc::new(host.start().await.unwrap());
    let batches = batches(events);
    let events = batches.len() * BATCH;
    let begun = Instant::now();
    let receiver = tokio::spawn(async move {
        for expected in 1..=events {
            let message = messages.next().await.unwrap();
            let seq = message.headers.as_ref().and_then(|h| h.get("Ennio-Seq")).unwrap();
            assert_eq!(seq.as_str(), expected.to_string(), "the order on NATS");
        }
        Instant::now()
    });
    publish(&host, batches).await;
    let at = receiver.await.unwrap();
    host.shutdown().await;
    events as f64 / (at - begun).as_secs_f64()
}

async fn bare_jetstream(server: &NatsServer, events: usize) -> f64 {
    let context = stream_of(server, "BARE", "bare.>").await;
    let lines = lines(events);
    let begun = Instant::now();
    let mut under_way = VecDeque::new();
    for (id, subject, body) in lines {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", id.as_str());
        let subject = subject.replacen("ennio", "bare", 1);
        let ack = context.publish_with_headers(subject, headers, body).await.unwrap();
        under_way.push_back(ack.into_future());
        if under_way.len() == IN_FLIGHT {
            under_way.pop_front().unwrap().await.unwrap();
        }
        // Take what has come meanwhile.
        while let Some(ack) = under_way.front_mut().and_then(FutureExt::now_or_never) {
            ack.unwrap();
            under_way.pop_front();
        }
    }
    for ack in under_way {
        ack.await.unwrap();
    }
    events as f64 / begun.elapsed().as_secs_f64()
}

/// A log that is full already, from the start of the publisher to the last event in the stream.
async fn jetstream(server: &NatsServer, events: usize) -> f64 {
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("ennio.db");
    let host = Host::builder(&database).start().await.unwrap();
    let batches = batches(events);
    let events = batches.len() * BATCH;
    publish(&host, batches).await;
    host.shutdown().await;
    drop(host);

    let begun = Instant::now();
    let own = NatsOptions { stream: Some(StreamOptions::default()), ..options(server) };
    let host = publishing(&database, server).nats(own).start().await.unwrap();
    let mut stream = loop {
        match context.get_stream("ENNIO_EVENTS").await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    while stream.info().await.unwrap().state.messages < events as u64 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = begun.elapsed();
    assert_eq!(stream.info().await.unwrap().state.messages, events as u64);
    // The cursor follows within two of its savings.
    while host.nats().unwrap().snapshot().cursor < events as u64 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    host.shutdown().await;
    events as f64 / took.as_secs_f64()
}

async fn stream_of(server: &NatsServer, name: &str, subjects: &str) -> jetstream::Context {
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let config = stream::Config {
        name: name.into(),
        subjects: vec![subjects.into()],
        storage: stream::StorageType::File,
        ..stream::Config::default()
    };
    context.create_stream(config).await.unwrap();
    context
}

fn options(server: &NatsServer) -> NatsOptions {
    NatsOptions::new(server.url().parse().unwrap())
}

fn batches(events: usize) -> Vec<Vec<Draft>> {
    let mut source = Source::new();
    (0..events / BATCH).map(|_| source.drafts(BATCH)).collect()
}

async fn publish(host: &Host, batches: Vec<Vec<Draft>>) {
    let outcomes =
        futures::stream::iter(batches).map(|batch| host.pipeline().publish_all(batch)).buffered(4);
    outcomes.for_each(async |batch| assert!(batch.iter().all(Result::is_ok))).await;
}
