//! How often a plugin answers its own events. A chain of reactions ends by its hops; this ends what grows
//! in width instead: too many answers that go back to one event from outside.
//!
//! In memory: a host that was restarted begins to count anew.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::event::EventId;

/// So many answers to its own events a plugin may give, of those that go back to one event...
pub(super) const MAX_ANSWERS: u32 = 64;
/// ...within this time.
pub(super) const WITHIN: Duration = Duration::from_secs(60);

/// Events from outside that are remembered.
const MAX_ROOTS: usize = 4096;

/// By the event from outside: when the first of its answers was given, and how many.
#[derive(Debug, Default)]
pub(super) struct Echo {
    answers: HashMap<EventId, (Instant, u32)>,
}

impl Echo {
    /// Whether one more answer that goes back to `root` is within the rate; it counts, if it is.
    pub(super) fn admits(&mut self, root: EventId, now: Instant) -> bool {
        let is_recent = |first: Instant| now.duration_since(first) < WITHIN;
        if self.answers.len() >= MAX_ROOTS {
            self.answers.retain(|_, (first, _)| is_recent(*first));
            if self.answers.len() >= MAX_ROOTS {
                // So many at once are no loop of one event.
                self.answers.clear();
            }
        }
        let (first, count) = self.answers.entry(root).or_insert((now, 0));
        if !is_recent(*first) {
            (*first, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= MAX_ANSWERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_answers_of_one_root_within_a_time_and_then_again() {
        let now = Instant::now();
        let (root, other) = (EventId::mint(), EventId::mint());
        let mut echo = Echo::default();
        assert!((0..MAX_ANSWERS).all(|_| echo.admits(root, now)));
        assert!(!echo.admits(root, now + WITHIN - Duration::from_millis(1)));
        assert!(echo.admits(other, now));
        assert!(echo.admits(root, now + WITHIN));
    }

    #[tokio::test]
    async fn its_memory_is_bounded() {
        let mut echo = Echo::default();
        let now = Instant::now();
        assert!((0..3 * MAX_ROOTS).all(|_| echo.admits(EventId::mint(), now)));
        assert!(echo.answers.len() <= MAX_ROOTS);
    }
}
