//! Spans of time and sizes as people write them: `7d`, `10GiB`. A leaf: the configuration, sidecars
//! and the command line read them alike.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de::Error as _};

/// A span like `500ms`, `30s`, `15m`, `2h`, `7d` or `1w`.
///
/// # Errors
/// What is wrong with the text, and how to write it.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let way_out = "(write a number and a unit: 500ms, 30s, 15m, 2h, 7d, 1w)";
    let (number, unit) = split(text);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        "" => return Err(format!("a span needs a unit {way_out}")),
        _ => return Err(format!("{unit:?} is no unit of time {way_out}")),
    };
    let number: u64 =
        number.parse().map_err(|_| format!("a span begins with a number {way_out}"))?;
    let span = number.checked_mul(unit_ms).ok_or("longer than time itself")?;
    Ok(Duration::from_millis(span))
}

/// The digits that a text begins with, and the rest.
fn split(text: &str) -> (&str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(digits)
}

/// A span of at least a millisecond, written like `7d` and shown with the greatest unit that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

impl Span {
    /// As the standard library has it.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match parse_span(text)? {
            Duration::ZERO => Err("a span of nothing (write at least 1ms)".into()),
            span => Ok(Self(span)),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let fits = units.into_iter().find(|(_, unit)| millis.is_multiple_of(*unit));
        let (unit, size) = fits.unwrap_or(("ms", 1));
        f.pad(&format!("{}{unit}", millis / size))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A size in bytes, written like `512MiB` and shown with three digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let way_out = "(write a number and a unit: 512MiB, 10GiB, 2TiB)";
        let (number, unit) = split(text);
        let number: u64 =
            number.parse().map_err(|_| format!("a size begins with a number {way_out}"))?;
        match UNITS.into_iter().find(|(name, _)| *name == unit) {
            Some((_, size)) => number.checked_mul(size).map(Self).ok_or("too large".into()),
            None if unit.is_empty() => Err(format!("a size needs a unit {way_out}")),
            None => Err(format!("{unit:?} is no unit of size {way_out}")),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = UNITS.into_iter().rev().find(|(_, size)| self.0 >= *size);
        let (unit, size) = fits.unwrap_or(("B", 1));
        let number = self.0 as f64 / size as f64;
        let digits = usize::from(size > 1 && number < 100.0);
        f.pad(&format!("{number:.digits$} {unit}"))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_read_as_written_and_shown_short() {
        for (text, shown) in [("7d", "7d"), ("36h", "36h"), ("1w", "7d"), ("60s", "1m")] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), shown);
        }
        for (text, bytes, shown) in [
            ("10GiB", 10 << 30, "10.0 GiB"),
            ("1536KiB", 1536 << 10, "1.5 MiB"),
            ("999B", 999, "999 B"),
            ("0B", 0, "0 B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown));
        }
    }

    #[test]
    fn what_is_no_amount_says_how_to_write_one() {
        for (text, reason) in [
            ("0d", "a span of nothing"),
            ("7", "a span needs a unit"),
            ("7 days", "\" days\" is no unit of time"),
            ("d", "begins with a number"),
            ("999999999999999999w", "longer than time itself"),
        ] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        for (text, reason) in [
            ("10GB", "\"GB\" is no unit of size (write a number and a unit: 512MiB"),
            ("10", "a size needs a unit"),
            ("GiB", "begins with a number"),
            ("99999999999TiB", "too large"),
        ] {
            let error = text.parse::<ByteSize>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
