//! From where to where in the past: the flags that `replay` and `export` share.

use crate::event::{Seq, Timestamp};

use super::times::parse_when;

/// Both ends are optional.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which events")]
pub(super) struct Range {
    /// From this place in the log on, or what happened at this time (RFC 3339) or later, or within
    /// this span (15m, 2h, 7d) [default: the beginning of the log]
    #[arg(long, value_name = "SEQ|TIME", value_parser = parse_bound)]
    from: Option<Bound>,
    /// To this place in the log, which is included, or what happened before this time (RFC 3339), or
    /// longer ago than this span [default: where the log ends now]
    #[arg(long, value_name = "SEQ|TIME", value_parser = parse_bound)]
    to: Option<Bound>,
}

/// One end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// A place in the log.
    Place(Seq),
    /// A moment.
    Time(Timestamp),
}

impl Range {
    /// What comes before the first place; 0 for the beginning.
    pub(super) fn after(&self) -> Seq {
        match self.from {
            Some(Bound::Place(seq)) => seq.saturating_sub(1),
            _ => 0,
        }
    }

    /// The last place; `None` for the end.
    pub(super) fn last(&self) -> Option<Seq> {
        match self.to {
            Some(Bound::Place(seq)) => Some(seq),
            _ => None,
        }
    }

    /// Only what happened then or later.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.from.and_then(Bound::time)
    }

    /// Only what happened before.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.to.and_then(Bound::time)
    }
}

impl Bound {
    fn time(self) -> Option<Timestamp> {
        match self {
            Self::Place(_) => None,
            Self::Time(time) => Some(time),
        }
    }
}

fn parse_bound(text: &str) -> Result<Bound, String> {
    bound(text, Timestamp::now())
}

/// Digits alone are a place, everything else is a time.
pub(super) fn bound(text: &str, now: Timestamp) -> Result<Bound, String> {
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().map(Bound::Place).map_err(|_| format!("{text} is no place in a log")),
        false => parse_when(text, now)
            .map(Bound::Time)
            .map_err(|reason| format!("{reason}, or a place in the log: 1200")),
    }
}
