use std::{path::Path, sync::Arc, time::Duration};

use proptest::prelude::*;
use tokio::sync::watch;

use super::*;
use crate::{
    event::{Draft, EventPriority, EventType, LogEntry, Seq},
    store::{Batch, Effect, NewEntry, Observer, Order, Passage, Query, Space},
    strict_toml,
};

struct Deaf;

impl Observer for Deaf {
    fn committed(&mut self, _: &[Arc<LogEntry>], _: Duration) {}
}

const DAY: i64 = 86_400_000_000;

#[derive(Debug, Clone)]
struct Sketch {
    event_type: EventType,
    priority: EventPriority,
    /// Days since it was committed.
    age: i64,
    bytes: usize,
}

impl Sketch {
    fn entry(&self) -> NewEntry {
        let mut draft =
            Draft::new(self.event_type.clone(), "p".parse().unwrap(), "s".parse().unwrap());
        draft.priority = Some(self.priority);
        draft.message = Some("m".repeat(self.bytes).parse().unwrap());
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
    }
}

/// A log of these events, committed when their ages say, and a cursor where one is given.
async fn log(path: &Path, now: Timestamp, sketches: &[Sketch], cursor: Option<Seq>) -> Arc<Store> {
    let store = Store::open(path, Deaf).unwrap();
    for sketches in sketches.chunks(500) {
        let entries = sketches.iter().map(Sketch::entry).collect();
        let (answer, outcome) = tokio::sync::oneshot::channel();
        let done = Box::new(move |result| drop(answer.send(result)));
        store.submit(Batch { entries, effects: vec![], state: vec![], done }).await;
        outcome.await.unwrap().unwrap();
    }
    if let Some(seq) = cursor {
        store.apply(vec![Effect::MoveCursor { name: "nats".into(), seq }]).await.unwrap();
    }
    store.close().await;
    drop(store);
    let mut db = rusqlite::Connection::open(path).unwrap();
    let change = db.transaction().unwrap();
    for (seq, sketch) in (1i64..).zip(sketches) {
        let at = now.micros() - sketch.age * DAY;
        change.execute("UPDATE events SET committed_us = ?2 WHERE seq = ?1", [seq, at]).unwrap();
    }
    change.commit().unwrap();
    drop(db);
    Arc::new(Store::open(path, Deaf).unwrap())
}

fn keeper(policy: &Policy, store: &Arc<Store>) -> (Keeper, watch::Sender<bool>) {
    let (stop, stopping) = watch::channel(false);
    (Keeper::new(policy.clone(), Arc::clone(store), stopping), stop)
}

fn nats() -> [Holder; 1] {
    [Holder { cursor: "nats".into(), begins_at_zero: true }]
}

async fn left(store: &Store) -> Vec<Seq> {
    let mut query = Query { order: Order::Ascending, ..Query::default() };
    let mut found = Vec::new();
    loop {
        let page = store.reader().page(query.clone(), 500).await.unwrap();
        found.extend(page.entries.iter().map(|entry| entry.seq));
        match page.next {
            Some(next) => query.after_seq = Some(next),
            None => return found,
        }
    }
}

fn policy(text: &str) -> Policy {
    strict_toml::from_str(text, Path::new("test.toml")).unwrap()
}

fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
    let types = [EventType::CiFailing, EventType::NodeConnected, EventType::MergeReady];
    let sketch =
        (0..3usize, 0..4usize, 0..40i64).prop_map(move |(event_type, priority, age)| Sketch {
            event_type: types[event_type].clone(),
            priority: EventPriority::ALL[priority],
            age,
            bytes: 3,
        });
    prop::collection::vec(sketch, 1..60).prop_map(|mut sketches| {
        // The log is in the order of commits.
        sketches.sort_by_key(|sketch| std::cmp::Reverse(sketch.age));
        sketches
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The model is a vector, and the policy said in plain words.
    #[test]
    fn what_stays_is_what_a_plain_vector_would_keep(
        sketches in sketches(),
        (node_age, global_age) in (prop::option::of(1..40i64), prop::option::of(1..40i64)),
        max_events in prop::option::of(1..60usize),
        cursor in prop::option::of(0..60u64),
        later in 0..30i64,
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("ennio.db");
            let begin = Timestamp::from_micros(1_800_000_000_000_000).unwrap();
            let store = log(&path, begin, &sketches, cursor).await;
            let mut text = String::new();
            if let Some(most) = max_events {
                text += &format!("max_events = {most}\n");
            }
            if let Some(age) = global_age {
                text += &format!("max_age = \"{age}d\"\n");
            }
            let age = node_age.map_or("forever".into(), |age| format!("{age}d"));
            text += &format!(
                "[[rules]]\nsubject = [\"ennio.node.>\"]\nmax_priority = \"action\"\nmax_age = \"{age}\"\n\
                 [[rules]]\nsubject = [\"ennio.merge.>\"]\nmax_age = \"forever\"\n"
            );
            let policy = policy(&text);
            let holders = if cursor.is_some() { nats().to_vec() } else { vec![] };
            let (mut keeper, _stop) = keeper(&policy, &store);
            let mut model: Vec<(Seq, Sketch)> = (1..).zip(sketches.iter().cloned()).collect();
            // Twice: what a round has looked at grows older.
            for days in [0, later] {
                let now = Timestamp::from_micros(begin.micros() + days * DAY).unwrap();
                let forecast = {
                    let path = path.clone();
                    let holders = holders.clone();
                    preview(&policy, &path, now, |_| Ok(holders)).unwrap()
                };
                let outcome = keeper.round(now, &holders).await;
                assert_eq!(outcome.error, None);
                let before = model.len();
                let free = |seq: &Seq| cursor.is_none_or(|cursor| *seq <= cursor);
                model.retain(|(seq, sketch)| {
                    let is_quiet = sketch.priority <= EventPriority::Action;
                    let most = match sketch.event_type {
                        EventType::NodeConnected if is_quiet => node_age,
                        EventType::MergeReady => None,
                        _ => global_age,
                    };
                    !(free(seq) && most.is_some_and(|most| sketch.age + days >= most))
                });
                while max_events.is_some_and(|most| model.len() > most) && free(&model[0].0) {
                    model.remove(0);
                }
                let expected: Vec<Seq> = model.iter().map(|(seq, _)| *seq).collect();
                assert_eq!(left(&store).await, expected, "{text}");
                let pruned: u64 = outcome.pruned.values().sum();
                assert_eq!(pruned, (before - model.len()) as u64);
                for forecast in forecast.forecasts {
                    let done = outcome.pruned.get(&forecast.name).copied().unwrap_or(0);
                    assert_eq!(forecast.events, done, "foretold by {}", forecast.name);
                }
            }
            store.close().await;
        });
    }
}

/// A log of 6,000 events of 2 KiB.
async fn large_log(folder: &Path) -> Arc<Store> {
    let sketch = Sketch {
        event_type: EventType::CiFailing,
        priority: EventPriority::Info,
        age: 0,
        bytes: 2048,
    };
    log(&folder.join("ennio.db"), Timestamp::now(), &vec![sketch; 6000], Some(0)).await
}

#[tokio::test]
async fn max_size_goes_past_cursors_and_gives_space_back_while_max_events_waits() {
    let folder = tempfile::tempdir().unwrap();
    let store = large_log(folder.path()).await;
    let (mut patient, _stop) = keeper(&policy("max_events = 100\n"), &store);
    let outcome = patient.round(Timestamp::now(), &nats()).await;
    assert_eq!(left(&store).await.len(), 6000);
    assert_eq!(outcome.held, Some(Held { cursor: "nats".into(), at: 0, until: 512 }));

    let most = 5 << 20;
    let (mut strict, _stop) = keeper(&policy("max_size = \"5MiB\"\n"), &store);
    let outcome = strict.round(Timestamp::now(), &nats()).await;
    let Space { used, free, shrinks } = outcome.space.unwrap();
    assert!(shrinks && used <= most && used > most / 2, "{used} bytes are in use");
    assert!(free <= 4 << 20, "{free} bytes are free");
    let left = left(&store).await;
    assert_eq!(left.last(), Some(&6000));
    assert_eq!(left.len() as Seq, 6001 - left[0], "the oldest went");
    assert_eq!(outcome.pruned["max_size"], left[0] - 1);
    let file = std::fs::metadata(store.path()).unwrap().len();
    store.close().await;
    let file_after = std::fs::metadata(store.path()).unwrap().len();
    assert!(file_after < 10 << 20, "{file} bytes, and {file_after} after the checkpoint");
}

#[tokio::test]
async fn a_round_that_is_told_to_stop_ends_between_two_steps() {
    let folder = tempfile::tempdir().unwrap();
    let store = large_log(folder.path()).await;
    let (mut keeper, stop) = keeper(&policy("max_events = 100\n"), &store);
    stop.send_replace(true);
    assert!(keeper.round(Timestamp::now(), &[]).await.pruned.is_empty());
    stop.send_replace(false);
    assert_eq!(keeper.round(Timestamp::now(), &[]).await.pruned["max_events"], 5900);
    assert_eq!(left(&store).await, (5901..=6000).collect::<Vec<Seq>>());
}

/// A clock that was ahead for a while, and one that was behind.
#[tokio::test]
async fn a_clock_that_jumps_makes_nothing_young_go() {
    let folder = tempfile::tempdir().unwrap();
    let sketch = |age| Sketch {
        event_type: EventType::CiFailing,
        priority: EventPriority::Info,
        age,
        bytes: 3,
    };
    let now = Timestamp::from_micros(1_800_000_000_000_000).unwrap();
    // Each is where the search for the age's beginning meets it first.
    for (odd, ages) in [
        (-365, [vec![20; 5], vec![-365; 3], vec![15; 20], vec![2; 5]].concat()),
        (365, [vec![20; 5], vec![2; 10], vec![365; 3], vec![2; 15]].concat()),
    ] {
        let sketches: Vec<Sketch> = ages.iter().map(|age| sketch(*age)).collect();
        let path = folder.path().join(format!("{odd}.db"));
        let store = log(&path, now, &sketches, None).await;
        let (mut keeper, _stop) = keeper(&policy("max_age = \"10d\"\n"), &store);
        keeper.round(now, &[]).await;
        let young = (1..).zip(&ages).filter(|(_, age)| **age < 10).map(|(seq, _)| seq);
        let left = left(&store).await;
        assert!(young.clone().all(|seq| left.contains(&seq)), "{odd}: {left:?}");
        assert!(left.len() < ages.len(), "{odd}: nothing went");
    }
}
