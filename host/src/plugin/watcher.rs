//! Follows the plugin folder. What the file system tells is only a hint to look again: the
//! registry compares contents, so a missed, doubled or misnamed hint does no harm.

use std::{path::PathBuf, sync::Arc, time::Duration};

use notify_debouncer_mini::{
    DebounceEventResult, Debouncer, new_debouncer,
    notify::{RecommendedWatcher, RecursiveMode},
};
use thiserror::Error;
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
/// Some file systems tell nothing, and a queue can overflow.
const RESCAN: Duration = Duration::from_secs(10);

/// Why the folder cannot be followed.
#[derive(Debug, Error)]
#[error("plugin folder {}: cannot be watched: {source}", path.display())]
pub struct WatcherError {
    path: PathBuf,
    source: notify_debouncer_mini::notify::Error,
}

/// A running watch. Ends when stopped.
pub struct Watcher {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Starts to follow the registry's folder; `None` when it has none.
    ///
    /// # Errors
    /// [`WatcherError`] when the system refuses to watch the folder.
    pub fn start(registry: Arc<Registry>) -> Result<Option<Self>, WatcherError> {
        let Some(path) = registry.folder().map(PathBuf::from) else { return Ok(None) };
        let (hint, hints) = mpsc::channel(1);
        let debouncer = watch(&path, hint.clone())
            .map_err(|source| WatcherError { path: path.clone(), source })?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(follow(registry, path, debouncer, hint, hints, stopped));
        Ok(Some(Self { stop, task }))
    }

    /// Stops after the reload that is under way.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        if let Err(e) = self.task.await {
            warn!("the plugin watcher ended badly: {e}");
        }
    }
}

type Watch = Debouncer<RecommendedWatcher>;

fn watch(
    path: &std::path::Path,
    hint: mpsc::Sender<()>,
) -> notify_debouncer_mini::notify::Result<Watch> {
    let mut debouncer = new_debouncer(DEBOUNCE, move |_: DebounceEventResult| {
        // A full channel already says that there is something to look at.
        let _ = hint.try_send(());
    })?;
    debouncer.watcher().watch(path, RecursiveMode::NonRecursive)?;
    Ok(debouncer)
}

async fn follow(
    registry: Arc<Registry>,
    path: PathBuf,
    first: Watch,
    hint: mpsc::Sender<()>,
    mut hints: mpsc::Receiver<()>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut folder = identity(&path);
    let mut current = Some(first);
    let mut clock = interval_at(Instant::now() + RESCAN, RESCAN);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            _ = hints.recv() => {}
            _ = clock.tick() => {}
        }
        let now = identity(&path);
        if now != folder {
            // Another folder lies under this name now; the old watch follows the old one.
            match watch(&path, hint.clone()) {
                Ok(watch) => {
                    current.replace(watch);
                    folder = now;
                }
                Err(e) => warn!("plugin folder {}: cannot be watched: {e}", path.display()),
            }
        }
        while registry.rescan(false).await.1 {
            tokio::select! {
                _ = &mut stopped => return,
                _ = sleep(LOOK_AGAIN) => {}
            }
        }
    }
}

/// What tells a folder from another of the same name.
#[cfg(unix)]
fn identity(path: &std::path::Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|folder| (folder.dev(), folder.ino()))
}

#[cfg(not(unix))]
fn identity(path: &std::path::Path) -> Option<std::time::SystemTime> {
    std::fs::metadata(path).ok().and_then(|folder| folder.created().ok())
}
