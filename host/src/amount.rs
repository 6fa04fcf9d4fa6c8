//! Sizes as people write them, in the configuration: `10GiB`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error as _};

/// A size in bytes, written like `512MiB` and shown with three digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let way_out = "(write a number and a unit: 512MiB, 10GiB, 2TiB)";
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
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
    fn sizes_are_read_as_written_and_shown_short() {
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
    fn what_is_no_size_says_how_to_write_one() {
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
