//! `ennio replay`: history once more, in order, each event once, and the log as it was.

use std::{
    collections::HashSet,
    ffi::OsStr,
    io::{BufRead, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use async_nats::{Message, Subscriber, jetstream};
use futures::StreamExt;
use serde_json::Value;

use crate::{
    harness::{Host, PATIENCE, Plugins, Setup, ennio, event, eventually, numbered},
    nats_server::NatsServer,
};

/// What a replay sends before it waits for all of it to be taken.
const CHUNK: usize = 256;

/// A replay with a folder of its own for what it notes.
fn replay(state: &Path, words: &[impl AsRef<OsStr>]) -> Command {
    let mut command = ennio();
    command.arg("replay").args(words).env("XDG_STATE_HOME", state).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// The command that a replay says it is to be gone on with, without `ennio replay`.
fn way_on(said: &str) -> Vec<String> {
    let line = said.lines().find_map(|line| line.trim().strip_prefix("ennio replay "));
    let line = line.unwrap_or_else(|| panic!("no way on in {said}"));
    line.split(' ').map(Into::into).collect()
}

/// What is noted of replays that are not done.
fn journals(state: &Path) -> usize {
    std::fs::read_dir(state.join("ennio/replays")).map_or(0, Iterator::count)
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// The end of a replay that has been told to end: its exit code and what it said.
fn end_of(mut child: Child) -> (i32, String) {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code().unwrap(), said)
}

/// A log of events, the first `before` of which happened a day before the others: at the speed at
/// which they happened, a replay stands still between the two.
async fn two_days(host: &Host, before: usize, after: usize) {
    let events: Vec<Value> = (0..before + after)
        .map(|number| {
            let mut event = numbered(number);
            let day = if number < before { "01" } else { "02" };
            event["timestamp"] = format!("2026-08-{day}T09:30:00Z").into();
            event
        })
        .collect();
    host.publish_lines(&events).await;
}

async fn listen(server: &NatsServer, pattern: &str) -> Subscriber {
    let client = async_nats::connect(server.url()).await.unwrap();
    let subscriber = client.subscribe(pattern.to_owned()).await.unwrap();
    client.flush().await.unwrap();
    subscriber
}

async fn next(messages: &mut Subscriber) -> Message {
    tokio::time::timeout(PATIENCE, messages.next()).await.expect("a message in time").unwrap()
}

fn header(message: &Message, name: &str) -> String {
    let headers = message.headers.as_ref().unwrap();
    headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_string()
}

fn seq(message: &Message) -> u64 {
    header(message, "Ennio-Seq").parse().unwrap()
}

#[tokio::test]
async fn standard_output_gets_what_the_api_has_from_the_host_and_from_the_file() {
    let plugins = Plugins::new().with("quiet", "drop-chatty");
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    let mut events: Vec<Value> = (0..1200).map(numbered).collect();
    events[7]["message"] = "chatty".into();
    events[8]["message"] = "tab\tquote\" ü \u{2028}".into();
    for number in (0..1200).step_by(3) {
        events[number]["event_type"] = "ci_failing".into();
    }
    host.publish_lines(&events).await;
    let state = tempfile::tempdir().unwrap();
    let database = setup.database().display().to_string();
    let choices: [(&[&str], &[&str], usize); 4] = [
        (&[], &[], 1199),
        (&["--include-dropped"], &["--include-dropped"], 1200),
        (&["--from", "5", "--to", "20"], &["--after", "4", "--before", "21"], 15),
        (
            &["--subject", "ennio.ci.*.failing", "--session", "s-3", "--from", "2h"],
            &["--subject", "ennio.ci.*.failing", "--session", "s-3", "--since", "2h"],
            57,
        ),
    ];
    for (of_replay, of_events, count) in choices {
        let mut list = ennio();
        list.args(["events", "--json", "--limit", "0", "--order", "asc", "--url", &host.url]);
        let (code, expected, _) = run(list.args(of_events));
        assert_eq!((code, expected.lines().count()), (0, count), "{of_events:?}");
        for source in [["--url", &host.url], ["--db", &database]] {
            let words = [&["--to-stdout"][..], of_replay, &source[..]].concat();
            let (code, found, said) = run(&mut replay(state.path(), &words));
            assert_eq!(code, 0, "{said}");
            assert_eq!(found, expected, "{words:?}");
            assert!(said.contains("events"), "{said}");
        }
    }
    // Nobody runs on it any more.
    host.interrupt();
    let (code, found, _) =
        run(&mut replay(state.path(), &["--to-stdout", "--db", &database, "--from", "1200"]));
    assert_eq!((code, found.lines().count()), (0, 1));
    assert_eq!(journals(state.path()), 0, "nothing is left of what is done");
}

#[tokio::test]
async fn nats_gets_history_marked_in_order_and_the_log_stays_as_it_is() {
    let server = NatsServer::core();
    let plugins = Plugins::new().with_sidecar(
        "both",
        "two-roles",
        "[capabilities]\nemit = [\"ennio.custom.>\"]\n",
    );
    let setup = Setup::new().plugins(plugins.path()).publishing_to(&server.url());
    let host = setup.start();
    let mut messages = listen(&server, "ennio.>").await;
    let mut events: Vec<Value> = (0..700).map(numbered).collect();
    events[3]["message"] = "react to this".into();
    events[4]["message"] = "chatty, so it is hidden".into();
    host.publish_lines(&events).await;
    host.settled().await;
    let log = host.log().await;
    let mut first = Vec::new();
    // One is hidden; one is emitted, and that it was is told.
    while first.len() < 701 {
        first.push(next(&mut messages).await);
    }
    let state = tempfile::tempdir().unwrap();
    let words = ["--to-nats", "--nats", &server.url(), "--url", &host.url];
    let (code, _, said) = run(&mut replay(state.path(), &words));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("done, 701 events"), "{said}");
    let mut ids = HashSet::new();
    for original in &first {
        let again = next(&mut messages).await;
        assert_eq!((&again.subject, &again.payload), (&original.subject, &original.payload));
        for name in ["Ennio-Seq", "Ennio-Hops"] {
            assert_eq!(header(&again, name), header(original, name));
        }
        let cause = |message: &Message| {
            message.headers.as_ref().unwrap().get("Ennio-Caused-By").map(ToString::to_string)
        };
        assert_eq!(cause(&again), cause(original));
        let id = header(&again, "Ennio-Replay");
        let expected = format!("{}-replay-{id}", header(original, "Nats-Msg-Id"));
        assert_eq!(header(&again, "Nats-Msg-Id"), expected);
        assert!(original.headers.as_ref().unwrap().get("Ennio-Replay").is_none());
        let link = again.headers.as_ref().unwrap().get("Ennio-Previous");
        assert!(link.is_none(), "who keeps a copy of the log passes it over");
        ids.insert(id);
    }
    assert_eq!(ids.len(), 1, "one replay has one id");
    let is_caused =
        |message: &Message| message.headers.as_ref().unwrap().get("Ennio-Caused-By").is_some();
    assert!(first.iter().any(is_caused));
    host.settled().await;
    assert_eq!(host.log().await, log, "a replay adds nothing to the log");

    // Somewhere else, with another id.
    let mut elsewhere = listen(&server, "staging.>").await;
    let words = [&words[..], &["--prefix", "staging", "--from", "10", "--to", "11"]].concat();
    let (code, _, said) = run(&mut replay(state.path(), &words));
    assert_eq!(code, 0, "{said}");
    for expected in [10, 11] {
        let message = next(&mut elsewhere).await;
        assert_eq!(seq(&message), expected);
        assert!(message.subject.starts_with("staging.sessions.atlas."), "{}", message.subject);
        assert!(!ids.contains(&header(&message, "Ennio-Replay")));
    }
}

#[tokio::test]
async fn a_stream_stores_each_replay_once_though_it_has_the_events() {
    let server = NatsServer::jetstream();
    let client = async_nats::connect(server.url()).await.unwrap();
    let jetstream = jetstream::new(client);
    let config = jetstream::stream::Config {
        name: "EVENTS".into(),
        subjects: vec!["ennio.>".into()],
        ..Default::default()
    };
    let mut stream = jetstream.create_stream(config).await.unwrap();
    let setup = Setup::new().publishing_to(&server.url());
    let host = setup.start();
    let events: Vec<Value> = (0..600).map(numbered).collect();
    host.publish_lines(&events).await;
    eventually("the publisher at the head", async || {
        let (_, status) = host.get("/v1/status").await;
        (status["nats"]["cursor"] == 600).then_some(())
    })
    .await;
    let file = setup.folder.path().join("ennio.toml");
    std::fs::write(&file, format!("[nats]\nurl = \"{}\"\n", server.url())).unwrap();
    let state = tempfile::tempdir().unwrap();
    for round in 2..4 {
        let words = ["--to-nats", "--config", file.to_str().unwrap(), "--url", &host.url];
        let (code, _, said) = run(&mut replay(state.path(), &words));
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("(stream EVENTS)"), "{said}");
        // It has acknowledged all of it, so all of it is there when the command has ended.
        assert_eq!(stream.info().await.unwrap().state.messages, round * 600);
    }
    for number in 1..=600 {
        let stored = stream.get_raw_message(600 + number).await.unwrap();
        assert_eq!(stored.headers.get("Ennio-Seq").unwrap().as_str(), number.to_string());
    }
}

#[tokio::test]
async fn a_pipe_that_was_interrupted_and_gone_on_with_has_everything_once_in_order() {
    const EVENTS: usize = 30_000;
    let setup = Setup::new();
    let host = setup.start();
    let events: Vec<Value> = (0..EVENTS).map(numbered).collect();
    host.publish_lines(&events).await;
    let state = tempfile::tempdir().unwrap();
    let mut words = ["--to-stdout", "--url", &host.url].map(String::from).to_vec();
    let mut numbers = Vec::new();
    for interruptions in 0.. {
        let mut command = replay(state.path(), &words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for (line, count) in lines.zip(1..) {
            let entry: Value = serde_json::from_str(&line.unwrap()).unwrap();
            numbers.push(entry["data"]["n"].as_u64().unwrap());
            // A pipe holds less than what is left, so it cannot be done yet.
            if interruptions < 4 && count == 700 {
                interrupt(&child);
            }
        }
        let (code, said) = end_of(child);
        if code == 0 {
            assert_eq!(interruptions, 4, "{said}");
            break;
        }
        assert_eq!(code, 130, "{said}");
        assert!(said.contains("interrupted behind seq"), "{said}");
        words = way_on(&said);
    }
    assert_eq!(numbers, (0..EVENTS as u64).collect::<Vec<_>>());
    assert_eq!(journals(state.path()), 0);
}

/// How a replay that stands still is ended.
enum Blow {
    Interrupt,
    Kill,
}

#[tokio::test]
async fn nats_gets_the_rest_of_a_replay_that_was_interrupted_or_killed() {
    const BEFORE: usize = 600;
    const EVENTS: usize = 1000;
    let server = NatsServer::core();
    let setup = Setup::new();
    let host = setup.start();
    two_days(&host, BEFORE, EVENTS - BEFORE).await;
    let state = tempfile::tempdir().unwrap();
    for blow in [Blow::Interrupt, Blow::Kill] {
        let mut messages = listen(&server, "ennio.>").await;
        let words = ["--to-nats", "--nats", &server.url(), "--url", &host.url, "--speed", "1x"];
        let mut child = replay(state.path(), &words).stderr(Stdio::piped()).spawn().unwrap();
        let mut seqs = Vec::new();
        let mut ids = HashSet::new();
        while seqs.len() < BEFORE {
            let message = next(&mut messages).await;
            seqs.push(seq(&message));
            ids.insert(header(&message, "Ennio-Replay"));
        }
        assert_eq!(seqs, (1..=BEFORE as u64).collect::<Vec<_>>(), "the rest is a day later");
        match blow {
            Blow::Interrupt => interrupt(&child),
            Blow::Kill => child.kill().unwrap(),
        }
        let words = match blow {
            Blow::Interrupt => {
                let (code, said) = end_of(child);
                assert_eq!(code, 130, "{said}");
                way_on(&said)
            }
            Blow::Kill => {
                child.wait().unwrap();
                // What it said at its beginning names it as well. What it had not noted comes once
                // more, and not with a day's wait behind it.
                let id = ids.iter().next().unwrap();
                ["--resume", id, "--speed", "max"].map(String::from).to_vec()
            }
        };
        let (code, _, said) = run(&mut replay(state.path(), &words));
        assert_eq!(code, 0, "{said}");
        while seqs.last() != Some(&(EVENTS as u64)) {
            let message = next(&mut messages).await;
            seqs.push(seq(&message));
            ids.insert(header(&message, "Ennio-Replay"));
        }
        assert_eq!(ids.len(), 1, "it is the same replay");
        let repeated = seqs.len() - EVENTS;
        match blow {
            Blow::Interrupt => assert_eq!(repeated, 0),
            Blow::Kill => assert!(repeated <= CHUNK, "{repeated} once more"),
        }
        // Without the stretch that came twice it is the log.
        let mut first = HashSet::new();
        seqs.retain(|seq| first.insert(*seq));
        assert_eq!(seqs, (1..=EVENTS as u64).collect::<Vec<_>>());
        assert_eq!(journals(state.path()), 0);
    }
    assert_eq!(host.log().await.len(), EVENTS);
}

#[tokio::test]
async fn a_spacing_is_that_of_what_came_from_outside() {
    let plugins = Plugins::new().with_sidecar(
        "both",
        "two-roles",
        "[capabilities]\nemit = [\"ennio.custom.>\"]\n",
    );
    let setup = Setup::new().plugins(plugins.path());
    let host = setup.start();
    // Two moments of an earlier day, and between them in the log what is emitted now.
    for time in ["09:30:00.000000", "09:30:00.010000"] {
        let mut event = event("ci_failing");
        event["message"] = "react to this".into();
        event["timestamp"] = format!("2026-08-01T{time}Z").into();
        host.publish(&event).await;
        host.settled().await;
    }
    let state = tempfile::tempdir().unwrap();
    let words = ["--to-stdout", "--url", &host.url, "--speed", "1x"];
    let (code, found, said) = run(&mut replay(state.path(), &words));
    assert_eq!(code, 0, "{said}");
    let caused: Vec<bool> = found
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["caused_by"].is_object())
        .collect();
    // What is emitted, and that it was.
    assert_eq!(caused, [false, true, true, false, true, true]);
}

#[tokio::test]
async fn a_server_that_goes_away_ends_a_replay_which_then_goes_on() {
    let mut server = NatsServer::jetstream();
    let setup = Setup::new();
    let host = setup.start();
    two_days(&host, 300, 300).await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let config = jetstream::stream::Config {
        name: "EVENTS".into(),
        subjects: vec!["ennio.>".into()],
        ..Default::default()
    };
    let mut stream = jetstream::new(client).create_stream(config).await.unwrap();
    let state = tempfile::tempdir().unwrap();
    let words = ["--to-nats", "--nats", &server.url(), "--url", &host.url, "--speed", "0.000001x"];
    // So slow that only a signal ends the wait; a server that is away is found behind it.
    let mut command = replay(state.path(), &words);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    eventually("the first day is stored", async || {
        (stream.info().await.unwrap().state.messages == 300).then_some(())
    })
    .await;
    interrupt(&child);
    let (_, said) = end_of(child);
    let words = way_on(&said);
    server.kill();
    let (code, _, said) = run(&mut replay(state.path(), &words));
    assert_eq!(code, 1);
    assert!(said.contains("cannot connect to nats://127.0.0.1:"), "{said}");
    server.start();
    let (code, _, said) = run(&mut replay(state.path(), &words));
    assert_eq!(code, 0, "{said}");
    let client = async_nats::connect(server.url()).await.unwrap();
    let mut stream = jetstream::new(client).get_stream("EVENTS").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 600);
}

#[tokio::test]
async fn a_stream_that_is_full_ends_a_replay_and_what_it_took_counts() {
    let server = NatsServer::jetstream();
    let setup = Setup::new();
    let host = setup.start();
    let events: Vec<Value> = (0..600).map(numbered).collect();
    host.publish_lines(&events).await;
    let client = async_nats::connect(server.url()).await.unwrap();
    let jetstream = jetstream::new(client);
    let mut config = jetstream::stream::Config {
        name: "EVENTS".into(),
        subjects: vec!["ennio.>".into()],
        max_messages: 300,
        discard: jetstream::stream::DiscardPolicy::New,
        ..Default::default()
    };
    let mut stream = jetstream.create_stream(config.clone()).await.unwrap();
    let state = tempfile::tempdir().unwrap();
    let words = ["--to-nats", "--nats", &server.url(), "--url", &host.url];
    let (code, _, said) = run(&mut replay(state.path(), &words));
    assert_eq!(code, 1);
    assert!(said.contains("seq 301: maximum messages exceeded"), "{said}");
    assert!(said.contains("to go on behind seq 256:"), "{said}");
    config.max_messages = 10_000;
    jetstream.update_stream(config).await.unwrap();
    let (code, _, said) = run(&mut replay(state.path(), &way_on(&said)));
    assert_eq!(code, 0, "{said}");
    // What was sent twice is stored once: the same replay has the same message ids.
    assert_eq!(stream.info().await.unwrap().state.messages, 600);
}

#[tokio::test]
async fn a_dry_run_counts_and_sends_nothing() {
    let server = NatsServer::core();
    let setup = Setup::new();
    let host = setup.start();
    let mut events: Vec<Value> = (0..1500).map(numbered).collect();
    for number in 0..100 {
        events[number * 3]["event_type"] = "merge_ready".into();
    }
    host.publish_lines(&events).await;
    let mut messages = listen(&server, ">").await;
    let state = tempfile::tempdir().unwrap();
    let words = ["--to-nats", "--nats", &server.url(), "--url", &host.url, "--dry-run"];
    let (code, counted, said) = run(&mut replay(state.path(), &words));
    assert_eq!(code, 0, "{said}");
    assert!(counted.starts_with("would send 1,500 events, seq 1 to 1500\n"), "{counted}");
    assert!(counted.contains("    1,400  sessions\n"), "{counted}");
    assert!(counted.ends_with("      100  merge\n"), "{counted}");
    assert_eq!(journals(state.path()), 0);
    let (code, counted, _) =
        run(&mut replay(state.path(), &["--dry-run", "--url", &host.url, "--from", "1501"]));
    assert_eq!((code, &*counted), (0, "would send nothing: no event is chosen\n"));
    // The first message after it is one of our own.
    let client = async_nats::connect(server.url()).await.unwrap();
    client.publish("end", "".into()).await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(next(&mut messages).await.subject.as_str(), "end");
}

#[tokio::test]
async fn what_cannot_be_replayed_is_said_with_the_way_out() {
    let setup = Setup::new();
    let host = setup.start();
    host.publish(&event("ci_failing")).await;
    let state = tempfile::tempdir().unwrap();
    let nobody = "nats://127.0.0.1:1";
    let database = setup.folder.path().join("none.db").display().to_string();
    for (words, expected, part) in [
        (
            &["--url", &*host.url][..],
            2,
            "where to? (--to-nats, --to-plugin NAME, --to-stdout, or only",
        ),
        (&["--to-nats", "--to-stdout"], 2, "cannot be used with"),
        (&["--to-nats", "--url", &host.url], 2, "no NATS server is named (name one with --nats"),
        (&["--to-nats", "--include-dropped"], 2, "what a filter hid goes to nobody"),
        (&["--to-nats", "--nats", nobody, "--url", &host.url], 1, "cannot connect to nats://"),
        (&["--to-stdout", "--speed", "fast"], 2, "is no speed (write max, 1x, 10x, 0.5x)"),
        (&["--to-stdout", "--from", "yesterday"], 2, "or a place in the log: 1200"),
        (&["--to-stdout", "--url", "http://127.0.0.1:1"], 1, "(--db reads a file)"),
        (&["--to-stdout", "--db", &*database], 1, "none.db: unable to open"),
        (&["--resume", "0123456789ab"], 1, "replay 0123456789ab is not known here"),
        (&["--resume", "../../etc/xx"], 2, "is no id of a replay, which has 12 hexadecimal digits"),
        (&["--resume", "0123456789ab", "--to-nats"], 2, "cannot be used with"),
    ] {
        let (code, _, said) = run(&mut replay(state.path(), words));
        assert_eq!(code, expected, "{words:?}: {said}");
        assert!(said.contains(part), "{words:?}: {part:?} is not in {said}");
    }
    assert_eq!(journals(state.path()), 0);
}

#[tokio::test]
async fn a_reader_that_leaves_ends_a_replay_without_a_trace() {
    let setup = Setup::new();
    let host = setup.start();
    let events: Vec<Value> = (0..5000).map(numbered).collect();
    host.publish_lines(&events).await;
    let state = tempfile::tempdir().unwrap();
    let mut command = replay(state.path(), &["--to-stdout", "--url", &host.url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("\"seq\":1,"), "{line}");
    let (code, said) = end_of(child);
    assert_eq!(code, 0, "{said}");
    assert_eq!(journals(state.path()), 0);
}
