//! What one plugin comes back to, in memory: which event may be tried when, and which waits behind an
//! earlier one of the same key. The rows in the store are the truth; this is made from them.
//!
//! A plain structure: the time is an argument. Of one key, at most one event is under way, and it is
//! the first of those that wait. Events without a key wait for nobody.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tokio::time::Instant;

use crate::event::Seq;

/// What events have in common that are kept in their order.
pub(super) type Key = Arc<str>;

/// What may be done with a new event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Try it.
    Free,
    /// Another new event of its key is under way: look again when that has ended.
    Busy,
    /// An earlier event of its key waits: it has to wait as well.
    Behind,
}

#[derive(Default)]
pub(super) struct Queue {
    events: BTreeMap<Seq, Waiting>,
    /// Those that may be tried, by when.
    due: BTreeSet<(Instant, Seq)>,
    keys: HashMap<Key, Line>,
}

struct Waiting {
    key: Option<Key>,
    attempts: u32,
    at: Instant,
}

/// The events of one key.
#[derive(Default)]
struct Line {
    waiting: BTreeSet<Seq>,
    /// Which of them is among those that may be tried.
    first: Option<(Instant, Seq)>,
    /// One of the key is under way.
    is_busy: bool,
}

impl Queue {
    /// How many wait, those included that are under way again.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether an event waits here.
    pub(super) fn has(&self, seq: Seq) -> bool {
        self.events.contains_key(&seq)
    }

    /// What may be done with a new event of this key.
    pub(super) fn way(&self, key: Option<&Key>) -> Way {
        match key.and_then(|key| self.keys.get(key)) {
            None => Way::Free,
            Some(line) if !line.waiting.is_empty() => Way::Behind,
            Some(_) => Way::Busy,
        }
    }

    /// A new event of this key is under way.
    pub(super) fn begin_new(&mut self, key: Option<&Key>) {
        if let Some(key) = key {
            self.keys.entry(Arc::clone(key)).or_default().is_busy = true;
        }
    }

    /// It no longer is.
    pub(super) fn end_new(&mut self, key: Option<&Key>) {
        self.free(key);
    }

    /// An event waits from now on.
    pub(super) fn add(&mut self, seq: Seq, key: Option<Key>, attempts: u32, at: Instant) {
        match &key {
            Some(key) => drop(self.keys.entry(Arc::clone(key)).or_default().waiting.insert(seq)),
            None => drop(self.due.insert((at, seq))),
        }
        let waiting = Waiting { key: key.clone(), attempts, at };
        self.events.insert(seq, waiting);
        self.line_up(key.as_ref());
    }

    /// The event to be tried now, and how often it was: it is under way from then on.
    pub(super) fn start(&mut self, now: Instant) -> Option<(Seq, u32)> {
        let (at, seq) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, seq));
        let waiting = self.events.get(&seq)?;
        if let Some(line) = waiting.key.as_ref().and_then(|key| self.keys.get_mut(key)) {
            line.is_busy = true;
            line.first = None;
        }
        Some((seq, waiting.attempts))
    }

    /// An event that was under way waits again.
    pub(super) fn put_back(&mut self, seq: Seq, attempts: u32, at: Instant) {
        let Some(waiting) = self.events.get_mut(&seq) else { return };
        (waiting.attempts, waiting.at) = (attempts, at);
        match waiting.key.clone() {
            Some(key) => self.free(Some(&key)),
            None => drop(self.due.insert((at, seq))),
        }
    }

    /// An event that was under way waits no more: what waits behind it may be tried.
    pub(super) fn remove(&mut self, seq: Seq) {
        let Some(Waiting { key: Some(key), .. }) = self.events.remove(&seq) else { return };
        if let Some(line) = self.keys.get_mut(&key) {
            line.waiting.remove(&seq);
        }
        self.free(Some(&key));
    }

    /// When the next one may be tried.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    fn free(&mut self, key: Option<&Key>) {
        if let Some(line) = key.and_then(|key| self.keys.get_mut(key)) {
            line.is_busy = false;
        }
        self.line_up(key);
    }

    /// Lets the first of a key be tried, unless one of the key is under way.
    fn line_up(&mut self, key: Option<&Key>) {
        let Some(key) = key else { return };
        let Some(line) = self.keys.get_mut(key) else { return };
        if let Some(first) = line.first.take() {
            self.due.remove(&first);
        }
        if line.is_busy {
            return;
        }
        let first = line.waiting.first().and_then(|seq| Some((self.events.get(seq)?.at, *seq)));
        match first {
            Some(first) => {
                line.first = Some(first);
                self.due.insert(first);
            }
            None => drop(self.keys.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use proptest::prelude::*;

    use super::*;

    fn key(name: u8) -> Option<Key> {
        (name > 0).then(|| Key::from(name.to_string()))
    }

    #[tokio::test]
    async fn what_waits_holds_back_its_own_key_alone_and_lets_it_go_in_order() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut queue = Queue::default();
        queue.add(1, key(1), 1, later);
        assert_eq!(queue.way(key(1).as_ref()), Way::Behind);
        assert_eq!(queue.way(key(2).as_ref()), Way::Free);
        assert_eq!(queue.way(None), Way::Free);
        queue.add(5, key(1), 0, now);
        queue.add(4, key(1), 0, now);
        queue.add(6, None, 1, now);
        assert_eq!(queue.start(now), Some((6, 1)));
        assert_eq!(queue.start(now), None, "4 and 5 are behind 1");
        assert_eq!(queue.next(), Some(later));
        assert_eq!(queue.start(later), Some((1, 1)));
        assert_eq!(queue.next(), None);
        queue.put_back(1, 2, later + Duration::from_secs(1));
        assert_eq!(queue.start(later), None);
        assert_eq!(queue.start(later + Duration::from_secs(1)), Some((1, 2)));
        queue.remove(1);
        assert_eq!(queue.start(now), Some((4, 0)));
        queue.remove(4);
        assert_eq!(queue.start(now), Some((5, 0)));
        queue.remove(5);
        assert_eq!(queue.way(key(1).as_ref()), Way::Free);
    }

    #[tokio::test]
    async fn an_old_event_that_comes_back_is_first_but_not_beside_one_that_is_under_way() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.begin_new(key(1).as_ref());
        assert_eq!(queue.way(key(1).as_ref()), Way::Busy);
        queue.add(3, key(1), 0, now);
        queue.add(2, key(1), 0, now);
        assert_eq!(queue.start(now), None);
        queue.end_new(key(1).as_ref());
        assert_eq!(queue.start(now), Some((2, 0)));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(u8, u8),
        New(u8),
        Start,
        Fail(u8),
        End,
        Pass(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4u8, 0..9u8).prop_map(|(key, wait)| Step::Add(key, wait)),
            2 => (0..4u8).prop_map(Step::New),
            6 => Just(Step::Start),
            2 => (0..9u8).prop_map(Step::Fail),
            4 => Just(Step::End),
            3 => (0..9u8).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Against a plain list that is searched each time.
        #[test]
        fn the_queue_is_a_list_in_which_the_first_of_each_key_may_go(steps in prop::collection::vec(step(), 1..120)) {
            let mut now = Instant::now();
            let mut queue = Queue::default();
            // Place, key, when.
            let mut model: Vec<(Seq, u8, Instant)> = Vec::new();
            let mut running: Vec<(Seq, u8)> = Vec::new();
            let mut new: HashSet<u8> = HashSet::new();
            for (seq, step) in (1..).zip(steps) {
                match step {
                    Step::Add(name, wait) => {
                        let at = now + Duration::from_secs(wait.into());
                        queue.add(seq, key(name), 0, at);
                        model.push((seq, name, at));
                    }
                    Step::New(name) => {
                        let way = queue.way(key(name).as_ref());
                        let waits = name > 0 && model.iter().any(|(_, key, _)| *key == name);
                        let busy = name > 0 && new.contains(&name);
                        let expected = if waits { Way::Behind } else if busy { Way::Busy } else { Way::Free };
                        prop_assert_eq!(way, expected);
                        if way == Way::Free && name > 0 {
                            queue.begin_new(key(name).as_ref());
                            new.insert(name);
                        }
                    }
                    Step::Start => {
                        let free = |seq: Seq, name: u8| match name {
                            0 => !running.iter().any(|(other, _)| *other == seq),
                            _ => {
                                let first = model.iter().filter(|(_, key, _)| *key == name).map(|(seq, ..)| *seq).min();
                                first == Some(seq) && !new.contains(&name)
                                    && !running.iter().any(|(_, key)| *key == name)
                            }
                        };
                        let expected = model.iter().filter(|(seq, name, _)| free(*seq, *name)).map(|(seq, _, at)| (*at, *seq)).min();
                        prop_assert_eq!(queue.next(), expected.map(|(at, _)| at));
                        let expected = expected.filter(|(at, _)| *at <= now).map(|(_, seq)| seq);
                        let started = queue.start(now).map(|(seq, _)| seq);
                        prop_assert_eq!(started, expected);
                        if let Some(seq) = started {
                            let (_, name, _) = model.iter().find(|(other, ..)| *other == seq).unwrap();
                            running.push((seq, *name));
                        }
                    }
                    Step::Fail(wait) => {
                        if let Some((seq, _)) = running.pop() {
                            let at = now + Duration::from_secs(wait.into());
                            queue.put_back(seq, 1, at);
                            model.iter_mut().find(|(other, ..)| *other == seq).unwrap().2 = at;
                        }
                    }
                    Step::End => {
                        if let Some((seq, _)) = running.pop() {
                            queue.remove(seq);
                            model.retain(|(other, ..)| *other != seq);
                        } else if let Some(name) = new.iter().next().copied() {
                            new.remove(&name);
                            queue.end_new(key(name).as_ref());
                        }
                    }
                    Step::Pass(seconds) => now += Duration::from_secs(seconds.into()),
                }
                prop_assert_eq!(queue.len(), model.len());
            }
        }
    }
}
