//! Originals as they are in the plugin's state: under `dup/` and a number, 32 bytes each.

use ennio_plugin::kv::{Bucket, Error};
use ennio_plugin::log;

use crate::print::Print;

const PREFIX: &str = "dup/";

/// When a segment has this many, the next one begins.
const FULL: usize = 64;

/// How many are read at once: far less than the bytes that the host hands out at once.
const READ_AT_ONCE: usize = 256;

const RECORD: usize = 32;

/// An event that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Original {
    pub(crate) print: Print,
    /// Microseconds since 1970.
    pub(crate) at: i64,
    /// The UUID, as a number.
    pub(crate) id: u128,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) originals: Vec<Original>,
}

impl Segment {
    pub(crate) fn is_full(&self) -> bool {
        self.originals.len() >= FULL
    }

    pub(crate) fn key(number: u64) -> String {
        format!("{PREFIX}{number:016x}")
    }

    pub(crate) fn written(&self) -> (String, Vec<u8>) {
        let mut bytes = Vec::with_capacity(self.originals.len() * RECORD);
        for Original { print, at, id } in &self.originals {
            bytes.extend(print.0.to_le_bytes());
            bytes.extend(at.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        (Self::key(self.number), bytes)
    }

    /// Every segment, by number.
    pub(crate) fn read_all(bucket: &Bucket) -> Result<Vec<Self>, Error> {
        let keys = bucket.keys()?;
        let numbered = |key: &String| {
            let number = u64::from_str_radix(key.strip_prefix(PREFIX)?, 16).ok()?;
            (Self::key(number) == *key).then_some(number)
        };
        let numbers: Vec<u64> = keys.iter().filter_map(numbered).collect();
        let mut segments = Vec::with_capacity(numbers.len());
        for some in numbers.chunks(READ_AT_ONCE) {
            let values = bucket.get_many(some.iter().map(|number| Self::key(*number)))?;
            for (number, value) in some.iter().zip(values) {
                segments.push(Self::read(*number, &value.unwrap_or_default()));
            }
        }
        Ok(segments)
    }

    fn read(number: u64, bytes: &[u8]) -> Self {
        let originals: Option<Vec<_>> = bytes.chunks(RECORD).map(record).collect();
        let originals = originals.unwrap_or_else(|| {
            let key = Self::key(number);
            log::warn(format!("the state {key} does not read and is forgotten"));
            Vec::new()
        });
        Segment { number, originals }
    }
}

fn record(bytes: &[u8]) -> Option<Original> {
    let (print, rest) = bytes.split_first_chunk()?;
    let (at, id) = rest.split_first_chunk()?;
    Some(Original {
        print: Print(u64::from_le_bytes(*print)),
        at: i64::from_le_bytes(*at),
        id: u128::from_le_bytes(id.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_reads_as_it_was_written() {
        let original = |n: u64| Original { print: Print(n), at: -5, id: u128::MAX - u128::from(n) };
        let segment = Segment { number: 77, originals: (0..3).map(original).collect() };
        let (key, bytes) = segment.written();
        assert_eq!((key.as_str(), bytes.len()), ("dup/000000000000004d", 96));
        assert_eq!(Segment::read(77, &bytes), segment);
    }

    #[test]
    fn one_that_does_not_read_is_empty() {
        assert_eq!(Segment::read(1, &[0; 33]).originals, []);
    }
}
