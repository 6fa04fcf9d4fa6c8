//! A plugin is tried and measured without a host, with the outcome that it would have in one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Plugins, Setup, ennio, guest};

const EMITS: &str = "[capabilities]\nemit = [\"ennio.custom.>\"]\n";

/// The exit code, what was said for people and for programs, and on standard error.
struct Said {
    code: i32,
    text: String,
    note: String,
}

impl Said {
    /// The objects of `--json` of one kind.
    fn objects(&self, kind: &str) -> Vec<Value> {
        let lines = self.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|object| object["kind"] == kind).collect()
    }

    fn has(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.text.contains(part), "{part} in {}\n{}", self.text, self.note);
        }
    }
}

fn plugin(command: &str, file: &Path, flags: &[&str]) -> Said {
    let mut ennio = ennio();
    ennio.args(["plugin", command]).arg(file).args(flags).stdin(Stdio::null());
    let Output { status, stdout, stderr } = ennio.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap(), text: text(stdout), note: text(stderr) }
}

/// Recorded events, each with its own message.
struct Recording {
    folder: TempDir,
    file: PathBuf,
}

impl Recording {
    fn of(events: &[Value]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.ndjson");
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        std::fs::write(&file, lines).unwrap();
        Self { folder, file }
    }

    fn saying(messages: &[&str]) -> Self {
        let event = |message: &&str| {
            json!({"event_type": "custom.said", "project_id": "atlas", "session_id": "s-1",
                "message": message, "data": {"n": 1}})
        };
        Self::of(&messages.iter().map(event).collect::<Vec<_>>())
    }

    fn test(&self, component: &Path, flags: &[&str]) -> Said {
        let events = ["--events", self.file.to_str().unwrap()];
        plugin("test", component, &[&events, flags].concat())
    }

    fn beside(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn a_filter_shows_what_it_drops() {
    let said = Recording::saying(&["chatty one", "two"]).test(&guest("drop-chatty"), &[]);
    assert_eq!(said.code, 0);
    said.has(&[
        "drop-chatty 1.0.0 (filter)",
        "line 1  ennio.custom.atlas.said  00000000-0000-0000-0000-000000000001\n    dropped: chatty\n",
        "2 events: 2 seen, 1 dropped, 0 patched, 0 emitted, 0 held, 0 failed",
        "1 calls",
    ]);
    assert!(!said.text.contains("line 2"), "{}", said.text);
}

#[test]
fn only_the_poison_event_fails_and_meets_on_error() {
    let recording = Recording::saying(&["chatty", "poison", "chatty too"]);
    for (on_error, fate) in [
        ("pass", json!([null, null, null])),
        ("drop", json!([null, "trapped", null])),
        ("hold", json!([null, null, "trapped"])),
    ] {
        let sidecar = format!("on_error = \"{on_error}\"\n");
        let plugins = Plugins::new().with_sidecar("poisoned", "trap-on-poison", &sidecar);
        let component = plugins.file("poisoned.wasm");
        let said = recording.test(&component, &["--json"]);
        assert_eq!(said.code, 1, "{}", said.text);
        let events = said.objects("event");
        let text = |event: &Value, field: &str| event[field].as_str().map(str::to_owned);
        assert_eq!(text(&events[0], "dropped").unwrap(), "chatty");
        assert_eq!(text(&events[2], "dropped").unwrap(), "chatty");
        let failure = text(&json!({"it": events[1]["failures"][0]}), "it").unwrap();
        assert!(failure.contains("last words: poison in event"), "{failure}");
        for (field, expected) in [("dropped", &fate[1]), ("held", &fate[2])] {
            let found = text(&events[1], field);
            assert_eq!(found.is_some(), expected.is_string(), "{on_error}: {field} {found:?}");
            let expected = expected.as_str().unwrap_or_default();
            assert!(found.unwrap_or_default().contains(expected), "{on_error}: {field}");
        }
        assert_eq!(said.objects("summary")[0]["failed"], 1);
        let calls = said.objects("summary")[0]["calls"].as_u64().unwrap();
        assert!(calls >= 4, "a batch and three alone, not {calls}");
        let allowed = recording.test(&component, &["--allow-failures"]);
        assert_eq!(allowed.code, 0);
    }
}

#[test]
fn however_many_events_fail_each_is_tried() {
    let recording = Recording::saying(&["poison"; 100]);
    let said = recording.test(&guest("trap-on-poison"), &["--json"]);
    let events = said.objects("event");
    assert_eq!(events.len(), 100);
    for event in events {
        assert!(event["failures"][0].as_str().unwrap().starts_with("trapped"), "{event}");
    }
}

#[test]
fn an_enricher_shows_its_patch_as_a_difference() {
    let recording = Recording::of(&[
        json!({"event_type": "ci_failing", "project_id": "p", "session_id": "s",
            "data": {"tag": "v0", "kept": 1.50}}),
        json!({"event_type": "ci_failing", "project_id": "p", "session_id": "s",
            "data": {"tag": "v1"}}),
    ]);
    let said = recording.test(&guest("tag-v1"), &["--color", "always"]);
    assert_eq!(said.code, 0);
    said.has(&["\u{1b}[31m    - data.tag \"v0\"", "\u{1b}[32m    + data.tag \"v1\""]);
    said.has(&["2 events: 2 seen, 0 dropped, 1 patched"]);
    assert!(!said.text.contains("kept"), "{}", said.text);
    let said = recording.test(&guest("tag-v1"), &["--json"]);
    let event = &said.objects("event")[0];
    assert_eq!(event["changes"], json!({"data.tag": {"from": "v0", "to": "v1"}}));
}

#[test]
fn a_patch_that_breaks_its_bounds_is_a_failure() {
    let said = Recording::saying(&["poison", "fine"]).test(&guest("bad-patch"), &[]);
    assert_eq!(said.code, 1);
    said.has(&["failed: answered nonsense: a patch whose data", "+ data.whole true", "1 failed"]);
}

#[test]
fn what_a_reaction_emits_is_shown_with_whether_it_may() {
    let recording = Recording::saying(&["react to this", "not to this", "chatty react"]);
    let plugins =
        Plugins::new().with("denied", "two-roles").with_sidecar("granted", "two-roles", EMITS);
    let said = recording.test(&plugins.file("granted.wasm"), &["--json"]);
    assert_eq!(said.code, 0, "{}", said.text);
    let events = said.objects("event");
    assert_eq!(events[0]["emits"][0]["subject"], "ennio.custom.atlas.seen");
    assert_eq!(events[0]["emits"][0]["granted"], true);
    assert_eq!(events[1]["emits"], Value::Null);
    assert_eq!(events[2]["dropped"], "chatty");
    assert_eq!(events[2]["emits"], Value::Null, "what the filter hides is not reacted to");
    assert_eq!(said.objects("summary")[0]["emitted"], 1);

    let said = recording.test(&plugins.file("denied.wasm"), &[]);
    assert_eq!(said.code, 1);
    said.has(&[
        "emits: custom.seen to ennio.custom.atlas.seen, which is not granted",
        "failed: action 0: not granted: emit ennio.custom.atlas.seen",
        "0 emitted",
    ]);
}

#[test]
fn a_reaction_is_tried_as_often_as_its_sidecar_says() {
    let sidecar = "[reaction]\nretries = 2\n";
    let plugins = Plugins::new().with_sidecar("fails", "fail-reaction", sidecar);
    let recording = Recording::saying(&["retry", "fatal", "trap", "fine"]);
    let said = recording.test(&plugins.file("fails.wasm"), &["--json"]);
    let events = said.objects("event");
    assert_eq!(events[0]["attempts"], 3);
    assert_eq!(events[0]["failures"], json!(["told to, attempt 3"]));
    assert_eq!(events[1]["attempts"], Value::Null);
    assert_eq!(events[1]["failures"], json!(["told to"]));
    assert_eq!(events[2]["attempts"], 3);
    assert_eq!(events[3]["failures"], Value::Null);
    assert_eq!(said.objects("summary")[0]["failed"], 3);
}

#[test]
fn what_a_plugin_remembers_is_committed_as_in_a_host() {
    let plugins = Plugins::new().with_sidecar("counter", "counter", EMITS);
    // The filter's count of the poison event goes with the trap; the reaction counts it all the same.
    let mut messages = vec!["fine"; 19];
    messages[3] = "poison";
    messages.push("write to the other");
    let recording = Recording::saying(&messages);
    for batch in ["64", "1", "7"] {
        let said = recording.test(&plugins.file("counter.wasm"), &["--json", "--batch", batch]);
        let emitted: Vec<Value> = said
            .objects("event")
            .into_iter()
            .filter_map(|event| event["emits"][0]["message"].as_str().map(Value::from))
            .collect();
        assert_eq!(
            emitted,
            ["10", "the bucket of the plugin's other role can only be read; it reads 19"],
            "batches of {batch}"
        );
    }
}

#[test]
fn what_a_guest_says_is_shown_with_its_events() {
    let recording = Recording::saying(&["one", "two"]);
    let said = recording.test(&guest("noisy"), &[]);
    said.has(&["lines 1 to 2\n    says info: stdout: stdout 00000000-0000-0000-0000-000000000001"]);
    let said = recording.test(&guest("noisy"), &["--batch", "1", "--json"]);
    for event in said.objects("event") {
        let lines = event["said"].as_array().unwrap();
        assert!(lines.len() >= 9, "{event}");
        let id = event["id"].as_str().unwrap();
        assert!(lines.iter().all(|line| line["message"].as_str().unwrap().ends_with(id)));
        let levels: Vec<_> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
        assert!(levels.contains(&"critical") && levels.contains(&"trace"), "{levels:?}");
    }
}

#[test]
fn a_snapshot_is_written_kept_and_missed() {
    let recording = Recording::saying(&["one", "two"]);
    let plugins = Plugins::new().with("tag", "tag-v1");
    let component = plugins.file("tag.wasm");
    let file = recording.beside("expected.ndjson");
    let expect = ["--expect", file.as_str()];
    let said = recording.test(&component, &expect);
    assert_eq!(said.code, 0);
    assert!(said.note.contains("expected.ndjson is written"), "{}", said.note);
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written.lines().count(), 3, "{written}");

    let said = recording.test(&component, &expect);
    assert_eq!((said.code, &*said.note), (0, ""));

    plugins.install("tag", "tag-v2");
    let said = recording.test(&component, &expect);
    assert_eq!(said.code, 1);
    said.has(&["not as expected: event 00000000-0000-0000-0000-000000000001\n    \
         - changes[\"data.tag\"].to \"v1\"\n    + changes[\"data.tag\"].to \"v2\"\n"]);
    assert!(said.note.contains("--update"), "{}", said.note);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written, "a mismatch changes no file");
    let said = recording.test(&component, &["--expect", &file, "--json"]);
    assert_eq!(said.objects("unexpected").len(), 2, "{}", said.text);

    let said = recording.test(&component, &["--expect", &file, "--update"]);
    assert_eq!(said.code, 0);
    assert_eq!(recording.test(&component, &expect).code, 0);

    std::fs::write(&file, "no snapshot\n").unwrap();
    let said = recording.test(&component, &expect);
    assert_eq!(said.code, 1);
    assert!(said.note.contains("expected.ndjson: line 1: "), "{}", said.note);
}

#[test]
fn two_runs_with_clocks_and_random_numbers_have_one_outcome() {
    let at = |second: u8| {
        json!({"event_type": "ci_failing", "project_id": "p", "session_id": "s",
            "timestamp": format!("2026-08-01T00:00:{second:02}Z")})
    };
    let recording = Recording::of(&[
        at(0),
        at(5),
        json!({"event_type": "ci_failing",
        "project_id": "p", "session_id": "s"}),
    ]);
    let component = guest("clock-and-random");
    let seen = |flags: &[&str]| {
        let said = recording.test(&component, &[&["--json"], flags].concat());
        assert_eq!(said.code, 0, "{}", said.note);
        said.objects("event")
    };
    let first = seen(&["--batch", "1"]);
    assert_eq!(first, seen(&["--batch", "1"]));
    let to = |event: &Value, field: &str| event["changes"]["data"]["to"][field].as_u64().unwrap();
    let start = 1_785_542_400_000_000;
    let walls: Vec<u64> = first.iter().map(|event| to(event, "wall_micros") - start).collect();
    assert_eq!(walls, [0, 5_000_000, 5_000_000], "the clock stands at the events");
    assert!(to(&first[1], "nanos_since_configure") >= 5_000_000_000);
    let other = seen(&["--batch", "1", "--seed", "7"]);
    assert_ne!(to(&first[0], "random"), to(&other[0], "random"));
    let standing = seen(&["--now", "2026-08-01T00:00:09Z"]);
    assert!(standing.iter().all(|event| to(event, "wall_micros") == start + 9_000_000));
}

#[test]
fn configuration_can_be_given_instead_of_the_sidecars() {
    let sidecar = "[config]\nword = \"one\"\n";
    let plugins = Plugins::new().with_sidecar("echo", "config-echo", sidecar);
    let recording = Recording::saying(&["one", "two"]);
    let dropped = |flags: &[&str]| {
        let said = recording.test(&plugins.file("echo.wasm"), &[&["--json"], flags].concat());
        let events = said.objects("event");
        events.into_iter().position(|event| event["dropped"].is_string())
    };
    assert_eq!(dropped(&[]), Some(0));
    assert_eq!(dropped(&["--config", "word=two"]), Some(1));
}

#[test]
fn what_cannot_be_tried_says_why() {
    let recording = Recording::saying(&["one"]);
    let said = recording.test(&guest("trap-in-configure"), &[]);
    assert_eq!(said.code, 1);
    assert!(said.note.contains("configure"), "{}", said.note);
    std::fs::write(&recording.file, "{\"event_type\":\"ci_failing\"}\n").unwrap();
    let said = recording.test(&guest("keep-all"), &[]);
    assert_eq!(said.code, 1);
    assert!(said.note.contains("events.ndjson, line 1: session_id"), "{}", said.note);
}

#[tokio::test]
async fn a_trial_decides_as_a_host_does() {
    let day = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/day/day.ndjson");
    let day = std::fs::read_to_string(day).unwrap();
    let events: Vec<Value> =
        day.lines().take(1500).map(|line| serde_json::from_str(line).unwrap()).collect();
    let recording = Recording::of(&events);
    let plugins = Plugins::new().with("noise-filter", "noise-filter");
    let said = recording.test(&plugins.file("noise-filter.wasm"), &["--json"]);
    assert_eq!(said.code, 0, "{}", said.note);
    let tried: BTreeMap<String, String> = said
        .objects("event")
        .iter()
        .filter_map(|event| {
            let reason = event["dropped"].as_str()?;
            Some((event["id"].as_str().unwrap().into(), reason.into()))
        })
        .collect();
    assert!(tried.len() > 10, "{}", tried.len());

    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    host.publish_lines(&events).await;
    let in_host: BTreeMap<String, String> = host
        .log()
        .await
        .iter()
        .filter_map(|entry| {
            let reason = entry["drop_reason"].as_str()?;
            Some((entry["id"].as_str().unwrap().into(), reason.into()))
        })
        .collect();
    assert_eq!(tried, in_host);
}

#[test]
fn ci_triage_does_what_its_snapshot_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/ci-triage/snapshot/");
    let [events, expected] = ["events", "expected"].map(|name| format!("{folder}{name}.ndjson"));
    assert!(Path::new(&expected).exists(), "without it, nothing would be compared");
    let flags = ["--events", events.as_str(), "--expect", expected.as_str()];
    let said = plugin("test", &guest("ci-triage"), &flags);
    assert_eq!((said.code, &*said.note), (0, ""), "{}", said.text);
}

#[test]
fn a_plugin_is_measured_beside_an_empty_one() {
    let said = plugin("bench", &guest("two-roles"), &["--seconds", "1", "--json"]);
    assert_eq!(said.code, 0, "{}", said.note);
    let bench: Value = serde_json::from_str(&said.text).unwrap();
    assert_eq!(bench["roles"], json!(["filter", "reaction"]));
    assert_eq!(bench["events"], 512);
    for name in [
        "filter_single_us",
        "filter_batch_us",
        "filter_events_per_second",
        "reaction_single_us",
        "reaction_events_per_second",
        "memory_bytes",
        "size_bytes",
        "load_compiling_us",
        "load_cached_us",
        "instance_us",
    ] {
        let figure = &bench["figures"][name];
        for side in ["plugin", "empty", "ratio"] {
            let value = figure[side].as_f64().unwrap_or_else(|| panic!("{name} in {bench}"));
            assert!(value > 0.0 && value.is_finite(), "{name} {side} {value}");
        }
    }
    let size = std::fs::metadata(guest("two-roles")).unwrap().len();
    assert_eq!(bench["figures"]["size_bytes"]["plugin"], size as f64);
    assert!(bench["figures"].get("enricher_single_us").is_none());
}

#[test]
fn what_cannot_be_measured_says_why() {
    let recording = Recording::saying(&["fine", "poison"]);
    let events = ["--events", recording.file.to_str().unwrap(), "--seconds", "1"];
    let said = plugin("bench", &guest("trap-on-poison"), &events);
    assert_eq!(said.code, 1);
    assert!(said.note.contains("the plugin failed on an event: trapped"), "{}", said.note);
    let sidecar = "subscribe = [\"ennio.pr.>\"]\n";
    let plugins = Plugins::new().with_sidecar("deaf", "keep-all", sidecar);
    let said = plugin("bench", &plugins.file("deaf.wasm"), &events);
    assert_eq!(said.code, 1);
    assert!(said.note.contains("sees none of the given events"), "{}", said.note);
}
