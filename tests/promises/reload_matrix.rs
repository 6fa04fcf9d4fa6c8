//! Every way in which the files of a plugin change, while events come: with the file system's own
//! notices, and by polling.
//!
//! One plugin, `tag`, whose every version writes its own name into each event. Versions only ever go
//! forward, so the log tells afterwards whether an event met none, two, or one from before.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::symlink,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::harness::{
    Checker, Host, Setup, eventually, numbered,
    wat::{beginning, no_plugin, tagger},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_files_change_no_event_is_lost_when_the_file_system_tells() {
    every_way("auto").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_files_change_no_event_is_lost_when_the_folder_is_polled() {
    every_way("poll").await;
}

async fn every_way(watch: &str) {
    let mut site = Site::new(watch).await;
    site.renamed_over().await;
    site.written_in_place_in_slow_pieces().await;
    site.saved_as_vim_does().await;
    site.hard_linked_over().await;
    site.deleted_and_written_at_once().await;
    site.written_again_with_the_same_bytes().await;
    site.given_sidecars().await;
    site.replaced_by_what_cannot_run().await;
    site.folder_swapped().await;
    site.fifty_at_once().await;
    site.deleted_and_restored().await;
    site.flapping().await;
    site.linked_as_kubernetes_does().await;
    site.end().await;
}

/// A host that follows a folder, and traffic through it.
struct Site {
    root: TempDir,
    host: Arc<Host>,
    traffic: Traffic,
    version: usize,
    _setup: Setup,
}

impl Site {
    async fn new(watch: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("plugins");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("tag.wasm"), version(1)).unwrap();
        let config = root.path().join("ennio.toml");
        fs::write(&config, format!("[plugins]\nwatch = \"{watch}\"\nwatch_interval_ms = 200\n"))
            .unwrap();
        let setup = Setup::new().plugins(&folder).argument("--config");
        let setup = setup.argument(config.to_str().unwrap());
        let host = Arc::new(setup.start());
        let traffic = Traffic::start(&host);
        let site = Self { root, host, traffic, version: 1, _setup: setup };
        site.runs("at the start").await;
        site
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("plugins").join(name)
    }

    /// The bytes of the next version.
    fn next(&mut self) -> Vec<u8> {
        self.version += 1;
        version(self.version)
    }

    /// Waits until the last version runs; gives how many were loaded so far.
    async fn runs(&self, how: &str) -> u64 {
        let hash = hash(&version(self.version));
        let what = format!("version {} runs: {how}", self.version);
        let plugin = self
            .host
            .plugin_where("tag", &what, |plugin| {
                plugin["hash"] == *hash && plugin["load_error"].is_null()
            })
            .await;
        plugin["loads"].as_u64().unwrap()
    }

    async fn loads(&self) -> u64 {
        self.host.plugin("tag").await.unwrap()["loads"].as_u64().unwrap()
    }

    /// Waits until the host has looked at the folder since now: another plugin is there, and gone.
    async fn looked(&self) {
        self.write_at_once("fence.wasm", version(0));
        self.host.plugin_where("fence", "the fence", |plugin| plugin["state"] == "running").await;
        fs::remove_file(self.file("fence.wasm")).unwrap();
        eventually("the fence is gone", async || {
            self.host.plugin("fence").await.is_none().then_some(())
        })
        .await;
    }

    fn write_at_once(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let beside = self.root.path().join("beside");
        fs::write(&beside, bytes).unwrap();
        fs::rename(beside, self.file(name)).unwrap();
    }

    async fn renamed_over(&mut self) {
        let bytes = self.next();
        self.write_at_once("tag.wasm", bytes);
        self.runs("renamed over").await;
    }

    async fn written_in_place_in_slow_pieces(&mut self) {
        let before = self.loads().await;
        let bytes = self.next();
        let mut file = File::create(self.file("tag.wasm")).unwrap();
        let (first, last) = bytes.split_at(bytes.len() * 3 / 4);
        for piece in first.chunks(first.len() / 8) {
            file.write_all(piece).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // So slow that the host takes the half for the whole, and finds that it is none.
        self.host
            .plugin_where("tag", "half a file is refused", |plugin| {
                plugin["load_error"].as_str().is_some_and(|error| error.contains("compile"))
            })
            .await;
        file.write_all(last).unwrap();
        drop(file);
        assert_eq!(self.runs("in slow pieces").await, before + 1, "no half was ever run");
    }

    async fn saved_as_vim_does(&mut self) {
        for name in ["tag.wasm", "tag.toml"] {
            let bytes = match name {
                "tag.wasm" => self.next(),
                _ => b"order = 40\n".to_vec(),
            };
            File::create(self.file("4913")).unwrap();
            fs::remove_file(self.file("4913")).unwrap();
            let backup = self.file(&format!("{name}~"));
            if self.file(name).exists() {
                fs::rename(self.file(name), &backup).unwrap();
            }
            fs::write(self.file(name), bytes).unwrap();
            let _ = fs::remove_file(backup);
        }
        self.runs("saved by vim").await;
        self.host.plugin_where("tag", "the sidecar", |plugin| plugin["order"] == 40).await;
    }

    async fn hard_linked_over(&mut self) {
        let bytes = self.next();
        let elsewhere = self.root.path().join("elsewhere");
        fs::write(&elsewhere, bytes).unwrap();
        fs::hard_link(&elsewhere, self.file("tag.new")).unwrap();
        fs::rename(self.file("tag.new"), self.file("tag.wasm")).unwrap();
        self.runs("hard-linked over").await;
        fs::remove_file(elsewhere).unwrap();
    }

    async fn deleted_and_written_at_once(&mut self) {
        let bytes = self.next();
        fs::remove_file(self.file("tag.wasm")).unwrap();
        fs::write(self.file("tag.wasm"), bytes).unwrap();
        self.runs("deleted and written at once").await;
    }

    async fn written_again_with_the_same_bytes(&mut self) {
        let before = self.loads().await;
        let bytes = version(self.version);
        fs::write(self.file("tag.wasm"), &bytes).unwrap();
        self.looked().await;
        self.write_at_once("tag.wasm", &bytes);
        self.looked().await;
        let file = File::options().write(true).open(self.file("tag.wasm")).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
        self.looked().await;
        assert_eq!(self.loads().await, before, "the same bytes are the same version");
    }

    async fn given_sidecars(&mut self) {
        let hash = hash(&version(self.version));
        for order in [7, 8] {
            self.write_at_once("tag.toml", format!("order = {order}\n"));
            let plugin =
                self.host.plugin_where("tag", "the order", |plugin| plugin["order"] == order).await;
            assert_eq!(plugin["hash"], *hash);
        }
        fs::remove_file(self.file("tag.toml")).unwrap();
        self.host.plugin_where("tag", "no sidecar", |plugin| plugin["order"] == 50).await;
    }

    /// At every step of a load.
    async fn replaced_by_what_cannot_run(&mut self) {
        let before = self.loads().await;
        let half = version(self.version);
        let link =
            beginning(r#"(import "unheard-of" "rumour" (func $r))"#, "(func (call $r))", "", "");
        let trap = "unreachable";
        let components: [(&str, &str, Vec<u8>); 7] = [
            ("compile", "not WebAssembly", b"not a plugin at all".to_vec()),
            ("compile", "", half[..half.len() / 2].to_vec()),
            ("roles", "exports none", no_plugin()),
            ("link", "unheard-of", link),
            ("instantiate", trap, beginning("", "(func $s unreachable) (start $s)", "", "")),
            ("describe", trap, beginning("", "", trap, "")),
            ("configure", trap, beginning("", "", "", trap)),
        ];
        for (step, reason, bytes) in components {
            self.write_at_once("tag.wasm", bytes);
            self.keeps(before, step, reason).await;
        }
        fs::remove_file(self.file("tag.wasm")).unwrap();
        fs::create_dir(self.file("tag.wasm")).unwrap();
        self.keeps(before, "read", "is a folder").await;
        fs::remove_dir(self.file("tag.wasm")).unwrap();
        symlink("nowhere", self.file("tag.wasm")).unwrap();
        self.keeps(before, "read", "does not exist").await;
        self.write_at_once("tag.toml", "on_eror = \"drop\"");
        let bytes = self.next();
        self.write_at_once("tag.wasm", bytes);
        self.keeps(before, "sidecar", "did you mean `on_error`?").await;
        fs::remove_file(self.file("tag.toml")).unwrap();
        self.runs("after all that could not").await;
    }

    /// The version that ran still does, and why the other does not is told.
    async fn keeps(&self, loads: u64, step: &str, reason: &str) {
        let plugin = self
            .host
            .plugin_where("tag", &format!("{step}: {reason}"), |plugin| {
                plugin["load_error"].as_str().is_some_and(|error| {
                    error.contains(&format!(": {step}: ")) && error.contains(reason)
                })
            })
            .await;
        assert_eq!(json!([plugin["state"], plugin["loads"]]), json!(["running", loads]), "{step}");
    }

    async fn folder_swapped(&mut self) {
        let folder = self.root.path().join("plugins");
        for _ in 0..3 {
            let next = self.root.path().join("next");
            fs::create_dir(&next).unwrap();
            fs::write(next.join("tag.wasm"), self.next()).unwrap();
            fs::rename(&folder, self.root.path().join("away")).unwrap();
            fs::rename(&next, &folder).unwrap();
            self.runs("in another folder").await;
            fs::remove_dir_all(self.root.path().join("away")).unwrap();
        }
        // And what happens in the new folder is seen as well.
        self.renamed_over().await;
    }

    async fn fifty_at_once(&mut self) {
        let names: Vec<String> = (0..50).map(|n| format!("crowd-{n}")).collect();
        for round in 1..=2 {
            for name in &names {
                let bytes = tagger(&format!("{{\"crowd\":{{\"{name}\":{round}}}}}"));
                fs::write(self.file(&format!("{name}.wasm")), bytes).unwrap();
            }
            let bytes = self.next();
            self.write_at_once("tag.wasm", bytes);
            eventually("fifty plugins", async || {
                let (_, plugins) = self.host.get("/v1/plugins").await;
                let plugins = plugins["plugins"].as_array().unwrap().iter();
                let there = plugins.filter(|plugin| plugin["loads"] == round).count();
                (there >= 50).then_some(())
            })
            .await;
            self.runs("among fifty").await;
        }
        for name in &names {
            fs::remove_file(self.file(&format!("{name}.wasm"))).unwrap();
        }
        eventually("fifty are gone", async || {
            let (_, plugins) = self.host.get("/v1/plugins").await;
            (plugins["plugins"].as_array().unwrap().len() == 1).then_some(())
        })
        .await;
    }

    async fn deleted_and_restored(&mut self) {
        self.traffic.may_be_without(true).await;
        fs::remove_file(self.file("tag.wasm")).unwrap();
        eventually("unloaded", async || self.host.plugin("tag").await.is_none().then_some(()))
            .await;
        fs::write(self.file("tag.wasm"), self.next()).unwrap();
        self.runs("restored").await;
        self.traffic.may_be_without(false).await;
    }

    async fn flapping(&mut self) {
        self.traffic.may_be_without(true).await;
        let bytes = self.next();
        for _ in 0..30 {
            fs::remove_file(self.file("tag.wasm")).unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
            fs::write(self.file("tag.wasm"), &bytes).unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        self.runs("after flapping").await;
        self.traffic.may_be_without(false).await;
    }

    /// A ConfigMap: the files are links through `..data`, which is a link that is swapped.
    async fn linked_as_kubernetes_does(&mut self) {
        for swap in 0..20 {
            let target = format!("..{swap}");
            fs::create_dir(self.file(&target)).unwrap();
            fs::write(self.file(&target).join("tag.wasm"), self.next()).unwrap();
            symlink(&target, self.file("..data_tmp")).unwrap();
            fs::rename(self.file("..data_tmp"), self.file("..data")).unwrap();
            if swap == 0 {
                symlink("..data/tag.wasm", self.file("tag.link")).unwrap();
                fs::rename(self.file("tag.link"), self.file("tag.wasm")).unwrap();
            }
            self.runs("as in a ConfigMap").await;
            if swap > 0 {
                fs::remove_dir_all(self.file(&format!("..{}", swap - 1))).unwrap();
            }
        }
    }

    /// What the log tells of all of it.
    async fn end(self) {
        let checker = self.traffic.end().await;
        let log = self.host.log().await;
        assert_eq!(checker.faults(&log), []);
        assert!(log.len() > 1_000, "{} events", log.len());
        let mut last = 0;
        let mut met = 0;
        for (n, entry) in log.iter().enumerate() {
            assert_eq!(entry["data"]["n"], n, "in the order in which they were sent");
            let versions: Vec<usize> = entry["data"]["met"]
                .as_object()
                .map(|met| met.keys().map(|key| key.parse().unwrap()).collect())
                .unwrap_or_default();
            match versions[..] {
                [] => assert_eq!(entry["data"]["free"], true, "met no version: {entry}"),
                [version] => {
                    assert!(version >= last, "version {version} after {last}: {entry}");
                    met += usize::from(version > last);
                    last = version;
                }
                _ => panic!("met more than one version: {entry}"),
            }
        }
        assert_eq!(last, self.version);
        assert!(met > 10, "events met {met} versions");
    }
}

/// A version that tells every event that it met it.
fn version(number: usize) -> Vec<u8> {
    match number {
        // The fence: it leaves no trace of itself.
        0 => tagger("{}"),
        _ => tagger(&format!("{{\"met\":{{\"{number}\":true}}}}")),
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Events that come all the time, from one sender.
struct Traffic {
    without: Arc<AtomicBool>,
    done: Arc<AtomicBool>,
    batches: Arc<AtomicUsize>,
    task: JoinHandle<Checker>,
}

impl Traffic {
    fn start(host: &Arc<Host>) -> Self {
        let without = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicBool::new(false));
        let batches = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn({
            let (host, batches) = (Arc::clone(host), Arc::clone(&batches));
            let (without, done) = (Arc::clone(&without), Arc::clone(&done));
            async move {
                let mut checker = Checker::default();
                let mut sent = 0;
                while !done.load(Ordering::SeqCst) {
                    let free = without.load(Ordering::SeqCst);
                    let lines: Vec<Value> = (sent..sent + 10)
                        .map(|n| {
                            let mut event = numbered(n);
                            event["data"]["free"] = free.into();
                            event
                        })
                        .collect();
                    sent += lines.len();
                    lines.iter().for_each(|event| checker.sent(event));
                    for receipt in host.publish_lines(&lines).await {
                        assert_eq!(receipt["status"], "accepted", "{receipt}");
                        checker.told(&receipt);
                    }
                    batches.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                checker
            }
        });
        Self { without, done, batches, task }
    }

    /// Says of the events from now on whether they may find no plugin. Returns once nothing is on its
    /// way that said otherwise.
    async fn may_be_without(&self, without: bool) {
        self.without.store(without, Ordering::SeqCst);
        let begun = self.batches.load(Ordering::SeqCst);
        eventually("a batch later", async || {
            (self.batches.load(Ordering::SeqCst) > begun + 1).then_some(())
        })
        .await;
    }

    async fn end(self) -> Checker {
        // The last version has to be met as well.
        self.may_be_without(self.without.load(Ordering::SeqCst)).await;
        self.done.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}
