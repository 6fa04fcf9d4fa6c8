//! A run of neighbouring events in memory: for each value, the places that have it.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::keys::{Dimension, Keys};
use crate::event::Seq;

/// The time of a place that has no event.
const GONE: i64 = i64::MIN;

/// A segment that grows at its end. Places are counted from its beginning.
#[derive(Debug)]
pub(super) struct Segment {
    /// Its number: segment `n` of size `s` begins behind `n * s`.
    pub(super) number: u64,
    /// When each event happened, in microseconds since 1970.
    pub(super) times: Vec<i64>,
    postings: [HashMap<Box<str>, Vec<u32>>; Dimension::ALL.len()],
}

impl Segment {
    pub(super) fn new(number: u64) -> Self {
        Self { number, times: Vec::new(), postings: Default::default() }
    }

    /// The place that it begins behind, where segments have this size.
    pub(super) fn begin(&self, size: u32) -> Seq {
        begin(self.number, size)
    }

    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether it has no event, of however many places.
    pub(super) fn is_empty(&self) -> bool {
        self.postings.iter().all(HashMap::is_empty)
    }

    /// Adds an event behind those that are here; the segment begins behind `begin`. Places that are
    /// passed over have no event any more.
    pub(super) fn push(&mut self, keys: &Keys<'_>, begin: Seq) {
        let place = (keys.seq - begin - 1) as u32;
        self.times.resize(place as usize, GONE);
        self.times.push(keys.timestamp);
        for (dimension, value) in keys.values() {
            let Some(postings) = self.postings.get_mut(dimension as usize) else { continue };
            match postings.get_mut(value) {
                Some(places) => places.push(place),
                None => drop(postings.insert(value.into(), vec![place])),
            }
        }
    }

    /// Knows as many places at least: those behind the last event have no event any more.
    pub(super) fn pass(&mut self, places: Seq) {
        let places = self.times.len().max(places as usize);
        self.times.resize(places, GONE);
    }

    pub(super) fn get(&self, dimension: Dimension, value: &str) -> Option<RoaringBitmap> {
        self.postings.get(dimension as usize)?.get(value).map(|places| bitmap(places))
    }

    /// Every value of a dimension with its places.
    pub(super) fn postings_of(
        &self,
        dimension: Dimension,
    ) -> impl Iterator<Item = (&str, RoaringBitmap)> {
        let postings = self.postings.get(dimension as usize).into_iter().flatten();
        postings.map(|(value, places)| (&**value, bitmap(places)))
    }

    /// Every value with its places, by dimension and value.
    pub(super) fn postings(&self) -> Vec<(Dimension, &str, RoaringBitmap)> {
        let mut all: Vec<_> = Dimension::ALL
            .into_iter()
            .flat_map(|dimension| {
                self.postings_of(dimension).map(move |(value, places)| (dimension, value, places))
            })
            .collect();
        all.sort_unstable_by_key(|(dimension, value, _)| (*dimension as u8, *value));
        all
    }
}

fn bitmap(places: &[u32]) -> RoaringBitmap {
    // Places are pushed in order, so none is refused.
    RoaringBitmap::from_sorted_iter(places.iter().copied()).unwrap_or_default()
}

/// Where a segment begins: its events are those behind this one.
pub(super) fn begin(number: u64, size: u32) -> Seq {
    number * u64::from(size)
}
