//! What happens to NATS servers while events come in: each test ends with every accepted event in the
//! log, and in the stream once and in order.
//!
//! `make soak` runs the same tests for longer: `ENNIO_SOAK_SECONDS` says how long each of them does
//! what it does, and how long the outage takes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, jetstream};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    harness::{Checker, Host, PATIENCE, Setup, eventually, numbered},
    nats_server::{NatsCluster, NatsServer},
};

/// Events a second, in chunks of `CHUNK`.
const RATE: usize = 5_000;
const CHUNK: usize = 100;

/// The faults that a short run has at least.
const ROUNDS: usize = 3;

/// How long a fault run goes on after its first rounds, and an outage takes.
fn seconds(short: u64) -> u64 {
    std::env::var("ENNIO_SOAK_SECONDS").map_or(short, |text| text.parse().expect("a number"))
}

/// Somebody who sends events as long as it takes.
struct Load {
    stop: watch::Sender<bool>,
    checker: Arc<Mutex<Checker>>,
    task: JoinHandle<()>,
}

impl Load {
    fn start(host: &Arc<Host>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let checker = Arc::new(Mutex::new(Checker::default()));
        let task = tokio::spawn({
            let (host, checker) = (Arc::clone(host), Arc::clone(&checker));
            async move {
                let mut tick = interval(Duration::from_secs(1) * CHUNK as u32 / RATE as u32);
                tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
                let mut number = 0;
                while !*stopped.borrow() {
                    tick.tick().await;
                    let events: Vec<Value> = (number..number + CHUNK).map(numbered).collect();
                    number += CHUNK;
                    let mut checker = checker.lock().await;
                    events.iter().for_each(|event| checker.sent(event));
                    for receipt in host.publish_lines(&events).await {
                        assert_eq!(receipt["status"], "accepted", "{receipt}");
                        checker.told(&receipt);
                    }
                }
            }
        });
        Self { stop, checker, task }
    }

    async fn accepted(&self) -> usize {
        self.checker.lock().await.count_told()
    }

    async fn further(&self, events: usize) {
        let wanted = self.accepted().await + events;
        while self.accepted().await < wanted {
            assert!(!self.task.is_finished(), "the sender has ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it, waits until all is published, and compares the senders' receipts, the log and the
    /// stream.
    async fn compare(self, host: &Host, client: &Client) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
        published(host).await;
        let log = host.log().await;
        assert_eq!(self.checker.lock().await.faults(&log), []);
        let stored = stream(client).await;
        assert_eq!(stored.len(), log.len());
        for (at, (entry, found)) in log.iter().zip(&stored).enumerate() {
            let previous = at as u64;
            let expected =
                (entry["seq"].as_u64().unwrap(), previous, entry["id"].as_str().unwrap());
            assert_eq!((found.0, found.1, &*found.2), expected);
        }
        println!("{} events accepted, all in the log and once in the stream", log.len());
    }
}

async fn nats(host: &Host) -> Value {
    host.get("/v1/status").await.1["nats"].take()
}

/// Waits until the cursor is at the head. A long way may take long, as long as it goes on.
async fn published(host: &Host) {
    let (mut last, mut moved) = (json!(null), Instant::now());
    loop {
        let now = nats(host).await;
        if now["lag"] == 0 {
            return;
        }
        if now["cursor"] != last {
            (last, moved) = (now["cursor"].clone(), Instant::now());
        }
        assert!(moved.elapsed() < PATIENCE, "the publisher does not move: {now}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the stream has, in its order: each event's place, that of the one before it, and its id.
async fn stream(client: &Client) -> Vec<(u64, u64, String)> {
    let stream = jetstream::new(client.clone()).get_stream("ENNIO_EVENTS").await.unwrap();
    let count = stream.get_info().await.unwrap().state.messages as usize;
    let reader = jetstream::consumer::pull::OrderedConfig::default();
    let messages = stream.create_consumer(reader).await.unwrap().messages().await.unwrap();
    let read = messages.take(count).map(|message| {
        let headers = message.unwrap().headers.clone().unwrap();
        let header = |name: &'static str| headers.get(name).unwrap().as_str().to_owned();
        let place = |name| header(name).parse().unwrap();
        (place("Ennio-Seq"), place("Ennio-Previous"), header("Nats-Msg-Id"))
    });
    read.collect().await
}

fn host(url: &str, replicas: u8) -> (Setup, Arc<Host>) {
    let setup = Setup::new().config(&format!(
        "[nats]\nurl = {url:?}\njetstream = true\n[nats.stream]\nreplicas = {replicas}\n\
         [node]\nevents = false\n"
    ));
    let host = Arc::new(setup.start());
    (setup, host)
}

/// Does the same thing again and again, with events coming in between.
async fn rounds(host: &Host, load: &Load, mut fault: impl AsyncFnMut(usize)) {
    let begun = Instant::now();
    let time = Duration::from_secs(seconds(0));
    for round in 0.. {
        if round >= ROUNDS && begun.elapsed() >= time {
            println!("{round} times");
            return;
        }
        let before = nats(host).await["cursor"].as_u64().unwrap();
        eventually("events reach the stream", async || {
            (nats(host).await["cursor"].as_u64() > Some(before)).then_some(())
        })
        .await;
        load.further(RATE / 4).await;
        fault(round).await;
    }
}

async fn is_not_publishing(host: &Host) {
    eventually("the host notices", async || {
        (nats(host).await["state"] != "publishing").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_started_again() {
    let server = Mutex::new(NatsServer::jetstream());
    let (_setup, host) = host(&server.lock().await.url(), 1);
    let load = Load::start(&host);
    rounds(&host, &load, async |_| {
        let mut server = server.lock().await;
        server.kill();
        is_not_publishing(&host).await;
        server.start();
    })
    .await;
    let client = async_nats::connect(server.lock().await.url()).await.unwrap();
    load.compare(&host, &client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_in_the_middle_and_goes_on() {
    let server = NatsServer::jetstream();
    let (_setup, host) = host(&server.url(), 1);
    let load = Load::start(&host);
    rounds(&host, &load, async |_| {
        server.freeze();
        is_not_publishing(&host).await;
        load.further(RATE / 4).await;
        server.thaw();
    })
    .await;
    let client = async_nats::connect(server.url()).await.unwrap();
    load.compare(&host, &client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_while_five_thousand_events_a_second_come_in() {
    let mut server = NatsServer::jetstream();
    let (_setup, host) = host(&server.url(), 1);
    let load = Load::start(&host);
    load.further(RATE).await;
    server.kill();
    is_not_publishing(&host).await;
    load.further(RATE * seconds(5) as usize).await;
    let (status, ready) = host.get("/readyz").await;
    assert_eq!(status, 200, "the host works on: {ready}");
    assert!(ready.as_str().unwrap().starts_with("ready\nnats away, "), "{ready}");
    server.start();
    load.further(RATE).await;
    let client = async_nats::connect(server.url()).await.unwrap();
    load.compare(&host, &client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_stream_loses_its_leader_again_and_again() {
    let cluster = Mutex::new(NatsCluster::new(3));
    let url = cluster.lock().await.url();
    let (_setup, host) = host(&url, 3);
    let load = Load::start(&host);
    let client = async_nats::connect(url.split(',').collect::<Vec<_>>()).await.unwrap();
    let leader = async || {
        let stream = jetstream::new(client.clone()).get_stream("ENNIO_EVENTS").await.ok()?;
        let info = stream.get_info().await.ok()?;
        info.cluster?.leader.filter(|name| !name.is_empty())
    };
    rounds(&host, &load, async |round| {
        let first = eventually("a leader", &leader).await;
        if round % 2 == 0 {
            let subject = "$JS.API.STREAM.LEADER.STEPDOWN.ENNIO_EVENTS";
            eventually("it gives up", async || {
                let answer = client.request(subject, "".into()).await.ok()?;
                let answer: Value = serde_json::from_slice(&answer.payload).ok()?;
                (answer["success"] == true).then_some(())
            })
            .await;
        } else {
            let number: usize = first.trim_start_matches('n').parse().unwrap();
            cluster.lock().await.servers[number].kill();
            eventually("another leader", async || leader().await.filter(|now| *now != first)).await;
            load.further(RATE / 4).await;
            cluster.lock().await.servers[number].start();
        }
    })
    .await;
    load.compare(&host, &client).await;
    // A replica that has another opinion than the others of what is stored gives the stream up.
    for server in &cluster.lock().await.servers {
        assert!(!server.said().contains("critical write error"), "{}", server.said());
    }
}
