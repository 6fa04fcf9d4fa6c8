//! The binary as a process: how soon it is ready, and what it takes.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use ennio::host::Host;
use futures::StreamExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    Scale,
    events::Source,
    plugins::guest,
    table::{Goal, Table, quantile},
};

/// Plugins of the rows about a loaded host: each does something.
const PLUGINS: [&str; 10] = [
    "drop-chatty",
    "keep-all",
    "tag-v1",
    "tag-v2",
    "keep-all",
    "tag-v1",
    "noise-filter",
    "redact-secrets",
    "ci-triage",
    "merge-ready",
];

/// A host process on a folder of its own.
pub struct Served {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    pub address: String,
    folder: Option<TempDir>,
}

impl Served {
    pub fn new(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut served = Self::start(folder.path(), arguments);
        served.folder = Some(folder);
        served
    }

    /// Starts a host on `folder` and waits for its ready line.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ennio"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "warn"])
            .args(arguments)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let (_, url) = line.split_once("http://").unwrap();
        let address = url.split_whitespace().next().unwrap().to_owned();
        Self { child, output, address, folder: None }
    }

    /// Resident memory, in MB of a million bytes: now, and at its highest.
    pub fn memory(&self) -> (f64, f64) {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let field = |name: &str| -> f64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            kib * 1024.0 / 1e6
        };
        (field("VmRSS"), field("VmHWM"))
    }

    /// Ends it in order; how many events it says are in the log.
    pub fn stop(mut self) -> u64 {
        let signal = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(signal.unwrap().success());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut said).unwrap();
        assert!(self.child.wait().unwrap().success());
        let (_, rest) = said.split_once("is on disk (").unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn rows(runtime: &Runtime, scale: Scale, table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(fill(folder.path(), scale.million));
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    for (number, name) in PLUGINS.iter().enumerate() {
        let component = guest(name);
        std::fs::copy(&component, plugins.join(format!("{name}-{number}.wasm"))).unwrap();
        let sidecar = component.with_extension("toml");
        if sidecar.exists() {
            std::fs::copy(sidecar, plugins.join(format!("{name}-{number}.toml"))).unwrap();
        }
    }
    // The first start fills the cache of compiled plugins.
    Served::start(folder.path(), &["--plugins", "plugins"]).stop();
    let mut times = Vec::new();
    let mut idle = 0.0;
    for _ in 0..5 {
        let begun = Instant::now();
        let host = Served::start(folder.path(), &["--plugins", "plugins"]);
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        idle = host.memory().0;
        assert_eq!(host.stop(), scale.million);
    }
    let start = quantile(&mut times, 0.5);
    table.row(
        "start to ready, 10 cached plugins, 1 M events",
        None,
        start,
        "ms",
        Goal::AtMost(150.0),
    );
    table.row("resident, idle, 10 plugins", None, idle, "MB", Goal::AtMost(60.0));
    let host = Served::start(folder.path(), &["--plugins", "plugins"]);
    runtime.block_on(load(&host.address, scale.stream));
    table.row(
        "resident, at most under load, 10 plugins",
        None,
        host.memory().1,
        "MB",
        Goal::AtMost(200.0),
    );
    host.stop();
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_ennio")).unwrap().len();
    table.row("the binary", None, binary as f64 / 1e6, "MB", Goal::None);
}

/// Makes a log of so many events.
pub async fn fill(folder: &Path, events: u64) {
    let host = Host::builder(folder.join("ennio.db")).start().await.unwrap();
    let mut source = Source::new();
    let batches = (0..events / 500).map(|_| source.drafts(500));
    let outcomes =
        futures::stream::iter(batches).map(|batch| host.pipeline().publish_all(batch)).buffered(4);
    outcomes.for_each(async |batch| assert!(batch.iter().all(Result::is_ok))).await;
    host.shutdown().await;
}

/// Lines over HTTP from two senders, and four readers of the stream beside them.
async fn load(address: &str, events: u64) {
    let client = reqwest::Client::new();
    let mut readers = Vec::new();
    for _ in 0..4 {
        let stream = client.get(format!("http://{address}/v1/events/stream")).send().await.unwrap();
        readers.push(tokio::spawn(async move {
            let mut pieces = stream.bytes_stream();
            while let Some(Ok(_)) = pieces.next().await {}
        }));
    }
    let mut source = Source::new();
    let bodies: Vec<String> =
        (0..2).map(|_| (0..events / 2).map(|_| source.json() + "\n").collect::<String>()).collect();
    let senders = bodies.into_iter().map(|body| {
        let request = client.post(format!("http://{address}/v1/events"));
        request.header("content-type", "application/x-ndjson").body(body).send()
    });
    for answer in futures::future::join_all(senders).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    readers.iter().for_each(tokio::task::JoinHandle::abort);
}
