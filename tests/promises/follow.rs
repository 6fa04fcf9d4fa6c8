//! `ennio serve --follow`: a log that is a copy of another host's, to the byte, or says what it is not.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_nats::jetstream;
use eventsource_stream::Eventsource as _;
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::{
    harness::{Host, PATIENCE, Plugins, Reply, Server, Setup, ennio, event, eventually, numbered},
    nats_server::NatsServer,
};

const STREAM: &str = "ENNIO_EVENTS";
const EMITS: &str = "[capabilities]\nemit = [\"ennio.custom.>\"]\n";

/// What a host publishes to its stream.
fn publishing(server: &NatsServer) -> Setup {
    Setup::new().publishing_to(&server.url()).argument("--nats-jetstream")
}

fn following(server: &NatsServer) -> Setup {
    Setup::new().argument("--follow").argument(&server.url())
}

/// A host with a filter that drops what is chatty and a reaction that answers some.
fn busy(server: &NatsServer) -> (Plugins, Setup) {
    let plugins = Plugins::new().with_sidecar("both", "two-roles", EMITS);
    let setup = publishing(server).plugins(plugins.path());
    (plugins, setup)
}

fn mixed(number: usize) -> Value {
    let mut event = numbered(number);
    match number % 10 {
        3 | 4 => event["message"] = format!("chatty {number}").into(),
        7 => event["message"] = format!("react to {number}").into(),
        _ => {}
    }
    event
}

/// Every column of an event that a follower has, of all that a host hands out.
fn dump(setup: &Setup) -> Vec<String> {
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let columns = [
        "seq",
        "id",
        "event_type",
        "priority",
        "session_id",
        "project_id",
        "subject",
        "timestamp_us",
        "message",
        "data",
        "caused_by_event",
        "caused_by_plugin",
        "hops",
        "dropped_by",
        "drop_reason",
        "committed_us",
        "digest",
    ];
    let quoted = columns.map(|column| format!("quote({column})")).join(" || ' ' || ");
    let sql = format!("SELECT {quoted} FROM events WHERE dropped_by IS NULL ORDER BY seq");
    let mut rows = database.prepare(&sql).unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The places that a database has.
fn places(setup: &Setup) -> Vec<u64> {
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let mut rows = database.prepare("SELECT seq FROM events ORDER BY seq").unwrap();
    rows.query_map([], |row| row.get::<_, i64>(0)).unwrap().map(|seq| seq.unwrap() as u64).collect()
}

fn doctor(setup: &Setup) -> String {
    let output = ennio().args(["doctor", "--db"]).arg(setup.database()).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

async fn status(host: &Host) -> Value {
    host.get("/v1/status").await.1
}

async fn publish(host: &Host, numbers: std::ops::Range<usize>) {
    let events: Vec<Value> = numbers.map(numbered).collect();
    for events in events.chunks(1000) {
        host.publish_lines(events).await;
    }
}

/// Waits until the stream has all that the host has.
async fn published(host: &Host) -> u64 {
    eventually("everything in the stream", async || {
        let status = status(host).await;
        (status["nats"]["cursor"] == status["head"]).then(|| status["head"].as_u64().unwrap())
    })
    .await
}

/// Waits until a follower has the event at this place; its status then.
async fn reaches(follower: &Host, seq: u64) -> Value {
    follow_where(follower, &format!("event {seq}"), |follow| follow["last"] == seq).await
}

async fn follow_where(follower: &Host, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || {
        let follow = status(follower).await["follow"].take();
        wanted(&follow).then_some(follow)
    })
    .await
}

async fn stream(server: &NatsServer) -> jetstream::stream::Stream {
    let client = async_nats::connect(server.url()).await.unwrap();
    jetstream::new(client).get_stream(STREAM).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_followers_killed_at_random_under_load_hold_the_hosts_log_to_the_byte() {
    let mut server = NatsServer::jetstream();
    let (_plugins, setup) = busy(&server);
    let host = Arc::new(setup.start());
    let is_sent = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn({
        let (host, is_sent) = (Arc::clone(&host), Arc::clone(&is_sent));
        async move {
            for chunk in (0..20_000).collect::<Vec<_>>().chunks(100) {
                let events: Vec<Value> = chunk.iter().map(|number| mixed(*number)).collect();
                host.publish_lines(&events).await;
            }
            is_sent.store(true, Ordering::Release);
        }
    });
    let setups = [(); 3].map(|()| following(&server));
    let mut followers: Vec<Option<Host>> = setups.iter().map(|setup| Some(setup.start())).collect();
    let mut kills = 0;
    while !is_sent.load(Ordering::Acquire) || kills < 12 {
        let one = kills % 3;
        // Each has taken something since it began, and is killed wherever that leaves it.
        let follower = followers[one].take().unwrap();
        eventually("something is taken", async || {
            let follow = &status(&follower).await["follow"];
            (follow["taken"].as_u64() > Some(0) || follow["lag"] == 0).then_some(())
        })
        .await;
        follower.kill();
        if kills % 5 == 4 {
            server.kill();
            server.start();
        }
        followers[one] = Some(setups[one].start());
        kills += 1;
    }
    sending.await.unwrap();
    host.settled().await;
    let head = published(&host).await;
    let expected = dump(&setup);
    assert!(expected.len() > 15_000 && (expected.len() as u64) < head, "some are hidden");
    let last: u64 = expected.last().unwrap().split(' ').next().unwrap().parse().unwrap();
    for (setup, follower) in setups.iter().zip(&followers) {
        let follower = follower.as_ref().unwrap();
        let follow = reaches(follower, last).await;
        assert_eq!((&follow["gap_count"], &follow["state"]), (&json!(0), &json!("following")));
        let copy = dump(setup);
        let differ = expected.iter().zip(&copy).find(|(one, other)| one != other);
        assert_eq!(differ, None);
        assert_eq!(copy.len(), expected.len());
        assert!(doctor(setup).contains("the file is sound"), "{}", doctor(setup));
        let said = follower.output();
        assert!(!said.contains("lost on the way"), "{said}");
    }
    assert!(kills >= 12, "{kills} kills");
}

#[tokio::test]
async fn what_the_stream_no_longer_has_is_told_everywhere_and_passed() {
    let server = NatsServer::jetstream();
    let host = publishing(&server).start();
    let setup = following(&server);
    publish(&host, 0..100).await;
    let follower = setup.start();
    reaches(&follower, 100).await;
    follower.interrupt();
    publish(&host, 100..300).await;
    published(&host).await;
    stream(&server).await.purge().sequence(251).await.unwrap();

    let follower = setup.start();
    let follow = reaches(&follower, 300).await;
    assert_eq!(follow["gap_count"], 1);
    let gap = &follow["gaps"][0];
    assert_eq!((&gap["after"], &gap["until"]), (&json!(100), &json!(250)));
    let (code, ready) = follower.get("/readyz").await;
    assert_eq!((code, ready), (200, json!("ready\nfollow following, 0 messages behind, 1 gap\n")));
    let (_, metrics) = follower.get("/metrics").await;
    assert!(metrics.as_str().unwrap().contains("ennio_follow_gaps 1\n"), "{metrics}");
    assert!(follower.output().contains("events behind 100, up to 250, are missing"));
    let said = ennio().args(["status", "--url", &follower.url]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("1 gap behind seq 100, up to 250"), "{said}");

    let left: Vec<u64> = (1..=100).chain(251..=300).collect();
    assert_eq!(places(&setup), left);
    let (_, page) = follower.get("/v1/events?limit=500").await;
    assert_eq!(page["pruned"], json!({"from": 101, "to": 250, "count": 150}));
    // Whoever listens is told as well, between the right events.
    let url = format!("{}/v1/events/stream", follower.url);
    let request = reqwest::Client::new().get(url).header("last-event-id", 99);
    let mut heard = request.send().await.unwrap().bytes_stream().eventsource();
    let mut next = async || {
        let next = tokio::time::timeout(PATIENCE, heard.next()).await.unwrap().unwrap().unwrap();
        (next.event, next.id)
    };
    let three = [next().await, next().await, next().await];
    assert_eq!(
        three.map(|(kind, id)| (kind == "pruned", id)),
        [(false, "100".to_owned()), (true, "250".to_owned()), (false, "251".to_owned())]
    );
    // It is remembered.
    follower.kill();
    let follower = setup.start();
    assert_eq!(reaches(&follower, 300).await["gap_count"], 1);
    assert!(doctor(&setup).contains("150 pruned"), "{}", doctor(&setup));

    // With `on_gap = "stop"` it takes nothing behind a gap, and a stream that begins late is one.
    let strict = Setup::new();
    let file = strict.folder.path().join("ennio.toml");
    let text = format!("[follow]\nurl = {:?}\non_gap = \"stop\"\n", server.url());
    std::fs::write(&file, text).unwrap();
    let strict = strict.argument("--config").argument(file.to_str().unwrap());
    let follower = strict.start();
    let follow = follow_where(&follower, "it is held", |follow| follow["state"] == "held").await;
    let error = follow["last_error"]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("events behind 0, up to 250, are missing"), "{error}");
    assert_eq!((&follow["last"], places(&strict)), (&json!(0), vec![]));
}

#[tokio::test]
async fn a_stream_made_anew_is_told_and_one_of_another_log_is_never_mixed_in() {
    let server = NatsServer::jetstream();
    let (hosts_setup, setup) = (publishing(&server), following(&server));
    let (host, follower) = (hosts_setup.start(), setup.start());
    publish(&host, 0..50).await;
    published(&host).await;
    reaches(&follower, 50).await;
    let origin = status(&host).await["origin"].clone();
    assert_eq!(status(&follower).await["follow"]["origin"], origin);

    // Both ends notice; the host makes it anew and goes on where it was.
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = jetstream::new(client);
    context.delete_stream(STREAM).await.unwrap();
    publish(&host, 50..80).await;
    let follow = reaches(&follower, 80).await;
    assert!(follow["reset_at"].is_string(), "{follow}");
    assert_eq!(follow["gap_count"], 0, "the host goes on behind what was taken: {follow}");
    assert!(follower.output().contains("was made anew at"), "{}", follower.output());
    assert_eq!(dump(&setup), dump(&hosts_setup));
    host.interrupt();

    // Another host, with a log of its own, on the same stream.
    context.delete_stream(STREAM).await.unwrap();
    let other_setup = publishing(&server);
    let other = other_setup.start();
    publish(&other, 0..100).await;
    published(&other).await;
    let follow = follow_where(&follower, "it is held", |follow| {
        follow["last_error"]["error"].as_str().is_some_and(|error| error.contains("another log"))
    })
    .await;
    let error = follow["last_error"]["error"].as_str().unwrap();
    assert!(error.contains("start with an empty database"), "{error}");
    let (_, page) = follower.get("/v1/events?limit=500").await;
    assert_eq!(page["events"].as_array().unwrap().len(), 80, "questions are answered");
    assert_eq!(places(&setup), (1..=80).collect::<Vec<_>>());
    // The way out.
    let anew = following(&server);
    let follower = anew.start();
    reaches(&follower, 100).await;
    assert_eq!(dump(&anew), dump(&other_setup));
}

#[tokio::test]
async fn a_host_whose_log_went_back_is_not_followed() {
    let server = NatsServer::jetstream();
    let (hosts_setup, setup) = (publishing(&server), following(&server));
    let host = hosts_setup.start();
    publish(&host, 0..20).await;
    published(&host).await;
    host.interrupt();
    let copy = hosts_setup.folder.path().join("copy.db");
    std::fs::copy(hosts_setup.database(), &copy).unwrap();
    let host = hosts_setup.start();
    publish(&host, 20..40).await;
    published(&host).await;
    let follower = setup.start();
    reaches(&follower, 40).await;
    host.interrupt();
    // The older copy takes its place, and the stream was emptied for that.
    std::fs::rename(copy, hosts_setup.database()).unwrap();
    for file in ["ennio.db-wal", "ennio.db-shm"] {
        let _ = std::fs::remove_file(hosts_setup.folder.path().join(file));
    }
    stream(&server).await.purge().await.unwrap();
    let host = hosts_setup.start();
    publish(&host, 40..70).await;
    let follow = follow_where(&follower, "it is held", |follow| follow["state"] == "held").await;
    let error = follow["last_error"]["error"].as_str().unwrap();
    assert!(error.contains("the host's log has gone back"), "{error}");
    assert_eq!(places(&setup).len(), 40);
}

#[tokio::test]
async fn a_follower_answers_questions_and_takes_no_events() {
    let server = NatsServer::jetstream();
    let (_plugins, hosts_setup) = busy(&server);
    let host = hosts_setup.start();
    let events: Vec<Value> = (0..200).map(mixed).collect();
    host.publish_lines(&events).await;
    host.settled().await;
    published(&host).await;
    let setup = following(&server);
    let follower = setup.start();
    let last = host.get("/v1/events?order=desc&limit=1").await.1["events"][0]["seq"].clone();
    reaches(&follower, last.as_u64().unwrap()).await;

    for path in [
        "/v1/events?limit=500",
        "/v1/events?limit=5&order=desc&session=s-3",
        "/v1/events?limit=500&text=react",
        "/v1/events?limit=500&subject=ennio.custom.%3E",
        "/v1/events/stats?by=type",
    ] {
        let [of_host, of_follower] = [host.get(path).await, follower.get(path).await];
        assert_eq!(of_host.0, 200, "{path}");
        assert_eq!(of_follower.1, of_host.1, "{path}");
    }
    let list = |url: &str| {
        let output = ennio().args(["events", "--json", "--limit", "0", "--url", url]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert_eq!(list(&follower.url), list(&host.url));
    let (_, page) = host.get("/v1/events?limit=1&subject=ennio.custom.%3E").await;
    let emitted = &page["events"][0];
    let (code, trace) = follower.get(&format!("/v1/events/{}/trace", emitted["seq"])).await;
    assert_eq!(code, 200, "{trace}");
    assert!(trace.to_string().contains(emitted["caused_by"]["event_id"].as_str().unwrap()));
    let backtest = ennio()
        .arg("backtest")
        .arg(crate::harness::guest("drop-chatty"))
        .arg("--db")
        .arg(setup.database())
        .arg("--json")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(backtest.status.success(), "{}", String::from_utf8_lossy(&backtest.stderr));

    let replay = |setup: &Setup, words: &[&str]| {
        let mut replay = ennio();
        replay.args(["replay", "--db"]).arg(setup.database()).args(words);
        let output =
            replay.env("XDG_STATE_HOME", setup.folder.path()).stdin(Stdio::null()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let replayed = replay(&setup, &["--to-stdout"]);
    assert_eq!(replayed.lines().count(), dump(&setup).len());
    assert_eq!(replayed, replay(&hosts_setup, &["--to-stdout"]));

    // Live, with hidden places in between: nobody is told of those.
    let url = format!("{}/v1/events/stream", follower.url);
    let request = reqwest::Client::new().get(url).header("last-event-id", last.to_string());
    let mut heard = request.send().await.unwrap().bytes_stream().eventsource();
    let events: Vec<Value> =
        (200..240).map(|n| if n % 2 == 0 { numbered(n) } else { mixed(3 + 10 * n) }).collect();
    let receipts = host.publish_lines(&events).await;
    for receipt in receipts.iter().filter(|receipt| receipt["status"] == "accepted") {
        let next = tokio::time::timeout(PATIENCE, heard.next()).await.unwrap().unwrap().unwrap();
        assert_eq!((next.event.as_str() == "pruned", next.id), (false, receipt["seq"].to_string()));
    }

    // History that is sent to the stream once more is no news; what comes behind it is.
    published(&host).await;
    replay(&hosts_setup, &["--from", "1", "--to", "50", "--to-nats", "--nats", &server.url()]);
    let (_, receipt) = host.publish(&numbered(7)).await;
    let follow = reaches(&follower, receipt["seq"].as_u64().unwrap()).await;
    assert_eq!((&follow["gap_count"], &follow["foreign"]), (&json!(0), &json!(0)), "{follow}");
    assert_eq!(dump(&setup), dump(&hosts_setup));

    // No way in.
    for (kind, body) in [
        ("application/json", event("ci_failing").to_string()),
        ("application/x-ndjson", "\n".into()),
    ] {
        let response = follower.post(kind, body).await;
        assert_eq!(response.status(), 409);
        let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(problem["type"], "urn:ennio:problem:follower");
        assert!(problem["detail"].as_str().unwrap().contains(&server.url()), "{problem}");
    }
    let emit = ["emit", "ci_failing", "--project", "atlas", "--session", "s-1", "--url"];
    let emitted = ennio().args(emit).arg(&follower.url).output().unwrap();
    assert_eq!(emitted.status.code(), Some(1));
    let said = String::from_utf8(emitted.stderr).unwrap();
    assert!(said.contains("this is a follower"), "{said}");
}

#[tokio::test]
async fn a_log_is_a_hosts_own_or_a_copy_and_never_becomes_the_other() {
    let server = NatsServer::jetstream();
    let (own, copy) = (publishing(&server), following(&server));
    let host = own.start();
    publish(&host, 0..10).await;
    published(&host).await;
    let follower = copy.start();
    reaches(&follower, 10).await;
    host.interrupt();
    follower.interrupt();
    let serve = |setup: &Setup, arguments: &[&str]| {
        let mut serve: Command = ennio();
        serve.args(["serve", "--listen", "127.0.0.1:0", "--db"]).arg(setup.database());
        let output = serve.args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = serve(&own, &["--follow", &server.url()]);
    assert!(said.contains("is a host's own log"), "{said}");
    let said = serve(&copy, &[]);
    assert!(said.contains("is a copy of another host's log, from stream ENNIO_EVENTS"), "{said}");
    let said = serve(&copy, &["--follow", &server.url(), "--nats", &server.url()]);
    assert!(said.contains("a follower does not publish"), "{said}");
    reaches(&copy.start(), 10).await;
}

#[tokio::test]
async fn reactions_run_on_a_follower_and_what_would_add_events_does_not() {
    let web = Server::start(|_, _| Reply::ok("ok")).await;
    let server = NatsServer::jetstream();
    let host = publishing(&server).start();
    let sidecar = format!(
        "min_priority = \"urgent\"\n[config]\nurl = {:?}\n[capabilities]\nhttp = [\"{}\"]\n",
        web.url("/hook"),
        web.address
    );
    let plugins = Plugins::new()
        .with_sidecar("notify", "notify-webhook", &sidecar)
        .with_sidecar("both", "two-roles", EMITS)
        .with_sidecar("echo", "echo-reaction", EMITS);
    let setup = following(&server).plugins(plugins.path());
    let mut follower = setup.start();
    for (name, reason) in
        [("both", "a follower runs reactions alone"), ("echo", "a follower's log is the host's")]
    {
        let plugin = follower.plugin(name).await.unwrap();
        assert_eq!(plugin["state"], "failed");
        assert!(plugin["load_error"].as_str().unwrap().contains(reason), "{plugin}");
    }
    let listed = ennio().args(["plugin", "list", "--url", &follower.url]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("a follower runs reactions alone"), "{listed}");

    let mut sent = Vec::new();
    for number in 0..6 {
        let mut urgent = event("ci_failing");
        urgent["priority"] = "urgent".into();
        urgent["message"] = format!("red {number}").into();
        sent.push(host.publish(&urgent).await.1["id"].as_str().unwrap().to_owned());
        host.publish(&event("ci_passing")).await;
        if number == 2 {
            reaches(&follower, 6).await;
            follower.settled().await;
            follower.interrupt();
            follower = setup.start();
        }
    }
    reaches(&follower, 12).await;
    follower.settled().await;
    let posted: Vec<String> =
        web.seen().iter().map(|seen| seen.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(posted, sent, "each once, over a restart");
    assert_eq!(
        places(&setup),
        (1..=12).collect::<Vec<_>>(),
        "and nothing is told of it in the log"
    );
    assert_eq!(status(&follower).await["dead_letters"], 0);
}

#[tokio::test]
async fn a_follower_waits_for_a_server_and_a_stream_that_are_not_there_and_says_so() {
    let mut server = NatsServer::jetstream();
    server.kill();
    let setup = following(&server);
    let follower = setup.start();
    let follow = follow_where(&follower, "it is away", |follow| {
        follow["state"] == "away" && follow["last_error"].is_object()
    })
    .await;
    let error = follow["last_error"]["error"].as_str().unwrap();
    assert!(error.contains("cannot connect to"), "{error}");
    server.start();
    let follow = follow_where(&follower, "it is held", |follow| follow["state"] == "held").await;
    let error = follow["last_error"]["error"].as_str().unwrap();
    assert!(error.contains("there is no stream ENNIO_EVENTS"), "{error}");
    let host = publishing(&server).start();
    publish(&host, 0..5).await;
    reaches(&follower, 5).await;
    // What somebody else sends there is no event of the host's.
    let client = async_nats::connect(server.url()).await.unwrap();
    client.publish("ennio.ci.atlas.failing", "{}".into()).await.unwrap();
    client.flush().await.unwrap();
    let follow = follow_where(&follower, "the stranger", |follow| follow["foreign"] == 1).await;
    assert_eq!((&follow["gap_count"], &follow["last"]), (&json!(0), &json!(5)));
}
