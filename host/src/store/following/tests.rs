use proptest::prelude::*;

use super::*;
use crate::{
    event::{EventId, EventType},
    store::{
        Gap, Query, health,
        tests::{Deaf, entry, folder},
    },
};

fn followed(stream_seq: u64) -> Followed {
    let origin = "0b5c29a8-51d1-4a3e-9e0e-6f0d4e8f2a11".parse().ok();
    Followed { origin, stream: "E".into(), created: "then".into(), stream_seq }
}

fn copied(seq: Seq, previous: Seq) -> Copied {
    let committed_at = Timestamp::from_micros(seq as i64 * 1_000).unwrap();
    Copied { seq, previous, committed_at, entry: entry(EventType::CiFailing, "p", "s") }
}

async fn places(store: &Store) -> Vec<Seq> {
    let page = store.reader().page(Query::default(), 100).await.unwrap();
    page.entries.iter().map(|entry| entry.seq).collect()
}

#[tokio::test]
async fn a_copy_keeps_its_places_its_times_and_how_far_it_came_over_a_restart() {
    let folder = folder();
    let path = folder.path().join("ennio.db");
    let store = Store::open(&path, Deaf).unwrap();
    assert_eq!(store.reader().followed().await.unwrap(), None);
    // 2 and 3 are hidden; 5 to 20 are missing, and 21 and 22 hidden again.
    let entries = vec![copied(1, 0), copied(4, 1), copied(23, 20)];
    store.copy(entries, followed(3)).await.unwrap();
    store.copy(vec![copied(24, 23)], followed(4)).await.unwrap();
    store.close().await;
    drop(store);
    let store = Store::open(&path, Deaf).unwrap();
    assert_eq!((store.head_at_open(), places(&store).await), (24, vec![1, 4, 23, 24]));
    let reader = store.reader();
    let last = reader.at(23).await.unwrap().unwrap();
    assert_eq!(last.committed_at, Timestamp::from_micros(23_000).unwrap());
    assert_eq!(reader.followed().await.unwrap(), Some(followed(4)));
    let (count, gaps) = reader.missing().await.unwrap();
    assert_eq!((count, gaps[0].after, gaps[0].until), (1, 4, 20));
    assert_eq!(reader.kept_and_pruned().await.unwrap(), (4, 16), "what is hidden is not missed");
    store.close().await;
    let health = health(&path).unwrap();
    assert_eq!((health.events, health.pruned, health.faults), (4, 16, vec![]));
}

#[tokio::test]
async fn an_id_that_is_free_again_belongs_to_the_later_event() {
    let folder = folder();
    let store = Store::open(&folder.path().join("ennio.db"), Deaf).unwrap();
    let (first, mut again) = (copied(1, 0), copied(3, 2));
    let id: EventId = first.entry.event.id;
    again.entry.event.id = id;
    store.copy(vec![first, copied(2, 1)], followed(2)).await.unwrap();
    store.copy(vec![again], followed(3)).await.unwrap();
    assert_eq!(store.reader().by_id(id).await.unwrap().unwrap().seq, 3);
    assert_eq!(places(&store).await, [2, 3]);
    assert_eq!(store.reader().kept_and_pruned().await.unwrap(), (2, 1));
}

#[tokio::test]
async fn a_batch_with_an_event_that_cannot_stand_there_leaves_nothing() {
    let folder = folder();
    let store = Store::open(&folder.path().join("ennio.db"), Deaf).unwrap();
    store.copy(vec![copied(5, 4)], followed(1)).await.unwrap();
    let refused = store.copy(vec![copied(9, 5), copied(5, 4)], followed(3)).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(store.reader().followed().await.unwrap(), Some(followed(1)));
    assert_eq!(places(&store).await, [5]);
    store.copy(vec![copied(6, 5)], followed(2)).await.unwrap();
    assert_eq!(places(&store).await, [5, 6]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Segments of eight places; a copy in batches, with places that are hidden and places that are
    /// lost, against plain sets.
    #[test]
    fn a_copy_has_what_came_and_knows_what_is_missing(
        hidden in prop::collection::btree_set(1..60u64, 0..30),
        lost in prop::collection::btree_set(1..60u64, 0..20),
        batch in 1..9usize,
    ) {
        let (mut previous, mut last) = (0, 0);
        let (mut came, mut missing) = (Vec::new(), Vec::new());
        for seq in (1..=60).filter(|seq| !hidden.contains(seq)) {
            if !lost.contains(&seq) {
                came.push((seq, previous));
                if previous > last {
                    // Whatever is hidden among them: nobody can know.
                    missing.push(Gap { from: last + 1, to: previous, count: previous - last });
                }
                last = seq;
            }
            previous = seq;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = folder();
            let path = folder.path().join("ennio.db");
            let store = Store::open_with(&path, Deaf, 8).unwrap();
            for part in came.chunks(batch) {
                let entries = part.iter().map(|(seq, previous)| copied(*seq, *previous)).collect();
                store.copy(entries, followed(1)).await.unwrap();
            }
            store.close().await;
            drop(store);
            let store = Store::open_with(&path, Deaf, 8).unwrap();
            let all: Vec<Seq> = came.iter().map(|(seq, _)| *seq).collect();
            assert_eq!(places(&store).await, all);
            assert_eq!(store.reader().gaps(0, 60).await.unwrap(), missing);
            let (count, gaps) = store.reader().missing().await.unwrap();
            let told: Vec<_> = gaps.iter().map(|gap| (gap.after + 1, gap.until)).collect();
            let expected: Vec<_> = missing.iter().map(|gap| (gap.from, gap.to)).collect();
            assert_eq!((count as usize, told), (missing.len(), expected));
            let (kept, _) = store.reader().kept_and_pruned().await.unwrap();
            assert_eq!(kept as usize, all.len());
            store.close().await;
        });
    }
}
