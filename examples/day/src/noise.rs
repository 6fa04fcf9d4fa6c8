//! Bursts of duplicates: an agent's hook fires again and again for one change of activity.
//!
//! A duplicate has its original's session, message and data and a later time, some seconds at most;
//! its id is its own, so only a window over the content can tell. It never falls behind the
//! session's next event: noise repeats the story, it does not change it.

use std::collections::HashMap;

use crate::clock::{Moment, Span};
use crate::dice::{Dice, stream};
use crate::event::{Draft, Kind};

const BURSTS: usize = 30;
/// A burst is over by then, and the session's next event must be later.
const BURST: Span = Span::seconds(10);

/// `drafts` sorted by time in, the duplicates out.
pub(crate) fn duplicates(seed: u64, drafts: &[Draft]) -> Vec<Draft> {
    let mut dice = Dice::new(seed, stream::NOISE);
    let mut quiet: Vec<&Draft> = followed_by_silence(drafts);
    let mut copies = Vec::new();
    for _ in 0..BURSTS.min(quiet.len()) {
        let original = quiet.swap_remove(dice.index(quiet.len()));
        let mut at = original.at;
        for _ in 0..dice.between(2, 8) {
            at = at + Span::between(&mut dice, Span::seconds(0), Span::seconds(1)).max(SMALLEST);
            copies.push(Draft { at, ..original.clone() });
        }
    }
    copies
}

/// Hooks that fire at once still fire one after the other.
const SMALLEST: Span = Span::milliseconds(4);

fn followed_by_silence(drafts: &[Draft]) -> Vec<&Draft> {
    let mut next: HashMap<&str, Moment> = HashMap::new();
    let mut quiet = Vec::new();
    for draft in drafts.iter().rev() {
        let following = next.insert(&draft.session, draft.at);
        let alone = following.is_some_and(|at| draft.at + BURST < at);
        if alone && draft.kind == Kind::ActivityChanged {
            quiet.push(draft);
        }
    }
    quiet.reverse();
    quiet
}
