//! Plugins in JavaScript and Python: the examples do their work in the host, side by side, and a
//! version in one language takes over from one in another while events come in.

use std::{path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::harness::{Host, Plugins, Setup, event, eventually, numbered};

const JAVASCRIPT: [&str; 3] = ["quiet-hours", "link-tickets", "escalate-flaky"];
const PYTHON: [&str; 3] = ["dedup-messages", "classify-duration", "stale-review"];

/// The sidecar that an example ships with.
fn sidecar(name: &str) -> String {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins");
    let files = ["javascript", "python"]
        .map(|language| examples.join(language).join(name).join(format!("{name}.toml")));
    std::fs::read_to_string(files.iter().find(|file| file.exists()).unwrap()).unwrap()
}

/// An event at an hour of the day.
fn at(hour: usize, event_type: &str, message: &str, data: Value) -> Value {
    let mut event = event(event_type);
    event["timestamp"] = format!("2026-08-03T{hour:02}:00:00Z").into();
    event["message"] = message.into();
    event["data"] = data;
    event
}

/// Publishes one event; what the log has of it.
async fn stored(host: &Host, event: &Value) -> Value {
    let (status, receipt) = host.publish(event).await;
    assert_eq!(status, 201, "{receipt}");
    host.get(&format!("/v1/events/{}", receipt["id"].as_str().unwrap())).await.1
}

#[test]
fn the_examples_own_tests_pass() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins");
    let run = |command: &mut Command, folder: &Path| {
        let output = command.current_dir(folder).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{said}");
        said
    };
    let said = run(Command::new("node").arg("--test"), &examples.join("javascript"));
    assert!(said.contains("pass 18"), "all of them: {said}");
    for name in PYTHON {
        // Compiled files would lie about in the source.
        let mut tests = Command::new("python3");
        tests.args(["-m", "unittest"]).env("PYTHONDONTWRITEBYTECODE", "1");
        let said = run(&mut tests, &examples.join("python").join(name));
        assert!(said.contains("OK") && !said.contains("Ran 0"), "{said}");
    }
}

/// One host for all of it, since a component of 12 MB takes its time to compile.
#[tokio::test]
async fn plugins_in_javascript_and_python_work_say_what_is_wrong_and_replace_each_other() {
    let plugins = Plugins::new();
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    // With the host up, so that each has the patience that a large component may need.
    for name in JAVASCRIPT.into_iter().chain(PYTHON) {
        plugins.write(&format!("{name}.toml"), sidecar(name));
        plugins.install(name, name);
        host.plugin_where(name, name, |plugin| plugin["state"] == "running").await;
    }
    the_examples_do_their_work(&host).await;
    for name in JAVASCRIPT.into_iter().chain(PYTHON) {
        let plugin = host.plugin(name).await.unwrap();
        assert_eq!(json!([plugin["failures"], plugin["loads"]]), json!([0, 1]), "{plugin}");
    }
    a_configuration_that_is_refused_says_why(&host, &plugins).await;
    for name in JAVASCRIPT.into_iter().chain(PYTHON) {
        std::fs::remove_file(plugins.file(&format!("{name}.wasm"))).unwrap();
        eventually("unloaded", async || host.plugin(name).await.is_none().then_some(())).await;
    }
    a_version_in_another_language_takes_over_while_events_come_in(&host, &plugins).await;
}

async fn the_examples_do_their_work(host: &Host) {
    // quiet-hours
    let night = stored(host, &at(3, "session_working", "at work", json!(null))).await;
    assert_eq!(
        json!([night["dropped_by"], night["drop_reason"]]),
        json!(["quiet-hours", "quiet hours 22:00 to 07:00"])
    );
    let mut loud = at(3, "session_working", "stuck", json!(null));
    loud["priority"] = "action".into();
    assert_eq!(stored(host, &loud).await["dropped_by"], Value::Null);

    // dedup-messages
    let step = stored(host, &at(9, "activity_changed", "step 1 of 9", json!(null))).await;
    assert_eq!(step["dropped_by"], Value::Null);
    let next = stored(host, &at(9, "activity_changed", "step 2 of 9", json!(null))).await;
    assert_eq!(
        json!([next["dropped_by"], next["drop_reason"]]),
        json!(["dedup-messages", "like one 0 s before"])
    );

    // link-tickets, and classify-duration on the same events
    for n in 0..5 {
        let data = json!({"branch": format!("fix/ops-{n}"), "duration_s": 60.5});
        let entry = stored(host, &at(9, "ci_passing", "", data)).await;
        let url = format!("https://tracker.example.com/browse/OPS-{n}");
        let expected = json!({
            "branch": format!("fix/ops-{n}"),
            "duration_s": 60.5,
            "duration": {"text": "1 min"},
            "tickets": [{"id": format!("OPS-{n}"), "url": url}],
        });
        assert_eq!(entry["data"], expected);
    }
    let slow = stored(host, &at(9, "ci_passing", "", json!({"duration_s": 600}))).await;
    let expected = json!({"text": "10 min", "usual": "1 min", "class": "very_slow"});
    assert_eq!(json!([slow["priority"], slow["data"]["duration"]]), json!(["action", expected]));

    // escalate-flaky
    for commit in ["a", "b", "c"] {
        let data = |job: &str| json!({"commit": commit, "job": job, "branch": "main"});
        stored(host, &at(10, "ci_failing", "", data("unit"))).await;
        stored(host, &at(10, "ci_passing", "", data("all"))).await;
    }
    // stale-review
    let review = json!({"pr": 7, "reviewer": "tamarind"});
    stored(host, &at(11, "review_pending", "", review)).await;
    stored(host, &at(16, "pr_updated", "", json!({"pr": 8}))).await;
    host.settled().await;
    let log = host.events().await;
    let emitted = |plugin: &str| {
        let found = log.iter().filter(|entry| entry["caused_by"]["plugin"] == plugin);
        found.map(|entry| entry["message"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(
        emitted("escalate-flaky"),
        ["unit is flaky: failed and passed on the same commit 3 times in 24 h"]
    );
    assert_eq!(emitted("stale-review"), ["#7 has waited 5 h for tamarind"]);
}

async fn a_configuration_that_is_refused_says_why(host: &Host, plugins: &Plugins) {
    for (name, config, reason) in [
        ("quiet-hours", "from = \"10 pm\"", "from: 10 pm is not like 07:30"),
        ("dedup-messages", "keep = \"loud\"", "keep: loud is not one of info"),
    ] {
        plugins.write(&format!("{name}.toml"), format!("[config]\n{config}\n"));
        let refused =
            host.plugin_where(name, reason, |plugin| plugin["load_error"].is_string()).await;
        let error = refused["load_error"].as_str().unwrap();
        assert!(error.contains("configure") && error.contains(reason), "{error}");
        assert_eq!(refused["state"], "running", "the version before stays");
    }
}

/// One name, four versions: JavaScript, Python, Rust, and JavaScript again.
async fn a_version_in_another_language_takes_over_while_events_come_in(
    host: &Host,
    plugins: &Plugins,
) {
    let before = host.log().await.len();
    let versions = [
        ("link-tickets", sidecar("link-tickets"), "tickets"),
        ("classify-duration", sidecar("classify-duration"), "duration"),
        ("tag-v1", String::new(), "tag"),
        ("link-tickets", sidecar("link-tickets"), "tickets"),
    ];
    let mut running = Value::Null;
    let mut sent = 0;
    for (component, sidecar, _) in &versions {
        plugins.write("swapped.toml", sidecar);
        plugins.install("swapped", component);
        let before = running.clone();
        // Before, while and after the version changes.
        let mut after = 0;
        while after < 100 {
            let events: Vec<Value> = (sent..sent + 10)
                .map(|n| {
                    let mut event = numbered(n);
                    event["message"] = "for OPS-1".into();
                    event["data"]["duration_s"] = 1.into();
                    event
                })
                .collect();
            sent += events.len();
            let results = host.publish_lines(&events).await;
            assert!(results.iter().all(|receipt| receipt["status"] == "accepted"), "{results:?}");
            let plugin = host.plugin("swapped").await.unwrap_or_default();
            running = plugin["hash"].clone();
            if running != before {
                after += events.len();
            }
            // A small stream: a full one would take the cores that compiling needs.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    let log = host.log().await.split_off(before);
    assert_eq!(log.len(), sent);
    let (mut version, mut seen_one) = (0, false);
    for (n, entry) in log.iter().enumerate() {
        assert_eq!(
            json!([entry["seq"], entry["data"]["n"]]),
            json!([before + n + 1, n]),
            "in order, once"
        );
        let marks = ["tickets", "duration", "tag"];
        let found: Vec<_> =
            marks.into_iter().filter(|mark| !entry["data"][mark].is_null()).collect();
        // What came before there was any version.
        if !seen_one && found.is_empty() {
            continue;
        }
        seen_one = true;
        assert_eq!(found.len(), 1, "each event met one version: {entry}");
        // A version never comes back.
        while versions[version].2 != found[0] {
            version += 1;
        }
    }
    assert_eq!(version, versions.len() - 1);
}
