//! The log alone: committing, with everything that questions need, and the questions.

use std::{
    collections::VecDeque,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use ennio::{
    event::{EventPriority, EventType, LogEntry, Selection, Timestamp},
    store::{Batch, Change, Did, NewEntry, Observer, Order, Query, Role, Step, Store, StoreError},
};
use tokio::{runtime::Runtime, sync::oneshot};

use crate::{
    Scale,
    bare::BareLog,
    events::{PROJECTS, SESSIONS, Source},
    table::{Goal, Table, in_turns, quantile},
};

const BATCH: usize = 512;
/// Batches on their way at once, as the pipeline has it.
const IN_FLIGHT: usize = 4;
/// Entries are made in stretches of this many, outside of the clock.
const STRETCH: usize = 100_000;

struct Nobody;

impl Observer for Nobody {
    fn committed(&mut self, _: &[Arc<LogEntry>], _: Duration) {}
}

pub fn rows(runtime: &Runtime, scale: Scale, table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    let mut source = Source::new();
    let bare = bare_rate(folder.path(), &mut source, scale.million);
    let path = folder.path().join("ennio.db");
    let store = Store::open(&path, Nobody).unwrap();
    let rate = runtime.block_on(fill(&store, &mut source, scale.million));
    table.row("commit, 1 M events, with the index", Some(bare), rate, "events/s", Goal::Share(0.5));
    let mut events = scale.million;
    while events < scale.in_the_end {
        let later = runtime.block_on(fill(&store, &mut source, scale.million));
        events += scale.million;
        if events == scale.in_the_end {
            let name = format!(
                "commit, from {} M to {} M events",
                events / 1_000_000 - 1,
                events / 1_000_000
            );
            table.row(&name, Some(rate), later, "events/s", Goal::Share(0.9));
        }
    }
    questions(runtime, &store, events, table);
    runtime.block_on(store.close());
}

/// What it costs to record what two plugins did, a filter and an enricher: of one event in 13, as many as
/// the recorded day's plugins dropped or changed, and at worst, when each event is changed.
pub fn trace(runtime: &Runtime, scale: Scale, table: &mut Table) {
    let commit = |steps: Option<&Step>, every: u64| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ennio.db"), Nobody).unwrap();
        let (mut source, mut number) = (Source::new(), 0);
        let make = || {
            let mut entry = source.entry();
            number += 1;
            if number % every == 0 {
                entry.passage.steps.extend(steps.cloned());
            }
            entry
        };
        let rate = runtime.block_on(fill_with(&store, make, scale.stream));
        runtime.block_on(store.close());
        rate
    };
    let step = Step {
        plugin: "ci-triage".parse().unwrap(),
        role: Role::Enricher,
        version: "dc3262bfba8e4d8f9c7a0b1d2e3f405162738495a6b7c8d9eaf0b1c2d3e4f506".into(),
        took: Duration::from_nanos(812),
        did: Did::Changed(Change {
            patch: r#"{"data":{"tag":"v1"}}"#.into(),
            was_priority: None,
            was_subject: None,
        }),
    };
    for (name, every) in [
        ("commit, one event in 13 changed, which its trace records", 13),
        ("commit, each event changed, which its trace records", 1),
    ] {
        let (without, with) = in_turns(|| commit(None, every), || commit(Some(&step), every));
        table.row(name, Some(without), with, "events/s", Goal::Share(0.9));
    }
}

/// How many events a second the store alone commits, index included.
pub fn rate(runtime: &Runtime, path: &Path, events: u64) -> f64 {
    let store = Store::open(path, Nobody).unwrap();
    let rate = runtime.block_on(fill(&store, &mut Source::new(), events));
    runtime.block_on(store.close());
    rate
}

fn bare_rate(folder: &Path, source: &mut Source, events: u64) -> f64 {
    let mut log = BareLog::new(folder);
    let mut took = Duration::ZERO;
    for _ in 0..events / STRETCH as u64 {
        let entries: Vec<NewEntry> = (0..STRETCH).map(|_| source.entry()).collect();
        let begun = Instant::now();
        entries.chunks(BATCH).for_each(|batch| log.commit(batch));
        took += begun.elapsed();
    }
    events as f64 / took.as_secs_f64()
}

/// Commits so many events and waits until the index has them; how many a second.
async fn fill(store: &Store, source: &mut Source, events: u64) -> f64 {
    fill_with(store, || source.entry(), events).await
}

async fn fill_with(store: &Store, mut make: impl FnMut() -> NewEntry, events: u64) -> f64 {
    let mut took = Duration::ZERO;
    for _ in 0..events / STRETCH as u64 {
        let mut entries: VecDeque<NewEntry> = (0..STRETCH).map(|_| make()).collect();
        let begun = Instant::now();
        let mut under_way = VecDeque::new();
        let mut last = 0;
        while !entries.is_empty() {
            let batch: Vec<NewEntry> = entries.drain(..BATCH.min(entries.len())).collect();
            let (answer, outcome) = oneshot::channel();
            let done = Box::new(move |result: Result<Vec<Arc<LogEntry>>, StoreError>| {
                drop(answer.send(result))
            });
            let (effects, state) = (vec![], vec![]);
            store.submit(Batch { entries: batch, effects, state, done }).await;
            under_way.push_back(outcome);
            if under_way.len() == IN_FLIGHT {
                last = check(under_way.pop_front().unwrap().await, last);
            }
        }
        for outcome in under_way {
            last = check(outcome.await, last);
        }
        // The index is part of the price.
        while store.indexed() < last {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        took += begun.elapsed();
    }
    events as f64 / took.as_secs_f64()
}

fn check(
    outcome: Result<Result<Vec<Arc<LogEntry>>, StoreError>, oneshot::error::RecvError>,
    last: u64,
) -> u64 {
    let entries = outcome.unwrap().unwrap();
    let first = entries.first().unwrap().seq;
    assert!(last == 0 || first == last + 1, "the order of commits");
    entries.last().unwrap().seq
}

/// Waits until the index has the words of all messages: they come last.
fn worded(store: &Store, events: u64) {
    let index = format!("{}-index", store.path().display());
    let index = rusqlite::Connection::open(index).unwrap();
    let end = || index.query_row("SELECT seq FROM words_end", [], |row| row.get::<_, i64>(0));
    while end().unwrap_or(0) < events as i64 {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn of_text(text: &str) -> Selection {
    Selection { text: Some(text.parse().unwrap()), ..Selection::default() }
}

/// The first hundred of each kind of question, many times.
fn questions(runtime: &Runtime, store: &Store, events: u64, table: &mut Table) {
    let middle = runtime.block_on(async {
        let query = Query { after_seq: Some(events / 2), ..Query::default() };
        store.reader().page(query, 1).await.unwrap().entries[0].event.timestamp
    });
    let of = |selection: Selection| Query { selection, ..Query::default() };
    type Ask = Box<dyn Fn(u64) -> Query>;
    let kinds: Vec<(&str, Ask)> = vec![
        (
            "project",
            Box::new(move |n| {
                of(Selection::default()
                    .project(format!("project-{}", n % PROJECTS).parse().unwrap()))
            }),
        ),
        (
            "session",
            Box::new(move |n| {
                let session = format!("session-{:05}", n * 7 % SESSIONS).parse().unwrap();
                of(Selection { session: Some(session), ..Selection::default() })
            }),
        ),
        ("type", Box::new(move |n| of(EventType::BUILT_IN[n as usize % 30].clone().into()))),
        (
            "subject",
            Box::new(move |n| {
                let patterns = [
                    "ennio.ci.project-7.failing",
                    "ennio.*.project-3.>",
                    "ennio.node.>",
                    "ennio.lifecycle.*",
                ];
                of(patterns[n as usize % 4].parse::<ennio::event::SubjectPattern>().unwrap().into())
            }),
        ),
        (
            "time",
            Box::new(move |n| {
                let since = Timestamp::from_micros(middle.micros() + n as i64 * 1000).unwrap();
                of(Selection { since: Some(since), ..Selection::default() })
            }),
        ),
        (
            "session, type and priority together",
            Box::new(move |n| {
                of(Selection {
                    session: Some(format!("session-{:05}", n % 50).parse().unwrap()),
                    types: vec![EventType::BUILT_IN[n as usize % 30].clone()],
                    min_priority: EventPriority::Action,
                    ..Selection::default()
                })
            }),
        ),
        (
            "a word that one event has",
            Box::new(move |n| of(of_text(&(n * 3301 % events + 1).to_string()))),
        ),
        (
            "a word that all events have",
            Box::new(move |n| of(of_text(["agent", "checks", "done work"][n as usize % 3]))),
        ),
        (
            "what is not there",
            Box::new(move |n| {
                of(Selection::default().project(format!("nobody-{n}").parse().unwrap()))
            }),
        ),
    ];
    worded(store, events);
    for (name, ask) in kinds {
        let mut times = Vec::new();
        for n in 0..300 {
            let mut query = ask(n);
            if n % 2 == 1 {
                query.order = Order::Descending;
            }
            let begun = Instant::now();
            let page = runtime.block_on(store.reader().page(query.clone(), 100)).unwrap();
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            assert!(page.entries.iter().all(|entry| query.selection.matches(entry)));
            assert!(page.next.is_none() || page.entries.len() == 100);
        }
        let name = format!("first 100 of {} M by {name}, p99", events / 1_000_000);
        table.row(&name, None, quantile(&mut times, 0.99), "ms", Goal::AtMost(10.0));
    }
}
