//! Server-sent events: every event once, in order, across disconnects and restarts.

use std::sync::Arc;

use eventsource_stream::{EventStream, Eventsource};
use futures::{Stream, StreamExt};
use serde_json::Value;

use crate::harness::{Host, PATIENCE, Setup, event, numbered};

type Sse = EventStream<std::pin::Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>>;

async fn open(url: &str, query: &str, last_event_id: Option<u64>) -> Sse {
    let mut request = reqwest::Client::new().get(format!("{url}/v1/events/stream?{query}"));
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.bytes_stream().boxed().eventsource()
}

async fn next(stream: &mut Sse) -> (u64, Value) {
    let item = tokio::time::timeout(PATIENCE, stream.next()).await.expect("an event in time");
    let item = item.expect("the stream goes on").unwrap();
    (item.id.parse().unwrap(), serde_json::from_str(&item.data).unwrap())
}

#[tokio::test]
async fn a_stream_begins_now_and_carries_what_was_chosen() {
    let setup = Setup::new();
    let host = setup.start();
    host.publish(&event("ci_failing")).await;
    let mut all = open(&host.url, "", None).await;
    let mut merges = open(&host.url, "subject=ennio.merge.%3E", None).await;
    let mut urgent = open(&host.url, "min_priority=urgent&project=atlas", None).await;
    host.publish(&event("ci_passing")).await;
    host.publish(&event("merge_ready")).await;
    let mut loud = event("ci_failing");
    loud["priority"] = "critical".into();
    loud["message"] =
        "line one\nline two\r\n\r\ndata: injected\u{2028}\u{0}x".replace('\0', "").into();
    host.publish(&loud).await;
    assert_eq!(next(&mut all).await.0, 2);
    assert_eq!(next(&mut all).await.0, 3);
    assert_eq!(next(&mut merges).await.0, 3);
    let (seq, read) = next(&mut urgent).await;
    assert_eq!(seq, 4);
    assert_eq!(read["message"], loud["message"], "one event in, one event out");
    assert_eq!(read["seq"], 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_breaks_off_at_random_and_resumes_misses_and_repeats_nothing() {
    const EVENTS: u64 = 20_000;
    let setup = Setup::new();
    let host = Arc::new(setup.start());
    let writing = tokio::spawn({
        let host = Arc::clone(&host);
        async move {
            for chunk in 0..EVENTS / 200 {
                let events: Vec<Value> =
                    (0..200).map(|n| numbered((chunk * 200 + n) as usize)).collect();
                host.publish_lines(&events).await;
            }
        }
    });
    let mut seen = 0;
    let mut cut = 1;
    while seen < EVENTS {
        let mut stream = open(&host.url, "after_seq=0", (seen > 0).then_some(seen)).await;
        for _ in 0..cut {
            if seen == EVENTS {
                break;
            }
            let (seq, entry) = next(&mut stream).await;
            assert_eq!(seq, seen + 1);
            assert_eq!(entry["data"]["n"], seen);
            seen = seq;
        }
        // Short and long stretches; the dropped stream closes its connection.
        cut = (cut * 7 + 3) % 523 + 1;
    }
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stands_still_holds_up_nobody_and_then_sees_everything() {
    const EVENTS: u64 = 30_000;
    let setup = Setup::new();
    let host = setup.start();
    let mut sleeper = open(&host.url, "after_seq=0", None).await;
    publish(&host, EVENTS).await;
    for expected in 1..=EVENTS {
        assert_eq!(next(&mut sleeper).await.0, expected);
    }
}

async fn publish(host: &Host, count: u64) {
    for chunk in 0..count / 1000 {
        let events: Vec<Value> = (0..1000).map(|n| numbered((chunk * 1000 + n) as usize)).collect();
        host.publish_lines(&events).await;
    }
}

#[tokio::test]
async fn a_stopping_host_ends_its_streams() {
    let setup = Setup::new();
    let host = setup.start();
    let mut stream = open(&host.url, "", None).await;
    tokio::task::spawn_blocking(move || host.interrupt()).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, stream.next()).await.expect("an end in time");
    assert!(end.is_none());
}
