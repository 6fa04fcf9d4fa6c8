//! How often a plugin answers its own events. Each chain of reactions ends by its hops; this ends what
//! grows in width, or begins again and again.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// So many answers to its own events a plugin may give...
pub(super) const MAX_ANSWERS: usize = 60;
/// ...within this time.
pub(super) const WITHIN: Duration = Duration::from_secs(60);

/// When a plugin last answered its own events.
#[derive(Debug, Default)]
pub(super) struct Echo {
    answers: VecDeque<Instant>,
}

impl Echo {
    /// Whether one more answer is within the rate; it counts, if it is.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        while self.answers.front().is_some_and(|first| now.duration_since(*first) >= WITHIN) {
            self.answers.pop_front();
        }
        if self.answers.len() >= MAX_ANSWERS {
            return false;
        }
        self.answers.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_answers_within_a_time_and_then_again() {
        let now = Instant::now();
        let mut echo = Echo::default();
        assert!((0..MAX_ANSWERS).all(|n| echo.admits(now + Duration::from_millis(n as u64))));
        assert!(!echo.admits(now + Duration::from_secs(59)));
        assert!(echo.admits(now + WITHIN), "the first is forgotten");
        assert!(!echo.admits(now + WITHIN), "the second is not");
    }
}
