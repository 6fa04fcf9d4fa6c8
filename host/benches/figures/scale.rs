//! How the host grows: the real binary under load, one thing made larger at a time. Rates, and the
//! most memory that it took.

use std::{fs, path::Path};

use ennio::host::Host;
use futures::StreamExt;
use serde::Serialize;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    events::{PROJECTS, SESSIONS, Source},
    http::load,
    plot,
    process::Served,
    table::quantile,
};

/// One point of one curve.
#[derive(Debug, Serialize)]
pub struct Point {
    /// Which picture it belongs to.
    pub figure: &'static str,
    /// Which line.
    pub line: &'static str,
    pub x: f64,
    pub y: f64,
    /// Of `y`.
    pub unit: &'static str,
    /// The host's resident memory at its highest, in MB of a million bytes.
    pub memory: f64,
}

/// Measures every curve, writes `target/scale.json`, and draws `docs/scale/`.
pub fn run(runtime: &Runtime) {
    let mut points = Vec::new();
    stored(runtime, &mut points);
    plugins(&mut points);
    streams(&mut points);
    sizes(&mut points);
    producers(&mut points);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::write(root.join("target/scale.json"), serde_json::to_vec_pretty(&points).unwrap()).unwrap();
    plot::draw(&points, &root.join("docs/scale"));
    println!("written to target/scale.json and docs/scale/");
}

/// Adds a point, and tells of it.
fn add(
    points: &mut Vec<Point>,
    (figure, line): (&'static str, &'static str),
    x: u64,
    (y, unit): (f64, &'static str),
    memory: f64,
) {
    println!("{figure:<12} {line:<26} {x:>9}  {y:>12.2} {unit:<10} {memory:>7.1} MB");
    points.push(Point { figure, line, x: x as f64, y, unit, memory });
}

/// Lines from one sender; how many events a second.
fn lines(host: &Served, events: u64, bytes: usize) -> f64 {
    let seconds = load(&["lines", &host.address, &events.to_string(), &bytes.to_string()]);
    events as f64 / seconds
}

/// Events in the log: taking more in, and the first hundred of a project and a session.
fn stored(runtime: &Runtime, points: &mut Vec<Point>) {
    const MORE: u64 = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let mut source = Source::new();
    let mut there = 0;
    for events in [100_000, 1_000_000, 10_000_000] {
        runtime.block_on(fill(folder.path(), &mut source, events - there));
        let host = Served::start(folder.path(), &[]);
        let questions = [
            ("first 100 of a project, p99", "project", "project-", PROJECTS, 0),
            ("first 100 of a session, p99", "session", "session-", SESSIONS, 5),
        ];
        for (line, field, name, count, digits) in questions {
            let url = |n: u64| {
                format!(
                    "http://{}/v1/events?limit=100&{field}={name}{:0digits$}",
                    host.address,
                    n * 7 % count
                )
            };
            let p99 = runtime.block_on(ask(url));
            add(points, ("stored", line), events, (p99, "ms"), host.memory().1);
        }
        let rate = lines(&host, MORE, 0);
        add(points, ("stored", "taken in"), events, (rate, "events/s"), host.memory().1);
        there = host.stop();
        assert_eq!(there, events + MORE);
    }
}

async fn fill(folder: &Path, source: &mut Source, events: u64) {
    let host = Host::builder(folder.join("ennio.db")).start().await.unwrap();
    let batches = (0..events / 500).map(|_| source.drafts(500));
    let outcomes =
        futures::stream::iter(batches).map(|batch| host.pipeline().publish_all(batch)).buffered(4);
    outcomes.for_each(async |batch| assert!(batch.iter().all(Result::is_ok))).await;
    host.shutdown().await;
}

/// The 99th percentile of 300 questions, in milliseconds.
async fn ask(url: impl Fn(u64) -> String) -> f64 {
    let client = reqwest::Client::new();
    let mut times = Vec::new();
    for n in 0..300 {
        let begun = std::time::Instant::now();
        let answer = client.get(url(n)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    quantile(&mut times, 0.99)
}

/// Filters that keep everything, and filters that never see an event.
fn plugins(points: &mut Vec<Point>) {
    for (line, sidecar) in [
        ("subscribed to all events", ""),
        ("subscribed to none", "subscribe = [\"ennio.custom.nobody.never\"]\n"),
    ] {
        for count in [0, 1, 10, 100] {
            let folder = with_plugins(count, sidecar);
            let host = Served::start(folder.path(), &["--plugins", "plugins"]);
            let rate = lines(&host, if count < 100 { 200_000 } else { 50_000 }, 0);
            add(points, ("plugins", line), count, (rate, "events/s"), host.memory().1);
            host.stop();
        }
    }
}

fn with_plugins(count: u64, sidecar: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    for number in 0..count {
        let component = crate::plugins::guest("keep-all");
        fs::copy(component, plugins.join(format!("keep-{number}.wasm"))).unwrap();
        fs::write(plugins.join(format!("keep-{number}.toml")), sidecar).unwrap();
    }
    folder
}

/// Live SSE streams that all get every event.
fn streams(points: &mut Vec<Point>) {
    for readers in [1, 10, 100, 1000] {
        let host = Served::new(&[]);
        let events: u64 = (2_000_000 / readers).min(200_000);
        let arguments =
            [&host.address, &readers.to_string(), &events.to_string()].map(|a| a.clone());
        let seconds = load(&["streams", &arguments[0], &arguments[1], &arguments[2]]);
        let memory = host.memory().1;
        let rate = events as f64 / seconds;
        add(points, ("streams", "taken in and delivered"), readers, (rate, "events/s"), memory);
        let delivered = rate * readers as f64;
        add(points, ("streams", "deliveries"), readers, (delivered, "events/s"), memory);
        host.stop();
    }
}

/// The size of `data`, in bytes.
fn sizes(points: &mut Vec<Point>) {
    for bytes in [100, 1 << 10, 10 << 10, 100 << 10] {
        let host = Served::new(&[]);
        let events = (200_000_000 / bytes as u64).min(200_000);
        let rate = lines(&host, events, bytes);
        let memory = host.memory().1;
        add(points, ("size", "events"), bytes as u64, (rate, "events/s"), memory);
        add(points, ("size", "data"), bytes as u64, (rate * bytes as f64 / 1e6, "MB/s"), memory);
        host.stop();
    }
}

/// Connections that send one event after the other, each waiting for its receipt.
fn producers(points: &mut Vec<Point>) {
    for connections in [1, 8, 64, 1000] {
        let host = Served::new(&[]);
        let events = if connections == 1 { 5_000 } else { 100_000 };
        let count = connections.to_string();
        let seconds = load(&["one", &host.address, &count, &events.to_string()]);
        let rate = (events / connections * connections) as f64 / seconds;
        let memory = host.memory().1;
        add(points, ("producers", "one event a request"), connections, (rate, "events/s"), memory);
        host.stop();
    }
}
