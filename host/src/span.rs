//! Spans of time as people write them, in sidecars, in the configuration and on the command line.

use std::{fmt, str::FromStr, time::Duration};

use serde::Deserialize;

/// A span like `500ms`, `30s`, `15m`, `2h`, `7d` or `1w`: a whole number and a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(Duration);

/// Units, the largest first, in milliseconds.
const UNITS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Span {
    /// It as a duration.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Span {
    /// To the millisecond.
    fn from(duration: Duration) -> Self {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(Duration::from_millis(ms))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let way_out = "(write a number and a unit: 500ms, 30s, 15m, 2h, 7d, 1w)";
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        if unit.is_empty() {
            return Err(format!("a span needs a unit {way_out}"));
        }
        let (_, unit_ms) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| format!("{unit:?} is no unit of time {way_out}"))?;
        let number: u64 =
            number.parse().map_err(|_| format!("a span begins with a number {way_out}"))?;
        let span = number.checked_mul(*unit_ms).ok_or("longer than time itself")?;
        Ok(Self(Duration::from_millis(span)))
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        // Weeks are read, but days are what everybody counts in.
        let whole = UNITS
            .iter()
            .filter(|(name, _)| *name != "w")
            .find(|(_, unit)| ms >= u128::from(*unit) && ms.is_multiple_of(u128::from(*unit)));
        match whole {
            Some((name, unit)) => f.pad(&format!("{}{name}", ms / u128::from(*unit))),
            None => f.pad("0s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_span_is_refused_with_the_way_out() {
        for text in ["", "5", "m", "5 m", "-5m", "5x", "1.5h", "5M", "99999999999999999999s"] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.contains("30s, 15m, 2h") || error.contains("longer"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(ms in 0..10_000_000_000u64) {
            let span = Span(Duration::from_millis(ms));
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
    }
}
