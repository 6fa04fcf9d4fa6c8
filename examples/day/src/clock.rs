//! Moments of one day and the pace of work in it.
//!
//! Nothing here knows the date: a story is told in microseconds since midnight UTC, and only the
//! finished day puts a date to it. That is why `--date` moves the day and changes nothing else.

use std::ops::{Add, Sub};

use crate::dice::Dice;

/// A span of time, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(i64);

impl Span {
    pub(crate) const fn seconds(seconds: i64) -> Self {
        Self(seconds * 1_000_000)
    }

    pub(crate) const fn milliseconds(milliseconds: i64) -> Self {
        Self(milliseconds * 1_000)
    }

    pub(crate) const fn minutes(minutes: i64) -> Self {
        Self::seconds(minutes * 60)
    }

    pub(crate) const fn in_seconds(self) -> i64 {
        self.0 / 1_000_000
    }

    /// A span between these two, down to the microsecond.
    pub(crate) fn between(dice: &mut Dice, low: Self, high: Self) -> Self {
        Self(dice.between(low.0, high.0))
    }
}

/// Microseconds since midnight UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(i64);

impl Moment {
    /// Every session has ended by now, whatever the dice say.
    pub(crate) const CLOSING: Self = Self::at(23, 35);

    pub(crate) const fn at(hour: i64, minute: i64) -> Self {
        Self(Span::minutes(hour * 60 + minute).0)
    }

    pub(crate) const fn micros(self) -> i64 {
        self.0
    }

    /// The next moment that a clock of microseconds can tell from this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// This moment and a wait. Towards closing time a wait is cut to a share of what is left of
    /// the day: late work gets hurried, and no seed can push a session past midnight.
    pub(crate) fn after(self, wait: Span) -> Self {
        let left = (Self::CLOSING.0 - self.0).max(0);
        Self(self.0 + wait.0.min(left / 16))
    }

    /// When a person gets to it: not at night, not over lunch.
    pub(crate) fn when_people_work(self, dice: &mut Dice) -> Self {
        if self < Self::at(8, 30) {
            Self::at(8, 30) + Span::between(dice, Span::seconds(40), Span::minutes(70))
        } else if (Self::at(12, 5)..Self::at(13, 0)).contains(&self) {
            Self::at(13, 0) + Span::between(dice, Span::seconds(20), Span::minutes(25))
        } else {
            self
        }
    }

    pub(crate) fn in_office_hours(self) -> bool {
        (Self::at(9, 0)..Self::at(17, 0)).contains(&self)
    }
}

impl Add<Span> for Moment {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0 + span.0)
    }
}

impl Sub for Moment {
    type Output = Span;

    fn sub(self, earlier: Self) -> Span {
        Span(self.0 - earlier.0)
    }
}

/// How eagerly people start sessions in each hour: a little night work, a lunch dip at 12, nothing
/// after 21 that could not end on the same day.
const STARTS: [i64; 22] =
    [3, 2, 2, 1, 1, 0, 1, 4, 10, 15, 14, 12, 3, 10, 14, 13, 11, 7, 4, 3, 2, 1];

/// When one session starts.
pub(crate) fn start_of_work(dice: &mut Dice) -> Moment {
    let hour = i64::try_from(dice.weighted(STARTS.iter().copied())).unwrap_or(9);
    Moment::at(hour, 0) + Span::between(dice, Span::seconds(5), Span::minutes(60))
}
