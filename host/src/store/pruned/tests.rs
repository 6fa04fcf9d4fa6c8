use std::{collections::BTreeSet, sync::Arc, time::Duration};

use proptest::prelude::*;

use crate::{
    event::{EventId, EventPriority, EventType, LogEntry, PluginName, Seq, Timestamp},
    store::{
        Attempt, Called, Change, DeadLetter, Did, Effect, Escalation, Gap, Group, Lineup, NewEntry,
        Order, Part, Place, PluginCall, Query, Reacted, Reader, Role, Step, Store, Waiting, health,
        index,
        tests::{
            Deaf, commit, entry, folder,
            queries::{Sketch, chosen, counted, indexed, query, sketch},
        },
    },
};

/// The runs of what is gone, by the plain definition.
fn runs(gone: &BTreeSet<Seq>, after: Seq, until: Seq) -> Vec<Gap> {
    let mut runs: Vec<Gap> = Vec::new();
    for seq in gone.iter().copied().filter(|seq| (after + 1..=until).contains(seq)) {
        match runs.last_mut() {
            Some(run) if run.to + 1 == seq => (run.to, run.count) = (seq, run.count + 1),
            _ => runs.push(Gap { from: seq, to: seq, count: 1 }),
        }
    }
    runs
}

async fn gaps_are_told(reader: &Reader, gone: &BTreeSet<Seq>, head: Seq) {
    for after in (0..head).step_by(7) {
        for until in (after..=head).step_by(11) {
            let expected = runs(gone, after, until);
            assert_eq!(reader.gaps(after, until).await.unwrap(), expected);
            let whole = expected.first().zip(expected.last()).map(|(first, last)| Gap {
                from: first.from,
                to: last.to,
                count: expected.iter().map(|run| run.count).sum(),
            });
            assert_eq!(reader.gap(after, until).await.unwrap(), whole);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The model is a vector that events are taken out of: over small and large segments, with restarts
    /// in between, before and after the index has come so far.
    #[test]
    fn what_is_pruned_is_out_of_every_answer_and_known_to_be_gone(
        sketches in prop::collection::vec(sketch(), 1..70),
        doomed in prop::collection::vec(prop::collection::btree_set(1..70u64, 1..40), 1..4),
        tail in prop::option::of(0..70u64),
        queries in prop::collection::vec((query(), 1..20usize), 1..8),
        segment in prop_oneof![Just(4u32), Just(16), Just(index::SEGMENT)],
        is_indexed in any::<bool>(),
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let folder = folder();
            let path = folder.path().join("ennio.db");
            let mut store = Store::open_with(&path, Deaf, segment).unwrap();
            let entries: Vec<NewEntry> = sketches.iter().map(Sketch::entry).collect();
            let log = commit(&store, entries).await.unwrap();
            let head = log.len() as Seq;
            let mut gone = BTreeSet::new();
            // The last round may take the end of the log, so that its head is nowhere but in the table.
            let tail: BTreeSet<Seq> = tail.map_or(BTreeSet::new(), |from| (from + 1..=head).collect());
            for doomed in doomed.iter().chain([&tail]) {
                let places: Vec<Seq> = doomed.iter().copied().collect();
                let expected: Vec<Seq> =
                    places.iter().copied().filter(|s| *s <= head && !gone.contains(s)).collect();
                assert_eq!(store.prune(places).await.unwrap(), expected);
                gone.extend(expected);
                if is_indexed {
                    indexed(&store).await;
                }
                store.close().await;
                drop(store);
                store = Store::open_with(&path, Deaf, segment).unwrap();
                assert_eq!(store.head_at_open(), head, "a place is never given twice");
            }
            if is_indexed {
                indexed(&store).await;
            }
            let left: Vec<Arc<LogEntry>> =
                log.iter().filter(|e| !gone.contains(&e.seq)).cloned().collect();
            let counts = store.reader().kept_and_pruned().await.unwrap();
            assert_eq!(counts, (left.len() as u64, gone.len() as u64));
            gaps_are_told(store.reader(), &gone, head).await;
            for (mut query, limit) in queries {
                let chosen = chosen(&left, &query);
                for by in [None, Some(Group::Type), Some(Group::Project), Some(Group::Hour)] {
                    let counts = store.reader().count(query.clone(), by).await.unwrap();
                    assert_eq!(counts, counted(&chosen, by), "{query:?}");
                }
                let mut expected: Vec<Seq> = chosen.iter().map(|e| e.seq).collect();
                if query.order == Order::Descending {
                    expected.reverse();
                }
                let (mut found, mut missing) = (Vec::new(), BTreeSet::new());
                let all = (query.after_seq.unwrap_or(0), query.before_seq.unwrap_or(head + 1));
                backwards(store.reader(), &query, limit, &expected, &gone, head).await;
                loop {
                    let page = store.reader().page(query.clone(), limit).await.unwrap();
                    let (after, until) = page.stretch(&query, head);
                    let gaps = store.reader().gaps(after, until).await.unwrap();
                    for seq in gaps.into_iter().flat_map(|gap| gap.from..=gap.to) {
                        assert!(missing.insert(seq), "{seq} is told twice");
                    }
                    found.extend(page.entries.iter().map(|e| e.seq));
                    match query.order {
                        _ if page.next.is_none() => break,
                        Order::Ascending => query.after_seq = page.next,
                        Order::Descending => query.before_seq = page.next,
                    }
                }
                assert_eq!(found, expected);
                let within = |seq: &&Seq| **seq > all.0 && **seq < all.1;
                let expected: BTreeSet<Seq> = gone.iter().filter(within).copied().collect();
                assert_eq!(missing, expected, "what is gone is told, page by page");
            }
            let next = commit(&store, vec![entry(EventType::PrCreated, "p", "s")]).await.unwrap();
            assert_eq!(next[0].seq, head + 1);
            store.close().await;
        });
    }
}

/// The pages from the end, and what is gone from each.
async fn backwards(
    reader: &Reader,
    query: &Query,
    limit: usize,
    expected: &[Seq],
    gone: &BTreeSet<Seq>,
    head: Seq,
) {
    let (mut found, mut missing) = (Vec::new(), BTreeSet::new());
    let mut part = Part::Last;
    loop {
        let query = Query { part, ..query.clone() };
        let page = reader.page(query.clone(), limit).await.unwrap();
        let (after, until) = page.stretch(&query, head);
        for seq in reader.gaps(after, until).await.unwrap().iter().flat_map(|g| g.from..=g.to) {
            assert!(missing.insert(seq), "{seq} is told twice");
        }
        found.splice(0..0, page.entries.iter().map(|e| e.seq));
        part = match page.prev {
            Some(seq) if query.order == Order::Ascending => Part::Before(seq),
            Some(seq) => Part::After(seq),
            None => break,
        };
    }
    assert_eq!(found, expected, "from the end: {query:?}");
    let (after, before) = (query.after_seq.unwrap_or(0), query.before_seq.unwrap_or(head + 1));
    let within = gone.iter().copied().filter(|seq| *seq > after && *seq < before);
    assert_eq!(missing, within.collect(), "from the end: {query:?}");
}

fn plugin() -> PluginName {
    "webhook".parse().unwrap()
}

fn called() -> Called {
    Called { version: "v".into(), took: Duration::from_millis(20), said: vec![], unsaid: 0 }
}

fn attempt() -> Attempt {
    Attempt { number: 1, at: Timestamp::now(), error: "r".into(), called: Some(called()) }
}

/// An event that an enricher has changed, in a call about it and the next `span`.
fn changed(span: u64) -> NewEntry {
    let mut new = entry(EventType::CiFailing, "atlas", "s-1");
    let change =
        Change { patch: "{}".into(), was_priority: Some(EventPriority::Info), was_subject: None };
    new.passage.lineup = Some(Arc::new(Lineup::new(&[])));
    new.passage.steps = vec![Step {
        plugin: plugin(),
        role: Role::Enricher,
        version: "v".into(),
        took: Duration::ZERO,
        did: Did::Changed(change),
    }];
    new.passage.calls = vec![PluginCall {
        plugin: plugin(),
        role: Role::Enricher,
        span,
        events: span as usize + 1,
        called: called(),
        error: None,
    }];
    new
}

/// Everything that can be said of an event after its commit, but that it waits.
fn said_of(event_seq: Seq, event_id: EventId) -> Vec<Effect> {
    let (plugin, at) = (plugin(), Timestamp::now());
    vec![
        Effect::DeadLetter(DeadLetter {
            plugin: plugin.clone(),
            event_seq,
            event_id,
            failed: attempt(),
        }),
        Effect::Reacted(Reacted {
            plugin: plugin.clone(),
            event_seq,
            attempt: 2,
            at,
            called: called(),
            emitted: 1,
            commands: vec![],
        }),
        Effect::Escalate(Escalation { plugin, event_seq, times: 0, due: at }),
        Effect::Delivered {
            sink: "nats".into(),
            place: Place { seq: event_seq, taken: event_seq },
            skipped: vec![(event_seq, "too large".into())],
        },
    ]
}

/// How many rows each table has that knows events by their places.
fn rows(store: &Store) -> Vec<(&'static str, i64)> {
    let db = rusqlite::Connection::open(store.path()).unwrap();
    ["steps", "plugin_calls", "reaction_steps", "reaction_attempts", "dead_letters"]
        .into_iter()
        .chain(["escalations", "undelivered", "reaction_waiting"])
        .map(|table| {
            let sql = format!("SELECT count(*) FROM {table}");
            (table, db.query_row(&sql, [], |row| row.get(0)).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn what_hangs_on_an_event_goes_with_it_and_its_id_may_come_again() {
    let folder = folder();
    let path = folder.path().join("ennio.db");
    let store = Store::open(&path, Deaf).unwrap();
    // The first two are of one call.
    let log =
        commit(&store, vec![changed(1), entry(EventType::CiFailing, "atlas", "s-1"), changed(0)])
            .await
            .unwrap();
    let ids: Vec<EventId> = log.iter().map(|entry| entry.event.id).collect();
    for seq in [1, 3] {
        store.apply(said_of(seq, ids[seq as usize - 1])).await.unwrap();
    }
    assert!(rows(&store).iter().all(|(table, n)| *n == 2 || *table == "reaction_waiting"));
    assert_eq!(store.prune(vec![1]).await.unwrap(), [1]);
    assert_eq!(store.prune(vec![1]).await.unwrap(), [0; 0], "it is gone");
    for (table, number) in rows(&store) {
        let expected = match table {
            "reaction_waiting" => 0,
            "plugin_calls" => 2, // The second event is still there.
            _ => 1,
        };
        assert_eq!(number, expected, "{table}");
    }
    store.prune(vec![2, 3]).await.unwrap();
    assert!(rows(&store).iter().all(|(_, number)| *number == 0), "{:?}", rows(&store));
    // Who was at work on it meanwhile leaves nothing behind.
    store.apply(said_of(3, ids[2])).await.unwrap();
    assert!(rows(&store).iter().all(|(_, number)| *number == 0), "{:?}", rows(&store));

    assert!(store.reader().by_id(ids[0]).await.unwrap().is_none());
    let mut again = entry(EventType::CiFailing, "atlas", "s-1");
    again.event.id = ids[0];
    assert_eq!(commit(&store, vec![again]).await.unwrap()[0].seq, 4);
    store.close().await;
}

#[tokio::test]
async fn an_event_that_waits_holds_the_cursor_back_and_is_found_gone_when_it_is() {
    let folder = folder();
    let store = Store::open(&folder.path().join("ennio.db"), Deaf).unwrap();
    let entries = (0..5).map(|_| entry(EventType::CiFailing, "atlas", "s-1"));
    commit(&store, entries.collect()).await.unwrap();
    let cursor = || "reaction/webhook".to_owned();
    let reader = store.reader();
    let wait = |event_seq| {
        let (plugin, next) = (plugin(), Timestamp::now());
        Effect::Wait(Waiting { plugin, event_seq, attempts: 1, next, failed: Some(attempt()) })
    };
    assert_eq!(reader.done_until(cursor()).await.unwrap(), None);
    let moved = Effect::MoveCursor { name: cursor(), seq: 5 };
    store.apply(vec![moved, wait(2), wait(4)]).await.unwrap();
    assert_eq!(reader.cursor("reaction/webhook").await.unwrap(), Some(5));
    assert_eq!(reader.done_until(cursor()).await.unwrap(), Some(1));

    store.prune(vec![1, 2]).await.unwrap();
    assert_eq!(
        reader.done_until(cursor()).await.unwrap(),
        Some(3),
        "nobody waits for what is gone"
    );
    assert_eq!(reader.waiting_in_vain(plugin()).await.unwrap(), [2]);
    assert_eq!(reader.waiting(plugin()).await.unwrap().len(), 1);
    // The call that was under way fails as well: its plugin will be told when it comes back.
    store.apply(vec![wait(2)]).await.unwrap();
    assert_eq!(reader.waiting_in_vain(plugin()).await.unwrap(), [2]);
    let attempts = rows(&store).into_iter().find(|(table, _)| *table == "reaction_attempts");
    assert_eq!(attempts.unwrap().1, 1, "of the event that is still there");
    store.close().await;
}

#[tokio::test]
async fn doctor_finds_a_hole_that_nobody_made_on_purpose() {
    let folder = folder();
    let path = folder.path().join("ennio.db");
    let store = Store::open(&path, Deaf).unwrap();
    let entries = (0..10).map(|_| entry(EventType::CiFailing, "atlas", "s-1"));
    commit(&store, entries.collect()).await.unwrap();
    store.prune(vec![2, 3, 9, 10]).await.unwrap();
    store.close().await;
    drop(store);
    let found = health(&path).unwrap();
    assert_eq!((found.events, found.pruned, found.range), (6, 4, Some((1, 8))));
    assert_eq!(found.faults, [""; 0]);

    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute("DELETE FROM events WHERE seq = 5", []).unwrap();
    let faults = health(&path).unwrap().faults;
    assert_eq!(faults, ["1 of 10 places hold no event and were not pruned"]);
}
