use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::event::{
    Cause, Data, Draft, Dropped, EventId, EventPriority, EventType, LogEntry, Selection,
    SubjectPattern, Timestamp,
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
    NewEntry { event, subject, digest, caused_by: None, hops: 0, dropped: None, changes: vec![] }
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
    new.changes = vec![Change {
        plugin: "triage".parse().unwrap(),
        version: "abc".into(),
        patch: r#"{"priority":"urgent"}"#.into(),
    }];
    let id = new.event.id;
    let changes = new.changes.clone();
    let store = Store::open(&path, Deaf).unwrap();
    let committed = commit(&store, vec![new]).await.unwrap();
    store.close().await;
    drop(store);

    let store = Store::open(&path, Deaf).unwrap();
    assert_eq!(store.head_at_open(), 1);
    let read = store.reader().by_id(id).await.unwrap().unwrap();
    assert_eq!(read.json(), committed[0].json());
    assert_eq!(store.reader().changes(1).await.unwrap(), changes);
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

/// Waits until the index has seen the whole log.
pub(super) async fn indexed(store: &Store) {
    let shared = Arc::clone(store.index.lock().unwrap().as_ref().unwrap().shared());
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while !shared.is_complete() {
        assert!(std::time::Instant::now() < end, "the index does not catch up");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A log of 100 events, every fifth of them about session `s-0`, with an index of small segments.
async fn indexed_log(path: &Path) -> Vec<Seq> {
    let store = Store::open_with(path, Deaf, 16).unwrap();
    let entries = (0..100).map(|n| entry(EventType::PrCreated, "p", &format!("s-{}", n % 5)));
    let log = commit(&store, entries.collect()).await.unwrap();
    indexed(&store).await;
    store.close().await;
    log.iter().filter(|e| e.event.session_id.as_str() == "s-0").map(|e| e.seq).collect()
}

async fn of_session_0(path: &Path) -> Vec<Seq> {
    let store = Store::open_with(path, Deaf, 16).unwrap();
    indexed(&store).await;
    let selection = Selection { session: Some("s-0".parse().unwrap()), ..Selection::default() };
    let query = Query { selection, ..Query::default() };
    let page = store.reader().page(query, 500).await.unwrap();
    store.close().await;
    page.entries.iter().map(|entry| entry.seq).collect()
}

#[tokio::test]
async fn an_index_that_is_damaged_missing_or_of_another_log_is_made_again() {
    let folder = folder();
    let path = folder.path().join("ennio.db");
    let other = folder.path().join("other.db");
    let expected = indexed_log(&path).await;
    assert_eq!(of_session_0(&path).await, expected);
    indexed_log(&other).await;
    let file = index::path_of(&path);
    let whole = std::fs::read(&file).unwrap();

    std::fs::copy(index::path_of(&other), &file).unwrap();
    assert_eq!(of_session_0(&path).await, expected, "of another log");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(of_session_0(&path).await, expected, "missing");
    for length in [0, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        assert_eq!(of_session_0(&path).await, expected, "cut to {length} bytes");
    }
    std::fs::write(&file, "no database, but long enough to be looked at".repeat(99)).unwrap();
    assert_eq!(of_session_0(&path).await, expected, "something else");
}

/// The segments that are in the index file.
fn segments(path: &Path) -> Vec<i64> {
    let db = rusqlite::Connection::open(index::path_of(path)).unwrap();
    let mut find = db.prepare("SELECT number FROM segments ORDER BY number").unwrap();
    find.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn the_index_drops_empty_segments_and_is_believed_without_their_events() {
    let folder = folder();
    let path = folder.path().join("ennio.db");
    indexed_log(&path).await;
    assert_eq!(segments(&path), [0, 1, 2, 3, 4, 5]);
    let file = index::path_of(&path);
    let made = |path: &Path| {
        let db = rusqlite::Connection::open(path).unwrap();
        let sql = "SELECT last_id FROM segments WHERE number = 2";
        db.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap()
    };
    // An id that a new index would not have.
    let db = rusqlite::Connection::open(&file).unwrap();
    db.execute("UPDATE segments SET last_id = 'as it was' WHERE number = 2", []).unwrap();
    drop(db);

    let store = Store::open_with(&path, Deaf, 16).unwrap();
    // The first two segments, one in the middle, and the last event of the last finished one.
    let places = (1..=32).chain(49..=64).chain([96]).collect();
    store.prune(places).await.unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while segments(&path) != [2, 4, 5] {
        assert!(std::time::Instant::now() < end, "{:?}", segments(&path));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.close().await;
    drop(store);
    let is_left = |n: &Seq| *n > 32 && !(49..=64).contains(n) && *n != 96;
    let expected: Vec<Seq> = (1..=100).filter(|n| n % 5 == 1).filter(is_left).collect();
    assert_eq!(of_session_0(&path).await, expected);
    assert_eq!(made(&file), "as it was", "it was not made anew");
}

#[derive(Debug, Clone)]
pub(super) struct Sketch {
    event_type: usize,
    project: usize,
    session: usize,
    priority: usize,
    at: i64,
    dropped: bool,
}

impl Sketch {
    pub(super) fn entry(&self) -> NewEntry {
        let mut new = entry(
            EventType::BUILT_IN[self.event_type].clone(),
            &format!("p{}", self.project),
            &format!("s{}", self.session),
        );
        new.event.priority = EventPriority::ALL[self.priority];
        new.event.timestamp = Timestamp::from_micros(self.at).unwrap();
        new.dropped =
            self.dropped.then(|| Dropped { by: "f".parse().unwrap(), reason: "r".into() });
        new
    }
}

pub(super) fn sketch() -> impl Strategy<Value = Sketch> {
    (0..30usize, 0..3usize, 0..4usize, 0..4usize, 0..100i64, prop::bool::weighted(0.2)).prop_map(
        |(event_type, project, session, priority, at, dropped)| Sketch {
            event_type,
            project,
            session,
            priority,
            at,
            dropped,
        },
    )
}

prop_compose! {
    pub(super) fn query()(
        types in prop::collection::vec(0..30usize, 0..3),
        patterns in prop::collection::vec(prop_oneof![
            Just("ennio.>"), Just("ennio.ci.*.failing"), Just("ennio.*.p1.>"), Just("ennio.lifecycle.*"),
            Just("ennio.node.p2.connected"), Just("*.pr.>"), Just("ennio.ci"),
        ], 0..3),
        project in prop::option::of(0..3usize),
        session in prop::option::of(0..4usize),
        priority in 0..4usize,
        since in prop::option::of(0..100i64),
        until in prop::option::of(0..100i64),
        include_dropped in any::<bool>(),
        after_seq in prop::option::of(0..80u64),
        before_seq in prop::option::of(0..80u64),
        descending in any::<bool>(),
    ) -> Query {
        Query {
            selection: Selection {
                types: types.into_iter().map(|t| EventType::BUILT_IN[t].clone()).collect(),
                patterns: patterns.into_iter().map(|p| p.parse::<SubjectPattern>().unwrap()).collect(),
                project: project.map(|p| format!("p{p}").parse().unwrap()),
                session: session.map(|s| format!("s{s}").parse().unwrap()),
                min_priority: EventPriority::ALL[priority],
                since: since.map(|s| Timestamp::from_micros(s).unwrap()),
                until: until.map(|s| Timestamp::from_micros(s).unwrap()),
                include_dropped,
            },
            after_seq,
            before_seq,
            order: if descending { Order::Descending } else { Order::Ascending },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The model is a vector and `Selection::matches`, which the bus uses: so this also proves
    /// that a question to the log and a subscription choose the same events.
    #[test]
    fn every_query_answers_what_a_plain_vector_would(
        sketches in prop::collection::vec(sketch(), 1..60),
        queries in prop::collection::vec((query(), 1..20usize), 1..12),
        segment in prop_oneof![Just(4u32), Just(16), Just(index::SEGMENT)],
        cut in 0..60usize,
        is_indexed in any::<bool>(),
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let folder = folder();
            let path = folder.path().join("ennio.db");
            let store = Store::open_with(&path, Deaf, segment).unwrap();
            // Part of it is indexed when the host starts again, part of it may not be yet.
            let mut entries: Vec<NewEntry> = sketches.iter().map(Sketch::entry).collect();
            let later = entries.split_off(cut.min(entries.len()));
            let mut log = commit(&store, entries).await.unwrap();
            store.close().await;
            drop(store);
            let store = Store::open_with(&path, Deaf, segment).unwrap();
            log.extend(commit(&store, later).await.unwrap());
            if is_indexed {
                indexed(&store).await;
            }
            for (mut query, limit) in queries {
                let mut expected: Vec<_> = log
                    .iter()
                    .filter(|e| query.selection.matches(e))
                    .filter(|e| query.after_seq.is_none_or(|after| e.seq > after))
                    .filter(|e| query.before_seq.is_none_or(|before| e.seq < before))
                    .map(|e| e.seq)
                    .collect();
                if query.order == Order::Descending {
                    expected.reverse();
                }
                let mut found = Vec::new();
                loop {
                    let page = store.reader().page(query.clone(), limit).await.unwrap();
                    assert!(page.entries.len() <= limit);
                    found.extend(page.entries.iter().map(|e| e.seq));
                    match query.order {
                        _ if page.next.is_none() => break,
                        Order::Ascending => query.after_seq = page.next,
                        Order::Descending => query.before_seq = page.next,
                    }
                }
                assert_eq!(found, expected);
            }
        });
    }
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
                dropped_by, drop_reason, committed_us, digest FROM events WHERE seq = 1";
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
