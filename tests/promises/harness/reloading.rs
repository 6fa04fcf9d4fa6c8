//! Reloads while senders publish as fast as they can, in this process, and what the log tells of it.
//! For the tests, which check, and for `cargo bench --bench reload`, which also prints.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ennio::{
    event::{Draft, EventType, LogEntry},
    host::Host,
    plugin::{Change, WatchMode, WatchOptions},
};
use tokio::task::JoinHandle;

/// Events of one submission.
const SUBMISSION: u64 = 64;
const SENDERS: u64 = 4;
/// What the versions write.
const VERSIONS: [&str; 2] = ["v1", "v2"];

/// What was seen of one phase.
pub struct Run {
    pub took: Duration,
    pub events: u64,
    /// Between each two commits that follow on each other.
    pub gaps: Vec<Duration>,
    /// Those of them at which one version followed on another: no event was committed meanwhile.
    pub pauses: Vec<Duration>,
    /// How long each reload took, off the path of events: read, load, instantiate, configure.
    pub reloads: Vec<Duration>,
    /// Everything that must not be.
    pub faults: Vec<String>,
}

/// A host over a folder with one enricher, which writes `{"tag": version}` into every event.
pub struct Ground {
    host: Arc<Host>,
    folder: tempfile::TempDir,
    versions: [Vec<u8>; 2],
    /// Versions so far.
    swaps: usize,
    sent: BTreeMap<u64, u64>,
    head: u64,
}

impl Ground {
    /// The two files are the versions that alternate, the first of which runs at first.
    pub async fn new(versions: [&Path; 2]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let versions = versions.map(|file| std::fs::read(file).unwrap());
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        std::fs::write(plugins.join("tag.wasm"), &versions[0]).unwrap();
        // Nobody but the test looks at the folder.
        let never = WatchOptions { mode: WatchMode::Poll, interval: Duration::from_secs(86_400) };
        let host = Host::builder(folder.path().join("ennio.db")).plugins(plugins).watch(never);
        let host = Arc::new(host.start().await.unwrap());
        Self { host, folder, versions, swaps: 0, sent: BTreeMap::new(), head: 0 }
    }

    /// Publishes as fast as the host takes it, while the plugin is reloaded `reloads` times, or for
    /// `time` when that is longer.
    pub async fn run(&mut self, reloads: usize, time: Duration) -> Run {
        let done = Arc::new(AtomicBool::new(false));
        let watching = Watching::start(&self.host, self.head);
        let begun = Instant::now();
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let from = self.sent.get(&sender).copied().unwrap_or(0);
                let (host, done) = (Arc::clone(&self.host), Arc::clone(&done));
                tokio::spawn(send(host, sender, from, done))
            })
            .collect();
        let mut took = Vec::with_capacity(reloads);
        for _ in 0..reloads {
            // Not before an event has met the version that runs.
            watching.met(self.swaps).await;
            self.swaps += 1;
            took.push(self.reload().await);
        }
        watching.met(self.swaps).await;
        tokio::time::sleep(time.saturating_sub(begun.elapsed())).await;
        done.store(true, Ordering::Relaxed);
        let before = self.sent.clone();
        let mut events = 0;
        for (sender, task) in (0..SENDERS).zip(senders) {
            let end = task.await.unwrap();
            events += end - before.get(&sender).copied().unwrap_or(0);
            self.sent.insert(sender, end);
        }
        let duration = begun.elapsed();
        let seen = watching.until(self.head + events).await;
        self.head += events;
        let faults = faults(&seen, self.head - events, &before, &self.sent, reloads);
        let (gaps, pauses) = gaps(&seen);
        Run { took: duration, events, gaps, pauses, reloads: took, faults }
    }

    pub async fn end(self) {
        self.host.shutdown().await;
    }

    async fn reload(&self) -> Duration {
        let beside = self.folder.path().join("beside");
        std::fs::write(&beside, &self.versions[self.swaps % 2]).unwrap();
        std::fs::rename(beside, self.folder.path().join("plugins/tag.wasm")).unwrap();
        let begun = Instant::now();
        let changes = self.host.rescan_plugins().await;
        assert!(matches!(changes[..], [Change::Reloaded(_)]), "{changes:?}");
        begun.elapsed()
    }
}

/// Publishes numbered events until `done`; gives the number after the last one.
async fn send(host: Arc<Host>, sender: u64, from: u64, done: Arc<AtomicBool>) -> u64 {
    let mut next = from;
    while !done.load(Ordering::Relaxed) {
        let drafts = (next..next + SUBMISSION).map(|n| {
            let session = format!("s-{sender}").parse().unwrap();
            let mut draft =
                Draft::new(EventType::ActivityChanged, "atlas".parse().unwrap(), session);
            draft.message = Some("the agent works on it".parse().unwrap());
            draft.data = Some(format!("{{\"sender\":{sender},\"n\":{n}}}").parse().unwrap());
            draft
        });
        for receipt in host.pipeline().publish_all(drafts.collect()).await {
            receipt.unwrap();
        }
        next += SUBMISSION;
    }
    next
}

/// One event, as a subscriber saw it.
struct Seen {
    seq: u64,
    committed: i64,
    sender: u64,
    n: u64,
    tag: String,
}

impl Seen {
    fn of(entry: &LogEntry) -> Self {
        #[derive(serde::Deserialize)]
        struct Data {
            sender: u64,
            n: u64,
            #[serde(default)]
            tag: String,
        }
        let Data { sender, n, tag } = serde_json::from_str(entry.event.data.as_str()).unwrap();
        Self { seq: entry.seq, committed: entry.committed_at.micros(), sender, n, tag }
    }
}

/// A subscriber, and what it has come to.
struct Watching {
    /// The index of the version that the last event met, from 1.
    version: Arc<AtomicU64>,
    end: Arc<AtomicU64>,
    task: JoinHandle<Vec<Seen>>,
}

impl Watching {
    fn start(host: &Host, after: u64) -> Self {
        let version = Arc::new(AtomicU64::new(0));
        let end = Arc::new(AtomicU64::new(u64::MAX));
        let mut subscription = host.bus().subscribe_after(EventType::ActivityChanged, after);
        let task = tokio::spawn({
            let (version, end) = (Arc::clone(&version), Arc::clone(&end));
            async move {
                let mut seen: Vec<Seen> = Vec::new();
                let mut head = after;
                while head < end.load(Ordering::Relaxed) {
                    // Wakes up now and then to see whether that was all.
                    let wait = Duration::from_millis(20);
                    let Ok(entry) = tokio::time::timeout(wait, subscription.next()).await else {
                        continue;
                    };
                    let entry = Seen::of(&entry.unwrap());
                    let index = VERSIONS.iter().position(|tag| *tag == entry.tag);
                    version.store(index.map_or(0, |index| 1 + index as u64), Ordering::Relaxed);
                    head = entry.seq;
                    seen.push(entry);
                }
                seen
            }
        });
        Self { version, end, task }
    }

    /// Returns once an event has met the version of this number.
    async fn met(&self, number: usize) {
        let wanted = 1 + number as u64 % 2;
        eventually("an event meets the version that runs", async || {
            (self.version.load(Ordering::Relaxed) == wanted).then_some(())
        })
        .await;
    }

    /// Everything that was seen, up to this place in the log.
    async fn until(self, end: u64) -> Vec<Seen> {
        self.end.store(end, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// What is wrong: every number of every sender is to be there once, in its order, in a log without
/// gaps, and to have met one version, of which there were `swaps`.
fn faults(
    seen: &[Seen],
    after: u64,
    before: &BTreeMap<u64, u64>,
    sent: &BTreeMap<u64, u64>,
    swaps: usize,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut next = before.clone();
    for (expected, entry) in (after + 1..).zip(seen) {
        if entry.seq != expected {
            faults.push(format!("seq {} where {expected} was due", entry.seq));
        }
        let due = next.entry(entry.sender).or_default();
        if entry.n != *due {
            faults.push(format!("sender {}: {} where {due} was due", entry.sender, entry.n));
        }
        *due = entry.n + 1;
        if !VERSIONS.contains(&&*entry.tag) {
            faults.push(format!("seq {} met {:?}", entry.seq, entry.tag));
        }
    }
    if next != *sent {
        faults.push(format!("of {sent:?} came {next:?}"));
    }
    let met = seen.windows(2).filter(|pair| pair[0].tag != pair[1].tag).count();
    if met != swaps {
        faults.push(format!("{met} swaps in the log, {swaps} were made"));
    }
    faults
}

/// The times between commits, and those between the last event of one version and the first of the
/// next.
fn gaps(seen: &[Seen]) -> (Vec<Duration>, Vec<Duration>) {
    let mut gaps = Vec::new();
    let mut pauses = Vec::new();
    for pair in seen.windows(2) {
        let micros = pair[1].committed.saturating_sub(pair[0].committed);
        let gap = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        if pair[0].committed != pair[1].committed {
            gaps.push(gap);
        }
        if pair[0].tag != pair[1].tag {
            pauses.push(gap);
        }
    }
    (gaps, pauses)
}

/// Asks again until `condition` gives something.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> Option<()>) {
    let end = Instant::now() + Duration::from_secs(60);
    while condition().await.is_none() {
        assert!(Instant::now() < end, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

#[cfg(test)]
mod tests {
    /// The negative control: each thing that must not be is found.
    #[test]
    fn the_checker_finds_what_is_lost_repeated_out_of_order_or_met_by_no_version() {
        // In here, since a benchmark has no tests and would not use it.
        use super::*;
        let seen = |numbers: &[u64]| -> Vec<Seen> {
            let entries = numbers.iter().zip(1..).map(|(n, seq)| Seen {
                seq,
                committed: 0,
                sender: 0,
                n: *n,
                tag: "v1".into(),
            });
            entries.collect()
        };
        let sent = BTreeMap::from([(0, 4)]);
        let check = |seen: &[Seen], swaps| faults(seen, 0, &BTreeMap::new(), &sent, swaps);
        assert_eq!(check(&seen(&[0, 1, 2, 3]), 0), [""; 0]);
        for bad in [&[0, 1, 3][..], &[0, 1, 2], &[0, 1, 1, 2, 3], &[0, 2, 1, 3]] {
            assert!(!check(&seen(bad), 0).is_empty(), "{bad:?}");
        }
        assert!(!check(&seen(&[0, 1, 2, 3]), 1).is_empty(), "a swap that nobody met");
        let mut untouched = seen(&[0, 1, 2, 3]);
        untouched[2].tag = String::new();
        assert!(!check(&untouched, 0).is_empty());
        let mut gap = seen(&[0, 1, 2, 3]);
        gap[3].seq = 5;
        assert!(!check(&gap, 0).is_empty());
    }
}
