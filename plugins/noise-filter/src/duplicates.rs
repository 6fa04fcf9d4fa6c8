//! Tells that an event repeats one that was kept.
//!
//! Originals are remembered in the order in which they were kept, in segments that are written and
//! forgotten whole: a batch of events writes one segment, or two.

use std::collections::{HashMap, VecDeque};

use ennio_plugin::kv::{Bucket, Error};
use ennio_plugin::{Event, timestamp};

use crate::print::{Print, Printer};
use crate::segment::{Original, Segment};

/// The most originals that are remembered: 2 MiB of the plugin's state. When there are more, the
/// oldest are forgotten first, and a repetition of one goes through.
const MOST: usize = 65_536;

/// Up to here only the window counts, and originals are not forgotten: events of today may come
/// between those of a day that is being replayed, for which their time is long past.
const FEW: usize = 4_096;

/// The events that were kept, for as long as a later one could repeat them.
///
/// A repetition is measured against the last event that was *kept*, not against the last one seen:
/// so of a message that comes every second, one a window goes through, and not none for ever.
pub(crate) struct Duplicates {
    window: i64,
    bucket: Bucket,
    memory: Option<Memory>,
}

impl Duplicates {
    pub(crate) fn open(window_seconds: u32) -> Result<Self, Error> {
        Ok(Duplicates {
            window: i64::from(window_seconds) * timestamp::SECOND,
            bucket: Bucket::own()?,
            memory: None,
        })
    }

    pub(crate) fn window_seconds(&self) -> i64 {
        self.window / timestamp::SECOND
    }

    /// What is remembered, read where it was not yet: not before the first event, since until then
    /// the version before may be at work.
    pub(crate) fn memory(&mut self) -> Result<&mut Memory, Error> {
        let memory = match self.memory.take() {
            Some(memory) => memory,
            None => Memory::read(&self.bucket, self.window)?,
        };
        Ok(self.memory.insert(memory))
    }

    /// Writes what the batch changed. When that fails, the next batch begins with what is written.
    pub(crate) fn save(&mut self) -> Result<(), Error> {
        let Some(mut memory) = self.memory.take() else { return Ok(()) };
        memory.write(&self.bucket)?;
        self.memory = Some(memory);
        Ok(())
    }
}

/// What is remembered, in the instance.
pub(crate) struct Memory {
    window: i64,
    printer: Printer,
    originals: HashMap<Print, Original>,
    segments: VecDeque<Segment>,
    /// Originals in all segments.
    count: usize,
    /// The numbers of the segments that are not written as they are now.
    changed: Vec<u64>,
    /// The numbers of those that are to be deleted.
    gone: Vec<u64>,
}

impl Memory {
    fn read(bucket: &Bucket, window: i64) -> Result<Self, Error> {
        let printer = Printer::read(bucket)?;
        let mut memory = Memory {
            window,
            printer,
            originals: HashMap::new(),
            segments: Segment::read_all(bucket)?.into(),
            count: 0,
            changed: Vec::new(),
            gone: Vec::new(),
        };
        for original in memory.segments.iter().flat_map(|segment| &segment.originals) {
            memory.originals.insert(original.print, *original);
            memory.count += 1;
        }
        Ok(memory)
    }

    pub(crate) fn print(&self, event: &Event) -> Print {
        self.printer.print(event)
    }

    /// The event that one with this print at this time repeats. Events may come out of order: the
    /// window counts both ways.
    pub(crate) fn original(&self, print: Print, now: i64) -> Option<&Original> {
        let original = self.originals.get(&print)?;
        (now.abs_diff(original.at) <= self.window.unsigned_abs()).then_some(original)
    }

    /// Remembers an event that was kept.
    pub(crate) fn remember(&mut self, original: Original) {
        self.originals.insert(original.print, original);
        self.count += 1;
        let next = match self.segments.back_mut() {
            Some(last) if !last.is_full() => {
                last.originals.push(original);
                last.number
            }
            last => {
                let number = last.map_or(0, |last| last.number + 1);
                self.segments.push_back(Segment { number, originals: vec![original] });
                number
            }
        };
        if self.changed.last() != Some(&next) {
            self.changed.push(next);
        }
        self.forget(original.at);
    }

    fn forget(&mut self, now: i64) {
        while let Some(oldest) = self.segments.front() {
            let without = self.count - oldest.originals.len();
            let is_past = || oldest.originals.iter().all(|one| one.at + self.window < now);
            if self.count <= MOST && (without < FEW || !is_past()) {
                return;
            }
            self.count = without;
            for original in &oldest.originals {
                // A later event may have taken this one's place.
                if self.originals.get(&original.print) == Some(original) {
                    self.originals.remove(&original.print);
                }
            }
            self.gone.push(oldest.number);
            self.segments.pop_front();
        }
    }

    fn write(&mut self, bucket: &Bucket) -> Result<(), Error> {
        if self.changed.is_empty() {
            return Ok(());
        }
        bucket.delete_many(self.gone.drain(..).map(Segment::key).collect())?;
        let changed =
            self.segments.iter().rev().take_while(|one| self.changed.contains(&one.number));
        let mut pairs: Vec<_> = changed.map(Segment::written).collect();
        pairs.extend(self.printer.unwritten());
        bucket.set_many(pairs)?;
        self.changed.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ennio_plugin::{kv, testing};

    use super::*;

    const SECOND: i64 = timestamp::SECOND;

    fn duplicates(window_seconds: u32) -> Duplicates {
        // Empties the state of this thread.
        testing::configure::<crate::NoiseFilter>(()).unwrap();
        Duplicates::open(window_seconds).unwrap()
    }

    fn original(print: u64, at: i64) -> Original {
        Original { print: Print(print), at: at * SECOND, id: u128::from(print) }
    }

    fn keys() -> usize {
        kv::keys().unwrap().iter().filter(|key| key.starts_with("dup/")).count()
    }

    #[test]
    fn of_a_steady_repetition_one_a_window_goes_through() {
        let mut duplicates = duplicates(10);
        let memory = duplicates.memory().unwrap();
        let mut kept = vec![];
        for second in 0..35 {
            if memory.original(Print(1), second * SECOND).is_none() {
                memory.remember(original(1, second));
                kept.push(second);
            }
        }
        assert_eq!(kept, [0, 11, 22, 33]);
    }

    #[test]
    fn a_repetition_that_comes_before_its_original_is_one_too() {
        let mut duplicates = duplicates(10);
        let memory = duplicates.memory().unwrap();
        memory.remember(original(1, 100));
        assert_eq!(memory.original(Print(1), 90 * SECOND), Some(&original(1, 100)));
        assert_eq!(memory.original(Print(1), 89 * SECOND), None);
    }

    #[test]
    fn what_is_remembered_stays_bounded_inside_one_window() {
        let mut duplicates = duplicates(86_400);
        for n in 0..MOST as u64 + 1_000 {
            duplicates.memory().unwrap().remember(original(n, 0));
            // A batch now and then.
            if n % 50 == 0 {
                duplicates.save().unwrap();
            }
        }
        duplicates.save().unwrap();
        let memory = duplicates.memory().unwrap();
        assert!(memory.count <= MOST && memory.count > MOST - 100, "{}", memory.count);
        assert_eq!(memory.originals.len(), memory.count);
        assert_eq!(memory.original(Print(0), 0), None, "the oldest went first");
        assert!(memory.original(Print(MOST as u64), 0).is_some());
        assert_eq!(keys(), memory.segments.len());
        assert!(keys() <= 1 + MOST / 64, "{}", keys());
    }

    #[test]
    fn what_is_past_its_window_is_deleted_but_for_the_last_few() {
        let mut duplicates = duplicates(10);
        for n in 0..20_000 {
            duplicates.memory().unwrap().remember(original(n, n as i64));
            duplicates.save().unwrap();
        }
        assert!(keys() <= 1 + FEW / 64, "{}", keys());
    }

    #[test]
    fn an_event_of_today_between_those_of_a_replayed_day_makes_nothing_forgotten() {
        let mut duplicates = duplicates(10);
        let memory = duplicates.memory().unwrap();
        memory.remember(original(1, 0));
        memory.remember(original(2, 1_000_000));
        assert!(memory.original(Print(1), SECOND).is_some());
    }

    #[test]
    fn another_instance_knows_exactly_the_same() {
        let mut one = duplicates(10);
        let mut other = duplicates(10);
        for n in 0..10_000_u64 {
            // Some prints come again, so that a later one takes an earlier one's place.
            let next = original(n * n % 6_000, n as i64);
            one.memory().unwrap().remember(next);
            if n % 37 == 0 {
                one.save().unwrap();
            }
            if n % 999 == 0 {
                one.save().unwrap();
                other = Duplicates::open(10).unwrap();
                let (one, other) = (one.memory().unwrap(), other.memory().unwrap());
                assert_eq!(one.originals, other.originals);
                assert_eq!(one.segments, other.segments);
                assert_eq!(one.count, other.count);
            }
        }
        assert!(other.memory().unwrap().count >= FEW);
    }
}
