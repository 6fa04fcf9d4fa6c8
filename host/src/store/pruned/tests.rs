use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::{
    event::{EventType, LogEntry, Seq},
    store::{
        Change, DeadLetter, Effect, Gap, NewEntry, Order, Reader, Store, health, index,
        tests::{Deaf, Sketch, commit, entry, folder, indexed, query, sketch},
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
            let left: Vec<&LogEntry> =
                log.iter().map(|e| &**e).filter(|e| !gone.contains(&e.seq)).collect();
            let counts = store.reader().kept_and_pruned().await.unwrap();
            assert_eq!(counts, (left.len() as u64, gone.len() as u64));
            gaps_are_told(store.reader(), &gone, head).await;
            for (mut query, limit) in queries {
                let mut expected: Vec<Seq> = left
                    .iter()
                    .filter(|e| query.selection.matches(e))
                    .map(|e| e.seq)
                    .filter(|seq| query.after_seq.is_none_or(|after| *seq > after))
                    .filter(|seq| query.before_seq.is_none_or(|before| *seq < before))
                    .collect();
                if query.order == Order::Descending {
                    expected.reverse();
                }
                let (mut found, mut missing) = (Vec::new(), BTreeSet::new());
                let all = (query.after_seq.unwrap_or(0), query.before_seq.unwrap_or(head + 1));
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

#[tokio::test]
async fn what_hangs_on_an_event_goes_with_it_and_its_id_may_come_again() {
    let folder = folder();
    let path = folder.path().join("ennio.db");
    let store = Store::open(&path, Deaf).unwrap();
    let mut new = entry(EventType::CiFailing, "atlas", "s-1");
    let change =
        Change { plugin: "triage".parse().unwrap(), version: "v".into(), patch: "{}".into() };
    new.changes = vec![change];
    let id = new.event.id;
    commit(&store, vec![new, entry(EventType::CiFailing, "atlas", "s-1")]).await.unwrap();
    let letter = |event_seq| {
        Effect::DeadLetter(DeadLetter {
            plugin: "webhook".parse().unwrap(),
            event_seq,
            event_id: id,
            reason: "r".into(),
            attempts: 1,
        })
    };
    store.apply(vec![letter(1), letter(2)]).await.unwrap();
    assert_eq!(store.prune(vec![1]).await.unwrap(), [1]);
    assert_eq!(store.prune(vec![1]).await.unwrap(), [0; 0], "it is gone");
    assert_eq!(store.reader().changes(1).await.unwrap(), []);
    assert_eq!(store.reader().count_dead_letters().await.unwrap(), 1);
    assert!(store.reader().by_id(id).await.unwrap().is_none());
    let mut again = entry(EventType::CiFailing, "atlas", "s-1");
    again.event.id = id;
    assert_eq!(commit(&store, vec![again]).await.unwrap()[0].seq, 3);
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
