use std::{collections::HashMap, time::Duration};

use super::*;
use crate::{
    event::{Draft, EventPriority, EventType, SubjectPattern, Timestamp},
    store::{Batch, NewEntry, Passage, Store},
};

struct Log {
    store: Store,
    bus: Bus,
    _folder: tempfile::TempDir,
}

fn log() -> Log {
    let folder = tempfile::tempdir().unwrap();
    let announcer = Announcer::new();
    let feed = announcer.feed();
    let store = Store::open(&folder.path().join("ennio.db"), announcer).unwrap();
    let bus = feed.bus(store.reader().clone(), store.head_at_open());
    Log { store, bus, _folder: folder }
}

impl Log {
    async fn commit(&self, count: usize, event_type: EventType) {
        let entries = (0..count).map(|_| {
            let draft = Draft::new(event_type.clone(), "p".parse().unwrap(), "s".parse().unwrap());
            let digest = draft.digest();
            let event = draft.into_event(Timestamp::now());
            let subject = event.subject();
            NewEntry {
                event,
                subject,
                digest,
                caused_by: None,
                hops: 0,
                dropped: None,
                passage: Passage::default(),
            }
        });
        let (answer, outcome) = tokio::sync::oneshot::channel();
        let done = Box::new(move |result| drop(answer.send(result)));
        self.store
            .submit(Batch { entries: entries.collect(), effects: vec![], state: vec![], done })
            .await;
        outcome.await.unwrap().unwrap();
    }
}

async fn next(subscription: &mut Subscription) -> Seq {
    let next = tokio::time::timeout(Duration::from_secs(30), subscription.next());
    next.await.expect("an event within 30 s").unwrap().seq
}

#[tokio::test]
async fn a_subscriber_sees_what_it_chose_and_nothing_from_before() {
    let log = log();
    log.commit(3, EventType::CiFailing).await;
    let mut failing = log.bus.subscribe(EventType::CiFailing);
    let mut merges = log.bus.subscribe("ennio.merge.>".parse::<SubjectPattern>().unwrap());
    let mut urgent = log.bus.subscribe(Selection::everything().min_priority(EventPriority::Urgent));
    log.commit(1, EventType::MergeReady).await;
    log.commit(1, EventType::CiFailing).await;
    assert_eq!(next(&mut failing).await, 5);
    assert_eq!(next(&mut merges).await, 4);
    log.store.close().await;
    assert_eq!(urgent.next().await.unwrap_err(), SubscriptionError::Closed);
    assert_eq!(urgent.position(), 5, "what was not chosen counts as done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_100_000_events_behind_sees_every_event_once_and_in_order() {
    let log = log();
    let mut all = log.bus.subscribe(Selection::everything());
    let mut rare = log.bus.subscribe(EventType::MergeReady);
    let mut resumed = log.bus.subscribe_after(Selection::everything(), 0);
    for _ in 0..25 {
        log.commit(3999, EventType::ActivityChanged).await;
        log.commit(1, EventType::MergeReady).await;
    }
    for subscription in [&mut all, &mut resumed] {
        for expected in 1..=100_000 {
            assert_eq!(next(subscription).await, expected);
        }
    }
    for expected in 1..=25 {
        assert_eq!(next(&mut rare).await, expected * 4000);
    }
    // And live again.
    log.commit(1, EventType::MergeReady).await;
    for subscription in [&mut all, &mut resumed, &mut rare] {
        assert_eq!(next(subscription).await, 100_001);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seam_between_log_and_live_neither_loses_nor_repeats() {
    let log = Arc::new(log());
    let writing = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            for _ in 0..400 {
                log.commit(50, EventType::StatusChanged).await;
            }
        }
    });
    let mut readers = HashMap::new();
    for start in [0, 1, 17, 5_000, 19_000, 1_000_000] {
        let mut subscription = log.bus.subscribe_after(Selection::everything(), start);
        let first = subscription.position() + 1;
        let reading = tokio::spawn(async move {
            for expected in first..=20_000 {
                assert_eq!(next(&mut subscription).await, expected);
            }
        });
        readers.insert(start, reading);
        log.commit(0, EventType::StatusChanged).await;
    }
    writing.await.unwrap();
    for (start, reading) in readers {
        reading.await.unwrap_or_else(|e| panic!("from {start}: {e}"));
    }
}

#[tokio::test]
async fn a_dropped_wait_loses_nothing() {
    let log = log();
    let mut subscription = log.bus.subscribe(Selection::everything());
    for expected in 1..=2000 {
        // Started and dropped, as a `select!` does.
        let waiting = tokio::time::timeout(Duration::ZERO, subscription.next()).await;
        assert!(waiting.is_err());
        log.commit(1, EventType::StatusChanged).await;
        assert_eq!(next(&mut subscription).await, expected);
    }
}
