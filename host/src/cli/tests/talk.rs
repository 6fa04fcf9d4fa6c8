//! Commands against a host.

use std::{
    io::{self, Cursor, Write},
    sync::atomic::Ordering,
    time::Duration,
};

use indicatif::ProgressBar;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{command, stub::Stub};
use crate::cli::{
    Command, Usage,
    client::{Client, Connection},
    emit::{self, Count},
    events,
    output::{Closed, Colour, Output},
    run,
    sender::Sender,
    summary, tail,
};

/// Lines of a command, as they come.
struct Lines {
    from: mpsc::UnboundedReceiver<Vec<u8>>,
    text: String,
}

struct Captured(mpsc::UnboundedSender<Vec<u8>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn capture() -> (Output, Lines) {
    let (to, from) = mpsc::unbounded_channel();
    (Output::to(Captured(to)), Lines { from, text: String::new() })
}

impl Lines {
    /// The first `count` lines; waits for them.
    async fn first(&mut self, count: usize) -> Vec<String> {
        while self.text.lines().count() < count || !self.text.ends_with('\n') {
            let part = tokio::time::timeout(Duration::from_secs(20), self.from.recv()).await;
            self.text += std::str::from_utf8(&part.unwrap().unwrap()).unwrap();
        }
        self.text.lines().map(Into::into).collect()
    }

    /// What was written so far.
    fn all(&mut self) -> Vec<String> {
        while let Ok(part) = self.from.try_recv() {
            self.text += std::str::from_utf8(&part).unwrap();
        }
        self.text.lines().map(Into::into).collect()
    }
}

fn connection(url: &str) -> Connection {
    match command(&["summary", "--url", url]) {
        Command::Summary(args) => args.connection,
        _ => unreachable!(),
    }
}

fn client(url: &str) -> Client {
    Client::new(&connection(url)).unwrap()
}

fn event(number: usize) -> Value {
    json!({"event_type": "ci_failing", "session_id": "s-1", "project_id": "atlas", "message": format!("event {number}")})
}

fn ndjson(count: usize) -> String {
    (1..=count).map(|number| format!("{}\n", event(number))).collect()
}

/// Sends `text`; what was counted, the results, and the error that ended it.
async fn emit(
    stub: &Stub,
    text: String,
    batch: usize,
    retry_for: Option<Duration>,
) -> (Count, Vec<Value>, Option<String>) {
    let client = client(&stub.url);
    let sender = Sender::new(&client, retry_for, ProgressBar::hidden());
    let mut results = Vec::new();
    let (count, outcome) = emit::stream(Cursor::new(text), batch, sender, |result| {
        results.push(serde_json::from_str(result).unwrap());
        Ok(())
    })
    .await;
    (count, results, outcome.err().map(|error| format!("{error:#}")))
}

#[tokio::test]
async fn a_stream_of_events_arrives_whole_and_in_order() {
    let stub = Stub::start().await;
    let (count, results, error) = emit(&stub, ndjson(2500), 1000, None).await;
    assert_eq!(error, None);
    assert_eq!(count.to_string(), "2500 events: 2500 accepted, 0 dropped, 0 duplicate, 0 refused");
    let seqs: Vec<_> = results.iter().map(|result| result["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=2500).collect::<Vec<_>>());
    assert!(stub.log.requests.lock().unwrap().iter().all(|events| *events <= 1000));
}

#[tokio::test]
async fn what_is_refused_is_named_by_its_line_and_the_others_are_sent() {
    let stub = Stub::start().await;
    let text = format!(
        "{}\nnonsense\n{}\n{}\n\n{}\n",
        event(1),
        json!({"event_type": "ci_failin", "session_id": "s", "project_id": "p"}),
        json!({"event_type": "ci_failing", "session_id": "s", "project_id": "p", "message": "noise"}),
        event(2),
    );
    let (count, results, error) = emit(&stub, text, 1000, None).await;
    assert_eq!(error, None);
    assert_eq!(count.to_string(), "5 events: 2 accepted, 1 dropped, 0 duplicate, 2 refused");
    let refusals: Vec<_> = count.refusals.iter().map(|r| (r.line, &*r.reason)).collect();
    assert_eq!(
        refusals,
        [
            (2, "not valid JSON: expected ident at column 2"),
            (3, "event_type: unknown event type \"ci_failin\" (did you mean `ci_failing`?)"),
        ]
    );
    assert_eq!(results[1]["line"], 2);
    assert_eq!(results.iter().filter(|result| result["seq"].is_u64()).count(), 3);
}

#[tokio::test]
async fn a_host_that_was_away_gets_every_event_once() {
    let stub = Stub::start().await;
    stub.log.away.store(1, Ordering::SeqCst);
    stub.log.lost.store(1, Ordering::SeqCst);
    let (count, _, error) = emit(&stub, ndjson(300), 100, None).await;
    assert_eq!(error, None);
    assert_eq!(stub.log.head(), 300);
    assert_eq!(count.accepted + count.duplicate, 300);
    assert!(count.duplicate > 0, "a lost answer's events are known: {count}");
}

#[tokio::test]
async fn events_that_are_held_back_are_sent_again_alone() {
    let stub = Stub::start().await;
    stub.log.held.store(2, Ordering::SeqCst);
    let (count, results, error) = emit(&stub, ndjson(10), 1000, None).await;
    assert_eq!(error, None);
    assert_eq!(count.to_string(), "10 events: 10 accepted, 0 dropped, 0 duplicate, 0 refused");
    assert_eq!(results[0]["seq"], 9, "the first two went last: {results:?}");

    stub.log.held.store(usize::MAX, Ordering::SeqCst);
    let (count, _, error) = emit(&stub, ndjson(3), 1000, Some(Duration::ZERO)).await;
    assert_eq!(error, None);
    assert_eq!((count.refused, &*count.refusals[0].reason), (3, "held back: plugin slow"));
}

#[tokio::test]
async fn a_request_that_is_too_large_is_divided() {
    let stub = Stub::start().await;
    stub.log.most_bytes.store(1000, Ordering::SeqCst);
    let large = json!({"event_type": "ci_failing", "session_id": "s", "project_id": "p", "message": "x".repeat(2000)});
    let text = format!("{}{large}\n{}", ndjson(20), ndjson(20));
    let (count, results, error) = emit(&stub, text, 1000, None).await;
    assert_eq!(error, None);
    assert_eq!(count.to_string(), "41 events: 40 accepted, 0 dropped, 0 duplicate, 1 refused");
    assert_eq!((count.refusals[0].line, &results[20]["status"]), (21, &json!(413)));
}

#[tokio::test]
async fn a_host_that_never_answered_is_not_waited_for() {
    let url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let words = ["emit", "ci_failing", "--project", "p", "--session", "s", "--url", &url];
    let Command::Emit(args) = command(&words) else { unreachable!() };
    let error = emit::run(args).await.unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        format!(
            "no host answers at {url} (start one with `ennio serve`, or name another with --url)"
        )
    );
}

#[tokio::test]
async fn one_event_from_flags_is_stored_once_however_often_it_is_sent() {
    let stub = Stub::start().await;
    let words = [
        "emit",
        "CiFailing",
        "--project",
        "p",
        "--session",
        "s",
        "--priority",
        "urgent",
        "--message",
        "it \"fails\"",
        "--data",
        "{\"n\": 1.10}",
        "--timestamp",
        "2026-08-01T09:30:00Z",
        "--id",
        "0198f2c0-7a52-7000-8000-3c6a0f6f1e11",
        "--url",
        &stub.url,
    ];
    for _ in 0..2 {
        let Command::Emit(args) = command(&words) else { unreachable!() };
        emit::run(args).await.unwrap();
    }
    assert_eq!(stub.log.head(), 1);
    let (mut output, mut lines) = capture();
    let Command::Events(args) = command(&["events", "--json", "--url", &stub.url]) else {
        unreachable!()
    };
    events::list(&client(&stub.url), &args, &mut output).await.unwrap();
    let event: Value = serde_json::from_str(&lines.all()[0]).unwrap();
    assert_eq!((&event["priority"], &event["message"]), (&json!("urgent"), &json!("it \"fails\"")));
    assert!(lines.all()[0].contains("\"data\":{\"n\":1.10}"));

    let Command::Emit(args) = command(&[&words[..9], &["x"], &words[10..]].concat()) else {
        unreachable!()
    };
    let error = emit::run(args).await.unwrap_err().to_string();
    assert_eq!(error, "refused: id 0198f2c0-7a52-7000-8000-3c6a0f6f1e11 is taken");
}

#[tokio::test]
async fn an_event_without_its_project_is_wrong_usage() {
    use clap::Parser as _;
    for words in [&["emit", "ci_failing", "--session", "s"][..], &["emit", "-", "--message", "m"]] {
        let cli = crate::cli::Cli::try_parse_from(["ennio"].iter().chain(words)).unwrap();
        let error = run(cli).await.unwrap_err();
        assert!(error.is::<Usage>(), "{error}");
    }
    for (words, part) in [
        (&["emit", "ci_failin"][..], "did you mean `ci_failing`?"),
        (&["emit", "ci_failing", "--priority", "urgnt"], "did you mean `urgent`?"),
        (&["emit", "--message", "m"], "required"),
        (&["tail", "ennio.>.x"], "which only the last token may be"),
        (&["events", "--since", "2x"], "is no unit of time"),
        (&["events", "--url", "https://h"], "https is not spoken here"),
        (&["events", "--url", "h:7117"], "is not http://"),
    ] {
        let cli = crate::cli::Cli::try_parse_from(["ennio"].iter().chain(words));
        let error = cli.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn the_newest_events_are_shown_oldest_first() {
    let stub = Stub::start().await;
    emit(&stub, ndjson(1200), 1000, None).await;
    stub.log.add(&json!({"event_type": "pr_created", "session_id": "s", "project_id": "zeta", "message": "noise"}).to_string());
    for (words, expected) in [
        (&[][..], (1151..=1200).collect::<Vec<u64>>()),
        (&["--limit", "1100"], (101..=1200).collect()),
        (&["--limit", "0"], (1..=1200).collect()),
        (&["--limit", "0", "--order", "desc"], (1..=1200).rev().collect()),
        (&["--limit", "3", "--order", "asc"], vec![1, 2, 3]),
        (&["--limit", "2", "--order", "desc"], vec![1200, 1199]),
        (&["--limit", "2", "--after", "7"], vec![8, 9]),
        (&["--limit", "2", "--before", "7"], vec![5, 6]),
        (&["--project", "zeta"], vec![]),
        (&["--project", "zeta", "--include-dropped"], vec![1201]),
        (&["--type", "pr_created", "--type", "ci_failing", "--limit", "1"], vec![1200]),
        (&["--subject", "ennio.pr.>"], vec![]),
        (&["--since", "1h", "--until", "30m"], vec![]),
    ] {
        let (mut output, mut lines) = capture();
        let words = [&["events", "--json", "--url", &stub.url], words].concat();
        let Command::Events(args) = command(&words) else { unreachable!() };
        events::list(&client(&stub.url), &args, &mut output).await.unwrap();
        let seq =
            |line: &String| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
        assert_eq!(lines.all().iter().map(seq).collect::<Vec<_>>(), expected, "{words:?}");
    }
    let (mut output, mut lines) = capture();
    let words = ["events", "--limit", "1", "--include-dropped", "--url", &stub.url];
    let Command::Events(args) = command(&words) else { unreachable!() };
    events::list(&client(&stub.url), &args, &mut output).await.unwrap();
    let lines = lines.all();
    assert!(lines[0].starts_with(" SEQ  TIME"), "{lines:?}");
    assert!(lines[1].ends_with("[dropped by noise-filter: says noise] noise"), "{lines:?}");
}

#[tokio::test]
async fn an_unknown_event_is_an_error_in_the_hosts_words() {
    let stub = Stub::start().await;
    let id = "0198f2c0-7a52-7000-8000-3c6a0f6f1e11";
    let Command::Events(args) = command(&["events", id, "--url", &stub.url]) else {
        unreachable!()
    };
    let error = events::run(args).await.unwrap_err();
    assert_eq!(format!("{error:#}"), format!("event {id}: no such event"));
    let error = client(&format!("{}/elsewhere", stub.url)).publish(&["{}"]).await.unwrap_err();
    assert!(error.to_string().contains("no answer of an Ennio host"), "{error}");
}

#[tokio::test]
async fn a_tail_goes_on_where_a_broken_stream_stopped() {
    let stub = Stub::start().await;
    emit(&stub, ndjson(4), 1000, None).await;
    stub.log.hang_up_after.store(2, Ordering::SeqCst);
    let (mut output, mut lines) = capture();
    let words = ["tail", "ennio.ci.>", "--after", "1", "--type", "ci_failing", "--url", &stub.url];
    let Command::Tail(args) = command(&words) else { unreachable!() };
    let client = client(&stub.url);
    let lines = tokio::select! {
        ended = tail::follow(&client, &args, &mut output) => panic!("{ended:?}"),
        lines = async {
            lines.first(3).await;
            stub.log.away.store(1, Ordering::SeqCst);
            emit::stream(Cursor::new(ndjson(2)), 1000, Sender::new(&client, None, ProgressBar::hidden()), |_| Ok(())).await.1.unwrap();
            lines.first(5).await
        } => lines,
    };
    let messages: Vec<_> = lines.iter().map(|line| line.rsplit_once("s-1 ").unwrap().1).collect();
    assert_eq!(messages, ["event 2", "event 3", "event 4", "event 1", "event 2"]);
    assert!(lines[0].contains(" info     ennio.ci.atlas.failing s-1 "), "{lines:?}");
    let streams = stub.log.streams.lock().unwrap();
    assert_eq!(streams[0], "type=ci_failing&subject=ennio.ci.%3E&after_seq=1");
    assert!(streams[1].ends_with("&after_seq=3"), "{streams:?}");
}

#[tokio::test]
async fn a_tail_begins_now_unless_told_otherwise() {
    let stub = Stub::start().await;
    emit(&stub, ndjson(4), 1000, None).await;
    let (mut output, mut lines) = capture();
    let Command::Tail(args) = command(&["tail", "--json", "--url", &stub.url]) else {
        unreachable!()
    };
    let client = client(&stub.url);
    let line = tokio::select! {
        ended = tail::follow(&client, &args, &mut output) => panic!("{ended:?}"),
        lines = async {
            // The stream is open once it was asked for.
            while stub.log.streams.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            stub.log.add(&event(5).to_string());
            lines.first(1).await
        } => lines,
    };
    assert!(line[0].contains("\"seq\":5"), "{line:?}");
}

#[tokio::test]
async fn a_reader_that_left_ends_a_command_in_silence() {
    struct Left;
    impl Write for Left {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let stub = Stub::start().await;
    emit(&stub, ndjson(1), 1000, None).await;
    let Command::Tail(args) = command(&["tail", "--after", "0", "--url", &stub.url]) else {
        unreachable!()
    };
    let error = tail::follow(&client(&stub.url), &args, &mut Output::to(Left)).await.unwrap_err();
    assert!(error.is::<Closed>(), "{error:#}");
}

#[tokio::test]
async fn a_summary_waits_for_reactions_and_counts_the_whole_history() {
    let stub = Stub::start().await;
    emit(&stub, ndjson(1001), 1000, None).await;
    assert!(!summary::settle(&client(&stub.url), Duration::ZERO).await.unwrap());
    // The stub's reaction comes nearer with every look; not so near as that in no time.
    *stub.log.streams.lock().unwrap() = vec![String::new(); 1001];
    assert!(summary::settle(&client(&stub.url), Duration::ZERO).await.unwrap());
    stub.log.add(&json!({"event_type": "pr_created", "session_id": "s", "project_id": "zeta", "message": "noise"}).to_string());
    let (output, _) = capture();
    let page =
        summary::summary(&client(&stub.url), &output, Colour::Auto).await.unwrap().join("\n");
    for part in [
        "1,002 events at http://",
        "1,001  accepted",
        "1  dropped",
        "2  dead letters",
        "says noise",
        "1,001  atlas",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
}
