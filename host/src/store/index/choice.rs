//! What the index answers to one question, segment by segment.

use std::ops::Range;

use roaring::RoaringBitmap;
use rusqlite::Connection;

use super::{
    Shared,
    file::Stored,
    keys::Dimension,
    plan::{Postings, choose},
    segment::begin,
    words,
};
use crate::event::{Selection, Seq};

/// Of fewer events than this share of a segment it is quicker to read the messages than to ask for
/// their words: a common word has a list as long as the segment.
const FEW: u64 = 256;

/// A question, over the file and the unfinished segment.
pub(in crate::store) struct Choice<'a> {
    file: &'a Connection,
    shared: &'a Shared,
    selection: &'a Selection,
    /// Up to where the words of messages are in the file, as far as they are asked for.
    words_end: Seq,
}

/// Places of one segment, counted from its beginning.
#[derive(Clone, Default)]
pub(in crate::store) struct Chosen {
    /// These are chosen.
    pub(in crate::store) sure: RoaringBitmap,
    /// Of these, those whose message and data are as wanted.
    pub(in crate::store) unsure: RoaringBitmap,
}

/// What the unfinished segment knows of a question, taken at one moment.
pub(in crate::store) struct Tail {
    /// Finished segments are those before this one.
    pub(in crate::store) number: u64,
    /// The last place that the index knows.
    pub(in crate::store) known: Seq,
    pub(in crate::store) chosen: Chosen,
}

impl<'a> Choice<'a> {
    pub(in crate::store) fn new(
        file: &'a Connection,
        shared: &'a Shared,
        selection: &'a Selection,
    ) -> rusqlite::Result<Self> {
        let words_end = match &selection.text {
            Some(_) => words::end(file)?.map_or(0, |end| end.seq),
            None => 0,
        };
        Ok(Self { file, shared, selection, words_end })
    }

    /// Events of a segment.
    fn size(&self) -> u64 {
        u64::from(self.shared.size)
    }

    /// The finished segments that have places from `first` to `last`.
    pub(in crate::store) fn segments(&self, tail: &Tail, (first, last): (Seq, Seq)) -> Range<u64> {
        first.saturating_sub(1) / self.size()..last.div_ceil(self.size()).min(tail.number)
    }

    /// Where a segment begins: its events are those behind this place.
    pub(in crate::store) fn begin(&self, number: u64) -> Seq {
        begin(number, self.shared.size)
    }

    /// To be asked before the finished segments, so that none is missed.
    pub(in crate::store) fn tail(&self) -> rusqlite::Result<Tail> {
        let (number, known, chosen) = {
            let tail = self.shared.tail();
            let known = tail.begin(self.shared.size) + tail.len() as u64;
            (tail.number, known, choose(&*tail, self.selection)?)
        };
        Ok(Tail { number, known, chosen: self.with_content(number, chosen)? })
    }

    /// The chosen places of a finished segment.
    pub(in crate::store) fn finished(&self, number: u64) -> rusqlite::Result<Chosen> {
        let segment = Stored::new(self.file, number, self.shared.size);
        self.with_content(number, choose(&segment, self.selection)?)
    }

    /// Takes what is asked of message and data into account, as far as the index knows them.
    fn with_content(&self, number: u64, mut chosen: RoaringBitmap) -> rusqlite::Result<Chosen> {
        let Some(search) = &self.selection.text else { return Ok(self.with_data(chosen)) };
        if chosen.len() <= self.size() / FEW {
            return Ok(Chosen { sure: RoaringBitmap::new(), unsure: chosen });
        }
        let begin = self.begin(number);
        let end = self.words_end.clamp(begin, begin + self.size());
        let mut unknown = chosen.clone();
        unknown.remove_range(..(end - begin) as u32);
        chosen &= words::find(self.file, search, number, self.shared.size, end)?;
        let mut found = self.with_data(chosen);
        found.unsure |= unknown;
        Ok(found)
    }

    /// Of data the index knows nothing.
    fn with_data(&self, chosen: RoaringBitmap) -> Chosen {
        match self.selection.data.is_empty() {
            true => Chosen { sure: chosen, unsure: RoaringBitmap::new() },
            false => Chosen { sure: RoaringBitmap::new(), unsure: chosen },
        }
    }

    /// How many of these places there are of each value.
    pub(in crate::store) fn count(
        &self,
        number: u64,
        places: &RoaringBitmap,
        by: Dimension,
    ) -> rusqlite::Result<Vec<(String, u64)>> {
        let values = self.of(number, |segment| segment.values(by))?;
        let counts = values.into_iter().map(|(value, has)| (value, has.intersection_len(places)));
        Ok(counts.filter(|(_, count)| *count > 0).collect())
    }

    /// When the events at these places happened, in microseconds since 1970.
    pub(in crate::store) fn times(
        &self,
        number: u64,
        places: &RoaringBitmap,
    ) -> rusqlite::Result<Vec<i64>> {
        self.of(number, |segment| segment.times(places))
    }

    /// Asks a segment where it is now: what was in memory when a question began may be in the file.
    fn of<T>(
        &self,
        number: u64,
        ask: impl FnOnce(&dyn Postings<Error = rusqlite::Error>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let tail = self.shared.tail();
        if tail.number == number {
            return ask(&*tail);
        }
        drop(tail);
        ask(&Stored::new(self.file, number, self.shared.size))
    }
}

impl Chosen {
    /// Leaves out what is before the first or behind the last of these places in the log, in a
    /// segment that begins behind `begin`.
    pub(in crate::store) fn clip(&mut self, begin: Seq, (first, last): (Seq, Seq)) {
        // Of the first place behind this one.
        let place = |seq: Seq| u32::try_from(seq.saturating_sub(begin)).unwrap_or(u32::MAX);
        for places in [&mut self.sure, &mut self.unsure] {
            places.remove_range(..place(first.saturating_sub(1)));
            places.remove_range(place(last)..);
        }
    }

    /// Leaves these places of the segment out.
    pub(in crate::store) fn leave_out(&mut self, gone: &RoaringBitmap) {
        self.sure -= gone;
        self.unsure -= gone;
    }

    pub(in crate::store) fn is_empty(&self) -> bool {
        self.sure.is_empty() && self.unsure.is_empty()
    }
}
