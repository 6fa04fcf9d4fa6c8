//! What holds of the day, read from outside as any client would read it: as lines of JSON.

// Tests say what they expect by failing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::DateTime;
use ennio_day::{DEFAULT_DATE, DEFAULT_SEED};
use serde_json::Value;

const COMMITTED: &str = include_str!("../day.ndjson");

/// Other days than the committed one must be as believable.
const SEEDS: [u64; 6] = [DEFAULT_SEED, 0, 1, 7, 1_000, u64::MAX];

const TYPES: [&str; 30] = [
    "session_spawned",
    "session_working",
    "session_exited",
    "session_killed",
    "session_restored",
    "session_cleaned",
    "status_changed",
    "activity_changed",
    "pr_created",
    "pr_updated",
    "pr_merged",
    "pr_closed",
    "ci_passing",
    "ci_failing",
    "ci_fix_sent",
    "ci_fix_failed",
    "review_pending",
    "review_approved",
    "review_changes_requested",
    "review_comments_sent",
    "merge_ready",
    "merge_conflicts",
    "merge_completed",
    "reaction_triggered",
    "reaction_escalated",
    "all_complete",
    "node_connected",
    "node_disconnected",
    "node_launched",
    "node_health_check",
];

struct Event(Value);

impl Event {
    fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap()
    }

    fn kind(&self) -> &str {
        self.text("event_type")
    }

    fn session(&self) -> &str {
        self.text("session_id")
    }

    fn project(&self) -> &str {
        self.text("project_id")
    }

    fn data(&self, key: &str) -> Option<&str> {
        self.0["data"][key].as_str()
    }

    /// A PR is known by its project and number; two projects may both have a #655.
    fn pr(&self) -> Option<(&str, i64)> {
        Some((self.project(), self.0["data"]["pr"].as_i64()?))
    }

    fn micros(&self) -> i64 {
        DateTime::parse_from_rfc3339(self.text("timestamp")).unwrap().timestamp_micros()
    }
}

fn parse(ndjson: &str) -> Vec<Event> {
    ndjson.lines().map(|line| Event(serde_json::from_str(line).unwrap())).collect()
}

fn day(seed: u64) -> Vec<Event> {
    parse(&ennio_day::ndjson(seed, DEFAULT_DATE).unwrap())
}

#[test]
fn one_seed_is_one_day() {
    let once = ennio_day::ndjson(7, DEFAULT_DATE).unwrap();
    assert_eq!(once, ennio_day::ndjson(7, DEFAULT_DATE).unwrap());
    assert_ne!(once, ennio_day::ndjson(8, DEFAULT_DATE).unwrap());
}

#[test]
fn the_committed_file_is_what_the_generator_writes() {
    let written = ennio_day::ndjson(DEFAULT_SEED, DEFAULT_DATE).unwrap();
    // Not assert_eq: nobody reads a megabyte of difference.
    assert!(
        written == COMMITTED,
        "day.ndjson is stale: run `cargo run -p ennio-day -- --out examples/day/day.ndjson`"
    );
}

#[test]
fn another_date_moves_the_day_and_changes_nothing_else() {
    let date = "2024-02-29".parse().unwrap();
    let moved = parse(&ennio_day::ndjson(DEFAULT_SEED, date).unwrap());
    let original = parse(COMMITTED);
    assert_eq!(moved.len(), original.len());
    for (moved, original) in moved.iter().zip(&original) {
        let (date, time) = moved.text("timestamp").split_at(10);
        assert_eq!(date, "2024-02-29");
        assert_eq!(time, &original.text("timestamp")[10..]);
        assert_eq!(moved.text("message"), original.text("message"));
        assert_eq!(moved.0["data"], original.0["data"]);
    }
}

#[test]
fn a_date_that_no_uuid_can_hold_is_refused() {
    let error = ennio_day::ndjson(1, "1969-12-31".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "1969-12-31 is outside of 1970-01-01 to 9999-12-31");
}

#[test]
fn the_file_has_the_promised_size() {
    let lines = COMMITTED.lines().count();
    assert!((2_400..=3_500).contains(&lines), "{lines} events");
    let average = COMMITTED.len() / lines;
    assert!((300..=450).contains(&average), "{average} bytes on average");
    assert!(COMMITTED.ends_with('\n'));
}

#[test]
fn all_thirty_types_occur_several_times_and_some_custom_ones() {
    for seed in SEEDS {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for event in day(seed) {
            *count.entry(event.kind().to_owned()).or_default() += 1;
        }
        for kind in TYPES {
            let seen = count.remove(kind).unwrap_or(0);
            assert!(seen >= 3, "seed {seed}: {seen} {kind}");
        }
        assert!(count.len() >= 3, "seed {seed}: {count:?}");
        for kind in count.keys() {
            let action = kind.strip_prefix("custom.").expect(kind);
            assert!(is_token(action, 64), "{kind}");
        }
    }
}

#[test]
fn every_line_is_compact_and_has_the_eight_fields_in_order() {
    const FIELDS: [&str; 8] = [
        "id",
        "event_type",
        "priority",
        "session_id",
        "project_id",
        "timestamp",
        "message",
        "data",
    ];
    for line in COMMITTED.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let names: BTreeSet<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(FIELDS));
        let places: Vec<_> =
            FIELDS.iter().map(|field| line.find(&format!("\"{field}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "{line}");
        // The same length as what a compact writer makes of it: no blanks between the tokens.
        assert_eq!(line.len(), serde_json::to_string(&event).unwrap().len());
    }
}

#[test]
fn fields_stay_within_the_bounds_of_the_event_model() {
    for event in SEEDS.into_iter().flat_map(day) {
        assert_eq!(event.text("id").len(), 36);
        let session = event.session();
        assert!((1..=128).contains(&session.len()), "{session}");
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        assert!(session.chars().all(allowed), "{session}");
        assert!(is_token(event.project(), 64), "{}", event.project());
        if let Some(host) = event.data("host") {
            assert!(is_token(host, 64), "{host}");
        }
        let priority = event.text("priority");
        assert!(["info", "action", "urgent", "critical"].contains(&priority));
        assert!(event.text("message").len() <= 8 * 1024);
        let data = &event.0["data"];
        assert!(data.is_object());
        assert!(data.to_string().len() <= 256 * 1024);
        assert!(depth(data) <= 64);
    }
}

#[test]
fn timestamps_and_ids_rise_together_within_the_day() {
    for seed in SEEDS {
        let events = day(seed);
        for pair in events.windows(2) {
            assert!(pair[0].micros() < pair[1].micros());
            assert!(pair[0].text("id") < pair[1].text("id"));
        }
        for event in &events {
            let stamp = event.text("timestamp");
            assert!(stamp.starts_with("2026-08-03T"), "seed {seed}: {stamp}");
            assert_eq!(stamp.len(), "2026-08-03T00:00:00.000000Z".len());
            assert!(stamp.ends_with('Z'));
            let id = uuid::Uuid::parse_str(event.text("id")).unwrap();
            assert_eq!(id.get_version_num(), 7);
            let millis = i64::from_str_radix(&id.simple().to_string()[..12], 16).unwrap();
            assert_eq!(millis, event.micros() / 1_000);
        }
    }
}

#[test]
fn a_session_begins_spawned_and_once_ended_is_only_restored_or_cleaned() {
    #[derive(Clone, Copy, PartialEq)]
    enum Life {
        Running,
        Ended,
        Cleaned,
    }
    for seed in SEEDS {
        let events = day(seed);
        let spawned: HashSet<_> = of_kind(&events, "session_spawned").map(Event::session).collect();
        let mut lives: HashMap<&str, Life> = HashMap::new();
        for event in events.iter().filter(|event| spawned.contains(event.session())) {
            let (session, kind) = (event.session(), event.kind());
            let now = match (lives.get(session), kind) {
                (None, "session_spawned") | (Some(Life::Ended), "session_restored") => {
                    Life::Running
                }
                (Some(Life::Running), "session_exited" | "session_killed") => Life::Ended,
                (Some(Life::Ended), "session_cleaned") => Life::Cleaned,
                (
                    Some(Life::Running),
                    "session_spawned" | "session_restored" | "session_cleaned",
                )
                | (None | Some(Life::Ended | Life::Cleaned), _) => {
                    panic!("seed {seed}: {kind} of {session} at {}", event.text("timestamp"))
                }
                (Some(Life::Running), _) => Life::Running,
            };
            lives.insert(session, now);
        }
        assert!(lives.values().all(|life| *life != Life::Running));
    }
}

#[test]
fn status_and_activity_go_on_from_where_they_were() {
    for seed in SEEDS {
        let mut at: HashMap<(String, String), Value> = HashMap::new();
        for event in day(seed) {
            if !["status_changed", "activity_changed"].contains(&event.kind()) {
                continue;
            }
            let key = (event.session().to_owned(), event.kind().to_owned());
            let data = &event.0["data"];
            if let Some(before) = at.get(&key) {
                // Either a step on, or the hook fired again for the same step.
                assert!(before["to"] == data["from"] || before == data, "seed {seed}: {data}");
            }
            at.insert(key, data.clone());
        }
    }
}

#[test]
fn a_pr_is_created_first_and_silent_once_merged_or_closed() {
    for seed in SEEDS {
        let mut open: HashMap<(String, i64), bool> = HashMap::new();
        for event in day(seed) {
            let Some((project, number)) = event.pr() else {
                continue;
            };
            let key = (project.to_owned(), number);
            let known = open.get(&key).copied();
            match event.kind() {
                "pr_created" => assert_eq!(known, None, "seed {seed}: {key:?}"),
                kind => assert_eq!(known, Some(true), "seed {seed}: {kind} of {key:?}"),
            }
            let done = ["pr_merged", "pr_closed"].contains(&event.kind());
            open.insert(key, !done);
        }
    }
}

#[test]
fn pr_numbers_rise_within_a_project() {
    let events = parse(COMMITTED);
    let mut last: HashMap<&str, i64> = HashMap::new();
    for event in of_kind(&events, "pr_created") {
        let (project, number) = event.pr().unwrap();
        assert!(last.insert(project, number).is_none_or(|last| last + 1 == number));
    }
}

#[test]
fn a_fix_follows_a_failure_and_fails_only_when_ci_failed_again() {
    for seed in SEEDS {
        let mut last: HashMap<(String, i64), String> = HashMap::new();
        for event in day(seed) {
            let ci = event.kind().starts_with("ci_") || event.kind() == "pr_updated";
            let Some((project, number)) = event.pr().filter(|_| ci) else {
                continue;
            };
            let before = last.insert((project.to_owned(), number), event.kind().to_owned());
            match event.kind() {
                "ci_fix_sent" => {
                    let before = before.unwrap();
                    assert!(["ci_failing", "ci_fix_failed"].contains(&before.as_str()));
                }
                "ci_fix_failed" => assert_eq!(before.as_deref(), Some("ci_failing")),
                "ci_failing" => assert!(!event.data("log").unwrap().is_empty()),
                _ => {}
            }
        }
    }
}

#[test]
fn a_merge_has_an_approval_and_passing_ci_or_the_forges_word() {
    for seed in SEEDS {
        let events = day(seed);
        let mut told: HashSet<((&str, i64), &str)> = HashSet::new();
        let mut gap_for_the_plugin = 0;
        for event in &events {
            let Some(pr) = event.pr() else { continue };
            match event.kind() {
                // A push takes the last verdict of CI away.
                "pr_updated" | "ci_failing" => {
                    told.remove(&(pr, "ci_passing"));
                }
                "merge_ready" => {
                    assert_eq!(event.data("source"), Some("forge"));
                    assert_eq!(event.project(), "docs");
                    assert!(told.contains(&(pr, "review_approved")));
                }
                "merge_completed" => {
                    assert!(told.contains(&(pr, "review_approved")), "seed {seed}: {pr:?}");
                    let by_ci = told.contains(&(pr, "ci_passing"));
                    let by_forge = told.contains(&(pr, "merge_ready"));
                    assert!(by_ci ^ by_forge, "seed {seed}: {pr:?}");
                    gap_for_the_plugin += i32::from(by_ci);
                }
                _ => {}
            }
            told.insert((pr, event.kind()));
        }
        assert!(gap_for_the_plugin >= 50, "seed {seed}: {gap_for_the_plugin}");
    }
}

#[test]
fn sessions_start_and_come_back_on_nodes_that_are_connected() {
    for seed in SEEDS {
        let mut up: HashSet<String> = HashSet::new();
        for event in day(seed) {
            match event.kind() {
                "node_connected" => assert!(up.insert(event.data("host").unwrap().to_owned())),
                "node_disconnected" => assert!(up.remove(event.data("host").unwrap())),
                "node_health_check" => assert!(up.contains(event.data("host").unwrap())),
                "session_spawned" | "session_restored" => {
                    let node = event.data("node").unwrap();
                    let at = event.text("timestamp");
                    // In its own restart the night's only node queues what is asked of it.
                    let queued = ("05:29".."05:35").contains(&&at[11..16]);
                    assert!(up.contains(node) || queued, "seed {seed}: {node} at {at}");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn all_complete_comes_once_for_each_project_after_its_last_session_ended() {
    for seed in SEEDS {
        let events = day(seed);
        let mut running: HashMap<&str, HashSet<&str>> = HashMap::new();
        let mut complete: HashSet<&str> = HashSet::new();
        for event in &events {
            let project = event.project();
            let live = running.entry(project).or_default();
            match event.kind() {
                "session_spawned" | "session_restored" => {
                    assert!(!complete.contains(project));
                    live.insert(event.session());
                }
                "session_exited" | "session_killed" => {
                    live.remove(event.session());
                }
                "all_complete" => {
                    assert!(live.is_empty());
                    assert!(complete.insert(project));
                }
                _ => {}
            }
        }
        assert_eq!(complete.len(), 6, "seed {seed}");
    }
}

#[test]
fn there_are_bursts_of_duplicates_within_seconds() {
    for seed in SEEDS {
        let mut last: HashMap<String, i64> = HashMap::new();
        let mut duplicates = 0;
        for event in day(seed) {
            let content =
                format!("{}{}{}", event.session(), event.text("message"), event.0["data"]);
            let before = last.insert(content, event.micros());
            if let Some(before) = before.filter(|_| event.kind() == "activity_changed") {
                assert!(event.micros() - before < 2_000_000);
                duplicates += 1;
            }
        }
        assert!(duplicates >= 60, "seed {seed}: {duplicates}");
    }
}

#[test]
fn some_branches_fail_three_times_in_a_row() {
    let mut row: HashMap<(String, i64), u32> = HashMap::new();
    let mut long = HashSet::new();
    for event in parse(COMMITTED) {
        let Some((project, number)) = event.pr() else {
            continue;
        };
        let key = (project.to_owned(), number);
        match event.kind() {
            "ci_failing" => {
                let failed = row.entry(key.clone()).or_default();
                *failed += 1;
                if *failed == 3 {
                    long.insert(key);
                }
            }
            "ci_passing" => {
                row.remove(&key);
            }
            _ => {}
        }
    }
    assert!(long.len() >= 5, "{}", long.len());
}

#[test]
fn each_kind_of_fake_secret_leaks_twice() {
    // In parts here too, for the scanners' sake.
    let shapes = [
        ["AKIA", "IOSFODNN7"].concat(),
        ["aws_secret_", "access_key="].concat(),
        ["=gh", "p_"].concat(),
        ["xo", "xb-"].concat(),
        ["=ey", "J"].concat(),
        ["Bea", "rer "].concat(),
        ["postgres", "://"].concat(),
        ["BEGIN RSA ", "PRIVATE"].concat(),
    ];
    for seed in SEEDS {
        let ndjson = ennio_day::ndjson(seed, DEFAULT_DATE).unwrap();
        for shape in &shapes {
            let events = ndjson.lines().filter(|line| line.contains(shape)).count();
            assert_eq!(events, 2, "seed {seed}: {shape}");
        }
    }
}

fn of_kind<'a>(events: &'a [Event], kind: &'a str) -> impl Iterator<Item = &'a Event> {
    events.iter().filter(move |event| event.kind() == kind)
}

fn is_token(text: &str, longest: usize) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=longest).contains(&text.len()) && text.chars().all(allowed)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
