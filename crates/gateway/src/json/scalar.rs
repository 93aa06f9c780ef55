//! Scalars and enums.

use std::marker::PhantomData;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use serde::ser::Serializer;

use super::Codec;
use super::context::WriteContext;

/// `bool`.
pub struct Bool;

impl Codec for Bool {
    type Value = bool;
    const EXPECTED: &'static str = "true or false";

    fn write<S: Serializer>(
        value: &bool,
        serializer: S,
        _: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*value)
    }

    fn is_default(value: &bool) -> bool {
        !*value
    }

    fn bool(value: bool) -> Option<bool> {
        Some(value)
    }

    fn text(text: &str) -> Result<bool, &'static str> {
        text.parse().map_err(|_| Self::EXPECTED)
    }
}

/// `string`.
pub struct Text;

impl Codec for Text {
    type Value = String;
    const EXPECTED: &'static str = "a string";

    fn write<S: Serializer>(
        value: &String,
        serializer: S,
        _: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value)
    }

    fn is_default(value: &String) -> bool {
        value.is_empty()
    }

    fn str(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    fn string(value: String) -> Option<String> {
        Some(value)
    }
}

/// Returns the floating-point number as an integer if it is integral.
fn whole(value: f64) -> Option<i128> {
    let in_range = value.abs() < 1e20;
    #[allow(clippy::cast_possible_truncation, reason = "the range is checked")]
    (in_range && value.fract() == 0.0).then_some(value as i128)
}

/// Returns the integer in a text, written as an integer or, like `1e3`, as a number.
fn whole_text(text: &str) -> Option<i128> {
    let plain = text.strip_prefix('-').unwrap_or(text);
    if plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    number_text(text).and_then(whole)
}

/// Returns the number in a text, in the grammar of JSON.
fn number_text(text: &str) -> Option<f64> {
    let first = text.bytes().next()?;
    let last = text.bytes().next_back()?;
    let number = (first == b'-' || first.is_ascii_digit()) && last.is_ascii_digit();
    number.then(|| serde_json::from_str(text).ok()).flatten()
}

macro_rules! integer {
    ($(#[$doc:meta])* $name:ident, $value:ty, $expected:literal, $write:expr) => {
        $(#[$doc])*
        pub struct $name;

        impl Codec for $name {
            type Value = $value;
            const EXPECTED: &'static str = $expected;

            fn write<S: Serializer>(value: &$value, serializer: S, _: &WriteContext<'_>) -> Result<S::Ok, S::Error> {
                $write(*value, serializer)
            }

            fn is_default(value: &$value) -> bool {
                *value == 0
            }

            fn i64(value: i64) -> Option<$value> {
                value.try_into().ok()
            }

            fn u64(value: u64) -> Option<$value> {
                value.try_into().ok()
            }

            fn f64(value: f64) -> Option<$value> {
                whole(value)?.try_into().ok()
            }

            fn str(value: &str) -> Option<$value> {
                whole_text(value)?.try_into().ok()
            }
        }
    };
}

integer!(
    /// `int32`, `sint32` and `sfixed32`: a number.
    Int32, i32, "a 32-bit integer", |value, out: S| out.serialize_i32(value)
);
integer!(
    /// `uint32` and `fixed32`: a number.
    UInt32, u32, "an unsigned 32-bit integer", |value, out: S| out.serialize_u32(value)
);
integer!(
    /// `int64`, `sint64` and `sfixed64`: a string, since JavaScript's numbers are too small; a
    /// number is accepted too.
    Int64, i64, "a 64-bit integer", |value, out: S| out.collect_str(&value)
);
integer!(
    /// `uint64` and `fixed64`: a string, since JavaScript's numbers are too small; a number is
    /// accepted too.
    UInt64, u64, "an unsigned 64-bit integer", |value, out: S| out.collect_str(&value)
);

/// `double`: a number, or `NaN`, `Infinity` or `-Infinity` as a string.
pub struct Double;

impl Codec for Double {
    type Value = f64;
    const EXPECTED: &'static str = "a number";

    fn write<S: Serializer>(
        value: &f64,
        serializer: S,
        _: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            serializer.serialize_f64(*value)
        } else if value.is_nan() {
            serializer.serialize_str("NaN")
        } else {
            serializer.serialize_str(if *value > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            })
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a double is asked for")]
    fn is_default(value: &f64) -> bool {
        value.to_bits() == 0
    }

    fn i64(value: i64) -> Option<f64> {
        Some(value as f64)
    }

    #[allow(clippy::cast_precision_loss, reason = "a double is asked for")]
    fn u64(value: u64) -> Option<f64> {
        Some(value as f64)
    }

    fn f64(value: f64) -> Option<f64> {
        Some(value)
    }

    fn str(value: &str) -> Option<f64> {
        match value {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            other => number_text(other),
        }
    }
}

/// `float`: like [`Double`], within the range of 32 bits.
pub struct Float;

impl Codec for Float {
    type Value = f32;
    const EXPECTED: &'static str = "a 32-bit number";

    fn write<S: Serializer>(
        value: &f32,
        serializer: S,
        context: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            serializer.serialize_f32(*value)
        } else {
            Double::write(&f64::from(*value), serializer, context)
        }
    }

    fn is_default(value: &f32) -> bool {
        value.to_bits() == 0
    }

    fn i64(value: i64) -> Option<f32> {
        Double::i64(value).and_then(Self::f64)
    }

    fn u64(value: u64) -> Option<f32> {
        Double::u64(value).and_then(Self::f64)
    }

    #[allow(clippy::cast_possible_truncation, reason = "overflow is checked")]
    fn f64(value: f64) -> Option<f32> {
        let narrow = value as f32;
        (narrow.is_infinite() == value.is_infinite()).then_some(narrow)
    }

    fn str(value: &str) -> Option<f32> {
        Double::str(value).and_then(Self::f64)
    }
}

/// Accepts either alphabet, with or without padding.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// `bytes`: base64.
pub struct Binary;

impl Codec for Binary {
    type Value = Vec<u8>;
    const EXPECTED: &'static str = "a base64 string";

    fn write<S: Serializer>(
        value: &Vec<u8>,
        serializer: S,
        _: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&general_purpose::STANDARD.encode(value))
    }

    fn is_default(value: &Vec<u8>) -> bool {
        value.is_empty()
    }

    fn str(value: &str) -> Option<Vec<u8>> {
        STANDARD
            .decode(value)
            .or_else(|_| URL_SAFE.decode(value))
            .ok()
    }
}

/// Description of an enum, from the generator.
pub trait JsonEnum {
    /// Expected form in an error, such as `one of DAILY, WEEKLY`.
    const EXPECTED: &'static str;

    /// Returns the name of a value in JSON.
    fn name_from_number(number: i32) -> Option<&'static str>;

    /// Returns the value with this name in JSON or in the proto file.
    fn number_from_name(name: &str) -> Option<i32>;
}

/// Enum: the name of its value; a number is accepted too.
pub struct Enum<E>(PhantomData<E>);

impl<E: JsonEnum> Codec for Enum<E> {
    type Value = i32;
    const EXPECTED: &'static str = E::EXPECTED;
    const IS_ENUM: bool = true;

    fn write<S: Serializer>(
        value: &i32,
        serializer: S,
        _: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        match E::name_from_number(*value) {
            Some(name) => serializer.serialize_str(name),
            None => serializer.serialize_i32(*value),
        }
    }

    fn is_default(value: &i32) -> bool {
        *value == 0
    }

    fn i64(value: i64) -> Option<i32> {
        value.try_into().ok()
    }

    fn f64(value: f64) -> Option<i32> {
        Int32::f64(value)
    }

    fn str(value: &str) -> Option<i32> {
        E::number_from_name(value)
    }

    fn text(text: &str) -> Result<i32, &'static str> {
        let number = E::number_from_name(text).or_else(|| text.parse().ok());
        number.ok_or(Self::EXPECTED)
    }
}
