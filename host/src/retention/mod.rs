//! Retention: what the log forgets, and when.
//!
//! Once a second the log is held against the policy: what is too old for the first rule that is about
//! it, what is more than may be, what is larger than may be. It is deleted in small steps by the
//! writer, between two commits, so no commit waits for longer than it does for another batch. Where
//! pages become free, they are kept for the events to come up to a quarter of the file; what is more
//! is given back to the file system, in small steps as well.
//!
//! Cursors come first: what NATS or an enabled reaction has not done yet stays, whatever its age and
//! number, and that it does is shown. `max_size` alone goes past them, since a full disk would end
//! everything; who is overtaken so is told exactly what it missed.
//!
//! Knows `event`, `store`, and cursors by their names. May not know whose they are.

mod policy;
mod preview;
mod round;
mod status;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{error, info, warn};

pub use policy::{Cause, Policy, PolicyError};
pub use preview::{Forecast, Preview, preview};
pub use status::{Held, RetentionStatus, Snapshot, Trouble};

use crate::{amount::ByteSize, event::Timestamp, store::Store};
use round::{Keeper, Outcome};
use status::Reporter;

/// Between two looks at the log.
const EVERY: Duration = Duration::from_secs(1);

/// A cursor that retention waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its name in the store.
    pub cursor: String,
    /// Whether it stands at the log's beginning, rather than nowhere, before it was ever saved.
    pub begins_at_zero: bool,
}

/// The running retention.
#[derive(Debug)]
pub struct Retention {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    status: RetentionStatus,
}

impl Retention {
    /// Starts to keep the log to `policy`. `holders` says which cursors have to be waited for at that
    /// moment.
    pub fn spawn(
        policy: Policy,
        store: Arc<Store>,
        holders: impl Fn() -> Vec<Holder> + Send + 'static,
    ) -> Self {
        let (stop, stopping) = watch::channel(false);
        let (report, status) = Reporter::new(&policy);
        let keeper = Keeper::new(policy, store, stopping.clone());
        let task = tokio::spawn(run(keeper, report, holders, stopping));
        Self { stop, task, status }
    }

    /// How it is doing.
    pub fn status(&self) -> RetentionStatus {
        self.status.clone()
    }

    /// Ends after the step that is under way.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(e) = self.task.await {
            error!("retention ended badly: {e}");
        }
    }
}

async fn run(
    mut keeper: Keeper,
    mut report: Reporter,
    holders: impl Fn() -> Vec<Holder>,
    mut stop: watch::Receiver<bool>,
) {
    let mut clock = interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_behind = false;
    loop {
        tokio::select! {
            biased;
            // Whoever forgets retention has stopped it as well.
            _ = stop.wait_for(|stop| *stop) => return,
            _ = clock.tick(), if !is_behind => {}
            () = std::future::ready(()), if is_behind => {}
        }
        let begun = Instant::now();
        let outcome = keeper.round(Timestamp::now(), &holders()).await;
        is_behind = outcome.is_full();
        let Outcome { pruned, held, space, error, .. } = outcome;
        if !pruned.is_empty() {
            let all: u64 = pruned.values().sum();
            let by: Vec<String> =
                pruned.iter().map(|(name, count)| format!("{name} {count}")).collect();
            let used = space
                .map_or(String::new(), |space| format!(", {} remain in use", ByteSize(space.used)));
            info!("pruned {all} events in {:.1?} ({}){used}", begun.elapsed(), by.join(", "));
        }
        if let Some(e) = &error {
            warn!("retention cannot go on, the next round makes up for it: {e}");
        }
        report.round(&pruned, held, space, error);
    }
}

#[cfg(test)]
mod tests;
