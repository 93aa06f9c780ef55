//! Integers that count small units and are written in whole units.

use std::marker::PhantomData;

use serde::ser::Serializer;

use super::Codec;
use super::context::WriteContext;

/// Largest integer up to which every integer is exact as a floating-point number.
const EXACT: u128 = 1 << 53;

/// Description of the decimals that a field accepts, unless the field has its own.
pub(super) const DECIMAL: &str = "a number within range";

/// Integer in units of ten to the minus `PLACES` (at most 18); in JSON a number of whole units. A
/// number with more decimal places is rejected: rounding would change the client's value.
pub struct Decimal<T, const PLACES: u32>(PhantomData<T>);

impl<T: Copy + Default + TryFrom<i128> + Into<i128>, const PLACES: u32> Codec
    for Decimal<T, PLACES>
{
    type Value = T;
    const EXPECTED: &'static str = DECIMAL;

    fn write<S: Serializer>(
        value: &T,
        serializer: S,
        _: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        let units: i128 = (*value).into();
        let scale = 10_i128.pow(PLACES);
        if units % scale == 0 {
            serializer.serialize_i128(units / scale)
        } else {
            serializer.serialize_f64(number_from_units(units, PLACES))
        }
    }

    fn is_default(value: &T) -> bool {
        (*value).into() == 0
    }

    fn i64(value: i64) -> Option<T> {
        i128::from(value)
            .checked_mul(10_i128.pow(PLACES))?
            .try_into()
            .ok()
    }

    fn u64(value: u64) -> Option<T> {
        i128::from(value)
            .checked_mul(10_i128.pow(PLACES))?
            .try_into()
            .ok()
    }

    fn f64(value: f64) -> Option<T> {
        // The shortest text of the number is the client's text. Scaling the text is exact; scaling
        // the number is not.
        units_from_text(&format!("{value}"), PLACES)?
            .try_into()
            .ok()
    }

    fn text(text: &str) -> Result<T, &'static str> {
        let number: Option<serde_json::Number> = serde_json::from_str(text).ok();
        let value =
            number.and_then(
                |number| match (number.as_i64(), number.as_u64(), number.as_f64()) {
                    (Some(value), _, _) => Self::i64(value),
                    (_, Some(value), _) => Self::u64(value),
                    (_, _, Some(value)) => Self::f64(value),
                    _ => None,
                },
            );
        value.ok_or(Self::EXPECTED)
    }
}

/// Returns the floating-point number nearest to `units` divided by ten to the `places`.
#[allow(
    clippy::cast_precision_loss,
    reason = "both are exact, or the text is taken"
)]
fn number_from_units(units: i128, places: u32) -> f64 {
    let scale = 10_i128.pow(places);
    if units.unsigned_abs() <= EXACT {
        return units as f64 / scale as f64;
    }
    let sign = if units < 0 { "-" } else { "" };
    let (whole, rest) = (
        (units / scale).unsigned_abs(),
        (units % scale).unsigned_abs(),
    );
    let width = places as usize;
    format!("{sign}{whole}.{rest:0width$}")
        .parse()
        .unwrap_or(units as f64 / scale as f64)
}

/// Returns the decimal number `text` (without exponent) times ten to the `places`, or `None` if it
/// has more places.
fn units_from_text(text: &str, places: u32) -> Option<i128> {
    let (negative, text) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut units: i128 = whole.parse().ok()?;
    let mut digits = fraction.bytes();
    for _ in 0..places {
        let digit = digits.next().map_or(0, |byte| byte.wrapping_sub(b'0'));
        units = units.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    if digits.any(|byte| byte != b'0') {
        return None;
    }
    Some(if negative { -units } else { units })
}

#[cfg(test)]
mod tests {
    use super::super::field::FieldRef;
    use super::super::options::JsonOptions;
    use super::super::{Codec, WriteContext};
    use super::Decimal;

    type Nanos = Decimal<i64, 9>;

    fn written(value: i64) -> String {
        let options = JsonOptions::default();
        serde_json::to_string(&FieldRef::<Nanos>::new(
            &value,
            &WriteContext::new(&options),
        ))
        .unwrap()
    }

    #[test]
    fn nanos_are_written_as_the_shortest_number_of_whole_units() {
        assert_eq!(written(0), "0");
        assert_eq!(written(75_000_000_000), "75");
        assert_eq!(written(1_500_000_000), "1.5");
        assert_eq!(written(-100_000_000), "-0.1");
        assert_eq!(written(1), "1e-9");
        assert_eq!(written(4_194_303_123_456_789), "4194303.123456789");
        assert_eq!(written(i64::MIN), "-9223372036.854776");
    }

    #[test]
    fn numbers_finer_than_a_unit_are_rejected() {
        assert_eq!(Nanos::u64(75), Some(75_000_000_000));
        assert_eq!(Nanos::i64(-1), Some(-1_000_000_000));
        assert_eq!(Nanos::f64(1.1), Some(1_100_000_000));
        assert_eq!(Nanos::f64(0.1 + 0.2), None);
        assert_eq!(Nanos::f64(1e-9), Some(1));
        assert_eq!(Nanos::f64(-1e-9), Some(-1));
        for finer in [4e-10, 5e-10, -5e-10, 1.000_000_000_1] {
            assert_eq!(Nanos::f64(finer), None, "{finer}");
        }
        assert_eq!(Nanos::f64(-0.0), Some(0));
        assert_eq!(
            Nanos::f64(4_194_303.123_456_789),
            Some(4_194_303_123_456_789)
        );
        assert_eq!(Nanos::u64(9_223_372_037), None);
        assert_eq!(Nanos::f64(1e300), None);
        assert_eq!(Nanos::f64(f64::NAN), None);
        assert_eq!(Nanos::f64(f64::INFINITY), None);
        assert_eq!(Nanos::str("1"), None);
    }
}
