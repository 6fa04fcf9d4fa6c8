use std::collections::{HashMap, VecDeque, hash_map::RandomState};
use std::hash::BuildHasher;

use ennio_plugin::{Event, timestamp};

/// The most originals that are remembered: about 8 MiB, an eighth of a plugin's default memory.
/// When there are more, the oldest is forgotten first, and a repetition of it
/// goes through.
const CAPACITY: usize = 65_536;

/// What makes two events the same. A hash: among [`CAPACITY`] originals two different events share
/// one by chance less than once in 10^14, and its key is random, so nobody can aim for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Print(u64);

struct Original {
    id: String,
    at: i64,
}

/// The events that were kept, for as long as a later one could repeat them.
///
/// A repetition is measured against the last event that was *kept*, not against the last one seen:
/// so of a message that comes every second, one a window goes through, and not none for ever.
pub(crate) struct Duplicates {
    window: i64,
    hash_key: RandomState,
    originals: HashMap<Print, Original>,
    /// Originals in the order in which they were remembered, to be forgotten in it.
    order: VecDeque<(Print, i64)>,
}

impl Duplicates {
    pub(crate) fn new(window_seconds: u32) -> Self {
        Duplicates {
            window: i64::from(window_seconds) * timestamp::SECOND,
            hash_key: RandomState::new(),
            originals: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(crate) fn window_seconds(&self) -> i64 {
        self.window / timestamp::SECOND
    }

    pub(crate) fn print(&self, event: &Event) -> Print {
        Print(self.hash_key.hash_one((
            &event.event_type,
            &event.project_id,
            &event.session_id,
            &event.message,
            &event.data_json,
        )))
    }

    /// The id of the event that one with this print at this time repeats. Events may come out of
    /// order: the window counts both ways.
    pub(crate) fn original(&self, print: Print, now: i64) -> Option<&str> {
        let original = self.originals.get(&print)?;
        (now.abs_diff(original.at) <= self.window.unsigned_abs()).then_some(&original.id)
    }

    /// Remembers an event that was kept. Only room decides what is forgotten, not time: events of
    /// today and of a day that is being replayed may come mixed.
    pub(crate) fn remember(&mut self, print: Print, id: String, now: i64) {
        while self.order.len() >= CAPACITY {
            let Some((print, at)) = self.order.pop_front() else { break };
            // A later event may have taken this one's place.
            if self.originals.get(&print).is_some_and(|original| original.at == at) {
                self.originals.remove(&print);
            }
        }
        self.originals.insert(print, Original { id, at: now });
        self.order.push_back((print, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = timestamp::SECOND;

    #[test]
    fn of_a_steady_repetition_one_a_window_goes_through() {
        let mut duplicates = Duplicates::new(10);
        let mut kept = vec![];
        for second in 0..35 {
            if duplicates.original(Print(1), second * SECOND).is_none() {
                duplicates.remember(Print(1), format!("{second}"), second * SECOND);
                kept.push(second);
            }
        }
        assert_eq!(kept, [0, 11, 22, 33]);
    }

    #[test]
    fn a_repetition_that_comes_before_its_original_is_one_too() {
        let mut duplicates = Duplicates::new(10);
        duplicates.remember(Print(1), "late".into(), 100 * SECOND);
        assert_eq!(duplicates.original(Print(1), 90 * SECOND), Some("late"));
        assert_eq!(duplicates.original(Print(1), 89 * SECOND), None);
    }

    #[test]
    fn memory_stays_bounded_inside_one_window() {
        let mut duplicates = Duplicates::new(86_400);
        for n in 0..CAPACITY as u64 + 1_000 {
            duplicates.remember(Print(n), String::new(), 0);
        }
        assert_eq!(duplicates.originals.len(), CAPACITY);
        assert_eq!(duplicates.order.len(), CAPACITY);
        assert_eq!(duplicates.original(Print(0), 0), None, "the oldest went first");
        assert_eq!(duplicates.original(Print(CAPACITY as u64), 0), Some(""));
    }

    #[test]
    fn an_event_of_today_between_those_of_a_replayed_day_makes_nothing_forgotten() {
        let mut duplicates = Duplicates::new(10);
        duplicates.remember(Print(1), "replayed".into(), 0);
        duplicates.remember(Print(2), "today".into(), 1_000_000 * SECOND);
        assert_eq!(duplicates.original(Print(1), SECOND), Some("replayed"));
    }
}
