use std::{collections::HashMap, time::Duration};

use super::*;
use crate::{
    event::{Draft, EventPriority, EventType, SubjectPattern, Timestamp},
    store::{Batch, Gap, NewEntry, Passage, Store},
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

async fn heard(
    subscription: &mut Subscription,
    count: usize,
) -> Vec<Result<Seq, SubscriptionError>> {
    let mut heard = Vec::new();
    for _ in 0..count {
        let next = tokio::time::timeout(Duration::from_secs(30), subscription.next()).await;
        heard.push(next.expect("something within 30 s").map(|entry| entry.seq));
    }
    heard
}

fn gone(from: Seq, to: Seq, count: u64) -> Result<Seq, SubscriptionError> {
    Err(SubscriptionError::Pruned(Gap { from, to, count }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_was_overtaken_is_told_exactly_what_it_missed() {
    let log = log();
    for _ in 0..3 {
        log.commit(1, EventType::MergeReady).await;
        log.commit(2, EventType::ActivityChanged).await;
    }
    // 1 m, 2 a, 3 a, 4 m, 5 a, 6 a, 7 m, 8 a, 9 a
    let mut all = log.bus.subscribe_after(Selection::everything(), 0);
    let mut merges = log.bus.subscribe_after(EventType::MergeReady, 0);
    let mut late = log.bus.subscribe_after(Selection::everything(), 6);
    log.store.prune(vec![1, 2, 4, 6, 8, 9]).await.unwrap();
    assert_eq!(
        heard(&mut all, 6).await,
        [gone(1, 2, 2), Ok(3), gone(4, 4, 1), Ok(5), gone(6, 6, 1), Ok(7)]
    );
    assert_eq!(all.position(), 7);
    assert_eq!(heard(&mut all, 1).await, [gone(8, 9, 2)]);
    assert_eq!(all.position(), 9);
    assert_eq!(heard(&mut merges, 3).await, [gone(1, 6, 4), Ok(7), gone(8, 9, 2)]);
    assert_eq!(heard(&mut late, 2).await, [Ok(7), gone(8, 9, 2)]);
    log.commit(1, EventType::MergeReady).await;
    for subscription in [&mut all, &mut merges, &mut late] {
        assert_eq!(heard(subscription, 1).await, [Ok(10)], "and live again");
    }
}

/// Whatever is pruned while subscribers lag: each place is yielded once, or told once as gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_is_being_overtaken_loses_no_count() {
    const EVENTS: Seq = 140_000;
    let log = Arc::new(log());
    for _ in 0..EVENTS / 4000 {
        log.commit(4000, EventType::StatusChanged).await;
    }
    let prune = async |log: &Log, begin: Seq| {
        let places = (begin + 1..=begin + 1000).filter(|seq| seq % 3 != 0).collect();
        log.store.prune(places).await.unwrap();
    };
    prune(&log, 0).await;
    let pruning = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            for begin in (1000..EVENTS - 1000).step_by(1000) {
                prune(&log, begin).await;
            }
        }
    });
    let mut all = log.bus.subscribe_after(Selection::everything(), 0);
    let (mut position, mut seen, mut missed) = (0, 0, 0);
    while position < EVENTS {
        let next = tokio::time::timeout(Duration::from_secs(60), all.next()).await.unwrap();
        match next {
            Ok(entry) => {
                assert!(entry.seq > position);
                (position, seen) = (entry.seq, seen + 1);
            }
            Err(SubscriptionError::Pruned(gap)) => {
                assert!(gap.from > position && gap.to >= gap.from, "{gap:?} behind {position}");
                (position, missed) = (gap.to, missed + gap.count);
            }
            Err(e) => panic!("{e}"),
        }
    }
    pruning.await.unwrap();
    assert_eq!(seen + missed, EVENTS);
    assert!(missed > 0);
}
