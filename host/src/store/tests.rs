pub(super) mod queries;

use std::{sync::Arc, time::Duration};

use super::*;
use crate::event::{
    Cause, Data, Draft, Dropped, EventId, EventType, LogEntry, Selection, Timestamp,
};

pub(super) struct Deaf;

impl Observer for Deaf {
    fn committed(&mut self, _: &[Arc<LogEntry>], _: Duration) {}
}

pub(crate) fn entry(event_type: EventType, project: &str, session: &str) -> NewEntry {
    let draft = Draft::new(event_type, project.parse().unwrap(), session.parse().unwrap());
    let digest = draft.digest();
    let event = draft.into_event(Timestamp::now());
    let subject = event.subject();
    let passage = Passage::default();
    NewEntry { event, subject, digest, caused_by: None, hops: 0, dropped: None, passage }
}

pub(super) async fn commit(
    store: &Store,
    entries: Vec<NewEntry>,
) -> Result<Vec<Arc<LogEntry>>, StoreError> {
    let (answer, outcome) = oneshot::channel();
    let done: OnCommit = Box::new(move |result| drop(answer.send(result)));
    store.submit(Batch { entries, effects: vec![], state: vec![], done }).await;
    outcome.await.unwrap()
}

pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn what_is_committed_is_read_back_whole_after_a_restart() {
    let folder = folder();
    let path = folder.path().join("ennio.db");
    let mut new = entry(EventType::CiFailing, "atlas", "s-1");
    new.event.data = r#"{"n":9007199254740993,"text":"it's \"quoted\""}"#.parse::<Data>().unwrap();
    new.event.message = "naïve ☂ message".parse().unwrap();
    new.event.timestamp = "1969-12-31T23:59:59.999999Z".parse().unwrap();
    new.caused_by =
        Some(Cause { event_id: EventId::mint(), plugin: "merge-ready".parse().unwrap() });
    new.hops = 3;
    new.dropped = Some(Dropped { by: "noise".parse().unwrap(), reason: "because".into() });
    let id = new.event.id;
    let store = Store::open(&path, Deaf).unwrap();
    let committed = commit(&store, vec![new]).await.unwrap();
    store.close().await;
    drop(store);

    let store = Store::open(&path, Deaf).unwrap();
    assert_eq!(store.head_at_open(), 1);
    let read = store.reader().by_id(id).await.unwrap().unwrap();
    assert_eq!(read.json(), committed[0].json());
    let readable: String = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("SELECT timestamp FROM events_rfc3339 WHERE project_id = 'atlas'", [], |r| {
            r.get(0)
        })
        .unwrap();
    assert_eq!(readable, "1969-12-31T23:59:59.999999Z");
}

#[tokio::test]
async fn seq_has_no_gap_even_after_a_refused_batch() {
    let folder = folder();
    let store = Store::open(&folder.path().join("ennio.db"), Deaf).unwrap();
    for expected in 1..50 {
        let entries = commit(&store, vec![entry(EventType::PrCreated, "p", "s")]).await.unwrap();
        assert_eq!(entries[0].seq, expected);
        let mut again = entry(EventType::PrCreated, "p", "s");
        again.event.id = entries[0].event.id;
        let refused = commit(&store, vec![entry(EventType::PrClosed, "p", "s"), again]).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
    assert!(commit(&store, vec![]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cursor_moves_with_its_batch_and_never_back() {
    let folder = folder();
    let store = Store::open(&folder.path().join("ennio.db"), Deaf).unwrap();
    let to = |seq| vec![Effect::MoveCursor { name: "nats".into(), seq }];
    assert_eq!(store.reader().cursor("nats").await.unwrap(), None);
    store.apply(to(7)).await.unwrap();
    store.apply(to(3)).await.unwrap();
    assert_eq!(store.reader().cursor("nats").await.unwrap(), Some(7));
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let folder = folder();
    let store = Store::open(&folder.path().join("ennio.db"), Deaf).unwrap();
    store.close().await;
    let outcome = commit(&store, vec![entry(EventType::PrCreated, "p", "s")]).await;
    assert_eq!(outcome.unwrap_err(), StoreError::Closed);
}

#[tokio::test]
async fn a_file_that_is_no_log_of_ours_is_refused_and_left_alone() {
    let folder = folder();
    let open = |name: &str| match Store::open(&folder.path().join(name), Deaf) {
        Ok(_) => panic!("{name} was opened"),
        Err(e) => e.to_string(),
    };
    std::fs::write(
        folder.path().join("text"),
        "not a database, but long enough to be looked at".repeat(50),
    )
    .unwrap();
    assert!(open("text").contains("text: not a SQLite database"), "{}", open("text"));

    let foreign = rusqlite::Connection::open(folder.path().join("foreign")).unwrap();
    foreign.execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
    assert!(open("foreign").contains("not an Ennio log"));
    let tables: i64 =
        foreign.query_row("SELECT count(*) FROM sqlite_master", [], |r| r.get(0)).unwrap();
    assert_eq!(tables, 1);

    let ours = folder.path().join("ours");
    let store = Store::open(&ours, Deaf).unwrap();
    assert!(open("ours").contains("in use by another Ennio host"));
    store.close().await;
    drop(store);
    rusqlite::Connection::open(&ours).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(
        open("ours").contains("written by a newer Ennio (schema version 99"),
        "{}",
        open("ours")
    );

    assert!(open("no/such/folder/db").contains("no/such/folder/db"));
}

#[tokio::test]
async fn an_insert_makes_no_table_of_its_own_and_still_checks_the_priority() {
    let folder = folder();
    let path = folder.path().join("ennio.db");
    let store = Store::open(&path, Deaf).unwrap();
    commit(&store, vec![entry(EventType::CiFailing, "atlas", "s-1")]).await.unwrap();
    store.close().await;
    drop(store);
    let db = rusqlite::Connection::open(&path).unwrap();
    let copy = "INSERT INTO events SELECT 2, 'other', event_type, ?1, session_id, project_id, \
                subject, timestamp_us, message, data, caused_by_event, caused_by_plugin, hops, \
                dropped_by, drop_reason, committed_us, digest, steps FROM events WHERE seq = 1";
    let refused = db.execute(copy, ["loud"]).unwrap_err().to_string();
    assert!(refused.contains("CHECK constraint failed"), "{refused}");
    let sql = "EXPLAIN INSERT INTO events (seq, id, event_type, priority, session_id, project_id, \
               subject, timestamp_us, message, data, hops, committed_us, digest) \
               VALUES (2, 'other', 'x', ?1, 's', 'p', 'x', 0, '', '', 0, 0, x'00')";
    let mut explain = db.prepare(sql).unwrap();
    let steps = explain.query_map(["info"], |row| row.get::<_, String>(1)).unwrap();
    let steps: Vec<String> = steps.map(Result::unwrap).collect();
    assert!(steps.iter().any(|step| step == "Insert"), "{steps:?}");
    assert!(!steps.iter().any(|step| step == "OpenEphemeral"), "{steps:?}");
    let health: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(health, "ok");
}

#[tokio::test]
async fn history_read_in_pages_is_the_log_with_what_became_of_each_event() {
    let folder = folder();
    let path = folder.path().join("ennio.db");
    let store = Store::open(&path, Deaf).unwrap();
    let plugin: crate::event::PluginName = "triage".parse().unwrap();
    let change = |n: usize| {
        let patch = format!(r#"{{"data":{{"n":{n}}}}}"#);
        Changed { plugin: plugin.clone(), patch }
    };
    let step = |n: usize| {
        let Changed { plugin, patch } = change(n);
        let did = Did::Changed(Change { patch, was_priority: None, was_subject: None });
        Step { plugin, role: Role::Enricher, version: "abc".into(), took: Duration::ZERO, did }
    };
    let entries: Vec<NewEntry> = (0..2500_usize)
        .map(|n| {
            let project = if n % 3 == 0 { "atlas" } else { "docs" };
            let mut new = entry(EventType::CiFailing, project, "s");
            new.passage.steps = (0..n % 3).map(step).collect();
            if n % 7 == 0 {
                let by = plugin.clone();
                new.dropped = Some(Dropped { by, reason: "noise".into() });
            }
            if n % 11 == 0 {
                let event_id = EventId::mint();
                new.caused_by = Some(Cause { event_id, plugin: plugin.clone() });
            }
            new
        })
        .collect();
    let digests: Vec<_> = entries.iter().map(|entry| entry.digest).collect();
    let committed = commit(&store, entries).await.unwrap();
    store.apply(vec![Effect::MoveCursor { name: "sink".into(), seq: 17 }]).await.unwrap();

    // Beside the host that writes.
    let history = History::open(&path).unwrap();
    assert_eq!(history.head().unwrap(), 2500);
    assert_eq!(history.cursor("sink").unwrap(), Some(17));
    let all = |selection: &Selection, mut after: Seq, to: Seq| {
        let mut found = Vec::new();
        while after < to {
            let (page, end) = history.page(selection, after, to).unwrap();
            assert!(end > after && end <= to, "{after} {end}");
            found.extend(page);
            after = end;
        }
        found
    };
    let everything = Selection { include_dropped: true, ..Selection::default() };
    let found = all(&everything, 0, 2500);
    assert_eq!(found.len(), 2500);
    for (n, past) in found.iter().enumerate() {
        assert_eq!(past.entry.json(), committed[n].json());
        assert_eq!(past.digest, digests[n]);
        assert_eq!(past.changes, (0..n % 3).map(change).collect::<Vec<_>>());
    }
    let atlas = Selection { patterns: vec!["ennio.ci.atlas.>".parse().unwrap()], ..everything };
    let places: Vec<Seq> = all(&atlas, 10, 2000).iter().map(|past| past.entry.seq).collect();
    assert_eq!(places, (10..2000).filter(|n| n % 3 == 0).map(|n| n + 1).collect::<Vec<_>>());

    let (answers, end) = history.answers(&plugin, 0, 2500).unwrap();
    assert_eq!((answers.len(), end), (2500_usize.div_ceil(11), 2500));
    assert_eq!(answers[1].seq, 12);
    assert_eq!(Some(answers[1].to), committed[11].caused_by.as_ref().map(|cause| cause.event_id));
    assert!(matches!(
        History::open(&folder.path().join("none.db")),
        Err(OpenError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound
    ));
}
