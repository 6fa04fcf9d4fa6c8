//! Points in time and spans as people type them, and times as people read them.

use chrono::{DateTime, Local};

use crate::{amount::parse_span, event::Timestamp};

/// An RFC 3339 time, or a span before `now`.
pub(super) fn parse_when(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let is_relative = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_relative {
        return text
            .parse()
            .map_err(|reason| format!("{reason} (or a span back from now: 15m, 2h, 7d)"));
    }
    let span = parse_span(text)?;
    i64::try_from(span.as_micros())
        .ok()
        .and_then(|span| now.micros().checked_sub(span))
        .and_then(Timestamp::from_micros)
        .ok_or_else(|| format!("{text} ago is before the year 0"))
}

/// For clap.
pub(super) fn parse_when_now(text: &str) -> Result<Timestamp, String> {
    parse_when(text, Timestamp::now())
}

/// `09:30:00`, here.
pub(super) fn clock(timestamp: &str) -> String {
    local(timestamp, "%H:%M:%S")
}

/// `08-01 09:30:00`, here.
pub(super) fn day_and_clock(timestamp: &str) -> String {
    local(timestamp, "%m-%d %H:%M:%S")
}

/// `2026-08-01 09:30:00`, here.
pub(super) fn date_and_clock(timestamp: &str) -> String {
    local(timestamp, "%Y-%m-%d %H:%M:%S")
}

fn local(timestamp: &str, format: &str) -> String {
    match DateTime::parse_from_rfc3339(timestamp) {
        Ok(time) => time.with_timezone(&Local).format(format).to_string(),
        Err(_) => super::output::plain(timestamp).into_owned(),
    }
}
