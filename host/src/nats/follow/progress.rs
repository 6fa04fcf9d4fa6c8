//! What an event is after those that a follower has: the next one, one behind missing ones, one that
//! it has already, or none of this log. A function of places; nothing here asks anybody.

use crate::event::{LogId, Seq};

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The next one. `missing` is the last of those that should have come before it.
    Next { missing: Option<Seq> },
    /// One of a place that the log has come past.
    Again,
    /// Of another log.
    Foreign,
    /// It says to follow directly on an event before the last one here: that log has gone back, and
    /// gives places anew.
    Torn,
}

/// What the event at `seq` of the log `origin` is, which was published directly behind `previous`,
/// after everything up to `last` of the log `known`; with no log known any will do.
pub(super) fn judge(
    known: Option<LogId>,
    last: Seq,
    origin: LogId,
    previous: Seq,
    seq: Seq,
) -> Verdict {
    if known.is_some_and(|known| known != origin) {
        return Verdict::Foreign;
    }
    match previous {
        _ if seq <= last => Verdict::Again,
        _ if previous == last => Verdict::Next { missing: None },
        _ if previous > last => Verdict::Next { missing: Some(previous) },
        _ => Verdict::Torn,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ours() -> LogId {
        "0b5c29a8-51d1-4a3e-9e0e-6f0d4e8f2a11".parse().unwrap()
    }

    #[test]
    fn only_events_of_the_known_log_are_taken() {
        let other = "0b5c29a8-51d1-4a3e-9e0e-6f0d4e8f2a12".parse().unwrap();
        assert_eq!(judge(Some(ours()), 4, other, 4, 5), Verdict::Foreign);
        assert_eq!(judge(Some(ours()), 4, other, 1, 2), Verdict::Foreign, "though it looks known");
        assert_eq!(judge(None, 0, other, 0, 1), Verdict::Next { missing: None });
        assert_eq!(judge(Some(ours()), 7, ours(), 5, 9), Verdict::Torn);
    }

    proptest! {
        /// A log of which some events are hidden; of the others a stream has lost some, and shows
        /// some again.
        #[test]
        fn every_loss_is_noticed_and_nothing_else(
            hidden in prop::collection::btree_set(1..60u64, 0..30),
            lost in prop::collection::btree_set(1..60u64, 0..30),
            again in prop::collection::btree_set(1..60u64, 0..10),
        ) {
            let (mut previous, mut last) = (0, 0);
            let mut taken = BTreeSet::new();
            let mut noticed = BTreeSet::new();
            for seq in (1..60u64).filter(|seq| !hidden.contains(seq)) {
                if !lost.contains(&seq) {
                    let verdict = judge(Some(ours()), last, ours(), previous, seq);
                    let Verdict::Next { missing } = verdict else {
                        return Err(TestCaseError::fail(format!("{seq}: {verdict:?}")));
                    };
                    if let Some(until) = missing {
                        noticed.extend((last + 1..=until).filter(|seq| !hidden.contains(seq)));
                    }
                    last = seq;
                    prop_assert!(taken.insert(seq));
                    if again.contains(&seq) {
                        prop_assert_eq!(judge(Some(ours()), last, ours(), previous, seq), Verdict::Again);
                    }
                }
                previous = seq;
            }
            // What is lost at the end shows with the next event.
            let should: BTreeSet<u64> =
                lost.iter().copied().filter(|seq| !hidden.contains(seq) && *seq < last).collect();
            prop_assert_eq!(noticed, should);
        }
    }
}
