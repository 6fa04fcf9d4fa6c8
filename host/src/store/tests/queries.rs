//! Questions to the log, with the index, without it, and in between.

use std::time::Instant;

use proptest::prelude::*;

use super::{
    super::query::{self, Sources},
    *,
};
use crate::event::{EventPriority, Selection, SubjectPattern, TextSearch};

/// Waits until the index has seen the whole log.
pub(in crate::store) async fn indexed(store: &Store) {
    let shared = Arc::clone(store.index.lock().unwrap().as_ref().unwrap().shared());
    let end = Instant::now() + Duration::from_secs(30);
    while !shared.is_complete() {
        assert!(Instant::now() < end, "the index does not catch up");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The words come last.
    let file = index::open_reader(store.path()).unwrap();
    let log = rusqlite::Connection::open(store.path()).unwrap();
    let number = |db: &rusqlite::Connection, sql| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    let head = number(&log, "SELECT coalesce(max(seq), 0) FROM events").unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while number(&file, "SELECT coalesce(max(seq), 0) FROM words_end").unwrap() < head {
        assert!(Instant::now() < end, "the words do not catch up");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A log of 100 events, every fifth of them about session `s-0`, with an index of small segments.
async fn indexed_log(path: &Path) -> Vec<Seq> {
    let store = Store::open_with(path, Deaf, 16).unwrap();
    let entries = (0..100).map(|n| {
        let mut new = entry(EventType::PrCreated, "p", &format!("s-{}", n % 5));
        new.event.message = format!("its number is {}", n % 5).parse().unwrap();
        new
    });
    let log = commit(&store, entries.collect()).await.unwrap();
    indexed(&store).await;
    store.close().await;
    log.iter().filter(|e| e.event.session_id.as_str() == "s-0").map(|e| e.seq).collect()
}

/// What is about session `s-0`, by its name and by the words of the messages.
async fn of_session_0(store: &Store) -> Vec<Seq> {
    let session = Some("s-0".parse().unwrap());
    let named = listed_and_counted(store, Selection { session, ..Selection::default() }).await;
    let text = Some("NUMBER 0".parse().unwrap());
    let worded = listed_and_counted(store, Selection { text, ..Selection::default() }).await;
    assert_eq!(worded, named, "by words");
    named
}

async fn listed_and_counted(store: &Store, selection: Selection) -> Vec<Seq> {
    let query = Query { selection, ..Query::default() };
    let counts = store.reader().count(query.clone(), Some(Group::Project)).await.unwrap();
    let page = store.reader().page(query, 500).await.unwrap();
    let places: Vec<Seq> = page.entries.iter().map(|entry| entry.seq).collect();
    let total = places.len() as u64;
    assert_eq!(counts, Counts { total, groups: vec![("p".to_owned(), total)] });
    places
}

async fn of_session_0_after_a_start(path: &Path) -> Vec<Seq> {
    let store = Store::open_with(path, Deaf, 16).unwrap();
    indexed(&store).await;
    let places = of_session_0(&store).await;
    store.close().await;
    places
}

#[tokio::test]
async fn an_index_that_is_damaged_missing_or_of_another_log_is_made_again() {
    let folder = folder();
    let path = folder.path().join("ennio.db");
    let other = folder.path().join("other.db");
    let expected = indexed_log(&path).await;
    assert_eq!(of_session_0_after_a_start(&path).await, expected);
    indexed_log(&other).await;
    let file = index::path_of(&path);
    let whole = std::fs::read(&file).unwrap();

    std::fs::copy(index::path_of(&other), &file).unwrap();
    assert_eq!(of_session_0_after_a_start(&path).await, expected, "of another log");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(of_session_0_after_a_start(&path).await, expected, "missing");
    for length in [0, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        assert_eq!(of_session_0_after_a_start(&path).await, expected, "cut to {length} bytes");
    }
    std::fs::write(&file, "no database, but long enough to be looked at".repeat(99)).unwrap();
    assert_eq!(of_session_0_after_a_start(&path).await, expected, "something else");
}

#[tokio::test]
async fn an_index_that_is_damaged_while_the_host_runs_is_done_without() {
    for damage in [
        "UPDATE postings SET places = x'00'",
        "DROP TABLE postings",
        "DELETE FROM words_of_0_data WHERE id > 10",
        "DROP TABLE words_of_0",
        "DROP TABLE words_end",
        "DELETE FROM segments",
    ] {
        let folder = folder();
        let path = folder.path().join("ennio.db");
        let expected = indexed_log(&path).await;
        let store = Store::open_with(&path, Deaf, 16).unwrap();
        indexed(&store).await;
        rusqlite::Connection::open(index::path_of(&path)).unwrap().execute_batch(damage).unwrap();
        assert_eq!(of_session_0(&store).await, expected, "{damage}");
        store.close().await;
    }
    // Taken away before anybody has asked.
    let folder = folder();
    let path = folder.path().join("ennio.db");
    let expected = indexed_log(&path).await;
    let store = Store::open_with(&path, Deaf, 16).unwrap();
    std::fs::remove_file(index::path_of(&path)).unwrap();
    assert_eq!(of_session_0(&store).await, expected, "taken away");
    store.close().await;
}

/// The segments that are in the index file, and the tables of words.
fn kept(path: &Path) -> (Vec<i64>, Vec<String>) {
    let db = rusqlite::Connection::open(index::path_of(path)).unwrap();
    let mut find = db.prepare("SELECT number FROM segments ORDER BY number").unwrap();
    let segments = find.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let sql = "SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%' ORDER BY name";
    let mut find = db.prepare(sql).unwrap();
    (segments, find.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect())
}

#[tokio::test]
async fn the_index_drops_empty_segments_and_is_believed_without_their_events() {
    let folder = folder();
    let path = folder.path().join("ennio.db");
    let log: Vec<Seq> = {
        let store = Store::open_with(&path, Deaf, 4).unwrap();
        let entries = (0..100).map(|n| {
            let mut new = entry(EventType::PrCreated, "p", &format!("s-{}", n % 5));
            new.event.message = format!("its number is {}", n % 5).parse().unwrap();
            new
        });
        commit(&store, entries.collect()).await.unwrap();
        indexed(&store).await;
        store.close().await;
        (1..=100).filter(|n| n % 5 == 1).collect()
    };
    let (segments, words) = kept(&path);
    assert_eq!(segments, (0..25).collect::<Vec<i64>>());
    assert_eq!(words, ["words_of_0", "words_of_1"]);
    let file = index::path_of(&path);
    // An id that a new index would not have.
    let db = rusqlite::Connection::open(&file).unwrap();
    db.execute("UPDATE segments SET last_id = 'as it was' WHERE number = 20", []).unwrap();
    drop(db);

    // The first segments, with all words of a table; one in the middle; the end of the last one.
    let rounds: [Vec<Seq>; 2] =
        [(1..=63).collect(), (64..=68).chain(73..=76).chain([100]).collect()];
    let mut gone: Vec<Seq> = Vec::new();
    for (doomed, (first, without, tables)) in rounds
        .into_iter()
        .zip([(15, vec![], vec!["words_of_0", "words_of_1"]), (17, vec![18], vec!["words_of_1"])])
    {
        let store = Store::open_with(&path, Deaf, 4).unwrap();
        store.prune(doomed.clone()).await.unwrap();
        gone.extend(doomed);
        let segments: Vec<i64> = (first..25).filter(|n| !without.contains(n)).collect();
        let expected = (segments, tables.into_iter().map(str::to_owned).collect());
        let end = Instant::now() + Duration::from_secs(30);
        while kept(&path) != expected {
            assert!(Instant::now() < end, "{:?}", kept(&path));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let left: Vec<Seq> = log.iter().copied().filter(|seq| !gone.contains(seq)).collect();
        assert_eq!(of_session_0(&store).await, left);
        store.close().await;
        drop(store);
        let store = Store::open_with(&path, Deaf, 4).unwrap();
        indexed(&store).await;
        assert_eq!(of_session_0(&store).await, left, "after a start");
        store.close().await;
    }
    let db = rusqlite::Connection::open(&file).unwrap();
    let sql = "SELECT last_id FROM segments WHERE number = 20";
    let id: String = db.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(id, "as it was", "it was not made anew");
}

#[derive(Debug, Clone)]
pub(in crate::store) struct Sketch {
    event_type: usize,
    project: usize,
    session: usize,
    priority: usize,
    at: i64,
    dropped: bool,
    message: String,
    data: usize,
}

impl Sketch {
    pub(in crate::store) fn entry(&self) -> NewEntry {
        let mut new = entry(
            EventType::BUILT_IN[self.event_type].clone(),
            &format!("p{}", self.project),
            &format!("s{}", self.session),
        );
        new.event.priority = EventPriority::ALL[self.priority];
        new.event.timestamp = Timestamp::from_micros(self.at).unwrap();
        new.event.message = self.message.parse().unwrap();
        new.event.data = DATA[self.data].parse().unwrap();
        let dropped = Dropped { by: "f".parse().unwrap(), reason: "r".into() };
        new.dropped = self.dropped.then_some(dropped);
        new
    }
}

/// What a question has to find, oldest first.
pub(in crate::store) fn chosen<'a>(
    log: &'a [Arc<LogEntry>],
    query: &Query,
) -> Vec<&'a Arc<LogEntry>> {
    log.iter()
        .filter(|e| query.selection.matches(e))
        .filter(|e| query.after_seq.is_none_or(|after| e.seq > after))
        .filter(|e| query.before_seq.is_none_or(|before| e.seq < before))
        .collect()
}

/// What `data` may be.
const DATA: [&str; 6] = [
    "null",
    r#"{"n":1}"#,
    r#"{"n":1.0,"a":{"b":["x",true]}}"#,
    r#"{"n":"1"}"#,
    r#"{"a":{"b":["y"]}}"#,
    r#"{"n":2,"a":null}"#,
];

/// Messages of few words, some of which case, accents or other scripts make hard to find.
const WORDS: &str =
    "((ci|CI|Reset|resetting|naïve|NAÏVE|naive|ΟΔΟΣ|οδος|e2e|日本|x_y|İ|7)[ \\-/.]?){0,3}";

prop_compose! {
    pub(in crate::store) fn sketch()(
        event_type in 0..30usize,
        project in 0..3usize,
        session in 0..4usize,
        priority in 0..4usize,
        at in 0..100i64,
        dropped in prop::bool::weighted(0.2),
        message in WORDS,
        data in 0..DATA.len(),
    ) -> Sketch {
        // Some in other hours, and before 1970.
        let at = if at % 7 == 0 { at - 3_600_000_000 } else { at };
        Sketch { event_type, project, session, priority, at, dropped, message, data }
    }
}

/// What `count` has to say of these events.
pub(in crate::store) fn counted(events: &[&Arc<LogEntry>], by: Option<Group>) -> Counts {
    let mut groups = std::collections::BTreeMap::new();
    for entry in events {
        let event = &entry.event;
        let group = match by {
            None => continue,
            Some(Group::Type) => event.event_type.to_string(),
            Some(Group::Project) => event.project_id.to_string(),
            Some(Group::Hour) => format!("{}:00:00Z", &event.timestamp.to_string()[..13]),
        };
        *groups.entry(group).or_insert(0) += 1;
    }
    let mut groups: Vec<(String, u64)> = groups.into_iter().collect();
    if by != Some(Group::Hour) {
        groups.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    }
    Counts { total: events.len() as u64, groups }
}

prop_compose! {
    pub(in crate::store) fn query()(
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
        data in prop::collection::vec(prop_oneof![
            Just("n=1"), Just("n=\"1\""), Just("a.b.0=x"), Just("a.b.1=true"), Just("a=null"),
        ], 0..2),
        text in prop::option::of(prop_oneof![
            Just("ci"), Just("reset*"), Just("Reset"), Just("naïve"), Just("NAIVE"), Just("οδοσ"),
            Just("ci 7"), Just("e2*"), Just("日本"), Just("日*"), Just("x"), Just("İ"), Just("none"),
        ]),
        is_plain in prop::bool::weighted(0.3),
        include_dropped in any::<bool>(),
        after_seq in prop::option::of(0..80u64),
        before_seq in prop::option::of(0..80u64),
        descending in any::<bool>(),
    ) -> Query {
        // Message and data alone, so that they are what decides.
        let (types, patterns, project, session, priority) = match is_plain {
            true => (vec![], vec![], None, None, 0),
            false => (types, patterns, project, session, priority),
        };
        Query {
            selection: Selection {
                types: types.into_iter().map(|t| EventType::BUILT_IN[t].clone()).collect(),
                patterns: patterns.into_iter().map(|p| p.parse::<SubjectPattern>().unwrap()).collect(),
                project: project.map(|p| format!("p{p}").parse().unwrap()),
                session: session.map(|s| format!("s{s}").parse().unwrap()),
                min_priority: EventPriority::ALL[priority],
                since: since.map(|s| Timestamp::from_micros(s).unwrap()),
                until: until.map(|s| Timestamp::from_micros(s).unwrap()),
                data: data.into_iter().map(|condition| condition.parse().unwrap()).collect(),
                text: text.map(|words| words.parse().unwrap()),
                include_dropped,
            },
            after_seq,
            before_seq,
            order: if descending { Order::Descending } else { Order::Ascending },
            part: Part::First,
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
                let chosen = chosen(&log, &query);
                let mut expected: Vec<_> = chosen.iter().map(|e| e.seq).collect();
                for by in [None, Some(Group::Type), Some(Group::Project), Some(Group::Hour)] {
                    let counts = store.reader().count(query.clone(), by).await.unwrap();
                    assert_eq!(counts, counted(&chosen, by), "{query:?}");
                }
                if query.order == Order::Descending {
                    expected.reverse();
                }
                // The pages from the end, each from the place that the one behind it names.
                let forth = query.order == Order::Ascending;
                let mut part = Part::Last;
                let mut back = Vec::new();
                loop {
                    let query = Query { part, ..query.clone() };
                    let page = store.reader().page(query, limit).await.unwrap();
                    let places = page.entries.iter().map(|e| e.seq);
                    assert_eq!(page.next.is_some(), part != Part::Last);
                    back.splice(0..0, places);
                    part = match page.prev {
                        Some(seq) if forth => Part::Before(seq),
                        Some(seq) => Part::After(seq),
                        None => break,
                    };
                }
                assert_eq!(back, expected, "from the end: {query:?}");
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

    /// A page that has no time ends behind each event that it has looked at in vain.
    #[test]
    fn pages_that_end_early_leave_nothing_out(
        sketches in prop::collection::vec(sketch(), 1..60),
        queries in prop::collection::vec((query(), 1..20usize), 1..12),
        segment in prop_oneof![Just(4u32), Just(16), Just(index::SEGMENT)],
        has_index in any::<bool>(),
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let folder = folder();
            let path = folder.path().join("ennio.db");
            let store = Store::open_with(&path, Deaf, segment).unwrap();
            let log = commit(&store, sketches.iter().map(Sketch::entry).collect()).await.unwrap();
            indexed(&store).await;
            let shared = Arc::clone(store.index.lock().unwrap().as_ref().unwrap().shared());
            let reader = schema::open_reader(&path).unwrap();
            let file = index::open_reader(&path).unwrap();
            let index = has_index.then_some((&file, &*shared));
            let sources = Sources { log: &reader, index, pruned: store.reader().pruned() };
            for (mut query, limit) in queries {
                let mut expected = chosen(&log, &query);
                if query.order == Order::Descending {
                    expected.reverse();
                }
                let mut found = Vec::new();
                loop {
                    let page = query::page(&sources, &query, limit, Instant::now()).unwrap();
                    found.extend(page.entries.into_iter().map(|entry| entry.seq));
                    let Some(next) = page.next else { break };
                    let (order, bound) = match query.order {
                        Order::Ascending => (Some(next).cmp(&query.after_seq), &mut query.after_seq),
                        Order::Descending => (
                            query.before_seq.unwrap_or(Seq::MAX).cmp(&next),
                            &mut query.before_seq,
                        ),
                    };
                    assert!(order.is_gt(), "it does not go on");
                    *bound = Some(next);
                }
                assert_eq!(found, expected.iter().map(|entry| entry.seq).collect::<Vec<_>>());
            }
        });
    }

    /// Nothing in a message or a search means anything to SQLite.
    #[test]
    fn words_are_found_whatever_characters_surround_them(
        messages in prop::collection::vec(HOSTILE, 1..40),
        searches in prop::collection::vec(HOSTILE, 1..20),
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let folder = folder();
            let store = Store::open_with(&folder.path().join("ennio.db"), Deaf, 16).unwrap();
            let entries = messages.iter().map(|message| {
                let mut new = entry(EventType::PrCreated, "p", "s");
                new.event.message = message.parse().unwrap();
                new
            });
            let log = commit(&store, entries.collect()).await.unwrap();
            indexed(&store).await;
            let searches = searches.iter().chain(&messages);
            for search in searches.filter_map(|search| search.parse::<TextSearch>().ok()) {
                let selection = Selection { text: Some(search), ..Selection::default() };
                let query = Query { selection, ..Query::default() };
                let expected = chosen(&log, &query);
                let counts = store.reader().count(query.clone(), None).await.unwrap();
                assert_eq!(counts.total, expected.len() as u64, "{query:?}");
                let page = store.reader().page(query.clone(), 500).await.unwrap();
                assert_eq!(page.entries.len(), expected.len(), "{query:?}");
            }
        });
    }
}

/// What has a meaning to FTS5 or SQL, few words that may meet, and any printed character.
const HOSTILE: &str = "(a|b|ab|AND|OR|NOT|NEAR\\(|words|message|\"|'|\\*|\\^|\\+|-|:|\\{|\\(|\\)|;|--|%|_| |0|\\PC){0,8}";
