//! `ennio export` and `ennio import`: the same log somewhere else.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use rusqlite::types::Value as Column;
use serde_json::Value;

use crate::{
    harness::{Host, Plugins, Setup, ennio, eventually, numbered},
    nats_server::NatsServer,
};

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn export(database: &Path, file: &Path, words: &[&str]) -> String {
    let (code, _, said) =
        run(ennio().arg("export").arg(file).arg("--db").arg(database).args(words));
    assert_eq!(code, 0, "{said}");
    assert!(!file.with_extension("part").exists());
    said
}

fn import(file: &Path, database: &Path) -> (i32, String, String) {
    run(ennio().arg("import").arg(file).arg("--db").arg(database))
}

/// The first-party plugins that need nothing outside.
fn first_party() -> Plugins {
    let plugins = Plugins::new();
    for name in ["noise-filter", "redact-secrets", "ci-triage", "merge-ready", "all-complete"] {
        let file = format!("{}/../plugins/{name}/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        plugins.write(&format!("{name}.toml"), fs::read(file).unwrap());
        plugins.install(name, name);
    }
    plugins
}

fn recorded_day() -> String {
    let day = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/day/day.ndjson");
    fs::read_to_string(day).unwrap()
}

/// Every answer of the API to a walk through the log, and what the command prints, to the byte.
async fn answers(host: &Host) -> Vec<String> {
    let mut answers = Vec::new();
    let mut after = 0;
    for filter in
        ["include_dropped=true", "subject=ennio.ci.%3E", "project=infra&min_priority=action"]
    {
        loop {
            let path = format!("/v1/events?{filter}&limit=500&after_seq={after}");
            let answer = reqwest::get(format!("{}{path}", host.url)).await.unwrap();
            let answer = answer.text().await.unwrap();
            let page: Value = serde_json::from_str(&answer).unwrap();
            answers.push(answer);
            match page["next"].as_u64() {
                Some(next) => after = next,
                None => break,
            }
        }
        after = 0;
    }
    for words in [&["--limit", "0", "--include-dropped"][..], &["--type", "merge_ready"]] {
        let (code, printed, _) =
            run(ennio().args(["events", "--json", "--url", &host.url]).args(words));
        assert_eq!(code, 0);
        answers.push(printed);
    }
    answers
}

/// Tables that no answer shows whole.
fn tables(database: &Path) -> Vec<Vec<Column>> {
    let db = rusqlite::Connection::open(database).unwrap();
    let questions = [
        "SELECT seq, id, subject, digest, steps FROM events ORDER BY seq",
        "SELECT name, seq FROM cursors ORDER BY name",
    ];
    let mut rows = Vec::new();
    for question in questions {
        let mut find = db.prepare(question).unwrap();
        let width = find.column_count();
        let found = find.query_map([], |row| (0..width).map(|at| row.get(at)).collect()).unwrap();
        rows.extend(found.map(|row: rusqlite::Result<Vec<Column>>| row.unwrap()));
    }
    rows
}

#[tokio::test]
async fn a_real_day_that_was_exported_and_imported_is_the_same_log() {
    let plugins = first_party();
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let day = recorded_day();
    let events: Vec<Value> = day.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    host.publish_lines(&events).await;
    host.settled().await;
    let expected = answers(&host).await;
    let count = host.log().await.len();
    let spelt = format!("{},{:03} events", count / 1000, count % 1000);
    let folder = tempfile::tempdir().unwrap();
    let [plain, compressed] = ["day.ndjson", "day.ndjson.zst"].map(|name| folder.path().join(name));
    // Beside the host.
    let said = export(&setup.database(), &plain, &[]);
    assert!(said.contains(&spelt), "{said}");
    assert!(said.contains("the whole log"), "{said}");
    // The plugins have seen all of it, and their cursors stand at its end.
    host.interrupt();
    export(&setup.database(), &compressed, &[]);
    let size = |file: &Path| file.metadata().unwrap().len();
    assert!(size(&compressed) * 4 < size(&plain), "it is compressed");

    let copy = Setup::new();
    let (code, done, said) = import(&compressed, &copy.database());
    assert_eq!(code, 0, "{said}");
    assert!(done.ends_with(&format!("ennio.db: {spelt} added\n")), "{done}");
    assert_eq!(tables(&copy.database()), tables(&setup.database()));
    let (code, health, _) = run(ennio().arg("doctor").arg("--db").arg(copy.database()));
    assert_eq!(code, 0, "{health}");
    assert!(health.contains(&format!("{count} events, 1 to {count}")), "{health}");
    // The index was made: a host finds all of it at once.
    assert!(copy.folder.path().join("ennio.db-index").exists());
    let host = copy.start();
    assert_eq!(answers(&host).await, expected);
    eventually("the index", async || {
        let (_, status) = host.get("/v1/status").await;
        (status["indexed"] == count).then_some(())
    })
    .await;
    // A sender's retry is recognised, and the log goes on where it was.
    let results = host.publish_lines(&events).await;
    assert!(results.iter().all(|receipt| receipt["status"] == "duplicate"));
    let (_, receipt) = host.publish(&numbered(1)).await;
    assert_eq!(receipt["seq"], count + 1);
    host.interrupt();

    // Once more changes nothing, and what it has beyond stays.
    let (code, done, said) = import(&plain, &copy.database());
    assert_eq!(code, 0, "{said}");
    let there = spelt.replace(" events", " were there already");
    assert!(done.ends_with(&format!("0 events added, {there}\n")), "{done}");
}

/// A log of numbered events that no host runs on.
async fn log(count: usize) -> Setup {
    let setup = Setup::new();
    let host = setup.start();
    let events: Vec<Value> = (0..count).map(numbered).collect();
    host.publish_lines(&events).await;
    host.interrupt();
    setup
}

#[tokio::test]
async fn a_cut_or_changed_file_is_refused_before_anything_is_written() {
    let setup = log(2000).await;
    let folder = tempfile::tempdir().unwrap();
    for (name, cut_says, changed_says) in [
        ("log.ndjson", "without its last line", "(the file was changed since it was exported)"),
        ("log.ndjson.zst", "without its last line", ""),
    ] {
        let file = folder.path().join(name);
        export(&setup.database(), &file, &[]);
        let good = fs::read(&file).unwrap();
        let database = folder.path().join("new.db");
        for part in [good.len() / 2, good.len() - 1] {
            fs::write(&file, &good[..part]).unwrap();
            let (code, _, said) = import(&file, &database);
            assert_eq!(code, 1);
            assert!(said.contains(name) && said.contains(cut_says), "{said}");
        }
        let mut changed = good.clone();
        // In the middle of a line, a name becomes another one.
        changed[good.len() / 2] ^= 0x80;
        fs::write(&file, &changed).unwrap();
        let (code, _, said) = import(&file, &database);
        assert_eq!(code, 1);
        assert!(said.contains(name) && said.contains(changed_says), "{said}");
        assert!(!database.exists(), "nothing was written");
    }
    let file = folder.path().join("events.ndjson");
    fs::write(&file, recorded_day()).unwrap();
    let (code, _, said) = import(&file, &folder.path().join("new.db"));
    assert_eq!(code, 1);
    assert!(said.contains("no export of an Ennio log"), "{said}");
    assert!(said.contains("come in with `ennio emit`"), "{said}");
}

#[tokio::test]
async fn an_import_that_was_cut_short_goes_on_where_it_was() {
    let setup = log(3000).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.ndjson");
    export(&setup.database(), &file, &[]);
    // A log that has the first half of it.
    let beginning = folder.path().join("beginning.ndjson");
    export(&setup.database(), &beginning, &["--to", "1500"]);
    let database = folder.path().join("new.db");
    let (code, _, said) = import(&beginning, &database);
    assert_eq!(code, 0, "{said}");
    let (code, done, said) = import(&file, &database);
    assert_eq!(code, 0, "{said}");
    assert!(done.ends_with("1,500 events added, 1,500 were there already\n"), "{done}");
    assert_eq!(tables(&database), tables(&setup.database()));
    // What standard input lacks is told too, only later.
    let mut child = ennio()
        .args(["import", "-", "--db"])
        .arg(folder.path().join("piped.db"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = fs::read(&file).unwrap();
    child.stdin.take().unwrap().write_all(&text[..text.len() / 2]).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("standard input: it ends behind line"), "{said}");
}

#[tokio::test]
async fn a_database_with_other_events_or_a_host_is_left_alone() {
    let setup = log(50).await;
    let other = log(20).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.ndjson");
    export(&setup.database(), &file, &[]);
    let before = tables(&other.database());
    let (code, _, said) = import(&file, &other.database());
    assert_eq!(code, 1);
    assert!(said.contains("holds other events than the export, seq 1 for one"), "{said}");
    assert!(said.contains("name another file with --db"), "{said}");
    assert_eq!(tables(&other.database()), before);
    let host = setup.start();
    let (code, _, said) = import(&file, &setup.database());
    assert_eq!(code, 1);
    assert!(said.contains("in use by another Ennio host"), "{said}");
    drop(host);
}

#[tokio::test]
async fn a_host_on_an_imported_log_publishes_what_the_first_one_had_not() {
    let mut server = NatsServer::core();
    let first = Setup::new().publishing_to(&server.url());
    let host = first.start();
    let events: Vec<Value> = (0..100).map(numbered).collect();
    host.publish_lines(&events[..60]).await;
    eventually("the publisher at the head", async || {
        let (_, status) = host.get("/v1/status").await;
        (status["nats"]["cursor"] == 60).then_some(())
    })
    .await;
    // The rest is committed while nobody can publish it.
    server.kill();
    host.publish_lines(&events[60..]).await;
    host.interrupt();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.ndjson.zst");
    export(&first.database(), &file, &[]);
    server.start();

    let copy = Setup::new().publishing_to(&server.url());
    assert_eq!(import(&file, &copy.database()).0, 0);
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut messages = client.subscribe("ennio.>").await.unwrap();
    client.flush().await.unwrap();
    let host = copy.start();
    eventually("the publisher at the head", async || {
        let (_, status) = host.get("/v1/status").await;
        (status["nats"]["cursor"] == 100).then_some(())
    })
    .await;
    for expected in 61..=100 {
        let message = futures::StreamExt::next(&mut messages).await.unwrap();
        let seq = message.headers.unwrap().get("Ennio-Seq").unwrap().to_string();
        assert_eq!(seq, expected.to_string());
    }
}

#[tokio::test]
async fn a_log_with_holes_is_the_same_elsewhere_holes_and_all() {
    let setup = Setup::new();
    let config = setup.folder.path().join("ennio.toml");
    let rules = "{ subject = [\"ennio.node.>\"], max_age = \"1ms\" }";
    fs::write(&config, format!("[retention]\nrules = [{rules}]\n")).unwrap();
    let setup = setup.argument("--config").argument(config.to_str().unwrap());
    let host = setup.start();
    let (node, other) =
        (crate::harness::event("node_connected"), crate::harness::event("ci_failing"));
    for (event, count) in [(&other, 30), (&node, 10), (&other, 20), (&node, 5)] {
        host.publish_lines(&vec![event.clone(); count]).await;
    }
    eventually("what has to go is gone", async || {
        (host.get("/v1/status").await.1["pruned"] == 15).then_some(())
    })
    .await;
    host.interrupt();
    let file = |name: &str| setup.folder.path().join(name);
    let said = export(&setup.database(), &file("one.ndjson"), &[]);
    assert!(said.contains("50 events to"), "{said}");
    assert!(said.contains("15 events, from seq 31 to 65, are gone"), "{said}");
    let copy = file("copy.db");
    let (code, _, error) = import(&file("one.ndjson"), &copy);
    assert_eq!(code, 0, "{error}");
    let doctor = || run(ennio().args(["doctor", "--db"]).arg(&copy));
    let (code, found, error) = doctor();
    assert!(code == 0 && found.contains("50 events, 1 to 60, 15 pruned"), "{found}{error}");
    export(&copy, &file("two.ndjson"), &[]);
    // But for when it was made.
    let lines = |name: &str| -> Vec<String> {
        fs::read_to_string(file(name)).unwrap().lines().map(str::to_owned).collect()
    };
    let (one, two) = (lines("one.ndjson"), lines("two.ndjson"));
    assert_eq!(one[1..one.len() - 1], two[1..two.len() - 1]);
    assert!(two[0].contains("\"last\":65"), "{}", two[0]);
    // Once more changes nothing.
    let (code, said, error) = import(&file("one.ndjson"), &copy);
    assert!(code == 0 && said.contains("0 events added, 50 were there already"), "{said}{error}");
    assert_eq!(doctor().0, 0);
    let (code, sent, said) = run(ennio().args(["replay", "--to-stdout", "--db"]).arg(&copy));
    assert_eq!((code, sent.lines().count()), (0, 50), "{said}");
    // Each in its place.
    for gone in ["10 events, from seq 31 to 40, are gone", "5 events, from seq 61 to 65, are gone"]
    {
        assert!(said.contains(gone), "{said}");
    }
}
