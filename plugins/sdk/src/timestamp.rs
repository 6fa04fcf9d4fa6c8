//! Event times as numbers.
//!
//! A plugin that measures time by the events' own timestamps decides the same on a replay as it
//! did live; a clock would not. The host normalises timestamps to UTC with a `Z`, which keeps this
//! short: other offsets are refused, and no date library ends up in the component.

use std::iter;

/// Microseconds of one second, the unit of [`parse`].
pub const SECOND: i64 = 1_000_000;

const DAY_SECONDS: i64 = 86_400;

/// Reads `2026-08-01T09:30:00.000000Z`, with 0 to 9 digits of a fraction (cut to microseconds), as
/// microseconds since 1970-01-01T00:00:00Z. `None` when it is anything else.
pub fn parse(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));

    let mut date = date.splitn(3, '-');
    let year = digits(date.next()?, 4)?;
    let month = digits(date.next()?, 2)?;
    let day = digits(date.next()?, 2)?;
    let mut clock = clock.splitn(3, ':');
    let hour = digits(clock.next()?, 2)?;
    let minute = digits(clock.next()?, 2)?;
    let second = digits(clock.next()?, 2)?;
    // 60 is a leap second; it counts as the next minute's first.
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }

    let seconds =
        days_since_1970(year, month, day) * DAY_SECONDS + hour * 3_600 + minute * 60 + second;
    Some(seconds * SECOND + micros(fraction)?)
}

/// Writes microseconds since 1970 as `parse` reads them. Years 0 to 9999.
pub fn format(unix_micros: i64) -> String {
    let seconds = unix_micros.div_euclid(SECOND);
    let micros = unix_micros.rem_euclid(SECOND);
    let (year, month, day) = civil_date(seconds.div_euclid(DAY_SECONDS));
    let second = seconds.rem_euclid(DAY_SECONDS);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{micros:06}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60,
    )
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let all_digits = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { text.parse().ok() } else { None }
}

fn micros(fraction: &str) -> Option<i64> {
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(iter::repeat(b'0')).take(6);
    Some(digits.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0')))
}

/// Days of the proleptic Gregorian calendar. Years begin in March here, which puts the leap day at
/// the end and makes the months' lengths one formula.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_since_1970`].
fn civil_date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_instants_are_read() {
        assert_eq!(parse("1970-01-01T00:00:00.000000Z"), Some(0));
        assert_eq!(parse("2000-02-29T12:00:00Z"), Some(951_825_600 * SECOND));
        assert_eq!(parse("2026-08-01T09:30:00.000250Z"), Some(1_785_576_600 * SECOND + 250));
        assert_eq!(
            parse("1969-12-31T23:59:59.999999999Z"),
            Some(-1),
            "nanoseconds are cut, before 1970 too"
        );
    }

    #[test]
    fn what_the_host_never_writes_is_refused() {
        for text in [
            "",
            "2026-08-01",
            "2026-08-01T09:30:00",
            "2026-08-01T09:30:00+02:00",
            "2026-13-01T09:30:00Z",
            "2026-08-01T24:30:00Z",
            "2026-08-01T09:30:00.+1Z",
            "+026-08-01T09:30:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            prop_assert_eq!(parse(&format(micros)), Some(micros));
        }
    }
}
