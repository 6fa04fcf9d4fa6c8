use std::sync::Arc;

use tokio::sync::oneshot;

use super::*;
use crate::{
    event::EventType,
    store::{Batch, Effect, Observer, OnCommit, Store, tests::entry},
};

struct Deaf;

impl Observer for Deaf {
    fn committed(&mut self, _: &[Arc<LogEntry>], _: std::time::Duration) {}
}

fn plugin() -> PluginName {
    "notify".parse().unwrap()
}

fn failed(number: u32) -> Attempt {
    // Microseconds are what is kept.
    let at = Timestamp::from_micros(1_000_000 * i64::from(number)).unwrap();
    Attempt { number, at, error: format!("error {number}") }
}

fn wait(event_seq: Seq, attempts: u32) -> Effect {
    let next = Timestamp::from_micros(77).unwrap();
    let failed = (attempts > 0).then(|| failed(attempts));
    Effect::Wait(Waiting { plugin: plugin(), event_seq, attempts, next, failed })
}

/// A log of three events, two of them failing CI.
async fn log(folder: &tempfile::TempDir) -> (Store, Vec<Arc<LogEntry>>) {
    let store = Store::open(&folder.path().join("ennio.db"), Deaf).unwrap();
    let entries = vec![
        entry(EventType::CiFailing, "atlas", "s-1"),
        entry(EventType::PrCreated, "atlas", "s-2"),
        entry(EventType::CiFailing, "borealis", "s-3"),
    ];
    let (answer, outcome) = oneshot::channel();
    let done: OnCommit = Box::new(move |result| drop(answer.send(result)));
    store.submit(Batch { entries, effects: vec![], state: vec![], done }).await;
    let entries = outcome.await.unwrap().unwrap();
    (store, entries)
}

fn bury(entry: &LogEntry, attempts: u32) -> Effect {
    let (event_seq, event_id) = (entry.seq, entry.event.id);
    Effect::DeadLetter(DeadLetter {
        plugin: plugin(),
        event_seq,
        event_id,
        failed: failed(attempts),
    })
}

#[tokio::test]
async fn an_event_waits_with_its_attempts_until_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = log(&folder).await;
    store.apply(vec![wait(1, 1), wait(3, 0)]).await.unwrap();
    store.apply(vec![wait(1, 2)]).await.unwrap();
    let waiting = store.reader().waiting(plugin()).await.unwrap();
    let found: Vec<_> = waiting.iter().map(|event| (event.seq, event.attempts)).collect();
    assert_eq!(found, [(1, 2), (3, 0)]);
    assert_eq!((waiting[0].next.micros(), waiting[0].session_id.as_str()), (77, "s-1"));
    assert_eq!(store.reader().backlogs().await.unwrap()["notify"].waiting, 2);

    let settle = |event_seq| Effect::Settle { plugin: plugin(), event_seq };
    store.apply(vec![settle(1), settle(3)]).await.unwrap();
    assert_eq!(store.reader().waiting(plugin()).await.unwrap(), []);
    assert!(store.reader().backlogs().await.unwrap().is_empty());
    let left: i64 = rusqlite::Connection::open(store.path())
        .unwrap()
        .query_row("SELECT count(*) FROM reaction_attempts", [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0, "attempts go with their event");
}

#[tokio::test]
async fn a_dead_letter_has_every_attempt_also_of_before_it_was_retried() {
    let folder = tempfile::tempdir().unwrap();
    let (store, entries) = log(&folder).await;
    store.apply(vec![wait(1, 1), wait(1, 2)]).await.unwrap();
    store.apply(vec![bury(&entries[0], 3)]).await.unwrap();
    assert_eq!(store.reader().waiting(plugin()).await.unwrap(), [], "it is one or the other");
    let letters = store.reader().letters(LetterQuery::default(), 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].attempts, &*letters[0].reason), (1, 3, "error 3"));
    let whole = store.reader().letter(letters[0].id).await.unwrap().unwrap();
    assert_eq!(whole.attempts, [1, 2, 3].map(failed));
    assert_eq!(whole.event.json(), entries[0].json());

    store.apply(vec![Effect::RetryDeadLetter(letters[0].id)]).await.unwrap();
    let waiting = store.reader().waiting(plugin()).await.unwrap();
    assert_eq!((waiting[0].seq, waiting[0].attempts), (1, 0));
    assert!(store.reader().letter(letters[0].id).await.unwrap().is_none());
    store.apply(vec![bury(&entries[0], 1)]).await.unwrap();
    let again = store.reader().letters(LetterQuery::default(), 10).await.unwrap();
    assert!(again[0].id > letters[0].id, "a number is given once");
    let whole = store.reader().letter(again[0].id).await.unwrap().unwrap();
    let numbers: Vec<_> = whole.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3, 1]);

    store.apply(vec![Effect::DiscardDeadLetter(again[0].id)]).await.unwrap();
    assert!(store.reader().backlogs().await.unwrap().is_empty());
    // What is gone can be retried and discarded without harm.
    let gone = again[0].id;
    let effects = vec![Effect::RetryDeadLetter(gone), Effect::DiscardDeadLetter(gone)];
    store.apply(effects).await.unwrap();
    assert_eq!(store.reader().waiting(plugin()).await.unwrap(), []);
}

#[tokio::test]
async fn dead_letters_are_chosen_by_plugin_pattern_and_page() {
    let folder = tempfile::tempdir().unwrap();
    let (store, entries) = log(&folder).await;
    store.apply(entries.iter().map(|entry| bury(entry, 1)).collect()).await.unwrap();
    let ask = async |plugin: Option<&str>, patterns: &[&str], after: i64, limit: usize| {
        let query = LetterQuery {
            plugin: plugin.map(|name| name.parse().unwrap()),
            patterns: patterns.iter().map(|text| text.parse().unwrap()).collect(),
            after,
        };
        let letters = store.reader().letters(query, limit).await.unwrap();
        letters.iter().map(|letter| letter.event_seq).collect::<Vec<_>>()
    };
    assert_eq!(ask(None, &[], 0, 10).await, [1, 2, 3]);
    assert_eq!(ask(Some("notify"), &["ennio.ci.>"], 0, 10).await, [1, 3]);
    assert_eq!(ask(None, &["ennio.ci.atlas.*", "ennio.pr.>"], 0, 10).await, [1, 2]);
    assert_eq!(ask(Some("other"), &[], 0, 10).await, [0; 0]);
    assert_eq!(ask(None, &[], 1, 1).await, [2]);
}

#[tokio::test]
async fn the_place_of_a_time_is_between_two_commits() {
    let folder = tempfile::tempdir().unwrap();
    let (store, entries) = log(&folder).await;
    let at = entries[0].committed_at.micros();
    let place = async |micros| {
        let time = Timestamp::from_micros(micros).unwrap();
        store.reader().place_before(time).await.unwrap()
    };
    assert_eq!([place(0).await, place(at).await, place(at + 1).await], [0, 0, 3]);
}
