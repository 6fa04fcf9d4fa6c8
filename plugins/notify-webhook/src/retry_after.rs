//! When a server wants to be asked again.

use std::time::Duration;

use ennio_plugin::http::Response;
use ennio_plugin::timestamp;

/// What `Retry-After` says: seconds, or a date, which is compared with the server's own `Date`, so
/// that no two clocks have to agree. `None` when it says nothing that can be read.
pub(crate) fn retry_after(answer: &Response) -> Option<Duration> {
    let wanted = answer.header("retry-after")?.trim();
    if wanted.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too large for a number is still a wish for long.
        return Some(Duration::from_secs(wanted.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let now = date(answer.header("date")?)?;
    let micros = date(wanted)?.saturating_sub(now);
    Some(Duration::from_micros(micros.try_into().unwrap_or(0)))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the only form that is still written, in microseconds since 1970.
fn date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_day_of_week, rest) = text.trim().strip_suffix(" GMT")?.split_once(", ")?;
    let mut parts = rest.split(' ');
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    timestamp::parse(&format!("{year}-{month:02}-{day}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)]) -> Option<Duration> {
        let answer = headers
            .iter()
            .fold(Response::new(503), |answer, (name, value)| answer.with_header(*name, *value));
        retry_after(&answer)
    }

    #[test]
    fn seconds_are_taken_as_they_are() {
        assert_eq!(of(&[("Retry-After", "120")]), Some(Duration::from_secs(120)));
        assert_eq!(of(&[("retry-after", " 0 ")]), Some(Duration::ZERO));
        assert!(of(&[("retry-after", "99999999999999999999999")]).unwrap().as_secs() > 3_600);
    }

    #[test]
    fn a_date_is_taken_from_the_servers_own_date() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = ("retry-after", "Sun, 06 Nov 1994 08:51:00 GMT");
        let earlier = ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT");
        assert_eq!(of(&[date, later]), Some(Duration::from_secs(83)));
        assert_eq!(of(&[date, earlier]), Some(Duration::ZERO));
        assert_eq!(of(&[later]), None);
    }

    #[test]
    fn what_can_not_be_read_says_nothing() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for wanted in ["soon", "-1", "1.5", "Sun, 06 Foo 1994 08:49:37 GMT", "06 Nov 1994 GMT"] {
            assert_eq!(of(&[date, ("retry-after", wanted)]), None, "{wanted}");
        }
        assert_eq!(of(&[]), None);
    }
}
