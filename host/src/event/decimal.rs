//! A JSON number by its value, in all of its digits: no floating point stands between.

/// `±0.digits × 10^exponent`, without zeros at either end; zero has no digits and no sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    digits: Box<str>,
    exponent: i64,
}

impl Decimal {
    /// `None` for what JSON does not take for a number.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, non_empty_digits(fraction)?),
            None => (mantissa, ""),
        };
        let whole = non_empty_digits(whole)?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        let all = [whole, fraction].concat();
        let digits = all.trim_start_matches('0');
        let zeros = all.len() - digits.len();
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self { negative: false, digits: "".into(), exponent: 0 });
        }
        let exponent = exponent.saturating_add(whole.len() as i64 - zeros as i64);
        Some(Self { negative, digits: digits.into(), exponent })
    }
}

fn non_empty_digits(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
}

/// Cut to the range of `i64`, far beyond what an event can hold.
fn parse_exponent(text: &str) -> Option<i64> {
    let digits = non_empty_digits(text.strip_prefix(['+', '-']).unwrap_or(text))?;
    let size = digits.parse().unwrap_or(i64::MAX / 2);
    Some(if text.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_json_numbers_are_numbers() {
        for text in ["0", "-0", "10", "1.50", "1e5", "1E+5", "1.0e-05", "1e99999999999999999999"] {
            assert!(Decimal::parse(text).is_some(), "{text}");
        }
        for text in
            ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "1.e1", "0x1", "1_0", "--1", "NaN"]
        {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn equal_are_the_ways_to_write_one_value(n in -99_999i64..99_999, zeros in 0..5usize) {
            let plain = Decimal::parse(&n.to_string());
            let shifted = format!("{n}{}e-{zeros}", if n == 0 { String::new() } else { "0".repeat(zeros) });
            prop_assert_eq!(&plain, &Decimal::parse(&shifted));
            prop_assert_eq!(&plain, &Decimal::parse(&format!("{n}.{}", "0".repeat(zeros + 1))));
            prop_assert_ne!(&plain, &Decimal::parse(&(n + 1).to_string()));
            prop_assert_eq!(serde_json::from_str::<f64>(&shifted).unwrap(), n as f64);
        }
    }
}
