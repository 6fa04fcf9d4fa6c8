use serde_json::json;

use super::*;

fn entry(seq: u64, subject: &str) -> serde_json::Value {
    json!({
        "id": format!("00000000-0000-0000-0000-{seq:012}"), "event_type": "ci_failing",
        "priority": "info", "session_id": "s-1", "project_id": subject,
        "timestamp": "2026-08-01T09:30:00Z", "message": "", "data": null, "seq": seq,
    })
}

fn drawn(causes: serde_json::Value, mut story: serde_json::Value) -> Vec<String> {
    story["causes"] = causes;
    let text = story.to_string();
    let Causes { causes } = serde_json::from_str(&text).unwrap();
    let story: Story = serde_json::from_str(&text).unwrap();
    let lines = Pen(Colours::none()).trace(&causes, &story).draw();
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn a_story_is_a_tree_from_its_first_cause_to_all_that_it_caused() {
    let at = "2026-08-01T09:30:00.125Z";
    let clock = clock_millis(at);
    let mut traced = entry(2, "atlas");
    traced["caused_by"] = json!({"event_id": "x", "plugin": "first"});
    traced["message"] = "from\u{1b}[2Jhere".into();
    let hash = "0123456789abcdef";
    let line = json!({"level": "info", "context": "stdout", "message": "hm\u{202e}"});
    let story = json!({
        "event": traced,
        "pipeline": [
            {"plugin": "noise", "role": "filter", "version": "1.0.0", "hash": hash, "outcome": "kept"},
            {
                "plugin": "triage", "role": "enricher", "version": null, "hash": hash,
                "outcome": "changed", "took_us": 25.44,
                "changes": [
                    {"path": "priority", "from": "info", "to": "urgent"},
                    {"path": "data.triage", "to": {"class": "x"}},
                    {"path": "data.old", "removed": true},
                ],
                "calls": [{
                    "first_seq": 2, "last_seq": 9, "events": 3, "hash": hash, "took_us": 12_345.6,
                    "said": [line], "unsaid": 4,
                }],
            },
        ],
        "published": [{"sink": "nats", "state": "published", "after": at, "by": at}],
        "reactions": [
            {"plugin": "all", "hash": hash, "outcome": "done"},
            {
                "plugin": "hook", "version": "2.0.0", "hash": hash, "outcome": "done", "at": at,
                "took_us": 1_500_000.0, "commands": ["plugin_disable noise"],
                "failed_attempts": [
                    {"attempt": 1, "at": at, "error": "server answered 500", "hash": "other", "took_us": 7.0},
                ],
                "emitted": [{"event": entry(3, "atlas")}], "left_out": 1,
            },
        ],
    });
    let expected = format!(
        "ennio.ci.root.failing  seq 1  info    00000000-0000-0000-0000-000000000001
└─ reaction first
   └─ ennio.ci.atlas.failing  seq 2  info    00000000-0000-0000-0000-000000000002
      │ from\\u{{1b}}[2Jhere
      ├─ filter noise 1.0.0 (0123456789ab)  kept
      ├─ enricher triage (0123456789ab)  changed, 25.4 µs
      │    - priority \"info\"
      │    + priority \"urgent\"
      │    + data.triage {{\"class\":\"x\"}}
      │    - data.old
      │    in a call about 3 events of seq 2 to 9, 12.3 ms:
      │    info stdout: hm\\u{{202e}}
      │    4 further lines are in the host's log
      ├─ published to nats between {clock} and {clock}
      ├─ reaction all (0123456789ab)  nothing to do
      └─ reaction hook 2.0.0 (0123456789ab)  emitted 2 events at {clock}, 1.5 s
         │ attempt 1 failed at {clock}: server answered 500 (other), 7.0 µs
         │ gave the command plugin_disable noise
         ├─ ennio.ci.atlas.failing  seq 3  info    00000000-0000-0000-0000-000000000003
         └─ 1 further events are left out (trace one of those above)"
    );
    let found = drawn(json!([entry(1, "root")]), story);
    assert_eq!(found, expected.lines().collect::<Vec<_>>(), "{}", found.join("\n"));
}

#[test]
fn each_outcome_has_its_words() {
    let at = "2026-08-01T09:30:00.125Z";
    let clock = clock_millis(at);
    let story = json!({
        "event": entry(1, "atlas"),
        "pipeline": [
            {"plugin": "a", "role": "filter", "outcome": "failed", "error": "trapped: x",
             "calls": [{"first_seq": 1, "last_seq": 1, "events": 1, "hash": "new", "took_us": 1.0,
                        "error": "trapped: y"}]},
            {"plugin": "b", "role": "filter", "outcome": "failed_dropped", "error": "trapped: x"},
            {"plugin": "c", "role": "filter", "outcome": "dropped", "reason": "noise",
             "calls": [{"first_seq": 1, "last_seq": 1, "events": 1, "hash": "h", "took_us": 20_000.0}]},
            {"plugin": "d", "role": "filter", "outcome": "of another host"},
        ],
        "published": [
            {"sink": "a", "state": "published", "after": at},
            {"sink": "b", "state": "pending"},
            {"sink": "c", "state": "skipped", "reason": "too large"},
        ],
        "reactions": [
            {"plugin": "a", "hash": "h", "outcome": "pending"},
            {"plugin": "b", "hash": "h", "outcome": "waiting", "next_at": at},
            {"plugin": "c", "hash": "h", "outcome": "dead_letter", "dead_letter": 12},
            {"plugin": "d", "hash": "h", "outcome": "discarded"},
        ],
    });
    let found = drawn(json!([]), story);
    let expected = format!(
        "├─ filter a (version unknown)  failed, and lets the event pass: trapped: x
│    new trapped: y; the version before answers
├─ filter b (version unknown)  failed, and hides the event: trapped: x
├─ filter c (version unknown)  dropped: noise
│    the call took 20.0 ms
├─ filter d (version unknown)  of another host
├─ published to a
├─ not yet published to b
├─ cannot be published to c: too large
├─ reaction a (h)  has not come to it, or not said so
├─ reaction b (h)  comes back to it at {clock}
├─ reaction c (h)  gave up: dead letter 12 (ennio dead-letters show 12)
└─ reaction d (h)  gave up, and its dead letter was discarded"
    );
    assert_eq!(found[1..], expected.lines().collect::<Vec<_>>(), "{}", found.join("\n"));
}
