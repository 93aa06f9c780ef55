//! Timestamps: RFC 3339, written in UTC.

use serde::ser::{Error, Serializer};

use super::Codec;
use super::context::WriteContext;

/// First second of the year 1.
const MIN_SECONDS: i64 = -62_135_596_800;
/// Last second of the year 9999.
const MAX_SECONDS: i64 = 253_402_300_799;
const DAY_SECONDS: i64 = 86_400;

/// `google.protobuf.Timestamp` with `DIGITS` fractional digits, truncated; 0 stands for the fewest
/// of 0, 3, 6 and 9 that represent the value.
pub struct Timestamp<const DIGITS: usize>;

impl<const DIGITS: usize> Codec for Timestamp<DIGITS> {
    type Value = prost_types::Timestamp;
    const EXPECTED: &'static str = "an RFC 3339 timestamp";

    fn write<S: Serializer>(
        value: &Self::Value,
        serializer: S,
        _: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        let mut buffer = [0; 30];
        match format(value, DIGITS, &mut buffer) {
            Some(text) => serializer.serialize_str(text),
            None => Err(S::Error::custom(
                "a timestamp is outside the years 1 to 9999",
            )),
        }
    }

    fn str(value: &str) -> Option<Self::Value> {
        parse(value.as_bytes())
    }
}

/// [`Timestamp`] that is accepted only in UTC, written with `Z`: `+00:00` names the same zone but
/// is rejected.
pub struct Utc<const DIGITS: usize>;

impl<const DIGITS: usize> Codec for Utc<DIGITS> {
    type Value = prost_types::Timestamp;
    const EXPECTED: &'static str = "an RFC 3339 timestamp in UTC, such as 2027-01-31T00:00:00Z";

    fn write<S: Serializer>(
        value: &Self::Value,
        serializer: S,
        context: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        Timestamp::<DIGITS>::write(value, serializer, context)
    }

    fn str(value: &str) -> Option<Self::Value> {
        Timestamp::<DIGITS>::str(value).filter(|_| value.ends_with('Z'))
    }
}

fn format<'b>(
    value: &prost_types::Timestamp,
    digits: usize,
    buffer: &'b mut [u8; 30],
) -> Option<&'b str> {
    let in_range = (MIN_SECONDS..=MAX_SECONDS).contains(&value.seconds);
    let nanos = u64::try_from(value.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)?;
    if !in_range {
        return None;
    }
    let (year, month, day) = civil_from_days(value.seconds.div_euclid(DAY_SECONDS));
    let second = value.seconds.rem_euclid(DAY_SECONDS).unsigned_abs();
    let digits = match digits {
        0 if nanos == 0 => 0,
        0 if nanos % 1_000_000 == 0 => 3,
        0 if nanos % 1_000 == 0 => 6,
        0 => 9,
        fixed => fixed.min(9),
    };
    let parts = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (second / 3600, 2, b':'),
        (second / 60 % 60, 2, b':'),
        (second % 60, 2, if digits == 0 { b'Z' } else { b'.' }),
    ];
    let mut length = 0;
    for (number, width, end) in parts {
        length = write_digits(buffer, length, number, width);
        *buffer.get_mut(length)? = end;
        length += 1;
    }
    if digits > 0 {
        let power = u32::try_from(9 - digits).ok()?;
        length = write_digits(buffer, length, nanos / 10_u64.pow(power), digits);
        *buffer.get_mut(length)? = b'Z';
        length += 1;
    }
    std::str::from_utf8(buffer.get(..length)?).ok()
}

/// Writes a number's last `width` digits and returns their end.
fn write_digits(buffer: &mut [u8; 30], start: usize, mut number: u64, width: usize) -> usize {
    for index in buffer.iter_mut().skip(start).take(width).rev() {
        *index = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    start + width
}

fn parse(text: &[u8]) -> Option<prost_types::Timestamp> {
    let (date_time, rest) = text.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators
        .iter()
        .any(|(index, byte)| date_time.get(*index) != Some(byte))
    {
        return None;
    }
    let part = |from: usize, to: usize| number(date_time.get(from..to)?);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    let valid = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !valid {
        return None;
    }

    let (nanos, zone) = match rest.strip_prefix(b".") {
        Some(rest) => {
            let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
            let (digits, zone) = rest.split_at(end);
            let missing = u32::try_from(9_usize.checked_sub(digits.len())?).ok()?;
            (number(digits)? * 10_i64.pow(missing), zone)
        }
        None => (0, rest),
    };
    let seconds =
        days_from_civil(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second
            - offset(zone)?;
    let nanos = i32::try_from(nanos).ok()?;
    (MIN_SECONDS..=MAX_SECONDS)
        .contains(&seconds)
        .then_some(prost_types::Timestamp { seconds, nanos })
}

/// Returns the offset of a zone from UTC in seconds.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone {
        b"Z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    if rest.len() != 5 || rest.get(2) != Some(&b':') {
        return None;
    }
    let (hours, minutes) = (number(rest.get(..2)?)?, number(rest.get(3..)?)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i64::from(digit - b'0'))
    })
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March here,
/// so that the leap day is the last day of a year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Returns the year, month and day of a number of days after 1970-01-01.
fn civil_from_days(days: i64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (
        year.unsigned_abs(),
        month.unsigned_abs(),
        day.unsigned_abs(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Codec, JsonOptions, WriteContext};
    use super::{MAX_SECONDS, MIN_SECONDS, Utc, civil_from_days, days_from_civil, format, parse};
    use prost_types::Timestamp;

    fn written(seconds: i64, nanos: i32, digits: usize) -> Option<String> {
        format(&Timestamp { seconds, nanos }, digits, &mut [0; 30]).map(str::to_owned)
    }

    fn read(text: &str) -> Option<(i64, i32)> {
        parse(text.as_bytes()).map(|read| (read.seconds, read.nanos))
    }

    #[test]
    fn the_declared_number_of_digits_is_written() {
        assert_eq!(
            written(1_709_899_200, 0, 3).unwrap(),
            "2024-03-08T12:00:00.000Z"
        );
        assert_eq!(
            written(1_709_899_200, 987_654_321, 3).unwrap(),
            "2024-03-08T12:00:00.987Z"
        );
        assert_eq!(written(0, 1_000, 0).unwrap(), "1970-01-01T00:00:00.000001Z");
        assert_eq!(written(0, 0, 0).unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(
            written(MIN_SECONDS, 0, 9).unwrap(),
            "0001-01-01T00:00:00.000000000Z"
        );
        assert_eq!(
            written(MAX_SECONDS, 999_999_999, 9).unwrap(),
            "9999-12-31T23:59:59.999999999Z"
        );
        assert_eq!(written(MIN_SECONDS - 1, 0, 3), None);
        assert_eq!(written(MAX_SECONDS + 1, 0, 3), None);
        assert_eq!(written(0, -1, 3), None);
    }

    #[test]
    fn offsets_and_fractions_are_read() {
        assert_eq!(read("2024-03-08T12:00:00.000Z"), Some((1_709_899_200, 0)));
        assert_eq!(read("2024-03-08T13:30:00+01:30"), Some((1_709_899_200, 0)));
        assert_eq!(read("1969-12-31T23:59:59.5-00:00"), Some((-1, 500_000_000)));
        assert_eq!(
            read("2024-02-29T00:00:00.123456789Z"),
            Some((1_709_164_800, 123_456_789))
        );
    }

    #[test]
    fn invalid_timestamp_is_rejected() {
        for text in [
            "",
            "2024-03-08",
            "2024-03-08T12:00:00",
            "2024-03-08t12:00:00Z",
            "2024-03-08T12:00:00z",
            "2024-03-08 12:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-03-08T24:00:00Z",
            "2024-03-08T12:00:60Z",
            "2024-03-08T12:00:00.Z",
            "2024-03-08T12:00:00.1234567890Z",
            "2024-03-08T12:00:00+1:00",
            "2024-03-08T12:00:00+24:00",
            "0000-12-31T23:59:59Z",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "2024-03-08T12:00:00ZZ",
            "２024-03-08T12:00:00Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn only_z_is_utc_where_utc_is_asked_for() {
        for (text, expected) in [
            ("2027-01-31T00:00:00Z", (1_801_353_600, 0)),
            ("2027-01-31T00:00:00.000Z", (1_801_353_600, 0)),
            (
                "2027-01-31T00:00:00.123456789Z",
                (1_801_353_600, 123_456_789),
            ),
        ] {
            let utc = Utc::<3>::str(text).map(|read| (read.seconds, read.nanos));
            assert_eq!(utc, Some(expected), "{text}");
            assert_eq!(read(text), utc, "{text}");
        }
        for text in [
            "2027-01-31T00:00:00+00:00",
            "2027-01-31T00:00:00-00:00",
            "2027-01-31T01:00:00+01:00",
            "2027-01-31T00:00:00.5+00:00",
        ] {
            assert!(
                read(text).is_some() && Utc::<3>::str(text).is_none(),
                "{text}"
            );
        }
        for text in [
            "",
            "Z",
            "2027-01-31T00:00:00",
            "2027-01-31T00:00:00z",
            "2027-02-29T00:00:00Z",
        ] {
            assert_eq!(Utc::<3>::str(text), None, "{text}");
        }
    }

    #[test]
    fn timestamp_outside_utc_is_rejected_with_the_form() {
        let rejected = Utc::<3>::text("2027-01-31T00:00:00+00:00");
        let expected = "an RFC 3339 timestamp in UTC, such as 2027-01-31T00:00:00Z";
        assert_eq!(rejected, Err(expected));
        assert!(Utc::<3>::text(expected.rsplit(' ').next().unwrap()).is_ok());
    }

    #[test]
    fn utc_is_written_like_any_timestamp() {
        let value = Timestamp {
            seconds: 0,
            nanos: 5_000_000,
        };
        let written = Utc::<3>::write(
            &value,
            serde_json::value::Serializer,
            &WriteContext::new(&JsonOptions::default()),
        )
        .unwrap();
        assert_eq!(written, "1970-01-01T00:00:00.005Z");
    }

    #[test]
    fn every_day_of_the_calendar_comes_back() {
        for day in days_from_civil(1, 1, 1)..=days_from_civil(9999, 12, 31) {
            let (year, month, date) = civil_from_days(day);
            let back = days_from_civil(year.cast_signed(), month.cast_signed(), date.cast_signed());
            assert_eq!(back, day);
        }
    }
}
