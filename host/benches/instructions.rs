//! How many instructions the hot paths take, beside the counts that are committed: what keeps a
//! change from making them slower without anybody noticing.
//!
//!     make instructions                                       compares, fails when one has grown
//!     cargo bench --profile dev --bench instructions -- --save  makes today's counts the baseline
//!
//! Instructions, not time: they are the same on a busy machine. Each path runs in a process of its
//! own under valgrind, once with a few rounds and once with twice as many; the difference is what
//! the rounds cost, without the start. Counts are those of the profile of the tests, which is built
//! anyway; another compiler or other dependencies move them, and the baseline then moves with them,
//! in a commit that says why.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark that is surprised should stop"
)]

#[allow(dead_code, reason = "other benchmarks use more of it")]
#[path = "figures/events.rs"]
mod events;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use ennio::{
    event::{Draft, Event, LogEntry, Timestamp},
    plugin::{Cache, Plugin, Registry},
    store::{Batch, NewEntry, Observer, Store, state::State},
};
use events::Source;
use tokio::{runtime::Runtime, sync::oneshot};

/// A path: so many rounds of it, and events in each round.
struct Hot {
    name: &'static str,
    run: fn(usize),
    rounds: usize,
    events: usize,
}

const PATHS: [Hot; 3] = [
    Hot { name: "from bytes to JSON", run: parse, rounds: 1000, events: 1 },
    Hot { name: "through a filter", run: filter, rounds: 50, events: 64 },
    Hot { name: "into the log and its index", run: commit, rounds: 5, events: 512 },
];

/// By how much a count may grow before it is a regression.
const TOLERANCE: f64 = 0.05;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [run, number, rounds] = arguments.as_slice()
        && run == "run"
    {
        (PATHS[number.parse::<usize>().unwrap()].run)(rounds.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let counts: BTreeMap<String, u64> = (0..PATHS.len()).map(count).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.json");
    if arguments.iter().any(|argument| argument == "--save") {
        fs::write(&file, serde_json::to_string_pretty(&counts).unwrap() + "\n").unwrap();
        println!("{counts:#?}\nis the baseline now: commit {}", file.display());
        return ExitCode::SUCCESS;
    }
    let baseline: BTreeMap<String, u64> =
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    println!("{:<30} {:>10} {:>10} {:>8}", "instructions an event", "baseline", "now", "change");
    let mut has_grown = false;
    for (name, now) in &counts {
        let before = baseline[name];
        let change = *now as f64 / before as f64 - 1.0;
        let verdict = match change {
            change if change > TOLERANCE => "  GROWN",
            change if change < -TOLERANCE => "  less: save it as the new baseline",
            _ => "",
        };
        has_grown |= change > TOLERANCE;
        println!("{name:<30} {before:>10} {now:>10} {:>7.1}%{verdict}", change * 100.0);
    }
    if has_grown {
        eprintln!(
            "a hot path takes more instructions than before. Find out why; when it is worth it, save \
             the new counts (see {}) and say so in the commit",
            file!()
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What one event costs on a path.
fn count(number: usize) -> (String, u64) {
    let path = &PATHS[number];
    let of = |rounds: usize| {
        let output = Command::new("valgrind")
            .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
            .arg(std::env::current_exe().unwrap())
            .args(["run", &number.to_string(), &rounds.to_string()])
            .output()
            .expect("valgrind is installed (make setup does it)");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {said}", path.name);
        let (_, count) = said.split_once("refs:").unwrap();
        count.lines().next().unwrap().replace(',', "").trim().parse::<u64>().unwrap()
    };
    // Compiles what is not in the cache yet. Under valgrind too: the processor that it shows to the
    // program has other features than the real one, so what was compiled outside is compiled again.
    of(1);
    let (once, twice) = (of(path.rounds), of(path.rounds * 2));
    assert!(twice > once, "{}: {once} for some rounds, {twice} for twice as many", path.name);
    (path.name.into(), (twice - once) / (path.rounds * path.events) as u64)
}

fn parse(rounds: usize) {
    let mut source = Source::new();
    // The same ones again and again, so that making them is no part of the difference.
    let lines: Vec<String> = (0..16).map(|_| source.json()).collect();
    for round in 0..rounds {
        let draft = Draft::parse(lines[round % lines.len()].as_bytes()).unwrap();
        std::hint::black_box(draft.digest());
        let now = Timestamp::now();
        let event = draft.into_event(now);
        let subject = event.subject();
        let entry = LogEntry::new(1, event, subject, None, 0, None, now);
        std::hint::black_box(entry.json());
    }
}

fn filter(rounds: usize) {
    let runtime = Runtime::new().unwrap();
    let plugin: Arc<Plugin> = runtime.block_on(keep_all());
    let mut source = Source::new();
    let events: Vec<Event> = (0..64).map(|_| source.draft().into_event(Timestamp::now())).collect();
    let events: Vec<&Event> = events.iter().collect();
    for _ in 0..rounds {
        let verdicts = runtime.block_on(plugin.filter(&events));
        assert!(verdicts.into_results().all(|verdict| verdict.is_ok()));
    }
}

async fn keep_all() -> Arc<Plugin> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let component: PathBuf = target.join("test-guests/keep-all.wasm");
    assert!(component.exists(), "{} is not built (run `make guests`)", component.display());
    let cache = Cache::open(&target.join("instructions-cache")).unwrap();
    let registry = Registry::new(None, Some(cache), State::in_memory()).unwrap();
    Arc::new(registry.examine(&component).await.unwrap())
}

struct Nobody;

impl Observer for Nobody {
    fn committed(&mut self, _: &[Arc<LogEntry>], _: Duration) {}
}

fn commit(rounds: usize) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("ennio.db"), Nobody).unwrap();
    let mut source = Source::new();
    for _ in 0..rounds {
        let entries: Vec<NewEntry> = (0..512).map(|_| source.entry()).collect();
        let (answer, outcome) = oneshot::channel();
        let done = Box::new(move |result| drop(answer.send(result)));
        let (effects, state) = (vec![], vec![]);
        let last = runtime.block_on(async {
            store.submit(Batch { entries, effects, state, done }).await;
            outcome.await.unwrap().unwrap().last().unwrap().seq
        });
        while store.indexed() < last {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    runtime.block_on(store.close());
}
