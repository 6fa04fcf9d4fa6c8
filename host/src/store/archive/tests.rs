use std::{path::Path, sync::Arc, time::Duration};

use proptest::prelude::*;
use rusqlite::types::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::{
    event::{Cause, Dropped, EventId, EventPriority, EventType, LogEntry, Selection, Timestamp},
    store::{
        Batch, Change, Did, Effect, NewEntry, Observer, Role, Step, Store, health, tests::entry,
    },
};

struct Deaf;

impl Observer for Deaf {
    fn committed(&mut self, _: &[Arc<LogEntry>], _: Duration) {}
}

/// A log of these entries, whose sink `nats` has come to `cursor`.
fn log(entries: Vec<NewEntry>, cursor: Seq) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Store::open(&database(&folder), Deaf).unwrap();
        let (answer, outcome) = oneshot::channel();
        let done = Box::new(move |result| drop(answer.send(result)));
        let effects = vec![Effect::MoveCursor { name: "nats".into(), seq: cursor }];
        store.submit(Batch { entries, effects, state: vec![], done }).await;
        outcome.await.unwrap().unwrap();
        store.close().await;
    });
    folder
}

fn database(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("ennio.db")
}

fn exported(folder: &TempDir, selection: Selection) -> Vec<u8> {
    let mut text = Vec::new();
    let history = History::open(&database(folder)).unwrap();
    export(&history, selection, 0, None, &mut text, |_, _| {}).unwrap();
    text
}

fn imported(into: &Path, text: &[u8]) -> Result<Imported, ArchiveError> {
    import(into, ArchiveReader::open(text)?, |_, _, _| {})
}

/// All that is in the tables that an export is of.
fn rows(path: &Path) -> Vec<Vec<Value>> {
    let db = rusqlite::Connection::open(path).unwrap();
    let tables = ["events ORDER BY seq", "steps ORDER BY seq, position", "cursors"];
    let mut all = Vec::new();
    for table in tables {
        // When a cursor was saved is nobody's business.
        let columns = if table == "cursors" { "name, seq" } else { "*" };
        let mut find = db.prepare(&format!("SELECT {columns} FROM {table}")).unwrap();
        let width = find.column_count();
        let found = find.query_map([], |row| (0..width).map(|at| row.get(at)).collect()).unwrap();
        all.extend(found.map(|row: rusqlite::Result<Vec<Value>>| row.unwrap()));
    }
    all
}

prop_compose! {
    fn any_entry()(
        kind in 0..30usize,
        priority in 0..4usize,
        project in "[a-z]{1,3}",
        micros in -62_167_219_200_000_000i64..253_402_300_800_000_000,
        message in "[^\\x00]{0,60}",
        text in any::<String>(),
        number in any::<f64>().prop_filter("finite", |f| f.is_finite()),
        host in "[a-z.]{0,6}",
        cause in prop::option::of("[a-z-]{1,9}"),
        hops in 0..17u8,
        dropped in prop::option::of(any::<String>().prop_filter("no NUL", |s| !s.contains('\0'))),
        patches in prop::collection::vec(any::<String>(), 0..3),
    ) -> NewEntry {
        let mut new = entry(EventType::BUILT_IN[kind].clone(), &project, "s-1");
        new.event.priority = EventPriority::ALL[priority];
        new.event.timestamp = Timestamp::from_micros(micros).unwrap();
        new.event.message = message.parse().unwrap();
        let data = serde_json::json!({"host": host, "text": text, "number": number});
        new.event.data = data.to_string().parse().unwrap();
        new.subject = new.event.subject();
        new.caused_by =
            cause.map(|plugin| Cause { event_id: EventId::mint(), plugin: plugin.parse().unwrap() });
        new.hops = hops;
        new.dropped = dropped.map(|reason| Dropped { by: "noise".parse().unwrap(), reason });
        new.passage.steps = patches.into_iter().map(|text| Step {
            plugin: "triage".parse().unwrap(),
            role: Role::Enricher,
            version: "9f".into(),
            took: Duration::from_nanos(7),
            did: match text.len() % 3 {
                0 => Did::Failed(text),
                1 => Did::Dropped,
                _ => Did::Changed(Change {
                    patch: serde_json::json!({"message": text}).to_string(),
                    was_priority: Some(EventPriority::Action),
                    was_subject: None,
                }),
            },
        }).collect();
        new
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_exported_and_imported_is_the_same_log(
        entries in prop::collection::vec(any_entry(), 0..30),
        cursor in 0..31u64,
        cut in any::<prop::sample::Index>(),
        flip in any::<prop::sample::Index>(),
    ) {
        let cursor = cursor.min(entries.len() as Seq);
        let events = entries.len() as u64;
        let from = log(entries, cursor);
        let text = exported(&from, Selection::everything());
        let folder = tempfile::tempdir().unwrap();
        let to = database(&folder);

        // Cut anywhere, it is told; what came before the cut is a beginning.
        let cut = cut.index(text.len());
        prop_assert!(imported(&to, &text[..cut]).is_err(), "cut at {}", cut);
        let mut changed = text.clone();
        let flip = flip.index(text.len());
        changed[flip] ^= 1;
        let read = ArchiveReader::open(&*changed).and_then(|export| export.verify(|_, _| {}));
        prop_assert!(read.is_err(), "changed at {}", flip);

        let done = imported(&to, &text).unwrap();
        prop_assert_eq!(done.events, events);
        prop_assert_eq!(rows(&to), rows(&database(&from)));
        prop_assert!(health(&to).unwrap().faults.is_empty());
        let again = imported(&to, &text).unwrap();
        prop_assert_eq!(again, Imported { events, added: 0 });
    }
}

fn numbered(count: usize) -> Vec<NewEntry> {
    let kinds = [EventType::CiFailing, EventType::PrCreated];
    (0..count).map(|number| entry(kinds[number % 2].clone(), "atlas", "s-1")).collect()
}

#[test]
fn a_part_of_a_log_gets_places_from_one_on_and_its_cursors_move_with_them() {
    let from = log(numbered(9), 4);
    let text = exported(&from, EventType::CiFailing.into());
    let folder = tempfile::tempdir().unwrap();
    let done = imported(&database(&folder), &text).unwrap();
    assert_eq!(done, Imported { events: 5, added: 5 });
    let log = History::open(&database(&folder)).unwrap();
    let records = log.read(0, 100).unwrap();
    let places: Vec<Seq> = records.iter().map(|record| record.entry.seq).collect();
    assert_eq!(places, [1, 2, 3, 4, 5]);
    // Of the first four events, two were of this type.
    assert_eq!(log.cursors().unwrap(), BTreeMap::from([("nats".to_owned(), 2)]));
}

#[test]
fn a_log_of_other_events_is_refused_and_left_alone() {
    let text = exported(&log(numbered(5), 0), Selection::everything());
    for other in [log(numbered(3), 0), log(numbered(5), 0), log(numbered(7), 0)] {
        let before = rows(&database(&other));
        let error = imported(&database(&other), &text).unwrap_err().to_string();
        assert!(error.contains("holds other events than the export, seq 1 for one"), "{error}");
        assert_eq!(rows(&database(&other)), before);
    }
}

#[test]
fn what_goes_on_behind_other_events_is_refused() {
    let all = log(numbered(6), 0);
    let text = exported(&all, Selection::everything());
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder);
    imported(&database, &text).unwrap();
    // What follows on the hole is equal, and would be taken for a beginning.
    let db = rusqlite::Connection::open(&database).unwrap();
    db.execute("DELETE FROM events WHERE seq = 2 OR seq > 4", []).unwrap();
    let error = imported(&database, &text).unwrap_err().to_string();
    assert!(error.contains("seq 2 for one"), "{error}");
}

#[test]
fn a_running_host_keeps_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&database(&folder), Deaf).unwrap();
    let text = exported(&log(numbered(2), 0), Selection::everything());
    let error = imported(&database(&folder), &text).unwrap_err().to_string();
    assert!(error.contains("in use by another Ennio host"), "{error}");
    drop(store);
}

#[test]
fn nothing_may_follow_on_the_last_line() {
    let text = exported(&log(numbered(2), 0), Selection::everything());
    for more in [&b"x"[..], b"\n", &text] {
        let text = [&text[..], more].concat();
        let read = ArchiveReader::open(&*text).and_then(|export| export.verify(|_, _| {}));
        let error = read.unwrap_err().to_string();
        assert_eq!(
            error,
            "not what was exported: something follows on line 4 (copy or export it again)"
        );
    }
}

#[test]
fn what_is_no_export_says_so() {
    for (text, part) in [
        ("", "no export of an Ennio log: there is no line in it"),
        ("{\"event_type\":\"ci_failing\"}\n", "no export of an Ennio log: its first line"),
        (
            "{\"export\":{\"format\":2,\"version\":\"9\",\"made_at\":\"\",\"whole\":true,\"last\":0,\"cursors\":{}}}\n",
            "an export of format 2, this Ennio knows 1",
        ),
    ] {
        let error = match ArchiveReader::open(text.as_bytes()) {
            Ok(_) => panic!("{text} was taken"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(part), "{error}");
    }
}
