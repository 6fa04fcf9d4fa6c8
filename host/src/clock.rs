//! What time it is, for what the host does of itself at a time: the system's clock, or one that a test
//! moves by hand.

use std::{future::Future, time::Duration};

use tokio::{sync::watch, time::sleep};

use crate::event::Timestamp;

/// The longest wait before the system's clock is looked at again: it may have been set.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A clock. Cheap to clone; clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    ByHand(watch::Sender<Timestamp>),
}

impl Clock {
    /// A clock that stands at `time` until it is moved.
    pub fn by_hand(time: Timestamp) -> Self {
        Self(Source::ByHand(watch::Sender::new(time)))
    }

    /// What it shows.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::ByHand(time) => *time.borrow(),
        }
    }

    /// Moves a clock that is moved by hand; the system's is left alone.
    pub fn advance(&self, by: Duration) {
        if let Source::ByHand(time) = &self.0 {
            time.send_modify(|time| *time = time.later(by));
        }
    }

    /// Returns once it shows `time` or later.
    pub fn reach(&self, time: Timestamp) -> impl Future<Output = ()> + Send + use<> {
        let source = self.0.clone();
        async move {
            match source {
                Source::System => loop {
                    let left = time.micros().saturating_sub(Timestamp::now().micros());
                    match u64::try_from(left) {
                        Ok(left) if left > 0 => {
                            sleep(Duration::from_micros(left).min(LOOK_EVERY)).await;
                        }
                        _ => return,
                    }
                },
                Source::ByHand(now) => {
                    // The sender is ours: it cannot be gone.
                    let _ = now.subscribe().wait_for(|now| *now >= time).await;
                }
            }
        }
    }
}
