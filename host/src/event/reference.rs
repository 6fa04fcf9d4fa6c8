//! How somebody points at an event: by its id, or by its place in the log.

use std::{fmt, str::FromStr};

use super::{EventId, Seq, error::Reason};

/// An event in the log, by its id or by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventRef {
    /// By its id.
    Id(EventId),
    /// By its place.
    Seq(Seq),
}

impl fmt::Display for EventRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Seq(seq) => seq.fmt(f),
        }
    }
}

impl FromStr for EventRef {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        let seq = text.parse().ok().filter(|seq| (1..=i64::MAX as Seq).contains(seq));
        match seq.filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())) {
            Some(seq) => Ok(Self::Seq(seq)),
            None => text.parse().map(Self::Id).map_err(|e: Reason| match e {
                Reason::Format { detail, .. } => {
                    Reason::Format { expected: "an event's id (a UUID) or its seq", detail }
                }
                other => other,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_place_and_all_else_is_an_id() {
        let id = EventId::mint();
        assert_eq!(id.to_string().parse(), Ok(EventRef::Id(id)));
        assert_eq!("3417".parse(), Ok(EventRef::Seq(3417)));
        for wrong in ["", "0", "-1", "+1", "1.5", "99999999999999999999", "01a2", "seq"] {
            let error = wrong.parse::<EventRef>().unwrap_err().to_string();
            assert!(error.contains("an event's id (a UUID) or its seq"), "{wrong}: {error}");
        }
    }
}
