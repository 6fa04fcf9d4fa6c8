//! Work that gives way: threads that the machine runs only as far as nobody else wants it.

use std::thread;

use anyhow::Context as _;
use tokio::{runtime::Builder, sync::oneshot};

use super::output::note;

/// The lowest priority that a process can give itself.
const NICE: i32 = 19;

/// Does `work` on a runtime of its own, all of whose threads have the lowest priority: beside a host
/// that is busy, it has what the host leaves.
pub(super) async fn giving_way<T, W>(work: impl FnOnce() -> W + Send + 'static) -> anyhow::Result<T>
where
    T: Send + 'static,
    W: Future<Output = anyhow::Result<T>>,
{
    let (answer, outcome) = oneshot::channel();
    let run = move || {
        // On Linux that is the thread's, and that of every thread it begins.
        if let Err(e) = rustix::process::nice(NICE) {
            note(&format!("the priority cannot be lowered, so this may slow others down: {e}"));
        }
        Builder::new_multi_thread().enable_all().build()?.block_on(work())
    };
    let run = move || drop(answer.send(run()));
    thread::Builder::new().name("ennio-gentle".into()).spawn(run).context("a thread")?;
    outcome.await.context("the work broke off")?
}
