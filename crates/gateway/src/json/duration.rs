//! Durations: seconds with the suffix `s`.

use std::fmt::Write as _;

use serde::ser::{Error, Serializer};

use super::Codec;
use super::context::WriteContext;

/// Maximum number of seconds of a duration: about ten thousand years.
const MAX_SECONDS: i64 = 315_576_000_000;

/// `google.protobuf.Duration`: seconds with the fewest of 0, 3, 6 and 9 fractional digits that
/// represent the value, and an `s`.
pub struct Duration;

impl Codec for Duration {
    type Value = prost_types::Duration;
    const EXPECTED: &'static str = "a number of seconds that ends in s, such as 1.5s";

    fn write<S: Serializer>(
        value: &Self::Value,
        serializer: S,
        _: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        match format(value) {
            Some(text) => serializer.serialize_str(&text),
            None => Err(S::Error::custom(
                "a duration is too long, or its parts have different signs",
            )),
        }
    }

    fn str(value: &str) -> Option<Self::Value> {
        parse(value)
    }
}

fn format(value: &prost_types::Duration) -> Option<String> {
    let (seconds, nanos) = (value.seconds, value.nanos);
    let is_valid = (-MAX_SECONDS..=MAX_SECONDS).contains(&seconds)
        && nanos.unsigned_abs() < 1_000_000_000
        && (seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0));
    if !is_valid {
        return None;
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let (whole, rest) = (seconds.unsigned_abs(), nanos.unsigned_abs());
    let mut text = format!("{sign}{whole}");
    _ = match rest {
        0 => Ok(()),
        _ if rest % 1_000_000 == 0 => write!(text, ".{:03}", rest / 1_000_000),
        _ if rest % 1_000 == 0 => write!(text, ".{:06}", rest / 1_000),
        _ => write!(text, ".{rest:09}"),
    };
    text.push('s');
    Some(text)
}

fn parse(text: &str) -> Option<prost_types::Duration> {
    let number = text.strip_suffix('s')?;
    let (sign, number) = match number.strip_prefix('-') {
        Some(number) => (-1, number),
        None => (1, number),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let is_number =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(whole) || !fraction.is_none_or(|digits| is_number(digits) && digits.len() <= 9) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanos: i32 = format!("{:0<9}", fraction.unwrap_or_default())
        .parse()
        .ok()?;
    (seconds <= MAX_SECONDS).then_some(prost_types::Duration {
        seconds: i64::from(sign) * seconds,
        nanos: sign * nanos,
    })
}

#[cfg(test)]
mod tests {
    use super::{format, parse};
    use prost_types::Duration;

    #[test]
    fn as_few_digits_are_written_as_hold_the_value() {
        for (seconds, nanos, expected) in [
            (0, 0, Some("0s")),
            (3, 0, Some("3s")),
            (1, 500_000_000, Some("1.500s")),
            (1, 1_000, Some("1.000001s")),
            (1, 1, Some("1.000000001s")),
            (0, -10_000_000, Some("-0.010s")),
            (-1, -500_000_000, Some("-1.500s")),
            (315_576_000_000, 0, Some("315576000000s")),
            (
                -315_576_000_000,
                -999_999_999,
                Some("-315576000000.999999999s"),
            ),
            (315_576_000_001, 0, None),
            (-315_576_000_001, 0, None),
            (1, -1, None),
            (-1, 1, None),
            (0, 1_000_000_000, None),
            (0, i32::MIN, None),
        ] {
            let written = format(&Duration { seconds, nanos });
            assert_eq!(written.as_deref(), expected, "{seconds} {nanos}");
        }
    }

    #[test]
    fn up_to_nine_digits_are_read() {
        for (text, seconds, nanos) in [
            ("0s", 0, 0),
            ("-0s", 0, 0),
            ("1.5s", 1, 500_000_000),
            ("-0.5s", 0, -500_000_000),
            ("-1.000000001s", -1, -1),
            ("007.10s", 7, 100_000_000),
            ("315576000000s", 315_576_000_000, 0),
            ("-315576000000.999999999s", -315_576_000_000, -999_999_999),
        ] {
            assert_eq!(parse(text), Some(Duration { seconds, nanos }), "{text}");
        }
        for text in [
            "",
            "s",
            "1",
            "1.5",
            "1.s",
            ".5s",
            "1.0000000001s",
            "+1s",
            "--1s",
            "1s ",
            " 1s",
            "1 s",
            "1e3s",
            "1,5s",
            "1.5.5s",
            "1S",
            "315576000001s",
            "-315576000001s",
            "99999999999999999999s",
            "１s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
