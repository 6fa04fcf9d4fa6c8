//! What plugins remember becomes true with the events that it is about, whatever happens.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::harness::{Checker, Plugins, Reply, Server, Setup, ennio, eventually, numbered};

/// Kills under load, each at another moment.
const KILLS: usize = 200;
/// Senders at once.
const SENDERS: usize = 4;

const EMITS: &str = "[capabilities]\nemit = [\"ennio.custom.>\"]\n";

/// A plugin is not shown what tells of itself.
const SEEN: &str = "SELECT count(*) FROM events \
     WHERE NOT (event_type = 'reaction_triggered' AND caused_by_plugin = 'counter')";

/// The events that are posted.
const POSTED: &str = "ci_failing";

fn saying(message: &str) -> Value {
    let mut event = numbered(0);
    event["message"] = message.into();
    event
}

/// What the file says, without a host.
struct Found {
    /// By bucket and key.
    counts: BTreeMap<(String, String), u64>,
    events: u64,
    poisoned: u64,
    sessions: BTreeMap<String, u64>,
    tenths: u64,
    /// Of what the counter's reaction sees, what its cursor has passed, and all.
    passed: u64,
    seen: u64,
}

impl Found {
    fn in_file(setup: &Setup) -> Self {
        let db = Connection::open(setup.database()).unwrap();
        let number = |sql: &str| -> u64 {
            let found: Option<i64> = db.query_row(sql, [], |row| row.get(0)).optional().unwrap();
            found.unwrap_or(0) as u64
        };
        let pairs = |sql: &str| -> Vec<(String, String, u64)> {
            let mut rows = db.prepare(sql).unwrap();
            let row = |row: &rusqlite::Row<'_>| {
                let count: String = row.get(2)?;
                Ok((row.get(0)?, row.get(1)?, count.parse().unwrap()))
            };
            let rows = rows.query_map([], row).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        };
        let counts = pairs("SELECT bucket, key, CAST(value AS TEXT) FROM plugin_state");
        let sessions = pairs(
            "SELECT '', session_id, CAST(count(*) AS TEXT) FROM events WHERE message <> 'poison' \
             GROUP BY session_id",
        );
        Self {
            counts: counts.into_iter().map(|(bucket, key, n)| ((bucket, key), n)).collect(),
            events: number("SELECT count(*) FROM events"),
            poisoned: number("SELECT count(*) FROM events WHERE message = 'poison'"),
            sessions: sessions.into_iter().map(|(_, session, n)| (session, n)).collect(),
            tenths: number("SELECT count(*) FROM events WHERE event_type = 'custom.tenth'"),
            passed: number(&format!(
                "{SEEN} AND seq <= (SELECT seq FROM cursors WHERE name = 'reaction/counter')"
            )),
            seen: number(SEEN),
        }
    }

    fn count(&self, bucket: &str, key: &str) -> u64 {
        self.counts.get(&(bucket.into(), key.into())).copied().unwrap_or(0)
    }

    /// Every counter is what the log and the cursor say, at this very moment.
    fn check(&self, when: &str) {
        assert_eq!(self.count("pipeline", "filtered"), self.events - self.poisoned, "{when}");
        assert_eq!(self.count("pipeline", "enriched"), self.events, "{when}");
        assert_eq!(self.count("reaction", "reacted"), self.passed, "{when}");
        assert_eq!(self.tenths, self.passed / 10, "{when}");
        for (session, events) in &self.sessions {
            assert_eq!(self.count("pipeline", &format!("of/{session}")), *events, "{when}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_200_kills_under_load_every_event_is_counted_and_told_once_and_posted_at_least_once() {
    // Fails now and then, so that events wait for their retry when the host is killed.
    let server = Server::start(|_, before| match before % 23 {
        7 => Reply::status(503),
        _ => Reply::ok("ok"),
    })
    .await;
    let posts = format!(
        "subscribe = [\"ennio.ci.>\"]\nmin_priority = \"info\"\n[config]\nurl = {:?}\n\
         [capabilities]\nhttp = [{:?}]\n[reaction]\nconcurrency = 8\nretries = 20\n",
        server.url("/"),
        server.address.to_string(),
    );
    let plugins = Plugins::new().with_sidecar("counter", "counter", EMITS).with_sidecar(
        "notify",
        "notify-webhook",
        &posts,
    );
    let setup = Setup::new().plugins(plugins.path());
    let checker = Arc::new(Mutex::new(Checker::default()));
    for round in 0..KILLS {
        let host = setup.start();
        let before = checker.lock().await.count_told();
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                tokio::spawn(send_until_refused(host.url.clone(), sender, Arc::clone(&checker)))
            })
            .collect();
        let wanted = before + 1 + round * 37 % 150;
        eventually("enough events are accepted", async || {
            (checker.lock().await.count_told() >= wanted).then_some(())
        })
        .await;
        host.kill();
        for sender in senders {
            sender.await.unwrap();
        }
        Found::in_file(&setup).check(&format!("after kill {round}"));
    }
    let host = setup.start();
    host.settled().await;
    let log = host.log().await;
    let sent: Vec<Value> =
        log.iter().filter(|entry| entry["caused_by"].is_null()).cloned().collect();
    let checker = checker.lock().await;
    assert!(checker.count_told() > KILLS, "{}", checker.count_told());
    let lost: Vec<_> = checker
        .faults(&sent)
        .into_iter()
        // Emitted events stand between, so places are not those of what was sent alone.
        .filter(|fault| !matches!(fault, crate::harness::Fault::Gap(_)))
        .collect();
    assert_eq!(lost, []);
    host.interrupt();
    let found = Found::in_file(&setup);
    found.check("at the end");
    assert_eq!(found.passed, found.seen, "everything was reacted to");
    assert!(found.poisoned > 0 && found.tenths > 0);

    // Once in the log, at least once outside, under the event's own key.
    let told: Vec<&str> = log
        .iter()
        .filter(|entry| entry["event_type"] == "reaction_triggered")
        .filter(|entry| entry["caused_by"]["plugin"] == "notify")
        .map(|entry| entry["caused_by"]["event_id"].as_str().unwrap())
        .collect();
    let posted = sent.iter().filter(|entry| entry["event_type"] == POSTED);
    let ids: HashSet<&str> = posted.map(|entry| entry["id"].as_str().unwrap()).collect();
    assert!(ids.len() > KILLS, "{}", ids.len());
    assert_eq!(told.len(), ids.len());
    assert_eq!(told.into_iter().collect::<HashSet<_>>(), ids);
    let posts = server.seen();
    let keys: HashSet<&str> =
        posts.iter().map(|post| post.header("idempotency-key").unwrap()).collect();
    assert_eq!(keys, ids);
}

async fn send_until_refused(url: String, sender: usize, checker: Arc<Mutex<Checker>>) {
    let client = reqwest::Client::new();
    for round in 0.. {
        let mut events: Vec<Value> =
            (0..if sender == 0 { 20 } else { 1 }).map(|n| numbered(round * 20 + n)).collect();
        if round % 7 == 3 {
            events[0]["message"] = "poison".into();
        }
        if sender == 0 {
            // A webhook does not take all of them in a test's time.
            events[0]["event_type"] = POSTED.into();
        }
        for event in &events {
            checker.lock().await.sent(event);
        }
        let body: String = events.iter().map(|event| format!("{event}\n")).collect();
        let request = client
            .post(format!("{url}/v1/events"))
            .header("content-type", "application/x-ndjson")
            .timeout(Duration::from_secs(30))
            .body(body);
        let Ok(response) = request.send().await else { return };
        let Ok(answer) = response.text().await else { return };
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let mut checker = checker.lock().await;
        for receipt in answer["results"].as_array().unwrap() {
            if receipt["seq"].is_u64() {
                checker.told(receipt);
            }
        }
    }
}

#[tokio::test]
async fn an_event_that_is_held_back_or_failed_on_is_not_counted_and_its_neighbours_once() {
    // `late` runs after the counter and holds poison back, so the counter has judged it by then.
    let plugins = Plugins::new().with_sidecar("counter", "counter", EMITS).with_sidecar(
        "late",
        "trap-on-poison",
        "order = 99\non_error = \"hold\"\n",
    );
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let mut events: Vec<Value> = (0..40).map(numbered).collect();
    events[7]["message"] = "poison pill".into();
    events[23]["message"] = "poison pill".into();
    let results = host.publish_lines(&events).await;
    let accepted = results.iter().filter(|result| result["status"] == "accepted").count();
    assert_eq!(accepted, 38, "{results:?}");
    // A reaction that fails twice is counted when it succeeds.
    host.publish(&saying("fail twice")).await;
    host.settled().await;
    host.interrupt();
    let found = Found::in_file(&setup);
    found.check("with two events held back");
    assert_eq!(found.count("reaction", "reacted"), found.seen);
}

#[tokio::test]
async fn state_survives_a_reload_and_a_restart_and_a_reaction_reads_what_the_filter_wrote() {
    let plugins = Plugins::new().with_sidecar("counter", "counter", EMITS);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    host.publish_lines(&(0..5).map(numbered).collect::<Vec<_>>()).await;
    plugins.write("counter.toml", format!("order = 1\n{EMITS}"));
    host.plugin_where("counter", "the reload", |plugin| plugin["loads"] == 2).await;
    host.publish_lines(&(0..5).map(numbered).collect::<Vec<_>>()).await;
    host.settled().await;
    host.interrupt();
    let host = setup.start();
    host.publish(&saying("write to the other")).await;
    host.settled().await;
    let log = host.log().await;
    // Ten events, what came of the tenth and that the host tells of it, this one.
    let told = log.iter().find(|entry| entry["event_type"] == "custom.told").unwrap();
    let expected = "the bucket of the plugin's other role can only be read; it reads 13";
    assert_eq!(told["message"], expected);
    host.interrupt();
    Found::in_file(&setup).check("after reload and restart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_caches_its_state_is_right_after_reloads_under_load_and_after_an_edit() {
    let plugins = Plugins::new().with("counter", "cached-counter");
    let setup = Setup::new().plugins(plugins.path());
    let host = Arc::new(setup.start());
    let sender = tokio::spawn({
        let host = Arc::clone(&host);
        async move {
            let mut sent = 0;
            // A new version is configured while the one before goes on counting.
            while host.plugin("counter").await.unwrap()["loads"].as_u64() < Some(6) {
                host.publish_lines(&(0..50).map(numbered).collect::<Vec<_>>()).await;
                sent += 50;
            }
            sent
        }
    });
    for load in 2..=6 {
        plugins.write("counter.toml", format!("order = {load}\n"));
        host.plugin_where("counter", "the reload", |plugin| plugin["loads"] == load).await;
    }
    let sent: u64 = sender.await.unwrap();
    let count = async || cli(&host.url, &["get", "count"], None).await.1;
    assert_eq!(count().await, sent.to_string());
    assert_eq!(cli(&host.url, &["set", "count", "7"], None).await.0, 0);
    host.publish(&numbered(0)).await;
    assert_eq!(count().await, "8");
}

#[tokio::test]
async fn a_full_bucket_refuses_the_write_and_nothing_else() {
    let sidecar = format!("{EMITS}[limits]\nstate_mib = 1\n");
    let plugins = Plugins::new().with_sidecar("counter", "counter", &sidecar);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    for number in 0..5 {
        let (_, receipt) = host.publish(&saying(&format!("fill {number}"))).await;
        assert_eq!(receipt["status"], "accepted", "{number}");
    }
    host.publish(&saying("fill 5")).await;
    let log = host.log().await;
    let reason = log.iter().find_map(|entry| entry["drop_reason"].as_str()).unwrap();
    assert!(reason.contains("1048576 bytes") && reason.contains("state_mib"), "{reason}");
    assert_eq!(host.publish(&saying("others go on")).await.1["status"], "accepted");
    assert_eq!(host.plugin("counter").await.unwrap()["failures"], json!(0));
}

/// Runs `ennio plugin state counter …` against a host; exit code, stdout, stderr.
async fn cli(url: &str, arguments: &[&str], input: Option<&str>) -> (i32, String, String) {
    let mut command = ennio();
    command.args(["plugin", "state", "counter"]).args(arguments).env("ENNIO_URL", url);
    let mut folder = None;
    match input {
        Some(text) => {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            command.stdin(std::fs::File::open(file.path()).unwrap());
            folder = Some(file);
        }
        None => drop(command.stdin(std::process::Stdio::null())),
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    drop(folder);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn state_is_read_mended_and_moved_by_hand_while_the_plugin_runs() {
    let plugins = Plugins::new().with_sidecar("counter", "counter", EMITS);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    host.publish_lines(&(0..3).map(numbered).collect::<Vec<_>>()).await;
    eventually("the reaction's cursor on disk, and its writes with it", async || {
        let path = "/v1/plugins/counter/state";
        (host.get(path).await.1["buckets"][1]["keys"] == 1).then_some(())
    })
    .await;

    let (code, _, error) = cli(&host.url, &["get", "filtered"], None).await;
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("two buckets") && error.contains("--bucket pipeline"), "{error}");
    let pipeline = |arguments: &[&'static str]| [arguments, &["--bucket", "pipeline"]].concat();
    let told = cli(&host.url, &pipeline(&["get", "filtered"]), None).await;
    assert_eq!(told, (0, "3".into(), String::new()));
    let (code, _, error) = cli(&host.url, &pipeline(&["get", "missing"]), None).await;
    assert_eq!(code, 1);
    assert!(error.contains("counter has no key \"missing\" in its bucket pipeline"), "{error}");

    // What the operator sets is what the plugin counts on with, at once and on disk.
    assert_eq!(cli(&host.url, &pipeline(&["set", "filtered", "100"]), None).await.0, 0);
    assert_eq!(cli(&host.url, &pipeline(&["set", "enriched"]), Some("7")).await.0, 0);
    assert_eq!(cli(&host.url, &["set", "a/b c", "é", "--bucket", "reaction"], None).await.0, 0);
    host.publish(&numbered(1)).await;
    let (_, filtered, _) = cli(&host.url, &pipeline(&["get", "filtered"]), None).await;
    let (_, enriched, _) = cli(&host.url, &pipeline(&["get", "enriched"]), None).await;
    assert_eq!((&*filtered, &*enriched), ("101", "8"));
    let (_, odd, _) = cli(&host.url, &["get", "a/b c", "--bucket", "reaction"], None).await;
    assert_eq!(odd, "é");

    let (_, export, _) = cli(&host.url, &pipeline(&["export"]), None).await;
    let keys: Vec<Value> = export
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["key"].take())
        .collect();
    assert_eq!(keys, ["enriched", "filtered", "of/s-0", "of/s-1", "of/s-2"]);
    assert_eq!(cli(&host.url, &pipeline(&["delete", "filtered"]), None).await.0, 0);
    cli(&host.url, &pipeline(&["set", "extra", "x"]), None).await;
    let (code, told, error) =
        cli(&host.url, &pipeline(&["import", "--replace"]), Some(&export)).await;
    assert_eq!((code, &*told), (0, "5 keys are in counter's bucket pipeline\n"), "{error}");
    assert_eq!(cli(&host.url, &pipeline(&["export"]), None).await.1, export, "the same again");

    // All or nothing, with the line at fault.
    let bad = format!("{export}{{\"key\":\"x\"}}\n");
    let (code, _, error) = cli(&host.url, &pipeline(&["import"]), Some(&bad)).await;
    assert_eq!(code, 1);
    assert!(error.contains("line 6: needs either `text` or `base64`"), "{error}");
    assert_eq!(cli(&host.url, &pipeline(&["export"]), None).await.1, export);

    // It moves to another host, where the plugin is not even loaded.
    let other = Setup::new();
    let there = other.start();
    let (code, _, error) = cli(&there.url, &["export"], None).await;
    assert_eq!(code, 2);
    assert!(error.contains("remembers nothing and is not loaded"), "{error}");
    assert_eq!(cli(&there.url, &pipeline(&["import"]), Some(&export)).await.0, 0);
    assert_eq!(cli(&there.url, &["export"], None).await.1, export, "the one bucket in use");
}
