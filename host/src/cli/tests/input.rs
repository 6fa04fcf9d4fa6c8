//! Events out of text.

use std::io::Cursor;

use tokio::sync::mpsc;

use super::super::{
    batches::{Batch, Batches, Limits, read_all},
    input::{Events, Item, MAX_EVENT_BYTES},
};
use crate::event::EventId;

const ID: &str = "0198f2c0-7a52-7000-8000-3c6a0f6f1e11";

/// Line number and event (its id left out) or reason.
fn read(text: impl AsRef<[u8]>) -> Vec<(u64, Result<String, String>)> {
    let mut events = Events::new(Cursor::new(text.as_ref().to_vec()));
    let mut all = Vec::new();
    while let Some(Item { line, event, .. }) = events.next().unwrap() {
        let event = event.map(|json| {
            let id: String = serde_json::from_str::<serde_json::Value>(&json).unwrap()["id"]
                .as_str()
                .unwrap()
                .into();
            id.parse::<EventId>().unwrap();
            assert!(!json.contains('\n'));
            json.replace(&format!("\"id\":\"{id}\""), "ID").replace("ID,", "").replace("ID", "")
        });
        all.push((line, event));
    }
    all
}

fn good(line: u64, json: &str) -> (u64, Result<String, String>) {
    (line, Ok(json.into()))
}

#[test]
fn one_event_a_line_and_a_bad_line_spoils_no_other() {
    let read = read("\n{\"a\":1}\n{\"b\":\n\r\n[1]\n7\n{\"c\":1}}\n{\"d\":1}");
    assert_eq!(read[0], good(2, "{\"a\":1}"));
    assert_eq!(read[5], good(8, "{\"d\":1}"));
    let reasons: Vec<_> = read[1..5].iter().map(|(at, e)| (*at, e.clone().unwrap_err())).collect();
    assert_eq!(
        reasons,
        [
            (3, "not valid JSON: EOF while parsing a value at column 0".into()),
            (5, "not a JSON object".into()),
            (6, "not a JSON object".into()),
            (7, "not valid JSON: trailing characters at column 8".into()),
        ]
    );
}

#[test]
fn a_first_line_that_is_torn_spoils_no_other_either() {
    let read = read("{\"a\":\n{\"b\":1}\n{\"c\":1}\n");
    assert!(read[0].1.is_err());
    assert_eq!(read[1..], [good(2, "{\"b\":1}"), good(3, "{\"c\":1}")]);
}

#[test]
fn an_array_is_read_object_by_object() {
    let read =
        read("\u{feff} [\n {\"a\": \"]},{\\\"\"},\n{\"b\":[{}]} ,nonsense, {\n\"c\":\n1}\n]\n");
    assert_eq!(read[0], good(2, "{\"a\":\"]},{\\\"\"}"));
    assert_eq!(read[1], good(3, "{\"b\":[{}]}"));
    assert_eq!(read[2], (3, Err("not valid JSON: expected ident at column 2".into())));
    assert_eq!(read[3], good(3, "{\"c\":1}"));
    assert_eq!(read.len(), 4);
}

#[test]
fn objects_over_several_lines_are_read_one_after_the_other() {
    let read = read("{\n  \"a\": {\n \"x\": 1 }\n}\n{ \"b\": 1 }{\"c\":1}\n{ \"torn\": ");
    assert_eq!(read[0], good(1, "{\"a\":{  \"x\": 1 }}"));
    assert_eq!(read[1..3], [good(5, "{\"b\":1}"), good(5, "{\"c\":1}")]);
    assert_eq!(read[3].0, 6);
    assert!(read[3].1.is_err());
}

#[test]
fn an_id_is_minted_only_where_there_is_none() {
    let mut events =
        Events::new(Cursor::new(format!("{{\"n\":1.10,\"id\":\"{ID}\"}}\n{{\"id\":null}}\n{{}}")));
    let first = events.next().unwrap().unwrap().event.unwrap();
    assert_eq!(first, format!("{{\"n\":1.10,\"id\":\"{ID}\"}}"));
    for _ in 0..2 {
        let next = events.next().unwrap().unwrap().event.unwrap();
        assert_eq!(next.matches("id").count(), 1, "{next}");
        assert_eq!(next.len(), "{\"id\":\"\"}".len() + 36, "{next}");
    }
}

#[test]
fn what_is_too_long_is_passed_over() {
    let long = "x".repeat(MAX_EVENT_BYTES);
    for text in [
        format!("{{\"a\":\"{long}\"}}\n{{\"b\":1}}\n"),
        format!("{{\"b\":1}}\n{{\"a\":\"{long}\"}}\n{{\"b\":1}}\n"),
        format!("[{{\"a\":\"{long}\"}},\n{{\"b\":1}}]"),
    ] {
        let read = read(text);
        let bad: Vec<_> = read.iter().filter_map(|(_, event)| event.as_ref().err()).collect();
        assert_eq!(bad, [&format!("longer than {MAX_EVENT_BYTES} bytes")]);
        assert!(read.ends_with(&[good(read.last().unwrap().0, "{\"b\":1}")]));
    }
}

#[test]
fn the_end_of_each_event_is_known_for_the_progress_bar() {
    let text = "\u{feff}{\"a\":1}\n\n{\"b\":1}\n";
    let mut events = Events::new(Cursor::new(text.to_owned()));
    let mut last = 0;
    while let Some(item) = events.next().unwrap() {
        assert!(item.end > last);
        last = item.end;
    }
    assert_eq!(last, text.len() as u64);
}

#[test]
fn nothing_and_garbage_are_read_to_their_end() {
    assert_eq!(read(""), []);
    assert_eq!(read(" \n\n "), []);
    assert_eq!(read(b"\xff\xfe\n{}").len(), 2);
    for text in ["]", "[", "[[[", "{\"", "\"", ",", "[,", "}{", "[}]"] {
        read(text);
    }
}

fn item(bytes: usize) -> Item {
    Item { line: 1, end: 0, event: Ok("x".repeat(bytes)) }
}

#[test]
fn a_batch_is_bounded_in_events_and_bytes_and_takes_any_event_alone() {
    let limits = Limits { events: 3, bytes: 100 };
    let mut batch = Batch::default();
    assert!(batch.push(item(500), limits).is_ok());
    assert!(batch.push(item(1), limits).is_err());
    let mut batch = Batch::default();
    assert!(batch.push(item(49), limits).is_ok());
    assert!(batch.push(item(49), limits).is_ok());
    assert!(batch.push(item(1), limits).is_err());
    let mut batch = Batch::default();
    for _ in 0..3 {
        assert!(batch.push(item(1), limits).is_ok());
    }
    assert!(batch.push(item(1), limits).is_err());
}

#[tokio::test]
async fn batches_hold_all_events_in_their_order() {
    let text: String = (0..2500).map(|n| format!("{{\"id\":\"{n}\"}}\n")).collect();
    let (to, from) = mpsc::channel(2);
    let reader = std::thread::spawn(move || read_all(Cursor::new(text), 1000, &to));
    let mut batches = Batches::new(from, Limits { events: 1000, bytes: 1 << 20 });
    let mut lines = Vec::new();
    while let Some(batch) = batches.next().await {
        assert!((1..=1000).contains(&batch.items.len()));
        lines.extend(batch.items.into_iter().map(|item| item.line));
    }
    assert_eq!(lines, (1..=2500).collect::<Vec<u64>>());
    reader.join().unwrap().unwrap();
}

#[tokio::test]
async fn an_event_does_not_wait_for_the_next_one() {
    let (mut pipe, from) = {
        let (from, to) = std::io::pipe().unwrap();
        (to, from)
    };
    let (to, chunks) = mpsc::channel(2);
    std::thread::spawn(move || read_all(from, 1000, &to));
    let mut batches = Batches::new(chunks, Limits { events: 1000, bytes: 1 << 20 });
    use std::io::Write as _;
    for line in 1..=3 {
        writeln!(pipe, "{{}}").unwrap();
        let batch = batches.next().await.unwrap();
        assert_eq!(batch.items.iter().map(|item| item.line).collect::<Vec<_>>(), [line]);
    }
    drop(pipe);
    assert!(batches.next().await.is_none());
}
