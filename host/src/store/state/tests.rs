use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;
use crate::{
    event::{EventType, LogEntry},
    store::{Batch, NewEntry, Observer, OnCommit, Passage, tests::entry},
};

const QUOTA: u64 = 1 << 20;

struct Deaf;

impl Observer for Deaf {
    fn committed(&mut self, _: &[Arc<LogEntry>], _: Duration) {}
}

struct Fixture {
    _folder: tempfile::TempDir,
    path: PathBuf,
    store: Store,
    state: State,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ennio.db");
        let store = Store::open(&path, Deaf).unwrap();
        let state = State::of(&path);
        Self { _folder: folder, path, store, state }
    }

    fn bucket(&self) -> Arc<Bucket> {
        self.state.bucket(&"counter".parse().unwrap(), Side::Pipeline)
    }

    /// Submits without waiting; the outcome comes later.
    async fn submit(
        &self,
        entries: Vec<NewEntry>,
        writes: Option<Pending>,
    ) -> oneshot::Receiver<Result<(), StoreError>> {
        let (answer, outcome) = oneshot::channel();
        let done: OnCommit = Box::new(move |result| drop(answer.send(result.map(drop))));
        let state = writes.into_iter().collect();
        self.store.submit(Batch { entries, effects: vec![], state, done }).await;
        outcome
    }

    async fn commit(&self, writes: Option<Pending>) -> Result<(), StoreError> {
        self.submit(vec![], writes).await.await.unwrap()
    }

    /// What another process would find in the file.
    fn on_disk(&self, key: &str) -> Option<String> {
        let state = State::of(&self.path);
        let bucket = state.bucket(&"counter".parse().unwrap(), Side::Pipeline);
        let value = bucket.get_committed(key).unwrap();
        value.map(|value| String::from_utf8(value.to_vec()).unwrap())
    }
}

fn count(bucket: &Bucket) -> u64 {
    bucket.begin_call();
    let sum = bucket.increment("n", 1, QUOTA).unwrap();
    bucket.keep_call();
    sum
}

#[tokio::test]
async fn a_write_is_seen_at_once_and_on_disk_after_its_batch() {
    let fixture = Fixture::new();
    let bucket = fixture.bucket();
    assert_eq!((count(&bucket), count(&bucket)), (1, 2));
    assert_eq!(fixture.on_disk("n"), None, "no batch was committed");
    let first = bucket.take();
    assert_eq!(count(&bucket), 3, "upon what is on its way");
    fixture.commit(first).await.unwrap();
    assert_eq!(fixture.on_disk("n").as_deref(), Some("2"));
    fixture.commit(bucket.take()).await.unwrap();
    assert_eq!(fixture.on_disk("n").as_deref(), Some("3"));
    let reopened = State::of(&fixture.path).bucket(&"counter".parse().unwrap(), Side::Pipeline);
    assert_eq!(reopened.get("n").unwrap().as_deref(), Some(&b"3"[..]));
}

#[tokio::test]
async fn a_failed_call_and_a_batch_that_is_given_up_leave_nothing() {
    let fixture = Fixture::new();
    let bucket = fixture.bucket();
    count(&bucket);
    fixture.commit(bucket.take()).await.unwrap();
    let before = bucket.generation();

    bucket.begin_call();
    bucket.put("n", Some(b"99"), QUOTA).unwrap();
    bucket.drop_call();
    assert_ne!(bucket.generation(), before, "a guest must not trust its memory");
    assert_eq!(count(&bucket), 2);
    bucket.give_up();
    assert_eq!(count(&bucket), 2, "the same event again");
    fixture.commit(bucket.take()).await.unwrap();
    assert_eq!(fixture.on_disk("n").as_deref(), Some("2"));
}

#[tokio::test]
async fn nothing_is_built_on_a_batch_that_was_lost() {
    let fixture = Fixture::new();
    let bucket = fixture.bucket();
    let twice = entry(EventType::PrCreated, "p", "s");
    let again = NewEntry { passage: Passage::default(), ..entry(EventType::PrCreated, "p", "s") };
    let again = NewEntry { event: twice.event.clone(), ..again };
    fixture.submit(vec![twice], None).await.await.unwrap().unwrap();

    // The first is refused, since its event is in the log already. The second was decided on it.
    count(&bucket);
    let lost = bucket.take();
    assert_eq!(count(&bucket), 2);
    let stale = bucket.take();
    let lost = fixture.submit(vec![again], lost).await;
    assert!(matches!(lost.await.unwrap(), Err(StoreError::Refused(_))));
    let after_the_loss = bucket.generation();
    let other = entry(EventType::PrCreated, "p", "s");
    let outcome = fixture.submit(vec![other], stale).await.await.unwrap();
    assert_eq!(outcome, Err(StoreError::Stale));
    assert_ne!(bucket.generation(), after_the_loss, "a guest may have seen what was refused");

    assert_eq!(count(&bucket), 1, "as if neither had been");
    fixture.commit(bucket.take()).await.unwrap();
    assert_eq!(fixture.on_disk("n").as_deref(), Some("1"));
}

#[tokio::test]
async fn one_side_is_written_by_its_own_plugin_alone() {
    let fixture = Fixture::new();
    let names = ["a", "b"].map(|name| name.parse().unwrap());
    for (number, (name, side)) in
        names.iter().flat_map(|name| Side::ALL.map(|side| (name, side))).enumerate()
    {
        let bucket = fixture.state.bucket(name, side);
        assert_eq!(bucket.get("k").unwrap(), None, "{name} {side}");
        bucket.begin_call();
        bucket.put("k", Some(number.to_string().as_bytes()), QUOTA).unwrap();
        bucket.keep_call();
        fixture.commit(bucket.take()).await.unwrap();
    }
}

#[test]
fn bounds_are_kept_and_a_refused_write_changes_nothing() {
    let state = State::in_memory();
    let bucket = state.bucket(&"p".parse().unwrap(), Side::Reaction);
    assert_eq!(bucket.put("k", Some(b"v"), QUOTA), Err(StateError::NoEvent));
    bucket.begin_call();
    assert_eq!(bucket.put("", Some(b"v"), QUOTA), Err(StateError::Key(0)));
    assert_eq!(bucket.get(&"k".repeat(MAX_KEY + 1)), Err(StateError::Key(MAX_KEY + 1)));
    let long = vec![0; MAX_VALUE + 1];
    assert_eq!(bucket.put("k", Some(&long), QUOTA), Err(StateError::Value(long.len())));
    let value = &long[1..];
    for key in ["a", "b", "c"] {
        bucket.put(key, Some(value), QUOTA).unwrap();
    }
    assert_eq!(bucket.put("d", Some(value), u64::MAX), Err(StateError::Call));
    bucket.keep_call();
    bucket.begin_call();
    assert!(matches!(bucket.put("d", Some(value), QUOTA), Err(StateError::Quota { .. })));
    bucket.put("a", None, QUOTA).unwrap();
    bucket.put("d", Some(value), QUOTA).unwrap();
    bucket.put("n", Some(b"x1"), QUOTA).unwrap();
    assert!(matches!(bucket.increment("n", 1, QUOTA), Err(StateError::Counter { .. })));
    bucket.put("n", Some(b"18446744073709551615"), QUOTA).unwrap();
    assert!(matches!(bucket.increment("n", 1, QUOTA), Err(StateError::Counter { .. })));
    assert_eq!(bucket.keys(0).unwrap().0, ["b", "c", "d", "n"]);
}

#[test]
fn without_a_writer_only_state_in_memory_can_be_committed() {
    let written = |bucket: &Arc<Bucket>| {
        bucket.begin_call();
        bucket.put("k", Some(b"v"), QUOTA).unwrap();
        bucket.keep_call();
        bucket.take().unwrap()
    };
    let state = State::in_memory();
    let bucket = state.bucket(&"p".parse().unwrap(), Side::Reaction);
    written(&bucket).commit_in_memory();
    assert_eq!(bucket.get_committed("k").unwrap().as_deref(), Some(&b"v"[..]));
    let lost = written(&bucket);
    drop(written(&bucket));
    lost.commit_in_memory();
    assert_eq!(bucket.get_committed("k").unwrap(), None, "what was built on lost writes is lost");

    let fixture = Fixture::new();
    written(&fixture.bucket()).commit_in_memory();
    assert_eq!(fixture.bucket().get("k").unwrap(), None, "nobody wrote it to the disk");
}

#[test]
fn keys_come_in_pages() {
    let bucket = State::in_memory().bucket(&"p".parse().unwrap(), Side::Reaction);
    bucket.begin_call();
    for number in 0..2500 {
        bucket.put(&format!("{number:04}"), Some(b""), QUOTA).unwrap();
    }
    let mut found = Vec::new();
    let mut next = Some(0);
    while let Some(skip) = next {
        let (keys, cursor) = bucket.keys(skip).unwrap();
        found.extend(keys);
        next = cursor;
    }
    assert_eq!(found, (0..2500).map(|number| format!("{number:04}")).collect::<Vec<_>>());
    assert_eq!(bucket.keys(u64::MAX).unwrap(), (vec![], None));
}

#[tokio::test]
async fn an_edit_from_outside_is_the_next_thing_that_the_plugin_sees() {
    let fixture = Fixture::new();
    let (bucket, name) = (fixture.bucket(), "counter".parse().unwrap());
    count(&bucket);
    let under_way = bucket.take();
    let edit = |writes, replace| {
        fixture.state.edit(&fixture.store, &name, Side::Pipeline, writes, replace)
    };
    let before = bucket.generation();
    let (edited, committed) = tokio::join!(
        edit(vec![("n".into(), Some(b"40".to_vec())), ("other".into(), Some(vec![1]))], false),
        fixture.commit(under_way),
    );
    edited.unwrap();
    committed.unwrap();
    assert_ne!(bucket.generation(), before);
    assert_eq!(count(&bucket), 41);
    fixture.commit(bucket.take()).await.unwrap();
    edit(vec![("only".into(), Some(b"me".to_vec()))], true).await.unwrap();
    assert_eq!(bucket.keys(0).unwrap().0, ["only"]);
    assert_eq!(fixture.on_disk("n"), None);
    let entries = fixture.store.reader().state_entries(name.clone(), Side::Pipeline).await;
    assert_eq!(entries.unwrap(), [StateEntry { key: "only".into(), value: b"me".to_vec() }]);
    let usage = fixture.store.reader().state_usage(name.clone()).await.unwrap();
    assert_eq!(usage.map(|usage| usage.keys), [1, 0]);
    let refused = fixture
        .state
        .edit(&fixture.store, &name, Side::Pipeline, vec![(String::new(), None)], true)
        .await;
    assert_eq!(refused, Err(EditError::State(StateError::Key(0))));
    assert_eq!(fixture.on_disk("only").as_deref(), Some("me"), "all or nothing");
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, Option<u8>),
    Increment(u8),
    Keep,
    Drop,
    GiveUp,
    /// Hands the batch to the writer.
    Send,
    /// Waits for everything that was handed over.
    Settle,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6u8, proptest::option::of(any::<u8>())).prop_map(|(k, v)| Step::Put(k, v)),
        3 => (6..9u8).prop_map(Step::Increment),
        4 => Just(Step::Keep),
        2 => Just(Step::Drop),
        1 => Just(Step::GiveUp),
        3 => Just(Step::Send),
        1 => Just(Step::Settle),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The bucket against three plain maps: what the call, the batch, and the disk hold.
    #[test]
    fn a_bucket_is_a_map_with_undo(steps in proptest::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut fixture = Fixture::new();
            let mut bucket = fixture.bucket();
            let mut sent: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            let (mut batch, mut call) = (sent.clone(), sent.clone());
            let mut under_way = Vec::new();
            bucket.begin_call();
            for step in steps {
                match step {
                    Step::Put(key, value) => {
                        let key = format!("k{key}");
                        bucket.put(&key, value.as_ref().map(std::slice::from_ref), QUOTA).unwrap();
                        match value {
                            Some(value) => drop(call.insert(key, vec![value])),
                            None => drop(call.remove(&key)),
                        }
                    }
                    Step::Increment(key) => {
                        let key = format!("k{key}");
                        let sum = bucket.increment(&key, 3, QUOTA).unwrap();
                        let before = call.get(&key).map_or(0, |value| {
                            std::str::from_utf8(value).unwrap().parse::<u64>().unwrap()
                        });
                        assert_eq!(sum, before + 3);
                        call.insert(key, sum.to_string().into_bytes());
                    }
                    Step::Keep => {
                        bucket.keep_call();
                        batch = call.clone();
                        bucket.begin_call();
                    }
                    Step::Drop => {
                        bucket.drop_call();
                        call = batch.clone();
                        bucket.begin_call();
                    }
                    Step::GiveUp => {
                        bucket.drop_call();
                        bucket.give_up();
                        (batch, call) = (sent.clone(), sent.clone());
                        bucket.begin_call();
                    }
                    Step::Send => {
                        bucket.keep_call();
                        sent = call.clone();
                        batch = call.clone();
                        under_way.push(fixture.submit(vec![], bucket.take()).await);
                        bucket.begin_call();
                    }
                    Step::Settle => {
                        for outcome in under_way.drain(..) {
                            outcome.await.unwrap().unwrap();
                        }
                    }
                    Step::Reopen => {
                        for outcome in under_way.drain(..) {
                            outcome.await.unwrap().unwrap();
                        }
                        fixture.state = State::of(&fixture.path);
                        bucket = fixture.bucket();
                        (batch, call) = (sent.clone(), sent.clone());
                        bucket.begin_call();
                    }
                }
                for key in (0..9).map(|key| format!("k{key}")) {
                    assert_eq!(bucket.get(&key).unwrap().as_deref(), call.get(&key).map(Vec::as_slice));
                }
                let (keys, _) = bucket.keys(0).unwrap();
                assert_eq!(keys, call.keys().cloned().collect::<Vec<_>>());
            }
            for outcome in under_way {
                outcome.await.unwrap().unwrap();
            }
        });
    }
}
