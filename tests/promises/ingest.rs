//! Events that come in over NATS, as requests and from a stream: in the log once and in order, whatever
//! dies, or refused with the reason.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use async_nats::{
    Client, HeaderMap,
    jetstream::{
        self,
        consumer::{AckPolicy, PullConsumer, pull},
        stream,
    },
};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::{
    harness::{Host, PATIENCE, Plugins, Setup, ennio, event, eventually, numbered},
    nats_server::NatsServer,
};

/// A host that takes events in as `how` says, and tells nothing of itself that would be counted.
fn taking(server: &NatsServer, how: &str) -> Setup {
    taking_as(&server.url(), how)
}

fn taking_as(url: &str, how: &str) -> Setup {
    Setup::new().config(&format!(
        "[nats]\nurl = \"{url}\"\ningest = \"{how}\"\nmetrics_interval = \"0s\"\ndashboard = false\n\
         [node]\nevents = false\n"
    ))
}

async fn listening(host: &Host) {
    eventually("the way in", async || {
        let state = host.get("/v1/status").await.1["ingest"]["state"].clone();
        (state == "listening").then_some(())
    })
    .await;
}

async fn ask(client: &Client, project: &str, body: impl Into<String>) -> Value {
    let answer = client.request(format!("ennio.ingest.{project}"), body.into().into()).await;
    serde_json::from_slice(&answer.unwrap().payload).unwrap()
}

/// How many messages became what, once `condition` holds.
async fn counts(host: &Host, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || {
        let ingest = host.get("/v1/status").await.1["ingest"].clone();
        condition(&ingest).then_some(ingest)
    })
    .await
}

async fn refused(host: &Host) -> Vec<Value> {
    let (_, page) = host.get("/v1/dead-letters/refused").await;
    page["refused"].as_array().unwrap().clone()
}

fn cli(host: &Host, arguments: &[&str]) -> (i32, String) {
    let mut command = ennio();
    command.args(["dead-letters", "refused"]).args(arguments).args(["--url", &host.url]);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn a_request_is_answered_as_over_http_after_the_commit() {
    let server = NatsServer::core();
    let setup = taking(&server, "core");
    let host = setup.start();
    listening(&host).await;
    let client = async_nats::connect(server.url()).await.unwrap();

    let mut sent = numbered(1);
    let receipt = ask(&client, "atlas", sent.to_string()).await;
    assert_eq!(receipt, json!({"id": sent["id"], "seq": 1, "status": "accepted"}));
    assert_eq!(host.log().await[0]["id"], sent["id"], "an answer means committed");
    let again = ask(&client, "atlas", sent.to_string()).await;
    assert_eq!(json!([again["seq"], again["status"]]), json!([1, "duplicate"]));
    sent["message"] = "something else".into();
    let (status, over_http) = host.publish(&sent).await;
    assert_eq!(ask(&client, "atlas", sent.to_string()).await, over_http);
    assert_eq!(status, 409);

    // The subject says whose event it is, and the body must not say otherwise.
    let receipt = ask(&client, "billing", r#"{"event_type":"ci_failing","session_id":"s"}"#).await;
    assert_eq!(receipt["status"], "accepted", "{receipt}");
    assert_eq!(host.log().await[1]["project_id"], "billing");
    let other = ask(&client, "billing", event("ci_failing").to_string()).await;
    assert_eq!(json!([other["status"], other["field"]]), json!([400, "project_id"]), "{other}");
    let detail = other["detail"].as_str().unwrap();
    assert!(detail.contains("\"atlas\"") && detail.contains("\"billing\""), "{detail}");
    let mut misspelt = event("ci_failng");
    let answer = ask(&client, "atlas", misspelt.to_string()).await;
    assert_eq!(answer, host.publish(&misspelt).await.1);
    misspelt["message"] = "x".repeat(1 << 19).into();
    assert_eq!(ask(&client, "atlas", misspelt.to_string()).await["status"], 400);
    assert_eq!(ask(&client, "a:b", event("ci_failing").to_string()).await["field"], "subject");

    // The header names an event that does not name itself.
    let mut headers = HeaderMap::new();
    let id = uuid::Uuid::now_v7().to_string();
    headers.insert("Nats-Msg-Id", id.as_str());
    let body = event("ci_failing").to_string();
    for status in ["accepted", "duplicate"] {
        let answer =
            client.request_with_headers("ennio.ingest.atlas", headers.clone(), body.clone().into());
        let receipt: Value = serde_json::from_slice(&answer.await.unwrap().payload).unwrap();
        assert_eq!(json!([receipt["id"], receipt["status"]]), json!([id, status]));
    }
    assert!(refused(&host).await.is_empty(), "who asks is told, and nothing is kept");
    let ready = host.get("/readyz").await.1;
    assert!(ready.as_str().unwrap().ends_with("\ningest listening\n"), "{ready}");
    let (_, metrics) = host.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    for line in ["accepted\"} 3", "duplicate\"} 2", "refused\"} 5"] {
        let line = format!("ennio_ingest_messages_total{{outcome=\"{line}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn what_nobody_asked_for_is_kept_with_its_bytes_and_can_be_looked_at_and_thrown_away() {
    let server = NatsServer::core();
    let setup = taking(&server, "core");
    let host = setup.start();
    listening(&host).await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let subject = "ennio.ingest.atlas";
    client.publish(subject, "{\"event_type\":\"ci_failng\"}".into()).await.unwrap();
    client.publish(subject, vec![0xff, 0x00].into()).await.unwrap();
    let mut large = event("ci_failing");
    large["data"] = json!({"x": "y".repeat(300_000)});
    client.publish(subject, large.to_string().into()).await.unwrap();
    client.publish(subject, event("ci_failing").to_string().into()).await.unwrap();
    // A sender must not have the host give commands.
    client.publish_with_reply(subject, "ennio.commands.shutdown", "no event".into()).await.unwrap();
    let ingest = counts(&host, "four refused", |ingest| ingest["refused"] == 4).await;
    assert_eq!(ingest["accepted"], 1, "{ingest}");

    host.kill();
    let host = setup.start();
    let messages = refused(&host).await;
    let seen: Vec<_> =
        messages.iter().map(|m| json!([m["size"], m["kept"], m["subject"]])).collect();
    let size = large.to_string().len();
    assert_eq!(
        seen[..3],
        [json!([26, 26, subject]), json!([2, 2, subject]), json!([size, 262_144, subject])]
    );
    let whole = host.get(&format!("/v1/dead-letters/refused/{}", messages[0]["id"])).await.1;
    assert_eq!(whole["text"], "{\"event_type\":\"ci_failng\"}");
    assert!(whole["reason"].as_str().unwrap().contains("did you mean `ci_failing`?"), "{whole}");

    let (code, said) = cli(&host, &["list"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.lines().count(), 5, "{said}");
    assert!(said.contains("REFUSED") && said.contains("did you mean"), "{said}");
    let (_, said) = cli(&host, &["show", "1"]);
    assert!(said.contains("refused message 1 on ennio.ingest.atlas") && said.contains("ci_failng"));
    assert!(cli(&host, &["show", "2"]).1.contains("--raw writes them"));
    let mut raw = ennio();
    raw.args(["dead-letters", "refused", "show", "2", "--raw", "--url", &host.url]);
    assert_eq!(raw.output().unwrap().stdout, [0xff, 0x00]);
    assert_eq!(cli(&host, &["discard", "2"]), (0, "1 are discarded\n".into()));
    let (code, said) = cli(&host, &["discard", "2"]);
    assert_eq!(code, 1);
    assert!(said.contains("no refused message 2"), "{said}");
    assert_eq!(host.get("/v1/dead-letters/refused?limit=0").await.0, 400);
    let nothing = reqwest::Client::new().delete(format!("{}/v1/dead-letters/refused", host.url));
    assert_eq!(nothing.send().await.unwrap().status(), 400, "nobody means all by saying nothing");
    assert_eq!(cli(&host, &["discard", "--all"]), (0, "3 are discarded\n".into()));
    assert!(refused(&host).await.is_empty());
}

#[tokio::test]
async fn of_two_hosts_on_one_prefix_one_takes_a_message_and_a_host_that_was_not_asked_takes_none() {
    let server = NatsServer::core();
    let setups = ["core", "core", "off"].map(|how| taking(&server, how));
    let [one, other, deaf] = setups.each_ref().map(Setup::start);
    listening(&one).await;
    listening(&other).await;
    let client = async_nats::connect(server.url()).await.unwrap();
    for number in 0..50 {
        ask(&client, "atlas", numbered(number).to_string()).await;
    }
    let (one, other) = (one.log().await.len(), other.log().await.len());
    assert_eq!(one + other, 50, "{one} and {other}");
    assert!(one > 0 && other > 0, "{one} and {other}");
    assert!(deaf.log().await.is_empty());
    assert_eq!(deaf.get("/v1/status").await.1["ingest"], Value::Null);
}

#[tokio::test]
async fn a_sender_that_wants_its_answer_where_the_host_may_not_publish_harms_nobody_else() {
    let server = NatsServer::configured(
        "authorization { users = [\n\
         { user: host, password: p, permissions: { publish: { deny: \"private.>\" } } },\n\
         { user: sender, password: p } ] }",
    );
    let address = server.url().replace("nats://", "");
    let setup = taking_as(&format!("nats://host:p@{address}"), "core");
    let host = setup.start();
    listening(&host).await;
    let options = async_nats::ConnectOptions::with_user_and_password("sender".into(), "p".into());
    let client = options.connect(server.url()).await.unwrap();
    let body = event("ci_failing").to_string();
    let subject = "ennio.ingest.atlas";
    client.publish_with_reply(subject, "private.x", body.clone().into()).await.unwrap();
    eventually("the complaint", async || host.output().contains("is not allowed").then_some(()))
        .await;
    for seq in 2..=3 {
        assert_eq!(ask(&client, "atlas", body.clone()).await["seq"], seq);
    }
    let ingest = host.get("/v1/status").await.1["ingest"].clone();
    assert_eq!(json!([ingest["state"], ingest["last_error"]]), json!(["listening", null]));
}

/// A consumer as an operator may make it: the same, but redelivering soon.
async fn impatient(context: &jetstream::Context) {
    let config = stream::Config {
        name: "ENNIO_INGEST".into(),
        subjects: vec!["ennio.ingest.*".into()],
        ..stream::Config::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    let consumer = pull::Config {
        durable_name: Some("ennio".into()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(1),
        max_deliver: -1,
        ..pull::Config::default()
    };
    stream.create_consumer(consumer).await.unwrap();
}

/// Publishes into the stream, in order; the stream has them when this returns.
async fn send(context: &jetstream::Context, events: impl Iterator<Item = Value>) {
    let mut acks = VecDeque::new();
    for event in events {
        let ack = context.publish("ennio.ingest.atlas", event.to_string().into()).await.unwrap();
        acks.push_back(ack.into_future());
        // The client lets so many be under way.
        if acks.len() == 1000 {
            acks.pop_front().unwrap().await.unwrap();
        }
    }
    for ack in acks {
        ack.await.unwrap();
    }
}

/// Everything in the stream is acknowledged.
async fn acknowledged(url: &str) {
    eventually("every acknowledgement", async || {
        let context = jetstream::new(async_nats::connect(url).await.ok()?);
        let stream = context.get_stream("ENNIO_INGEST").await.ok()?;
        let mut consumer: PullConsumer = stream.get_consumer("ennio").await.ok()?;
        let info = consumer.info().await.ok()?;
        (info.num_ack_pending == 0 && info.num_pending == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_of_a_stream_are_in_the_log_once_and_in_their_order() {
    const EVENTS: usize = 10_000;
    let server = NatsServer::jetstream();
    let setup = taking(&server, "jetstream");
    let host = setup.start();
    listening(&host).await;
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let events = (0..EVENTS).map(|number| {
        // Half of them name themselves.
        let mut event = numbered(number);
        if number % 2 == 1 {
            event.as_object_mut().unwrap().remove("id");
        }
        event
    });
    send(&context, events).await;
    counts(&host, "all of them", |ingest| ingest["accepted"] == EVENTS).await;
    acknowledged(&server.url()).await;
    let log = host.log().await;
    assert_eq!(log.len(), EVENTS);
    assert!(log.iter().enumerate().all(|(n, entry)| entry["data"]["n"] == n), "in their order");
    let mut stream = context.get_stream("ENNIO_INGEST").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 0, "what is in the log is gone there");
    // An ended host leaves nothing to be delivered again.
    host.interrupt();
    let host = setup.start();
    listening(&host).await;
    assert_eq!(host.get("/v1/status").await.1["ingest"]["redelivered"], 0);
}

#[tokio::test]
async fn a_host_that_dies_between_commit_and_acknowledgement_has_the_event_once() {
    const EVENTS: usize = 200;
    let users = |acks: &str| {
        format!(
            "jetstream {{ store_dir: \"STORE\" }}\n\
             authorization {{ users = [\n\
             {{ user: host, password: p, permissions: {{ publish: {{ {acks} }} }} }},\n\
             {{ user: sender, password: p }} ] }}"
        )
    };
    // The host may do anything but acknowledge.
    let mut server = NatsServer::configured(&users("deny: [\"$JS.ACK.>\"]"));
    let address = server.url().replace("nats://", "");
    let sender = format!("nats://sender:p@{address}");
    let connect = async || {
        let options =
            async_nats::ConnectOptions::with_user_and_password("sender".into(), "p".into());
        options.connect(server.url()).await.unwrap()
    };
    let client = connect().await;
    let context = jetstream::new(client);
    impatient(&context).await;
    let setup = taking_as(&format!("nats://host:p@{address}"), "jetstream");
    let host = setup.start();
    for number in 0..EVENTS {
        // Without an id of its own, it is known by its place in the stream.
        let mut event = numbered(number);
        event.as_object_mut().unwrap().remove("id");
        let ack = context.publish("ennio.ingest.atlas", event.to_string().into()).await.unwrap();
        ack.await.unwrap();
    }
    eventually("all are committed", async || {
        (host.get("/v1/status").await.1["head"] == EVENTS).then_some(())
    })
    .await;
    let ingest = host.get("/v1/status").await.1["ingest"].clone();
    host.kill();
    assert_eq!(ingest["accepted"], EVENTS, "{ingest}");

    server.kill();
    server.reconfigure(&users("allow: [\">\"]"));
    server.start();
    let host = setup.start();
    // A killed server may have forgotten that it delivered them before.
    let again = |ingest: &Value| ingest["duplicate"].as_u64() >= Some(EVENTS as u64);
    let ingest = counts(&host, "all are delivered again", again).await;
    assert_eq!(ingest["accepted"], 0, "{ingest}");
    let server_url = sender;
    eventually("every acknowledgement", async || {
        let options =
            async_nats::ConnectOptions::with_user_and_password("sender".into(), "p".into());
        let context = jetstream::new(options.connect(&server_url).await.ok()?);
        let stream = context.get_stream("ENNIO_INGEST").await.ok()?;
        let mut consumer: PullConsumer = stream.get_consumer("ennio").await.ok()?;
        let info = consumer.info().await.ok()?;
        (info.num_ack_pending == 0 && info.num_pending == 0).then_some(())
    })
    .await;
    let log = host.log().await;
    assert_eq!(log.len(), EVENTS, "each once");
    let numbers: HashSet<_> = log.iter().map(|entry| entry["data"]["n"].as_u64()).collect();
    assert_eq!(numbers.len(), EVENTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_killed_servers_killed_and_paused_leave_each_message_in_the_log_once() {
    const ROUNDS: usize = 6;
    const EVENTS: usize = 500;
    let mut server = NatsServer::jetstream();
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    impatient(&context).await;
    let setup = taking(&server, "jetstream");
    let mut host = setup.start();
    for round in 0..ROUNDS {
        send(&context, (round * EVENTS..(round + 1) * EVENTS).map(numbered)).await;
        let begun = host.get("/v1/status").await.1["head"].as_u64();
        eventually("the host is at it", async || {
            let head = host.get("/v1/status").await.1["head"].as_u64();
            (head > begun || head >= Some(((round + 1) * EVENTS) as u64)).then_some(())
        })
        .await;
        match round % 3 {
            0 => {
                host.kill();
                host = setup.start();
            }
            1 => {
                server.kill();
                server.start();
                eventually("the sender is back", async || context.query_account().await.ok()).await;
            }
            _ => {
                server.freeze();
                host.kill();
                host = setup.start();
                server.thaw();
            }
        }
    }
    eventually("all are committed", async || {
        (host.get("/v1/status").await.1["head"].as_u64() >= Some((ROUNDS * EVENTS) as u64))
            .then_some(())
    })
    .await;
    acknowledged(&server.url()).await;
    let log = host.log().await;
    assert_eq!(log.len(), ROUNDS * EVENTS, "each once");
    let numbers: HashSet<_> = log.iter().map(|entry| entry["data"]["n"].as_u64()).collect();
    assert_eq!(numbers.len(), ROUNDS * EVENTS);
    assert!(refused(&host).await.is_empty());
}

#[tokio::test]
async fn a_message_of_a_stream_that_is_no_event_is_terminated_kept_once_and_answered() {
    let server = NatsServer::jetstream();
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = jetstream::new(client.clone());
    impatient(&context).await;
    let setup = taking(&server, "jetstream");
    let host = setup.start();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    let publish = async |project: &str, body: String, reply: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("Ennio-Reply", reply);
        let subject = format!("ennio.ingest.{project}");
        context.publish_with_headers(subject, headers, body.into()).await.unwrap().await.unwrap()
    };
    let mut next = async || {
        let answer = tokio::time::timeout(PATIENCE, answers.next()).await.unwrap().unwrap();
        serde_json::from_slice::<Value>(&answer.payload).unwrap()
    };
    let poison = publish("atlas", "no event".into(), &inbox).await;
    let problem = next().await;
    assert_eq!(json!([problem["status"], problem["field"]]), json!([400, "body"]), "{problem}");
    publish("billing", event("ci_failing").to_string(), &inbox).await;
    assert_eq!(next().await["field"], "project_id");
    let good = event("ci_failing");
    publish("atlas", good.to_string(), &inbox).await;
    assert_eq!(next().await["status"], "accepted");
    // An id that is taken will not be free later.
    let mut first = numbered(1);
    publish("atlas", first.to_string(), &inbox).await;
    next().await;
    first["message"] = "something else".into();
    publish("atlas", first.to_string(), &inbox).await;
    assert_eq!(next().await["status"], 409);
    publish("atlas", "no event".into(), "ennio.commands.shutdown").await;

    acknowledged(&server.url()).await;
    let ingest = counts(&host, "four refused", |ingest| ingest["refused"] == 4).await;
    assert_eq!(json!([ingest["accepted"], ingest["redelivered"]]), json!([2, 0]), "{ingest}");
    let messages = refused(&host).await;
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[0]["stream_seq"], poison.sequence);
    let stream = messages[0]["stream"].as_str().unwrap();
    assert!(stream.starts_with("ENNIO_INGEST of "), "{stream}");
    assert_eq!(host.log().await.len(), 2);
}

#[tokio::test]
async fn what_a_plugin_holds_is_delivered_again_until_it_is_taken() {
    let server = NatsServer::jetstream();
    let plugins = Plugins::new().with_sidecar("trap", "trap-on-poison", "on_error = \"hold\"\n");
    let setup = taking(&server, "jetstream").plugins(plugins.path());
    let host = setup.start();
    listening(&host).await;
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let mut held = event("ci_failing");
    held["message"] = "poison".into();
    context.publish("ennio.ingest.atlas", held.to_string().into()).await.unwrap().await.unwrap();
    counts(&host, "put off twice", |ingest| ingest["deferred"].as_u64() >= Some(2)).await;
    assert_eq!(host.order("trap", "disable").await.0, 200);
    let ingest = counts(&host, "taken", |ingest| ingest["accepted"] == 1).await;
    assert!(ingest["redelivered"].as_u64() >= Some(2), "{ingest}");
    acknowledged(&server.url()).await;
    assert_eq!(host.log().await.len(), 1);
    assert!(refused(&host).await.is_empty());
}

#[tokio::test]
async fn a_stream_or_consumer_that_does_not_fit_is_explained_and_left_as_it_is() {
    let server = NatsServer::jetstream();
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let config = |subject: &str| stream::Config {
        name: "ENNIO_INGEST".into(),
        subjects: vec![subject.into()],
        ..stream::Config::default()
    };
    context.create_stream(config("ennio.ingest.atlas")).await.unwrap();
    let setup = taking(&server, "jetstream");
    let host = setup.start();
    let held = |part: &'static str| {
        move |ingest: &Value| {
            ingest["state"] == "held"
                && ingest["last_error"]["error"].as_str().is_some_and(|error| error.contains(part))
        }
    };
    let ingest = counts(&host, "the stream is explained", held("ennio.ingest.atlas")).await;
    let error = ingest["last_error"]["error"].as_str().unwrap();
    assert!(
        error.contains("without ennio.ingest.*") && error.contains("nats stream edit"),
        "{error}"
    );
    let mut stream = context.get_stream("ENNIO_INGEST").await.unwrap();
    assert_eq!(stream.info().await.unwrap().config.subjects, ["ennio.ingest.atlas"]);

    context.update_stream(config("ennio.ingest.*")).await.unwrap();
    let forgetful = pull::Config {
        durable_name: Some("ennio".into()),
        ack_policy: AckPolicy::Explicit,
        max_deliver: 3,
        ..pull::Config::default()
    };
    stream.create_consumer(forgetful).await.ok();
    // Whoever was first: the host makes a consumer that fits as soon as the stream does.
    let info: PullConsumer = stream.get_consumer("ennio").await.unwrap();
    if info.cached_info().config.max_deliver == 3 {
        counts(&host, "the consumer is explained", held("max_deliver has to be -1")).await;
        stream.delete_consumer("ennio").await.unwrap();
    }
    listening(&host).await;
}
