//! `ennio serve --nats`: what is committed is on NATS, in order, whenever the server is there.

use async_nats::jetstream::{self, stream};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::{
    harness::{PATIENCE, Plugins, Setup, event, eventually, numbered},
    nats_server::NatsServer,
};

#[tokio::test]
async fn a_committed_event_is_published_on_its_subject_with_its_envelope() {
    let server = NatsServer::core();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut messages = client.subscribe("ennio.>").await.unwrap();
    client.flush().await.unwrap();
    let sidecar = "[capabilities]\nemit = [\"ennio.custom.>\"]\n";
    let plugins = Plugins::new().with_sidecar("both", "two-roles", sidecar);
    let setup = Setup::new().plugins(plugins.path()).publishing_to(&server.url());
    let host = setup.start();

    let mut chatty = event("ci_failing");
    chatty["message"] = "chatty, so it is hidden".into();
    host.publish(&chatty).await;
    let mut sent = event("ci_failing");
    sent["message"] = "react to this".into();
    sent["data"] = json!({"run": 7});
    let (_, receipt) = host.publish(&sent).await;

    let mut next = async || tokio::time::timeout(PATIENCE, messages.next()).await.unwrap().unwrap();
    let first = next().await;
    assert_eq!(first.subject.as_str(), "ennio.ci.atlas.failing");
    let headers = first.headers.unwrap();
    assert_eq!(headers.get("Nats-Msg-Id").unwrap().as_str(), receipt["id"].as_str().unwrap());
    assert_eq!(headers.get("Ennio-Seq").unwrap().as_str(), "2");
    assert!(headers.get("Ennio-Caused-By").is_none());
    let body: Value = serde_json::from_slice(&first.payload).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 8, "the eight fields and nothing else: {body}");
    assert_eq!(json!([body["id"], body["data"]]), json!([receipt["id"], {"run": 7}]));

    let second = next().await;
    assert_eq!(second.subject.as_str(), "ennio.custom.atlas.seen");
    let caused_by = second.headers.unwrap().get("Ennio-Caused-By").unwrap().as_str().to_owned();
    assert_eq!(caused_by, format!("{} both", receipt["id"].as_str().unwrap()));
}

#[tokio::test]
async fn the_host_works_with_the_server_away_and_a_stream_then_gets_everything_once_and_in_order() {
    const EVENTS: usize = 5_000;
    let mut server = NatsServer::jetstream();
    let client = async_nats::connect(server.url()).await.unwrap();
    let jetstream = jetstream::new(client);
    let config = stream::Config {
        name: "EVENTS".into(),
        subjects: vec!["ennio.>".into()],
        ..stream::Config::default()
    };
    jetstream.create_stream(config).await.unwrap();
    server.kill();

    let setup = Setup::new().publishing_to(&server.url());
    let mut host = setup.start();
    let (_, status) = host.get("/v1/status").await;
    assert_eq!(status["nats"]["connected"], false, "{status}");
    let events: Vec<Value> = (0..EVENTS).map(numbered).collect();
    for (round, chunk) in events.chunks(EVENTS / 5).enumerate() {
        host.publish_lines(chunk).await;
        match round {
            // Both ends die in between.
            1 => server.start(),
            2 => {
                host.kill();
                host = setup.start();
            }
            3 => server.kill(),
            _ => {}
        }
    }
    server.start();
    eventually("the cursor at the head", async || {
        let (_, status) = host.get("/v1/status").await;
        (status["nats"]["cursor"] == EVENTS).then_some(())
    })
    .await;

    let client = async_nats::connect(server.url()).await.unwrap();
    let stream = jetstream::new(client).get_stream("EVENTS").await.unwrap();
    for (number, event) in (1..).zip(&events) {
        let message = stream.get_raw_message(number).await.unwrap();
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(body["id"], event["id"], "message {number}");
    }
    assert!(stream.get_raw_message(EVENTS as u64 + 1).await.is_err(), "none is there twice");
}
