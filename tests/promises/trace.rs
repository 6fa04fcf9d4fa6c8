//! `ennio trace` and `GET /v1/events/{id}/trace`: one event's whole story, from what it came from to
//! what it caused, as the plugins themselves would tell it.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::{
    harness::{Host, Plugins, Reply, Server, Setup, ennio, event, eventually, numbered},
    nats_server::NatsServer,
};

const SECRET: &str = "ghp_1234567890abcdefghijklmnopqrstuvwxyz";

fn saying(message: &str) -> Value {
    let mut event = event("activity_changed");
    event["message"] = message.into();
    event
}

/// Publishes an event; its place in the log.
async fn publish(host: &Host, event: &Value) -> u64 {
    let (status, receipt) = host.publish(event).await;
    assert_eq!(status, 201, "{receipt}");
    receipt["seq"].as_u64().unwrap()
}

async fn trace(host: &Host, event: impl std::fmt::Display) -> Value {
    let (status, trace) = host.get(&format!("/v1/events/{event}/trace")).await;
    assert_eq!(status, 200, "{trace}");
    trace
}

/// Runs `ennio trace …`; exit code, stdout, stderr.
async fn cli(host: &Host, arguments: &[&str]) -> (i32, String, String) {
    let mut command = ennio();
    command.arg("trace").args(arguments).env("ENNIO_URL", &host.url);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What each filter and enricher did: its name, and the outcome.
fn passed(trace: &Value) -> Vec<String> {
    let all = trace["pipeline"].as_array().unwrap().iter();
    all.map(|one| format!("{} {}", one["plugin"], one["outcome"]).replace('"', "")).collect()
}

fn reaction<'a>(trace: &'a Value, plugin: &str) -> &'a Value {
    let all = trace["reactions"].as_array().unwrap();
    all.iter().find(|reaction| reaction["plugin"] == plugin).unwrap_or(&Value::Null)
}

/// The trace once a reaction came to this end.
async fn once(host: &Host, event: u64, plugin: &str, outcome: &str) -> Value {
    eventually(outcome, async || {
        let trace = trace(host, event).await;
        (reaction(&trace, plugin)["outcome"] == outcome).then_some(trace)
    })
    .await
}

fn working() -> Plugins {
    let mut plugins = Plugins::new();
    for name in ["noise-filter", "ci-triage", "redact-secrets", "merge-ready"] {
        let sidecar = format!("{}/../plugins/{name}/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        plugins = plugins.with_sidecar(name, name, &std::fs::read_to_string(sidecar).unwrap());
    }
    plugins
}

#[tokio::test]
async fn who_dropped_changed_and_kept_an_event_is_told_and_no_secret_is() {
    let plugins = working();
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let mut failing = event("ci_failing");
    failing["message"] = format!("connection reset by peer, token {SECRET}").into();
    failing["data"] = json!({"branch": "main"});
    let first = publish(&host, &failing).await;
    let second = publish(&host, &failing).await;
    let other = publish(&host, &event("pr_created")).await;

    let story = once(&host, first, "merge-ready", "done").await;
    assert_eq!(story["event"]["seq"], first);
    assert_eq!(
        passed(&story),
        ["noise-filter kept", "ci-triage changed", "redact-secrets changed"]
    );
    let [noise, triage, redact] = [0, 1, 2].map(|at| &story["pipeline"][at]);
    assert_eq!((&noise["role"], &triage["role"]), (&json!("filter"), &json!("enricher")));
    assert_eq!(
        triage["changes"],
        json!([
            {"path": "data.triage.class", "to": "flaky-network"},
            {"path": "data.triage.failures", "to": 1},
        ])
    );
    let masked = &redact["changes"][0];
    assert_eq!(masked["path"], "message");
    assert!(masked["to"].as_str().unwrap().contains("[redacted:github-token]"), "{masked}");
    assert!(redact["took_us"].as_f64().unwrap() > 0.0, "{redact}");
    for one in [noise, triage, redact] {
        let plugin = host.plugin(one["plugin"].as_str().unwrap()).await.unwrap();
        assert_eq!([&one["hash"], &one["version"]], [&plugin["hash"], &plugin["version"]]);
    }
    assert_eq!(reaction(&story, "merge-ready")["at"], Value::Null, "it had nothing to do");

    let story = trace(&host, second).await;
    assert_eq!(passed(&story), ["noise-filter dropped"], "nobody behind it saw it");
    let reason = story["pipeline"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("duplicate of"), "{reason}");
    assert_eq!(json!([story["reactions"], story["published"]]), json!([[], []]));
    assert_eq!(passed(&trace(&host, other).await), ["noise-filter kept", "redact-secrets kept"]);

    host.interrupt();
    let mut files = std::fs::read_dir(setup.folder.path()).unwrap().map(Result::unwrap);
    let holds = |file: &std::fs::DirEntry| {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes())
    };
    // The duplicate was hidden before it was masked: that copy is the only one.
    let found: Vec<_> = files.by_ref().filter(holds).map(|file| file.file_name()).collect();
    assert_eq!(found, ["ennio.db"]);
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    for table in ["steps", "plugin_calls", "lineups", "reaction_steps"] {
        let mut find = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = find.column_count();
        let mut rows = find.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                let text = format!("{:?}", row.get_ref(column).unwrap());
                assert!(!text.contains(SECRET), "{table}: {text}");
                let text = row.get_ref(column).unwrap().as_str().unwrap_or_default();
                assert!(!text.contains(SECRET), "{table}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn what_an_event_came_from_and_caused_is_one_tree() {
    let plugins = working();
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let mut approved = event("review_approved");
    approved["data"] = json!({"pr": 42});
    let approved = publish(&host, &approved).await;
    let mut passing = event("ci_passing");
    passing["data"] = json!({"pr": 42});
    let passing = publish(&host, &passing).await;

    let story = eventually("merge_ready", async || {
        let story = trace(&host, passing).await;
        reaction(&story, "merge-ready")["emitted"].is_array().then_some(story)
    })
    .await;
    let merged = reaction(&story, "merge-ready");
    assert_eq!((&merged["outcome"], &merged["attempt"]), (&json!("done"), &json!(1)));
    assert!(merged["took_us"].as_f64().unwrap() > 0.0, "{merged}");
    let ready = &merged["emitted"][0];
    assert_eq!(ready["event"]["event_type"], "merge_ready");
    assert_eq!(passed(ready), ["noise-filter kept", "redact-secrets kept"]);
    let quiet = once(&host, approved, "merge-ready", "done").await;
    assert_eq!(reaction(&quiet, "merge-ready")["emitted"], Value::Null);

    let id = ready["event"]["id"].as_str().unwrap();
    let below = trace(&host, id).await;
    let causes: Vec<_> =
        below["causes"].as_array().unwrap().iter().map(|cause| cause["seq"].clone()).collect();
    assert_eq!(causes, [passing]);

    let (code, drawn, error) = cli(&host, &[id]).await;
    assert_eq!(code, 0, "{error}");
    let lines: Vec<&str> = drawn.lines().collect();
    assert!(lines[0].starts_with("ennio.ci.atlas.passing  seq 2"), "{drawn}");
    assert_eq!(lines[1], "└─ reaction merge-ready", "{drawn}");
    assert!(lines[2].starts_with("   └─ ennio.merge.atlas.ready  seq 3"), "{drawn}");
    let (_, drawn, _) = cli(&host, &[&passing.to_string()]).await;
    assert!(drawn.contains("emitted 1 event at "), "{drawn}");
    assert!(drawn.contains("   ├─ ennio.merge.atlas.ready  seq 3"), "{drawn}");
    // Who reacted to what is told by the host.
    assert!(drawn.contains("   └─ ennio.reactions.atlas.triggered  seq 4"), "{drawn}");
    let (_, printed, _) = cli(&host, &[&passing.to_string(), "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), trace(&host, passing).await);
}

#[tokio::test]
async fn each_event_is_told_with_the_version_that_it_met() {
    let plugins = Plugins::new().with("tag", "tag-v1").with("both", "two-roles");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let hash = async |name: &str| host.plugin(name).await.unwrap()["hash"].clone();
    let before = publish(&host, &saying("before")).await;
    let old = (hash("tag").await, hash("both").await);
    host.settled().await;
    plugins.install("tag", "tag-v2");
    plugins.install("both", "keep-all");
    host.plugin_where("tag", "the new version", |tag| tag["version"] == "2.0.0").await;
    host.plugin_where("both", "the new version", |both| both["loads"] == 2).await;
    let after = publish(&host, &saying("after")).await;
    let new = (hash("tag").await, hash("both").await);
    assert_ne!((&old.0, &old.1), (&new.0, &new.1));
    // A restart in between forgets nothing.
    host.kill();
    let host = setup.start();
    for (seq, (tag, both), version) in [(before, &old, "1.0.0"), (after, &new, "2.0.0")] {
        let story = trace(&host, seq).await;
        assert_eq!(passed(&story), ["both kept", "tag changed"]);
        assert_eq!(story["pipeline"][0]["hash"], *both);
        let step = &story["pipeline"][1];
        assert_eq!(json!([step["hash"], step["version"]]), json!([tag, version]));
    }
    assert_eq!(reaction(&trace(&host, before).await, "both")["hash"], old.1);
}

#[tokio::test]
async fn a_version_that_failed_on_its_probation_is_told_beside_the_one_that_answered() {
    let plugins = Plugins::new().with("tag", "tag-v1");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let first = host.plugin("tag").await.unwrap();
    plugins.install("tag", "tag-v2-fails");
    let second = host.plugin_where("tag", "the next one", |tag| tag["version"] == "2.0.0").await;
    let seq = publish(&host, &saying("poison")).await;
    let story = trace(&host, seq).await;
    let step = &story["pipeline"][0];
    assert_eq!(json!([step["outcome"], step["hash"]]), json!(["changed", first["hash"]]));
    let failed = &step["calls"][0];
    assert_eq!(failed["hash"], second["hash"]);
    assert!(failed["error"].as_str().unwrap().starts_with("trapped: "), "{failed}");
    let (_, drawn, _) = cli(&host, &[&seq.to_string()]).await;
    assert!(drawn.contains("; the version before answers"), "{drawn}");
}

#[tokio::test]
async fn a_failure_and_what_a_guest_says_are_told_of_their_own_event() {
    let plugins = Plugins::new()
        .with_sidecar("bad", "trap-on-poison", "order = 1\n")
        .with_sidecar("hides", "trap-on-poison", "order = 2\non_error = \"drop\"\n")
        .with_sidecar("loud", "noisy", "order = 0\nsubscribe = [\"ennio.sessions.>\"]\n");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let mut lines: Vec<Value> = (0..20).map(|_| event("pr_created")).collect();
    lines[7] = saying("this is poison");
    let results = host.publish_lines(&lines).await;
    assert_eq!(results[7]["status"], "dropped");
    let story = trace(&host, 8).await;
    assert_eq!(passed(&story), ["loud kept", "bad failed", "hides failed_dropped"]);
    assert!(story["pipeline"][1]["error"].as_str().unwrap().starts_with("trapped: "), "{story}");
    let call = &story["pipeline"][0]["calls"][0];
    assert_eq!(json!([call["events"], call["first_seq"], call["last_seq"]]), json!([1, 8, 8]));
    let said: Vec<String> = call["said"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| format!("{}/{}", line["level"], line["context"]).replace('"', ""))
        .collect();
    assert!(
        said.contains(&"info/stdout".into()) && said.contains(&"warn/stderr".into()),
        "{said:?}"
    );
    assert!(
        call["said"][0]["message"].as_str().unwrap().contains(results[7]["id"].as_str().unwrap())
    );
    assert_eq!(passed(&trace(&host, 7).await), ["bad kept", "hides kept"]);

    // In a call about several, it is said that it may be about any of them.
    let several = [saying("one"), event("pr_created"), saying("two")];
    host.publish_lines(&several).await;
    let call = trace(&host, 21).await["pipeline"][0]["calls"][0].clone();
    assert_eq!(json!([call["events"], call["first_seq"], call["last_seq"]]), json!([2, 21, 23]));
    assert!(call["unsaid"].as_u64().is_none_or(|unsaid| unsaid < 18), "{call}");
    let (_, drawn, _) = cli(&host, &["8"]).await;
    assert!(drawn.contains("failed, and hides the event: trapped: "), "{drawn}");
    assert!(drawn.contains("info stdout: stdout "), "{drawn}");
}

#[tokio::test]
async fn every_attempt_of_a_reaction_is_told_until_it_is_done_given_up_or_discarded() {
    static MENDED: AtomicBool = AtomicBool::new(false);
    let server = Server::start(|request, before| {
        let is_bad = request.body.contains("bad") && !MENDED.load(Ordering::Relaxed);
        match is_bad || (request.body.contains("late") && before < 2) {
            true => Reply::status(500),
            false => Reply::ok("ok"),
        }
    })
    .await;
    let plugins = Plugins::new();
    let sidecar = format!(
        "min_priority = \"info\"\n[config]\nurl = {:?}\ntext = \"{{message}}\"\n\
         [capabilities]\nhttp = [\"{}\"]\n[reaction]\nretries = 2\n",
        server.url("/hook"),
        server.address,
    );
    plugins.write("notify.toml", sidecar);
    plugins.install("notify", "notify-webhook");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let hash = host.plugin("notify").await.unwrap()["hash"].clone();

    let late = publish(&host, &saying("late")).await;
    let story = once(&host, late, "notify", "done").await;
    let notify = reaction(&story, "notify");
    assert_eq!(notify["attempt"], 3);
    let attempts = notify["failed_attempts"].as_array().unwrap();
    let numbers: Vec<_> = attempts.iter().map(|attempt| attempt["attempt"].clone()).collect();
    assert_eq!(numbers, [1, 2]);
    for attempt in attempts {
        assert!(attempt["error"].as_str().unwrap().contains("500"), "{attempt}");
        assert!(attempt["took_us"].as_f64().unwrap() > 0.0, "{attempt}");
        assert_eq!(attempt["hash"], hash);
    }

    let bad = publish(&host, &saying("bad")).await;
    let story = once(&host, bad, "notify", "dead_letter").await;
    assert_eq!(reaction(&story, "notify")["failed_attempts"].as_array().unwrap().len(), 3);
    let letter = reaction(&story, "notify")["dead_letter"].to_string();
    let (_, drawn, _) = cli(&host, &[&bad.to_string()]).await;
    let words = format!("gave up: dead letter {letter} (ennio dead-letters show {letter})");
    assert!(drawn.contains(&words) && drawn.contains("attempt 3 failed at "), "{drawn}");
    let (_, whole) = host.get(&format!("/v1/dead-letters/{letter}")).await;
    assert_eq!(whole["history"], reaction(&story, "notify")["failed_attempts"]);

    MENDED.store(true, Ordering::Relaxed);
    let client = reqwest::Client::new();
    let url = format!("{}/v1/dead-letters/{letter}", host.url);
    client.post(format!("{url}/retry")).send().await.unwrap().error_for_status().unwrap();
    let story = once(&host, bad, "notify", "done").await;
    assert_eq!(reaction(&story, "notify")["failed_attempts"].as_array().unwrap().len(), 3);

    MENDED.store(false, Ordering::Relaxed);
    let lost = publish(&host, &saying("bad again")).await;
    let story = once(&host, lost, "notify", "dead_letter").await;
    let letter = reaction(&story, "notify")["dead_letter"].to_string();
    let url = format!("{}/v1/dead-letters/{letter}", host.url);
    client.delete(url).send().await.unwrap().error_for_status().unwrap();
    let story = trace(&host, lost).await;
    assert_eq!(reaction(&story, "notify")["outcome"], "discarded");
    assert_eq!(reaction(&story, "notify")["failed_attempts"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn when_an_event_was_published_is_told() {
    let mut server = NatsServer::core();
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut messages = client.subscribe("ennio.>").await.unwrap();
    client.flush().await.unwrap();
    let setup = Setup::new().publishing_to(&server.url());
    let host = setup.start();
    let first = publish(&host, &saying("first")).await;
    futures::StreamExt::next(&mut messages).await.unwrap();
    let published = eventually("published", async || {
        let published = trace(&host, first).await["published"][0].clone();
        (published["state"] == "published").then_some(published)
    })
    .await;
    assert_eq!(published["sink"], "nats");
    let committed = host.log().await[0]["committed_at"].clone();
    assert_eq!(published["after"], committed);
    assert!(published["by"].as_str().unwrap() > committed.as_str().unwrap(), "{published}");
    let (_, drawn, _) = cli(&host, &[&first.to_string()]).await;
    assert!(drawn.contains("└─ published to nats between "), "{drawn}");

    server.kill();
    let second = publish(&host, &saying("second")).await;
    assert_eq!(
        trace(&host, second).await["published"],
        json!([{"state": "pending", "sink": "nats"}])
    );
}

/// What is told of an event is as true as the event, whatever dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_leaves_no_event_without_its_story_and_no_story_without_its_event() {
    let plugins = Plugins::new().with("tag", "tag-v1").with("quiet", "drop-chatty");
    let setup = Setup::new().plugins(plugins.path());
    for round in 0..4 {
        let host = setup.start();
        let lines: Vec<Value> =
            (0..3_000).map(|n| if n % 5 == 0 { saying("chatty") } else { numbered(n) }).collect();
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let url = format!("{}/v1/events", host.url);
        let request =
            reqwest::Client::new().post(url).header("content-type", "application/x-ndjson");
        let sending = tokio::spawn(request.body(body).send());
        let before = round * 1_000;
        eventually("some of them", async || {
            let (_, status) = host.get("/v1/status").await;
            (status["head"].as_u64().unwrap() > before).then_some(())
        })
        .await;
        host.kill();
        let _ = sending.await;
    }
    let host = setup.start();
    let head = host.get("/v1/status").await.1["head"].as_i64().unwrap();
    let database = rusqlite::Connection::open(setup.database()).unwrap();
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let right = "SELECT count(*) FROM events e JOIN steps s ON s.seq = e.seq AND s.position = 0 AND \
                 s.outcome = CASE WHEN e.dropped_by IS NULL THEN 'changed' ELSE 'dropped' END";
    assert_eq!(count(right), head);
    assert_eq!(count("SELECT count(*) FROM steps"), head);
    assert_eq!(count("SELECT count(*) FROM lineups"), 1, "it is the same after each start");
    let last = passed(&trace(&host, head).await).concat();
    assert!(last == "quiet dropped" || last == "quiet kepttag changed", "{last}");
}

#[tokio::test]
async fn an_event_that_is_not_there_or_none_is_refused_with_the_reason() {
    let host = Setup::new().start();
    let id = uuid::Uuid::now_v7();
    for (event, status, words) in [
        ("7".to_owned(), 404, "no event at seq 7 in the log"),
        (id.to_string(), 404, &*format!("no event {id} in the log")),
        ("0".to_owned(), 400, "must be an event's id (a UUID) or its seq"),
        ("x".to_owned(), 400, "must be an event's id (a UUID) or its seq"),
    ] {
        let (found, problem) = host.get(&format!("/v1/events/{event}/trace")).await;
        assert_eq!(found, status, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    let (code, _, error) = cli(&host, &["7"]).await;
    assert_eq!(code, 1);
    assert!(error.contains("no event at seq 7 in the log"), "{error}");
    let (code, _, error) = cli(&host, &["seven"]).await;
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("an event's id (a UUID) or its seq"), "{error}");
}
