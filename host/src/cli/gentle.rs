//! Work that gives way: on one processor, and there only as far as nobody else wants it.
//!
//! Priority alone is not enough. A thread that wakes up beside one of low priority still waits for
//! the end of its time slice, and a host that answers within half a millisecond has many that wake
//! up. Where another processor is free, they wake up there.

use std::thread;

use anyhow::Context as _;
use rustix::{
    io, process,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use tokio::{runtime::Builder, sync::oneshot};

use super::output::note;

/// The lowest priority that a process can give itself.
const NICE: i32 = 19;

/// Does `work` on a runtime of its own whose threads all give way.
pub(super) async fn giving_way<T, W>(work: impl FnOnce() -> W + Send + 'static) -> anyhow::Result<T>
where
    T: Send + 'static,
    W: Future<Output = anyhow::Result<T>>,
{
    let (answer, outcome) = oneshot::channel();
    let run = move || {
        if let Err(e) = give_way() {
            note(&format!("this cannot give way to others, and may slow them down: {e}"));
        }
        Builder::new_current_thread().enable_all().build()?.block_on(work())
    };
    let run = move || drop(answer.send(run()));
    thread::Builder::new().name("ennio-gentle".into()).spawn(run).context("a thread")?;
    outcome.await.context("the work broke off")?
}

/// This thread, and every thread that it begins.
fn give_way() -> io::Result<()> {
    process::nice(NICE)?;
    let allowed = sched_getaffinity(None)?;
    let mut last = CpuSet::new();
    if let Some(processor) = (0..CpuSet::MAX_CPU).rev().find(|at| allowed.is_set(*at)) {
        last.set(processor);
        sched_setaffinity(None, &last)?;
    }
    Ok(())
}
