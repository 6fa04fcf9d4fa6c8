//! Asking the log: by data and words, counted, page by page, and on from there.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::harness::{Host, Setup, ennio, eventually, numbered};

fn seqs(page: &Value) -> Vec<u64> {
    page["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect()
}

/// A small log: each line is type, project, hour, message and data.
async fn host_with_history(setup: &Setup) -> Host {
    let host = setup.start();
    let lines = [
        (
            "ci_failing",
            "atlas",
            8,
            "Connection reset by peer",
            r#"{"branch":"main","pr":7,"ok":false}"#,
        ),
        ("ci_failing", "atlas", 8, "connections run out", r#"{"branch":"dev","pr":"7"}"#),
        ("ci_passing", "billing", 9, "all is well", r#"{"branch":"main","pr":7.0,"ok":true}"#),
        (
            "pr_merged",
            "billing",
            9,
            "NAÏVE fix, reset by hand",
            r#"{"labels":[{"name":"bug"}],"a.b":null}"#,
        ),
        ("custom.deploy", "infra", 11, "", "null"),
    ];
    let events = lines.map(|(event_type, project, hour, message, data)| {
        json!({"event_type": event_type, "project_id": project, "session_id": "s-1",
               "timestamp": format!("2026-08-03T{hour:02}:30:00Z"), "message": message,
               "data": serde_json::from_str::<Value>(data).unwrap()})
    });
    host.publish_lines(&events).await;
    host
}

/// Questions, as query strings and as flags, and which events answer them.
const QUESTIONS: [(&str, &[&str], &[u64]); 14] = [
    ("data.branch=main", &["--data", "branch=main"], &[1, 3]),
    ("data.pr=7", &["--data", "pr=7"], &[1, 2, 3]),
    ("data.pr=%227%22", &["--data", "pr=\"7\""], &[2]),
    ("data.ok=true&data.branch=main", &["--data", "ok=true", "--data", "branch=main"], &[3]),
    ("data.labels.0.name=bug", &["--data", "labels.0.name=bug"], &[4]),
    ("data.%22a.b%22=null", &["--data", "\"a.b\"=null"], &[4]),
    ("data.none=null", &["--data", "none=null"], &[]),
    ("text=RESET", &["--text", "RESET"], &[1, 4]),
    ("text=reset+connection", &["--text", "reset connection"], &[1]),
    ("text=connect*", &["--text", "connect*"], &[1, 2]),
    ("text=na%C3%AFve", &["--text", "naïve"], &[4]),
    ("text=connect", &["--text", "connect"], &[]),
    (
        "text=reset&data.branch=main&type=ci_failing",
        &["--text", "reset", "--data", "branch=main", "--type", "ci_failing"],
        &[1],
    ),
    (
        "subject=ennio.ci.*.passing&subject=ennio.custom.%3E",
        &["--subject", "ennio.ci.*.passing", "--subject", "ennio.custom.>"],
        &[3, 5],
    ),
];

#[tokio::test]
async fn a_question_means_the_same_at_every_door_and_before_and_after_a_restart() {
    let setup = Setup::new();
    let host = host_with_history(&setup).await;
    check(&host).await;
    tokio::task::spawn_blocking(move || host.interrupt()).await.unwrap();
    check(&setup.start()).await;
}

async fn check(host: &Host) {
    for (query, flags, expected) in QUESTIONS {
        let (status, page) = host.get(&format!("/v1/events?{query}")).await;
        assert_eq!((status, seqs(&page)), (200, expected.to_vec()), "{query}: {page}");
        let (status, stats) = host.get(&format!("/v1/events/stats?{query}")).await;
        assert_eq!(
            (status, stats["total"].as_u64()),
            (200, Some(expected.len() as u64)),
            "{query}"
        );
        let listed = lines(ennio().args(["events", "--json", "--url", &host.url]).args(flags));
        assert_eq!(
            listed.iter().map(|line| place(line)).collect::<Vec<_>>(),
            expected,
            "{flags:?}"
        );
        // What `tail` has no flag for, it takes as it is.
        let flags = flags.iter().filter(|flag| **flag != "--subject");
        let mut tail = ennio();
        tail.args(["tail", "--json", "--after", "0", "--url", &host.url]).args(flags);
        let mut tail = Following::start(&mut tail);
        for seq in expected {
            assert_eq!(tail.next(), *seq, "{query}");
        }
    }
}

fn lines(command: &mut Command) -> Vec<String> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(Into::into).collect()
}

fn place(line: &str) -> u64 {
    serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()
}

/// A command that goes on until it is dropped.
struct Following {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Following {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> u64 {
        place(&self.lines.next().expect("it goes on").unwrap())
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn events_are_counted_by_type_project_and_hour() {
    let setup = Setup::new();
    let host = host_with_history(&setup).await;
    for (query, expected) in [
        ("", json!({"total": 5, "by": null, "counts": []})),
        (
            "by=type&until=2026-08-03T11:00:00Z",
            json!({"total": 4, "by": "type", "counts": [{"type": "ci_failing", "count": 2},
                   {"type": "ci_passing", "count": 1}, {"type": "pr_merged", "count": 1}]}),
        ),
        (
            "by=project&after_seq=1",
            json!({"total": 4, "by": "project", "counts": [{"project": "billing", "count": 2},
                   {"project": "atlas", "count": 1}, {"project": "infra", "count": 1}]}),
        ),
        (
            "by=hour&subject=ennio.ci.%3E&subject=ennio.custom.%3E",
            json!({"total": 4, "by": "hour", "counts": [
                {"hour": "2026-08-03T08:00:00Z", "count": 2}, {"hour": "2026-08-03T09:00:00Z", "count": 1},
                {"hour": "2026-08-03T11:00:00Z", "count": 1}]}),
        ),
        ("by=type&text=nothing", json!({"total": 0, "by": "type", "counts": []})),
    ] {
        assert_eq!(
            host.get(&format!("/v1/events/stats?{query}")).await,
            (200, expected),
            "{query}"
        );
    }
    let stats = lines(ennio().args(["stats", "--by", "project", "--url", &host.url]));
    assert_eq!(
        stats,
        ["EVENTS  PROJECT", "     2  atlas", "     2  billing", "     1  infra", "     5  in all"]
    );
    let (status, problem) = host.get("/v1/events/stats?by=day").await;
    assert_eq!((status, &problem["parameter"]), (400, &json!("by")));
    assert!(problem["detail"].as_str().unwrap().contains("type, project or hour"), "{problem}");
}

#[tokio::test]
async fn the_links_of_a_page_lead_to_every_other_one() {
    let setup = Setup::new();
    let host = setup.start();
    host.publish_lines(&(0..50).map(numbered).collect::<Vec<_>>()).await;
    // Every seventh, between bounds, either way.
    for (order, mut expected) in
        [("asc", vec![8, 15, 22, 29, 36, 43]), ("desc", vec![43, 36, 29, 22, 15, 8])]
    {
        let question = format!(
            "/v1/events?session=s-0&after_seq=1&before_seq=50&limit=4&order={order}&text=event"
        );
        let (_, first) = host.get(&question).await;
        assert_eq!(first["links"]["prev"], Value::Null);
        let follow = async |page: &Value, link: &str| {
            let link = page["links"][link].as_str().unwrap_or_else(|| panic!("{link} in {page}"));
            let (status, page) = host.get(link).await;
            assert_eq!(status, 200, "{link}: {page}");
            page
        };
        let second = follow(&first, "next").await;
        assert_eq!([seqs(&first), seqs(&second)].concat(), expected);
        assert_eq!(second["links"]["next"], Value::Null);
        assert_eq!(seqs(&follow(&second, "prev").await), seqs(&first));
        assert_eq!(seqs(&follow(&second, "first").await), seqs(&first));
        let last = follow(&first, "last").await;
        assert_eq!(last["links"]["next"], Value::Null);
        assert_eq!(seqs(&last), expected.split_off(2));
        let before = follow(&last, "prev").await;
        assert_eq!((seqs(&before), &before["links"]["prev"]), (expected, &Value::Null));
        assert_eq!(seqs(&follow(&before, "next").await), seqs(&last));
    }
    let newest = lines(ennio().args(["events", "--json", "--last", "2", "--url", &host.url]));
    assert_eq!(newest.iter().map(|line| place(line)).collect::<Vec<_>>(), [49, 50]);
    let oldest = lines(ennio().args(["events", "--json", "--first", "2", "--url", &host.url]));
    assert_eq!(oldest.iter().map(|line| place(line)).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_followed_has_no_seam() {
    const EVENTS: u64 = 5_000;
    let setup = Setup::new();
    let host = std::sync::Arc::new(setup.start());
    let writing = tokio::spawn({
        let host = std::sync::Arc::clone(&host);
        async move {
            for chunk in 0..EVENTS / 50 {
                let events = (0..50).map(|n| numbered((chunk * 50 + n) as usize));
                host.publish_lines(&events.collect::<Vec<_>>()).await;
            }
        }
    });
    eventually("events to begin with", async || (host.log().await.len() > 100).then_some(())).await;
    let url = host.url.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let mut all = Following::start(
            ennio().args(["events", "--json", "--follow", "--after", "0", "--url", &url]),
        );
        let mut some =
            Following::start(ennio().args([
                "events", "--json", "-f", "--last", "10", "--text", "event", "--url", &url,
            ]));
        for seq in 1..=EVENTS {
            assert_eq!(all.next(), seq);
        }
        let mut last = some.next();
        while last < EVENTS {
            let next = some.next();
            assert_eq!(next, last + 1);
            last = next;
        }
    });
    writing.await.unwrap();
    reading.await.unwrap();
}

/// Searches that mean something to FTS5, SQL or a query string, and what they are here: words.
const HOSTILE: [(&str, Option<&[u64]>); 18] = [
    ("\"", None),
    ("*", None),
    ("**", None),
    ("^", None),
    ("\0", None),
    ("()", None),
    ("\u{fffd}", None),
    ("NEAR(", Some(&[602])),
    ("near(reset peer, 1)", Some(&[])),
    ("\"peer", Some(&[601])),
    ("peer\0", Some(&[601])),
    ("words:peer", Some(&[])),
    ("message : peer", Some(&[])),
    ("peer OR event", Some(&[])),
    ("NOT peer", Some(&[])),
    ("^peer*", Some(&[601])),
    ("peer'; DROP TABLE words; --", Some(&[])),
    ("{peer} + \"reset\"", Some(&[601])),
];

#[tokio::test]
async fn a_search_is_words_and_nothing_else() {
    let setup = Setup::new();
    let host = setup.start();
    let mut events: Vec<Value> = (0..600).map(numbered).collect();
    for message in ["Connection reset by peer", "near(ly) done"] {
        let mut event = numbered(0);
        event["message"] = message.into();
        events.push(event);
    }
    host.publish_lines(&events).await;
    searched(&host).await;
    tokio::task::spawn_blocking(move || host.interrupt()).await.unwrap();
    // Now every word is in the index.
    let database = setup.database();
    lines(ennio().args(["doctor", "--reindex", "--db"]).arg(&database));
    let host = setup.start();
    searched(&host).await;
    tokio::task::spawn_blocking(move || host.interrupt()).await.unwrap();
    // Now nothing is, at first.
    let index = database.with_file_name("ennio.db-index");
    let mut bytes = std::fs::read(&index).unwrap();
    bytes.iter_mut().skip(100).step_by(7).for_each(|byte| *byte ^= 0x5a);
    std::fs::write(&index, bytes).unwrap();
    searched(&setup.start()).await;
}

async fn searched(host: &Host) {
    let client = reqwest::Client::new();
    let ask = async |path: &str, text: &str| {
        let request = client.get(format!("{}{path}", host.url)).query(&[("text", text)]);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let long = "x".repeat(8 << 10);
    for (text, expected) in HOSTILE.into_iter().chain([(&*long, None)]) {
        let (status, page) = ask("/v1/events", text).await;
        let (status_of_stats, stats) = ask("/v1/events/stats", text).await;
        match expected {
            Some(expected) => {
                assert_eq!((status, seqs(&page)), (200, expected.to_vec()), "{text:?}: {page}");
                assert_eq!((status_of_stats, &stats["total"]), (200, &json!(expected.len())));
            }
            None => {
                assert_eq!((status, status_of_stats), (400, 400), "{text:?}: {page}");
                let reason = page["detail"].as_str().unwrap();
                let reasons = ["no letter or digit", "8192 bytes, at most 512"];
                assert!(reasons.iter().any(|known| reason.contains(known)), "{text:?}: {reason}");
            }
        }
    }
    // A word that nearly all have, and one with many endings.
    for text in ["event", "EV*"] {
        let (_, stats) = ask("/v1/events/stats", text).await;
        assert_eq!(stats["total"], 600, "{text}");
    }
    let (status, page) = host.get("/v1/events?text=peer%FF").await;
    assert_eq!((status, seqs(&page)), (200, vec![601]), "{page}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_the_parameter() {
    let setup = Setup::new();
    let host = setup.start();
    for (path, parameter, reason) in [
        ("/v1/events?data.=1", "data.", "a name is empty"),
        ("/v1/events?data.a..b=1", "data.a..b", "a name is empty"),
        ("/v1/events?data.%22a=1", "data.\"a", "not a JSON string"),
        ("/v1/events?data.a=%22x", "data.a", "begins with a quote"),
        ("/v1/events/stream?data.a=%22x", "data.a", "begins with a quote"),
        ("/v1/events?data=1", "data", "data.PATH"),
        ("/v1/events?text=%2D%2A", "text", "no letter or digit"),
        ("/v1/events/stats?text=", "text", "no letter or digit"),
        ("/v1/events?text=a&text=b", "text", "given twice"),
        ("/v1/events?page=7", "page", "after:SEQ"),
        ("/v1/events?page=after:x", "page", "0 or more"),
        ("/v1/events/stats?limit=7", "limit", "no such parameter"),
        ("/v1/events/stream?page=last", "page", "no such parameter"),
    ] {
        let (status, problem) = host.get(path).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!(parameter)), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{path}: {problem}");
    }
    let typo = ["events", "--url", &host.url, "--data", "branch"];
    let refused = ennio().args(typo).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("no `=` and value follow on it"), "{said}");
}
