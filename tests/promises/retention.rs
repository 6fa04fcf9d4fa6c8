//! Retention: what has to go goes, nothing else does, and who came too late is told exactly.

use std::{
    fs::File,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_nats::jetstream::{self, stream};
use eventsource_stream::Eventsource as _;
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::{
    harness::{Host, PATIENCE, Plugins, Setup, ennio, event, eventually, numbered},
    nats_server::NatsServer,
};

/// A setup whose configuration has this table `[retention]`.
fn keeping(table: &str) -> Setup {
    keep(Setup::new(), table)
}

fn keep(setup: Setup, table: &str) -> Setup {
    let file = setup.folder.path().join("ennio.toml");
    // Nothing of the host's own among what is counted.
    let quiet = "[nats]\nmetrics_interval = \"0s\"\ndashboard = false\n[node]\nevents = false\n";
    std::fs::write(&file, format!("[retention]\n{table}\n{quiet}")).unwrap();
    setup.argument("--config").argument(file.to_str().unwrap())
}

fn run(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8([stdout, stderr].concat()).unwrap();
    (status.code().unwrap(), text)
}

fn doctor(setup: &Setup, option: &[&str]) -> (i32, String) {
    run(ennio().args(["doctor", "--db"]).arg(setup.database()).args(option))
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

/// Waits until so many events are left, and gives their places.
async fn left(host: &Host, count: u64) -> Vec<u64> {
    eventually(&format!("{count} events left"), async || {
        (status(host).await["events"] == count).then_some(())
    })
    .await;
    host.log().await.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect()
}

/// The bytes of the main file that are in use and free, as somebody with a shell would look.
fn space(setup: &Setup) -> (u64, u64) {
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let number = |pragma: &str| -> u64 {
        database.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap() as u64
    };
    let (pages, free) = (number("page_count"), number("freelist_count"));
    ((pages - free) * 4096, free * 4096)
}

/// Lets the events of a stopped host have been committed so many days ago.
fn age(setup: &Setup, days: u32) {
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let micros = i64::from(days) * 86_400_000_000;
    database.execute("UPDATE events SET committed_us = committed_us - ?1", [micros]).unwrap();
}

/// The next messages of a stream: of an event its seq, of a gap what it says, each with its id.
async fn hear(host: &Host, query: &str, last_event_id: u64, count: usize) -> Vec<Value> {
    let url = format!("{}/v1/events/stream?{query}", host.url);
    let request = reqwest::Client::new().get(url).header("last-event-id", last_event_id);
    let mut stream = request.send().await.unwrap().bytes_stream().eventsource();
    let mut heard = Vec::new();
    for _ in 0..count {
        let next = tokio::time::timeout(PATIENCE, stream.next()).await.expect("a message in time");
        let message = next.expect("the stream goes on").unwrap();
        let id: u64 = message.id.parse().unwrap();
        let data: Value = serde_json::from_str(&message.data).unwrap();
        heard.push(match message.event.as_str() {
            "pruned" => json!([id, data]),
            _ => {
                assert_eq!(data["seq"], id);
                json!(id)
            }
        });
    }
    heard
}

fn gone(from: u64, to: u64, count: u64) -> Value {
    json!({"from": from, "to": to, "count": count})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_under_load_keeps_its_newest_events_and_no_more() {
    const KEPT: u64 = 500;
    let setup = keeping("max_events = 500");
    let host = Arc::new(setup.start());
    let is_over = Arc::new(AtomicBool::new(false));
    let looking = tokio::spawn({
        let (host, is_over) = (Arc::clone(&host), Arc::clone(&is_over));
        async move {
            while !is_over.load(Ordering::Acquire) {
                // One page is one look at the log: its newest 500 events are all there.
                let head = status(&host).await["head"].as_u64().unwrap();
                let path = "/v1/events?order=desc&limit=500&include_dropped=true";
                let (_, page) = host.get(path).await;
                let events = page["events"].as_array().unwrap();
                assert!(events.len() as u64 >= head.min(KEPT), "{} of {head}", events.len());
                for (below, entry) in (0..).zip(events) {
                    assert_eq!(entry["seq"], events[0]["seq"].as_u64().unwrap() - below);
                }
            }
        }
    });
    publish(&host, 0..20_000).await;
    is_over.store(true, Ordering::Release);
    looking.await.unwrap();
    let left = left(&host, KEPT).await;
    assert_eq!(left, (19_501..=20_000).collect::<Vec<u64>>());
    let found = status(&host).await;
    assert_eq!(found["pruned"], 19_500);
    assert_eq!(found["retention"]["pruned"]["max_events"], 19_500);
    let (_, metrics) = host.get("/metrics").await;
    let line = "ennio_pruned_total{rule=\"max_events\"} 19500";
    assert!(metrics.as_str().unwrap().contains(line), "{metrics}");
    let (code, said) = run(ennio().args(["status", "--url", &host.url]));
    assert_eq!(code, 0);
    assert!(said.contains("500 events, the last is seq 20,000; 19,500 pruned"), "{said}");
    assert!(host.output().contains("(max_events "), "{}", host.output());
}

#[tokio::test]
async fn who_comes_too_late_is_told_exactly_what_is_gone() {
    let rule = "rules = [{ name = \"nodes\", subject = [\"ennio.node.>\"], max_age = \"7d\" }]";
    let setup = Setup::new();
    let host = setup.start();
    // Four nodes, two others, and so on: 1-4 n, 5-6 o, 7-10 n, 11-12 o.
    let kinds = [["node_connected"; 4].as_slice(), &["ci_failing", "pr_created"]].concat();
    let events: Vec<Value> = kinds.iter().cycle().take(12).map(|kind| event(kind)).collect();
    host.publish_lines(&events).await;
    host.interrupt();
    age(&setup, 8);
    let setup = keep(setup, rule);
    let host = setup.start();
    // Young, though of the same kind.
    host.publish_lines(&events[..6]).await;
    let places = left(&host, 10).await;
    assert_eq!(places, [5, 6, 11, 12, 13, 14, 15, 16, 17, 18]);
    assert_eq!(status(&host).await["retention"]["pruned"]["nodes"], 8);

    let first = json!([4, gone(1, 4, 4)]);
    let second = json!([10, gone(7, 10, 4)]);
    let heard = hear(&host, "", 0, 7).await;
    assert_eq!(json!(heard), json!([first, 5, 6, second, 11, 12, 13]));
    // From the middle of a gap: the rest of it.
    assert_eq!(json!(hear(&host, "", 2, 2).await), json!([[4, gone(3, 4, 2)], 5]));
    // A choice of events: everything that is gone between two of them, whatever it was.
    let heard = hear(&host, "type=ci_failing", 0, 4).await;
    assert_eq!(json!(heard), json!([first, 5, second, 11]));
    assert_eq!(json!(hear(&host, "type=pr_created", 5, 2).await), json!([6, second]));
    // A client that was told is not told again.
    assert_eq!(json!(hear(&host, "", 10, 1).await), json!([11]));

    let page = async |query: &str| {
        let (_, page) = host.get(&format!("/v1/events?{query}")).await;
        let seqs: Vec<u64> =
            page["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect();
        json!([seqs, page["next"], page["pruned"]])
    };
    assert_eq!(page("after_seq=2&limit=1").await, json!([[5], 5, gone(3, 4, 2)]));
    assert_eq!(page("after_seq=5&limit=2").await, json!([[6, 11], 11, gone(7, 10, 4)]));
    assert_eq!(page("after_seq=12&limit=1").await, json!([[13], 13, null]));
    assert_eq!(page("before_seq=9&order=desc").await, json!([[6, 5], null, gone(1, 8, 6)]));
    assert_eq!(page("type=ci_failing&before_seq=13").await, json!([[5, 11], null, gone(1, 10, 8)]));

    // On a terminal.
    let said = setup.folder.path().join("tail");
    let mut tail = ennio()
        .args(["tail", "--after", "0", "--url", &host.url])
        .stdout(Stdio::null())
        .stderr(File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let line = "4 events, from seq 7 to 10, are gone: retention was there first";
    eventually("tail says what is gone", async || {
        std::fs::read_to_string(&said).unwrap().contains(line).then_some(())
    })
    .await;
    tail.kill().unwrap();
    tail.wait().unwrap();

    // The same from the file alone.
    host.interrupt();
    let (code, said) = doctor(&setup, &[]);
    assert!(code == 0 && said.contains("10 events, 5 to 18, 8 pruned"), "{said}");
}

#[tokio::test]
async fn an_id_that_was_pruned_may_come_again_and_seq_goes_on() {
    let setup = keeping("max_age = \"1ms\"");
    let host = setup.start();
    let mut event = numbered(1);
    event["id"] = uuid::Uuid::now_v7().to_string().into();
    for seq in 1..4 {
        let (code, receipt) = host.publish(&event).await;
        assert_eq!((code, &receipt["seq"]), (201, &json!(seq)), "{receipt}");
        assert_eq!(receipt["status"], "accepted");
        assert_eq!(left(&host, 0).await, [0; 0]);
    }
    host.interrupt();
    // An empty log knows where it was.
    let host = setup.start();
    assert_eq!(host.publish(&event).await.1["seq"], 4);
}

#[tokio::test]
async fn what_nats_has_not_got_stays_and_then_goes() {
    const EVENTS: usize = 5_000;
    let mut server = NatsServer::jetstream();
    create_stream(&server).await;
    server.kill();
    let setup = keeping("max_events = 100").argument("--nats").argument(&server.url());
    let host = setup.start();
    publish(&host, 0..EVENTS).await;
    let held = eventually("retention waits", async || {
        let held = status(&host).await["retention"]["held"].take();
        held.is_object().then_some(held)
    })
    .await;
    assert_eq!((&held["cursor"], &held["at"]), (&json!("nats"), &json!(0)), "{held}");
    assert_eq!(status(&host).await["events"], EVENTS);
    assert!(host.output().contains("retention waits for nats, which is done up to seq 0"));
    let (_, said) = run(ennio().args(["status", "--url", &host.url]));
    assert!(said.contains("waits for nats, done up to seq 0; without it, up to"), "{said}");
    let (_, metrics) = host.get("/metrics").await;
    assert!(!metrics.as_str().unwrap().contains("ennio_retention_held_places 0\n"), "{metrics}");

    server.start();
    assert_eq!(left(&host, 100).await, (4_901..=5_000).collect::<Vec<u64>>());
    assert_eq!(in_stream(&server).await, (1..=5_000).collect::<Vec<u64>>());
    let found = status(&host).await;
    assert_eq!((&found["overtaken"], &found["retention"]["held"]), (&json!({}), &Value::Null));
}

#[tokio::test]
async fn max_size_goes_past_nats_and_says_exactly_what_it_missed() {
    let mut server = NatsServer::jetstream();
    create_stream(&server).await;
    server.kill();
    let setup = keeping("max_size = \"4MiB\"").argument("--nats").argument(&server.url());
    let host = setup.start();
    let large: Vec<Value> = (0..3000)
        .map(|number| {
            let mut event = numbered(number);
            event["message"] = "m".repeat(4000).into();
            event
        })
        .collect();
    for events in large.chunks(200) {
        host.publish_lines(events).await;
    }
    let used = eventually("the file is as small as it has to be", async || {
        let (used, _) = space(&setup);
        (used <= 4 << 20).then_some(used)
    })
    .await;
    let places: Vec<u64> =
        host.log().await.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    let first = places[0];
    assert_eq!(places, (first..=3000).collect::<Vec<u64>>());
    assert!(used > 2 << 20 && places.len() > 300, "{used} bytes, {} events", places.len());

    server.start();
    eventually("the cursor at the head", async || {
        (status(&host).await["nats"]["cursor"] == 3000).then_some(())
    })
    .await;
    assert_eq!(in_stream(&server).await, places);
    let missed = json!({"events": first - 1, "last": gone(1, first - 1, first - 1)});
    assert_eq!(status(&host).await["overtaken"]["nats"], missed);
    let said = format!("nats was overtaken by retention: {0} events from seq 1 to {0}", first - 1);
    assert!(host.output().contains(&said), "{said}");
    let (_, metrics) = host.get("/metrics").await;
    let line = format!("ennio_overtaken_events_total{{sink=\"nats\"}} {}", first - 1);
    assert!(metrics.as_str().unwrap().contains(&line), "{metrics}");
}

async fn create_stream(server: &NatsServer) {
    let client = async_nats::connect(server.url()).await.unwrap();
    let config = stream::Config {
        name: "EVENTS".into(),
        subjects: vec!["ennio.>".into()],
        ..stream::Config::default()
    };
    jetstream::new(client).create_stream(config).await.unwrap();
}

/// The places of the events in the stream, in its order.
async fn in_stream(server: &NatsServer) -> Vec<u64> {
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut stream = jetstream::new(client).get_stream("EVENTS").await.unwrap();
    let count = stream.info().await.unwrap().state.messages;
    let mut places = Vec::new();
    for number in 1..=count {
        let message = stream.get_raw_message(number).await.unwrap();
        places.push(message.headers.get("Ennio-Seq").unwrap().as_str().parse().unwrap());
    }
    places
}

#[tokio::test]
async fn a_reaction_that_is_behind_is_waited_for_unless_it_is_disabled() {
    let plugins =
        Plugins::new().with_sidecar("failing", "fail-reaction", "[reaction]\nretries = 100\n");
    let setup = keep(Setup::new().plugins(plugins.path()), "max_events = 10");
    let host = setup.start();
    let mut stuck = event("ci_failing");
    stuck["message"] = "retry me".into();
    host.publish(&stuck).await;
    publish(&host, 0..200).await;
    eventually("retention waits", async || {
        let held = status(&host).await["retention"]["held"].take();
        (held["cursor"] == "reaction/failing").then_some(())
    })
    .await;
    assert_eq!(host.log().await[0]["seq"], 1);

    // The event waits in the store; the cursor has passed it.
    assert_eq!(status(&host).await["cursors"]["failing"], 201);
    assert_eq!(status(&host).await["waiting"], 1);

    assert_eq!(host.order("failing", "disable").await.0, 200);
    assert_eq!(left(&host, 10).await, (192..=201).collect::<Vec<u64>>());
    publish(&host, 200..400).await;
    assert_eq!(left(&host, 10).await, (392..=401).collect::<Vec<u64>>());
    assert_eq!(host.order("failing", "enable").await.0, 200);
    host.settled().await;
    // The one that it would have come back to, and those that it had not come to.
    let missed = json!({"events": 191, "last": gone(202, 391, 190)});
    assert_eq!(status(&host).await["overtaken"]["reaction/failing"], missed);
    let said = "reaction/failing was overtaken by retention: 1 events from seq 1 to 1 are gone";
    assert!(host.output().contains(said), "{}", host.output());
    assert_eq!(status(&host).await["waiting"], 0);
}

#[tokio::test]
async fn max_size_goes_past_an_event_that_is_tried_again_and_says_so() {
    let plugins =
        Plugins::new().with_sidecar("failing", "fail-reaction", "[reaction]\nretries = 100\n");
    let setup = keep(Setup::new().plugins(plugins.path()), "max_size = \"1MiB\"");
    let host = setup.start();
    let mut stuck = event("ci_failing");
    stuck["message"] = "retry me".into();
    host.publish(&stuck).await;
    eventually("the event waits", async || (status(&host).await["waiting"] == 1).then_some(()))
        .await;
    let large: Vec<Value> = (0..1000)
        .map(|number| {
            let mut event = numbered(number);
            event["message"] = "m".repeat(4000).into();
            event
        })
        .collect();
    for events in large.chunks(200) {
        host.publish_lines(events).await;
    }
    let missed = eventually("the reaction is told", async || {
        let missed = status(&host).await["overtaken"]["reaction/failing"].take();
        missed.is_object().then_some(missed)
    })
    .await;
    assert_eq!(missed, json!({"events": 1, "last": gone(1, 1, 1)}));
    assert_eq!(status(&host).await["waiting"], 0);
    host.interrupt();
    // Nor is anything left of its attempts.
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let count = "SELECT count(*) FROM reaction_attempts";
    assert_eq!(database.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_while_it_prunes_leaves_a_sound_log_and_right_answers() {
    const KILLS: usize = 12;
    let setup = keeping("max_events = 300");
    let mut before = 0;
    for round in 0..KILLS {
        let host = setup.start();
        let url = host.url.clone();
        let sending = tokio::spawn(async move {
            let client = reqwest::Client::new();
            for number in 0.. {
                let lines: String =
                    (0..200).map(|n| format!("{}\n", numbered(number * 200 + n))).collect();
                let request = client.post(format!("{url}/v1/events")).body(lines);
                let request = request.header("content-type", "application/x-ndjson");
                let Ok(answer) = request.send().await else { return };
                if answer.bytes().await.is_err() {
                    return;
                }
            }
        });
        // The kill meets another step of another round.
        let wanted = before + 200 + (round as u64 * 137) % 1000;
        let pruned = eventually("something was pruned", async || {
            let (code, found) = host.get("/v1/status").await;
            let pruned = found["pruned"].as_u64().filter(|_| code == 200)?;
            (pruned > wanted).then_some(pruned)
        })
        .await;
        host.kill();
        sending.await.unwrap();
        before = pruned;
        let (code, said) = doctor(&setup, &[]);
        assert_eq!(code, 0, "{said}");
    }
    let host = setup.start();
    let left = left(&host, 300).await;
    let head = status(&host).await["head"].as_u64().unwrap();
    assert_eq!(left, (head - 299..=head).collect::<Vec<u64>>());
    let log = host.log().await;
    for session in 0..7 {
        let path = format!("/v1/events?session=s-{session}&limit=500");
        let (_, page) = host.get(&path).await;
        let name = json!(format!("s-{session}"));
        let expected: Vec<&Value> = log.iter().filter(|e| e["session_id"] == name).collect();
        assert_eq!(page["events"].as_array().unwrap().iter().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn a_dry_run_shows_what_would_go_and_touches_nothing() {
    let setup = Setup::new();
    let host = setup.start();
    let node = event("node_connected");
    host.publish_lines(&vec![node; 40]).await;
    publish(&host, 0..60).await;
    host.interrupt();
    age(&setup, 8);
    let file = setup.folder.path().join("new.toml");
    let table = "[retention]\nmax_events = 50\n\
                 rules = [{ name = \"nodes\", subject = [\"ennio.node.>\"], max_age = \"7d\" }]\n";
    std::fs::write(&file, table).unwrap();
    let prune = |options: &[&str]| {
        let config = ["prune", "--config", file.to_str().unwrap()];
        run(ennio().args(config).arg("--db").arg(setup.database()).args(options))
    };
    let before = std::fs::read(setup.database()).unwrap();
    let (code, said) = prune(&["--dry-run"]);
    assert_eq!(code, 0, "{said}");
    let words: Vec<Vec<&str>> = said.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(words[1][..5], ["nodes", "7d", "40", "1", "40"], "{said}");
    assert_eq!(words[2][..5], ["max_events", "50", "10", "41", "50"], "{said}");
    assert!(said.contains("50 events would go, 50 stay"), "{said}");
    assert_eq!(std::fs::read(setup.database()).unwrap(), before);

    std::fs::write(&file, format!("[nats]\nurl = \"nats://127.0.0.1:1\"\n{table}")).unwrap();
    let (_, said) = prune(&["--dry-run"]);
    assert!(said.contains("0 events would go, 100 stay"), "{said}");
    assert!(said.contains("waits for nats, which is done up to seq 0"), "{said}");
    let (code, said) = prune(&[]);
    assert!(code == 2 && said.contains("--dry-run shows"), "{said}");
}

#[tokio::test]
async fn doctor_makes_an_old_file_smaller_and_lets_it_shrink_from_then_on() {
    let setup = keeping("max_events = 100");
    let host = setup.start();
    host.interrupt();
    // As a file was made before there was retention.
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    database.execute_batch("PRAGMA auto_vacuum = 0; VACUUM").unwrap();
    drop(database);
    let size = || std::fs::metadata(setup.database()).unwrap().len();
    let host = setup.start();
    let large = || -> Vec<Value> {
        let large = |number| {
            let mut event = numbered(number);
            event["message"] = "m".repeat(4000).into();
            event
        };
        (0..3000).map(large).collect()
    };
    for events in large().chunks(200) {
        host.publish_lines(events).await;
    }
    left(&host, 100).await;
    eventually("the host says what to do", async || {
        host.output().contains("`ennio doctor --vacuum`").then_some(())
    })
    .await;
    let (code, said) = doctor(&setup, &["--vacuum"]);
    assert!(code == 1 && said.contains("in use by another Ennio host"), "{said}");
    host.interrupt();
    let before = size();
    let (_, said) = doctor(&setup, &[]);
    assert!(said.contains("free, which --vacuum would give back"), "{said}");
    let (code, said) = doctor(&setup, &["--vacuum"]);
    assert_eq!(code, 0, "{said}");
    assert!(before > 6 << 20 && size() < 2 << 20, "{before} bytes, then {}", size());
    let (code, said) = doctor(&setup, &[]);
    assert!(code == 0 && said.contains("100 events"), "{said}");

    let host = setup.start();
    for events in large().chunks(200) {
        host.publish_lines(events).await;
    }
    left(&host, 100).await;
    let free = eventually("space is given back", async || {
        let (_, free) = space(&setup);
        (free <= 4 << 20).then_some(free)
    })
    .await;
    host.interrupt();
    assert!(size() < 6 << 20, "{} bytes, {free} of them free", size());
}
