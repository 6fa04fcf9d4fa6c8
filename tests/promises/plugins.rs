//! Filters and enrichers at work, and what a bad one can do: nothing but to its own events.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Plugins, Setup, event, eventually, numbered};

fn saying(message: &str) -> Value {
    let mut event = event("activity_changed");
    event["message"] = message.into();
    event
}

#[tokio::test]
async fn a_dropped_event_is_stored_with_who_and_why_and_hidden() {
    let plugins = Plugins::new().with("quiet", "drop-chatty");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let (status, receipt) = host.publish(&saying("chatty talk")).await;
    assert_eq!((status, &receipt["status"]), (201, &json!("dropped")));
    host.publish(&saying("news")).await;

    let (_, shown) = host.get("/v1/events").await;
    assert_eq!(shown["events"].as_array().unwrap().len(), 1, "a filter hides");
    let log = host.log().await;
    assert_eq!(log.len(), 2, "a filter never destroys");
    assert_eq!(json!([log[0]["dropped_by"], log[0]["drop_reason"]]), json!(["quiet", "chatty"]));
    assert_eq!(log[1]["dropped_by"], Value::Null);
}

#[tokio::test]
async fn filters_and_enrichers_run_by_order_and_name_and_only_on_what_they_subscribe_to() {
    // tag-v1 and tag-v2 write the same member, so the last one wins.
    let plugins = Plugins::new().with_sidecar("a-late", "tag-v1", "order = 90\n").with_sidecar(
        "b-early",
        "tag-v2",
        "order = 10\nsubscribe = [\"ennio.ci.>\"]\nmin_priority = \"action\"\n",
    );
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let mut loud = event("ci_failing");
    loud["priority"] = "action".into();
    for event in [&loud, &event("ci_failing"), &event("pr_created")] {
        host.publish(event).await;
    }
    let log = host.log().await;
    assert!(log.iter().all(|entry| entry["data"]["tag"] == "v1"), "a-late ran last on everything");
    let early = host.plugin("b-early").await.unwrap();
    assert_eq!(early["events"], 1, "subject and priority are matched before a call: {early}");
    assert_eq!(host.plugin("a-late").await.unwrap()["events"], 3);
}

#[tokio::test]
async fn only_the_event_that_a_plugin_fails_on_meets_on_error() {
    for (on_error, expected) in [("pass", "accepted"), ("drop", "dropped"), ("hold", "503")] {
        for (guest, sidecar) in [
            ("trap-on-poison", String::new()),
            ("loop-on-poison", "[limits]\ndeadline_ms = 500\n".into()),
            ("sleep-on-poison", "[limits]\ndeadline_ms = 500\n".into()),
            ("memory-bomb", "[limits]\nmemory_mib = 8\n".into()),
            ("bad-patch", String::new()),
        ] {
            let case = format!("{guest} with on_error = {on_error}");
            let sidecar = format!("on_error = \"{on_error}\"\n{sidecar}");
            let plugins = Plugins::new().with_sidecar("bad", guest, &sidecar).with_sidecar(
                "last",
                "tag-v1",
                "order = 99\n",
            );
            let setup = Setup::new().plugins(plugins.path());
            let host = setup.start();
            let lines: Vec<Value> = (0..100)
                .map(|n| match n {
                    40 => saying("this is poison"),
                    n => numbered(n),
                })
                .collect();
            let results = host.publish_lines(&lines).await;
            for (n, receipt) in results.iter().enumerate() {
                let expected = if n == 40 { expected } else { "accepted" };
                let found =
                    receipt["status"].as_str().map_or(receipt["status"].to_string(), Into::into);
                assert_eq!(found, expected, "{case}: event {n}: {receipt}");
            }
            let log = host.log().await;
            let kept = log.iter().filter(|entry| entry["dropped_by"] == Value::Null);
            assert!(
                kept.clone().all(|entry| entry["data"]["tag"] == "v1"),
                "{case}: the plugins behind it go on"
            );
            assert_eq!(log.len(), if on_error == "hold" { 99 } else { 100 }, "{case}");
            let bad = host.plugin("bad").await.unwrap();
            assert!(bad["failures"].as_u64().unwrap() >= 1, "{case}: {bad}");
            assert!(bad["last_error"].is_string(), "{case}: {bad}");
            if on_error == "drop" {
                let dropped = log.iter().find(|entry| entry["dropped_by"] == "bad").unwrap();
                assert!(dropped["drop_reason"].as_str().unwrap().contains("on_error"), "{dropped}");
            }
        }
    }
}

#[tokio::test]
async fn a_guest_in_an_endless_loop_holds_up_neither_readers_nor_other_work() {
    let sidecar = "on_error = \"pass\"\n[limits]\ndeadline_ms = 3000\n";
    let plugins = Plugins::new().with_sidecar("looping", "loop-on-poison", sidecar);
    // One thread for everything: a guest that does not let go of it would be alone on it.
    let setup = Setup::new().plugins(plugins.path()).variable("TOKIO_WORKER_THREADS", "1");
    let host = std::sync::Arc::new(setup.start());
    let looping = tokio::spawn({
        let host = std::sync::Arc::clone(&host);
        async move { host.publish(&saying("poison")).await }
    });
    // While the guest loops, on two attempts of 3 s each, the host answers.
    let mut answered = 0;
    while !looping.is_finished() {
        assert_eq!(host.get("/v1/events").await.0, 200);
        answered += 1;
    }
    assert_eq!(looping.await.unwrap().1["status"], "accepted");
    // A guest that does not let go leaves room for an answer between its attempts, not for many.
    assert!(answered > 10, "{answered} answers meanwhile");
}

#[tokio::test]
async fn too_few_verdicts_are_a_failure_and_not_a_verdict() {
    let plugins = Plugins::new().with("short", "few-verdicts");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let results = host.publish_lines(&(0..10).map(numbered).collect::<Vec<_>>()).await;
    assert!(results.iter().all(|receipt| receipt["status"] == "accepted"));
    let short = host.plugin("short").await.unwrap();
    assert!(short["last_error"].as_str().unwrap().contains("answered nonsense"), "{short}");
}

#[tokio::test]
async fn a_guest_gets_its_configuration_and_what_it_says_is_in_the_log() {
    let plugins = Plugins::new()
        .with_sidecar("echo", "config-echo", "[config]\nword = \"secret word\"\n")
        .with("noisy", "noisy");
    let setup = Setup::new().plugins(plugins.path()).argument("--log").argument("trace");
    let host = setup.start();
    let (_, dropped) = host.publish(&saying("secret word")).await;
    assert_eq!(dropped["status"], "dropped");
    host.publish(&saying("other")).await;
    let output = host.output();
    for part in ["ennio::guest", "plugin=\"noisy\"", "stdout", "stderr"] {
        assert!(output.contains(part), "{part} in {output}");
    }
}

#[tokio::test]
async fn one_component_can_have_two_roles() {
    let sidecar = "[capabilities]\nemit = [\"ennio.custom.*.seen\"]\n";
    let plugins = Plugins::new().with_sidecar("both", "two-roles", sidecar);
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    assert_eq!(host.plugin("both").await.unwrap()["roles"], json!(["filter", "reaction"]));
    assert_eq!(host.publish(&saying("chatty")).await.1["status"], "dropped");
    host.publish(&saying("react to this")).await;
    host.settled().await;
    let log = host.events().await;
    assert_eq!(log.len(), 3);
    assert_eq!(log[2]["event_type"], "custom.seen");
}

#[tokio::test]
async fn a_plugin_that_keeps_failing_is_left_alone_probed_and_taken_back() {
    let plugins = Plugins::new().with_sidecar("bad", "trap-on-poison", "on_error = \"pass\"\n");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let poison: Vec<Value> = (0..500).map(|_| saying("poison")).collect();
    let results = host.publish_lines(&poison).await;
    assert!(results.iter().all(|receipt| receipt["status"] == "accepted"), "on_error = pass");
    let bad = host.plugin("bad").await.unwrap();
    assert_eq!(bad["state"], "quarantined", "{bad}");
    assert!(bad["calls"].as_u64().unwrap() < 50, "it is not called for each of them: {bad}");
    assert!(host.output().contains("plugin bad keeps failing and is left alone"));

    // A probe that goes well takes it back: then it drops again what it is there to drop.
    eventually("a chatty event is dropped again", async || {
        (host.publish(&saying("chatty")).await.1["status"] == "dropped").then_some(())
    })
    .await;
    assert_eq!(host.plugin("bad").await.unwrap()["state"], "running");

    // So does a new version, without waiting.
    host.publish_lines(&poison).await;
    assert_eq!(host.plugin("bad").await.unwrap()["state"], "quarantined");
    plugins.write("bad.toml", "on_error = \"drop\"\n");
    host.plugin_where("bad", "the reload", |plugin| plugin["loads"] == 2).await;
    assert_eq!(host.plugin("bad").await.unwrap()["state"], "running");
    assert_eq!(host.publish(&saying("chatty")).await.1["status"], "dropped");
}

#[tokio::test]
async fn compiled_plugins_are_kept_and_a_damaged_one_is_compiled_again() {
    let plugins = Plugins::new().with("quiet", "drop-chatty").with("tag", "tag-v1");
    let setup = Setup::new().plugins(plugins.path());
    setup.start().interrupt();
    let cache = setup.folder.path().join("ennio.db-plugins");
    let entries = || {
        let files = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|e| e == "cwasm")).collect::<Vec<_>>()
    };
    assert_eq!(entries().len(), 2);
    for (damaged, warnings) in [(false, 0), (true, 2)] {
        for entry in entries().iter().filter(|_| damaged) {
            let mut bytes = std::fs::read(entry).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(entry, bytes).unwrap();
        }
        let host = setup.start();
        assert_eq!(host.publish(&saying("chatty")).await.1["status"], "dropped");
        assert_eq!(host.plugin("tag").await.unwrap()["state"], "running");
        assert_eq!(host.interrupt().matches("is damaged").count(), warnings);
    }
    assert_eq!(entries().len(), 2, "and kept again");
}

const FIRST_PARTY: [&str; 5] =
    ["noise-filter", "redact-secrets", "ci-triage", "merge-ready", "all-complete"];

fn first_party() -> Plugins {
    let plugins = Plugins::new();
    for name in FIRST_PARTY {
        plugins.write(&format!("{name}.toml"), sidecar(name));
        plugins.install(name, name);
    }
    plugins
}

fn sidecar(name: &str) -> String {
    let file = format!("{}/../plugins/{name}/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(file).unwrap()
}

fn recorded_day() -> String {
    let day = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/day/day.ndjson");
    std::fs::read_to_string(day).unwrap()
}

fn sent_by<'l>(plugin: &str, log: &'l [Value]) -> Vec<&'l Value> {
    log.iter().filter(|entry| entry["caused_by"]["plugin"] == plugin).collect()
}

/// The recorded day, through the first-party plugins, as `make run` does it.
#[tokio::test]
async fn the_recorded_day_is_filtered_redacted_triaged_and_reacted_to() {
    let plugins = first_party();
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let day = recorded_day();
    let events: Vec<Value> = day.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let results = host.publish_lines(&events).await;
    let with = |status: &str| results.iter().filter(|receipt| receipt["status"] == status).count();
    assert_eq!((results.len(), with("dropped")), (3327, 143), "the day's repetitions");
    assert_eq!(with("accepted"), 3327 - 143);
    host.settled().await;

    let log = host.events().await;
    let ready = sent_by("merge-ready", &log);
    assert_eq!(ready.len(), 69);
    assert!(ready.iter().all(|entry| entry["event_type"] == "merge_ready" && entry["hops"] == 1));
    let triaged = log.iter().filter(|entry| entry["data"]["triage"]["class"].is_string());
    assert_eq!(triaged.count(), 95);
    let complete: Vec<_> = sent_by("all-complete", &log)
        .into_iter()
        .inspect(|entry| assert_eq!(entry["event_type"], "all_complete"))
        .map(|entry| entry["caused_by"]["event_id"].clone())
        .collect();
    assert_eq!(complete, last_ends(&log));
    let text = serde_json::to_string(&log).unwrap();
    for secret in ["AKIAIOSFODNN7EXAMPLE", "ghp_", "xoxb-", "-----BEGIN"] {
        assert!(day.contains(secret) && !text.contains(secret), "{secret}");
    }
    assert!(text.contains("[redacted:"));
}

/// The events after which no session of their project was left, counted in another way than the
/// plugin's.
fn last_ends(log: &[Value]) -> Vec<Value> {
    let mut live = BTreeSet::new();
    let mut ends = Vec::new();
    for entry in log.iter().filter(|entry| entry["dropped_by"].is_null()) {
        let session =
            (entry["project_id"].as_str().unwrap(), entry["session_id"].as_str().unwrap());
        match entry["event_type"].as_str().unwrap() {
            "session_spawned" | "session_restored" | "session_working" => {
                live.insert(session);
            }
            "session_exited" | "session_killed" | "session_cleaned" => {
                let ended = live.remove(&session);
                if ended && !live.iter().any(|(project, _)| *project == session.0) {
                    ends.push(entry["id"].clone());
                }
            }
            _ => {}
        }
    }
    ends
}

/// What became of a day: what was sent, in order, and what was emitted, by what caused it.
fn story(log: &[Value]) -> (Vec<Value>, BTreeSet<String>) {
    let told = |entry: &Value| {
        let members =
            ["id", "event_type", "priority", "message", "data", "dropped_by", "drop_reason"];
        json!(members.map(|member| entry[member].clone()))
    };
    let (sent, emitted): (Vec<_>, Vec<_>) =
        log.iter().partition(|entry| entry["caused_by"].is_null());
    (
        sent.into_iter().map(told).collect(),
        emitted.into_iter().map(|e| told(e).to_string()).collect(),
    )
}

/// A day in four parts, each of which, but for the first, begins with a repetition of the event before.
fn in_parts(lines: &[&str]) -> Vec<String> {
    let said = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        json!(["event_type", "session_id", "message", "data"].map(|member| event[member].clone()))
    };
    let mut parts = Vec::new();
    let mut begin = 0;
    for quarter in 1..4 {
        let earliest = lines.len() * quarter / 4;
        let repeats = |at: &usize| said(lines[*at]) == said(lines[at - 1]);
        let end = (earliest..lines.len()).find(repeats).unwrap();
        parts.push(lines[begin..end].join("\n"));
        begin = end;
    }
    parts.push(lines[begin..].join("\n"));
    parts
}

#[tokio::test]
async fn a_day_with_every_plugin_reloaded_and_the_host_killed_is_told_like_one_without() {
    let day = recorded_day();
    let parts = in_parts(&day.lines().collect::<Vec<_>>());

    let plugins = first_party();
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    for part in &parts {
        host.post("application/x-ndjson", part.clone()).await;
    }
    host.settled().await;
    let expected = story(&host.log().await);
    assert!(expected.0.iter().filter(|told| told[5].is_string()).count() == 143);
    assert!(expected.1.len() > 69, "{}", expected.1.len());
    drop(host);

    let setup = Setup::new().plugins(plugins.path());
    let mut host = setup.start();
    for (n, part) in parts.iter().enumerate() {
        let before = host.get("/v1/status").await.1["head"].as_u64().unwrap();
        let request = reqwest::Client::new()
            .post(format!("{}/v1/events", host.url))
            .header("content-type", "application/x-ndjson")
            .body(part.clone());
        let sending = tokio::spawn(request.send());
        if n % 2 == 0 {
            for name in FIRST_PARTY {
                plugins.write(&format!("{name}.toml"), format!("{}# again: {n}\n", sidecar(name)));
            }
            sending.await.unwrap().unwrap();
            for name in FIRST_PARTY {
                host.plugin_where(name, "reloaded", |plugin| plugin["loads"] == 2).await;
            }
        } else {
            eventually("some of it is committed", async || {
                let head = host.get("/v1/status").await.1["head"].as_u64().unwrap();
                (head > before).then_some(())
            })
            .await;
            host.kill();
            // Whatever the sender was told: it sends everything again.
            let _ = sending.await.unwrap();
            host = setup.start();
            host.post("application/x-ndjson", part.clone()).await;
        }
    }
    host.settled().await;
    let found = story(&host.log().await);
    for (found, expected) in found.0.iter().zip(&expected.0) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.0.len(), expected.0.len());
    assert_eq!(found.1, expected.1);
}
