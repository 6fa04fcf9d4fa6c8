//! Follows the plugin folder. What the file system tells is only a hint to look again: the
//! registry compares contents, so a missed, doubled or misnamed hint does no harm.
//!
//! Network and overlay file systems tell nothing, and the system's watches can be used up. Then the
//! folder is looked at in intervals, which costs two questions a plugin and reads nothing that did
//! not change.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use notify::{
    EventKind, RecursiveMode,
    event::{AccessKind, AccessMode},
};
use serde::Deserialize;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};
use tracing::warn;

use super::registry::Registry;

/// Hints within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(250);
/// When a file was still being written, or has just vanished.
const LOOK_AGAIN: Duration = Duration::from_millis(400);
/// Where the file system tells of changes, it is still not believed that it tells of all.
const RESCAN: Duration = Duration::from_secs(10);
/// How often it is asked whether another folder lies under the name.
const IDENTITY: Duration = Duration::from_secs(1);

/// The least time between two looks.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

/// How changes of the folder are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchMode {
    /// The file system tells; where it cannot, as `Poll`.
    #[default]
    Auto,
    /// The folder is looked at in intervals: for network file systems, which tell nothing.
    Poll,
}

impl FromStr for WatchMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "poll" => Ok(Self::Poll),
            _ => Err("write `auto` or `poll`".into()),
        }
    }
}

/// How the folder is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchOptions {
    /// How changes are found.
    pub mode: WatchMode,
    /// Between two looks, where the file system tells nothing.
    pub interval: Duration,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { mode: WatchMode::Auto, interval: Duration::from_secs(1) }
    }
}

/// A running watch. Ends when stopped.
pub struct Watcher {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Starts to follow the registry's folder; `None` when it has none.
    pub fn start(registry: Arc<Registry>, options: WatchOptions) -> Option<Self> {
        Self::start_with(registry, options, watch, RESCAN)
    }

    fn start_with(
        registry: Arc<Registry>,
        options: WatchOptions,
        watch: Watch,
        rescan: Duration,
    ) -> Option<Self> {
        let path = registry.folder().map(PathBuf::from)?;
        let interval = options.interval.max(LEAST_INTERVAL);
        let options = WatchOptions { interval, ..options };
        let (hint, hints) = mpsc::channel(1);
        let mut follower = Follower { registry, path, options, rescan, watch, hint, watcher: None };
        // Before the caller goes on: what changes from now on is not missed.
        follower.watch();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = follower.follow(hints) => {}
                _ = stopped => {}
            }
        });
        Some(Self { stop, task })
    }

    /// Stops. A reload that is under way is given up.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        if let Err(e) = self.task.await {
            warn!("the plugin watcher ended badly: {e}");
        }
    }
}

type Boxed = Box<dyn notify::Watcher + Send>;

/// Makes a watch of a folder that hints at changes.
type Watch = fn(&Path, mpsc::Sender<()>) -> notify::Result<Boxed>;

fn watch(path: &Path, hint: mpsc::Sender<()>) -> notify::Result<Boxed> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if is_news(&event) {
            // A full channel already says that there is something to look at.
            let _ = hint.try_send(());
        }
    })?;
    notify::Watcher::watch(&mut watcher, path, RecursiveMode::NonRecursive)?;
    Ok(Box::new(watcher))
}

/// Whether the folder may have changed. That somebody reads it, as the host does itself, is no news;
/// that the system's queue ran over, or that watching failed, is.
fn is_news(event: &notify::Result<notify::Event>) -> bool {
    let Ok(event) = event else { return true };
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => event.need_rescan(),
        _ => true,
    }
}

struct Follower {
    registry: Arc<Registry>,
    path: PathBuf,
    options: WatchOptions,
    /// Between two looks all the same, where the file system tells.
    rescan: Duration,
    watch: Watch,
    hint: mpsc::Sender<()>,
    /// The watch and the folder that it watches; `None` while the folder is looked at in intervals.
    watcher: Option<(Boxed, Identity)>,
}

impl Follower {
    async fn follow(mut self, mut hints: mpsc::Receiver<()>) {
        let tick = match self.options.mode {
            WatchMode::Auto => self.options.interval.min(IDENTITY),
            WatchMode::Poll => self.options.interval,
        };
        let mut clock = interval_at(Instant::now() + tick, tick);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut scanned = Instant::now();
        loop {
            let due = tokio::select! {
                _ = hints.recv() => {
                    sleep(DEBOUNCE).await;
                    while hints.try_recv().is_ok() {}
                    true
                }
                _ = clock.tick() => {
                    let wait = match self.watcher {
                        Some(_) => self.rescan,
                        None => self.options.interval,
                    };
                    self.is_another_folder() || scanned.elapsed() >= wait
                }
            };
            if !due {
                continue;
            }
            scanned = Instant::now();
            if self.is_another_folder() {
                self.watch();
            }
            while self.registry.rescan(false).await.1 {
                sleep(LOOK_AGAIN).await;
            }
        }
    }

    /// Watches what lies under the path now, if the file system can; else it is polled.
    fn watch(&mut self) {
        if self.options.mode == WatchMode::Poll {
            return;
        }
        let Some(folder) = identity(&self.path) else { return };
        match (self.watch)(&self.path, self.hint.clone()) {
            Ok(watcher) => self.watcher = Some((watcher, folder)),
            Err(e) => {
                self.watcher = None;
                warn!(
                    "plugin folder {}: cannot be watched, and is looked at every {:?} instead: {e}",
                    self.path.display(),
                    self.options.interval,
                );
            }
        }
    }

    /// Whether another folder lies under the path than the one that is watched.
    fn is_another_folder(&self) -> bool {
        self.watcher.as_ref().is_some_and(|(_, folder)| identity(&self.path) != Some(*folder))
    }
}

/// What tells a folder from another of the same name.
type Identity = (u64, u64);

fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|folder| (folder.dev(), folder.ino()))
}

#[cfg(test)]
mod tests {
    use notify::{Event, event::Flag};

    use super::*;
    use crate::store::state::State;

    fn refused(_: &Path, _: mpsc::Sender<()>) -> notify::Result<Boxed> {
        Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch))
    }

    /// A watch that hints once, as an overflow does, and then never again.
    fn overflown(path: &Path, hint: mpsc::Sender<()>) -> notify::Result<Boxed> {
        let event = Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan));
        std::fs::write(path.join("b.wasm"), "bad").unwrap();
        if is_news(&event) {
            hint.try_send(()).unwrap();
        }
        Ok(Box::new(notify::NullWatcher))
    }

    async fn finds(watch: Watch, options: WatchOptions, before: Option<&str>, names: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let registry =
            Arc::new(Registry::new(Some(folder.path().into()), None, State::in_memory()).unwrap());
        if let Some(file) = before {
            std::fs::write(folder.path().join(file), "bad").unwrap();
        }
        let never = Duration::from_secs(3_600);
        let watcher = Watcher::start_with(Arc::clone(&registry), options, watch, never).unwrap();
        if before.is_none() {
            std::fs::write(folder.path().join("a.wasm"), "bad").unwrap();
        }
        let end = Instant::now() + Duration::from_secs(60);
        while !registry.status().iter().map(|plugin| &*plugin.name).eq(names.iter().copied()) {
            assert!(Instant::now() < end, "{:?}", registry.status());
            sleep(Duration::from_millis(10)).await;
        }
        watcher.stop().await;
    }

    #[tokio::test]
    async fn where_no_watch_can_be_had_the_folder_is_polled() {
        let interval = Duration::from_millis(20);
        finds(refused, WatchOptions { mode: WatchMode::Auto, interval }, None, &["a"]).await;
        finds(refused, WatchOptions { mode: WatchMode::Poll, interval }, None, &["a"]).await;
    }

    #[tokio::test]
    async fn changes_are_told_of_by_the_system_and_not_waited_for() {
        let interval = Duration::from_secs(3_600);
        finds(watch, WatchOptions { mode: WatchMode::Auto, interval }, None, &["a"]).await;
    }

    #[tokio::test]
    async fn a_queue_that_ran_over_leads_to_a_look_at_everything() {
        let interval = Duration::from_secs(3_600);
        let options = WatchOptions { mode: WatchMode::Auto, interval };
        finds(overflown, options, Some("a.wasm"), &["a", "b"]).await;
    }

    #[test]
    fn that_somebody_reads_the_folder_is_no_news() {
        for (kind, news) in [
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), false),
            (EventKind::Access(AccessKind::Close(AccessMode::Read)), false),
            (EventKind::Access(AccessKind::Close(AccessMode::Write)), true),
            (EventKind::Create(notify::event::CreateKind::File), true),
            (EventKind::Any, true),
        ] {
            assert_eq!(is_news(&Ok(Event::new(kind))), news, "{kind:?}");
        }
        assert!(is_news(&Err(notify::Error::generic("broken"))));
    }
}
