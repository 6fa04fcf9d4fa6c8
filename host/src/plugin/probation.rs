//! The probation of a version that took over from another: while it lasts, one trap or missed
//! deadline brings the version before back.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{call::CallError, plugin::Plugin, versions::Versions};

/// It ends after this many events,
const EVENTS: u64 = 1_000;
/// or after this time, whichever comes first.
const TIME: Duration = Duration::from_secs(60);

/// What a version on probation holds on to. The version before is held by [`Versions`] alone, so
/// that a chain of reloads keeps one version back and not all of them.
pub(super) struct Probation {
    began: Instant,
    before: Weak<Plugin>,
    versions: Weak<Versions>,
}

/// What is left of a probation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Remaining {
    /// Events.
    pub events: u64,
    /// Seconds.
    pub seconds: f64,
}

impl Probation {
    pub(super) fn new(before: &Arc<Plugin>, versions: &Arc<Versions>) -> Self {
        let (before, versions) = (Arc::downgrade(before), Arc::downgrade(versions));
        Self { began: Instant::now(), before, versions }
    }

    /// What is left after `events`; `None` when it is over.
    pub(super) fn remaining(&self, events: u64) -> Option<Remaining> {
        remaining(events, self.began.elapsed())
    }

    /// The version before, while `events` have not ended the probation.
    pub(super) fn before(&self, events: u64) -> Option<Arc<Plugin>> {
        self.remaining(events)?;
        self.before.upgrade()
    }

    /// `plugin` failed: the version before takes over. `false` when there is nobody left to do
    /// that.
    pub(super) fn fail(&self, plugin: &Plugin, error: &CallError) -> bool {
        let Some(versions) = self.versions.upgrade() else { return false };
        versions.fail_probation(plugin, error);
        true
    }
}

fn remaining(events: u64, age: Duration) -> Option<Remaining> {
    let time = TIME.checked_sub(age).filter(|time| !time.is_zero())?;
    let events = EVENTS.checked_sub(events).filter(|events| *events > 0)?;
    Some(Remaining { events, seconds: time.as_secs_f64() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probation_ends_with_its_events_or_its_time() {
        let left = remaining(1, Duration::from_secs(1)).unwrap();
        assert_eq!((left.events, left.seconds), (999, 59.0));
        assert!(remaining(999, Duration::from_millis(59_999)).is_some());
        assert!(remaining(1_000, Duration::ZERO).is_none());
        assert!(remaining(0, TIME).is_none());
    }
}
