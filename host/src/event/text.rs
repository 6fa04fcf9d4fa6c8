//! The message for people, and the time at which something happened.

use std::{fmt, str::FromStr, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use super::error::{Reason, excerpt};

/// The longest message, in bytes of UTF-8.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// A text for people: at most 8 192 bytes of UTF-8 without NUL, which SQLite's own tools would cut
/// the text at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Message(Box<str>);

impl Message {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Message {
    type Error = Reason;

    fn try_from(text: String) -> Result<Self, Reason> {
        if text.len() > MAX_MESSAGE_BYTES {
            return Err(Reason::TooLong {
                limit: MAX_MESSAGE_BYTES,
                found: text.len(),
                unit: "bytes",
            });
        }
        if text.contains('\0') {
            return Err(Reason::BadCharacter { found: '\0', allowed: "text without NUL" });
        }
        Ok(Self(text.into()))
    }
}

impl FromStr for Message {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        text.to_owned().try_into()
    }
}

/// In microseconds since 1970.
const YEAR_0: i64 = -62_167_219_200_000_000;
const YEAR_10_000: i64 = 253_402_300_800_000_000;

/// When something happened: UTC, in whole microseconds, years 0 to 9999 (what RFC 3339 can write).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The present.
    pub fn now() -> Self {
        Self::from_micros(Utc::now().timestamp_micros()).unwrap_or(Self(DateTime::UNIX_EPOCH))
    }

    /// Microseconds since 1970; `None` outside of the years 0 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        if !(YEAR_0..YEAR_10_000).contains(&micros) {
            return None;
        }
        DateTime::from_timestamp_micros(micros).map(Self)
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0.timestamp_micros()
    }

    /// So much later, at most the end of the year 9999.
    pub fn later(self, by: Duration) -> Self {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        Self::bounded(self.micros().saturating_add(by))
    }

    /// So much earlier, at least the beginning of the year 0.
    pub fn earlier(self, by: Duration) -> Self {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        Self::bounded(self.micros().saturating_sub(by))
    }

    fn bounded(micros: i64) -> Self {
        let micros = micros.clamp(YEAR_0, YEAR_10_000 - 1);
        Self::from_micros(micros).unwrap_or(Self(DateTime::UNIX_EPOCH))
    }

    /// The same as chrono's type.
    pub fn as_datetime(self) -> DateTime<Utc> {
        self.0
    }
}

/// RFC 3339, always with six decimals and `Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl FromStr for Timestamp {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        let bad = |detail| Reason::Format {
            expected: "an RFC 3339 time like 2026-08-01T09:30:00Z",
            detail,
        };
        let time = DateTime::parse_from_rfc3339(text)
            .map_err(|e| bad(format!("{e} in {:?}", excerpt(text))))?;
        Self::from_micros(time.timestamp_micros())
            .ok_or_else(|| bad(format!("{:?} is outside of the years 0 to 9999", excerpt(text))))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
