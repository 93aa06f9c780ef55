//! Protobuf JSON, in and out, without reflection.
//!
//! Every kind of field is one [`Codec`]; the generated code says which codec a
//! member has, and nothing more. No error made here repeats a value: it says what
//! was expected, and [`decode`] adds where.

mod decimal;
mod decode;
mod message;
mod scalar;
mod timestamp;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};

pub use decimal::Decimal;
pub(crate) use decode::decode_seen;
pub use decode::{decode, encode};
pub(crate) use message::Seen;
pub use message::{JsonMessage, Message, deserialize, serialize};
pub use scalar::{
    Binary, Bool, Double, Enum, FieldMask, Float, Int32, Int64, JsonEnum, Text, UInt32, UInt64,
};
pub use timestamp::{Timestamp, Utc};

/// How one kind of value looks in JSON. A method that a kind does not implement
/// refuses that form of JSON.
pub trait Codec {
    /// The value's type in the message.
    type Value;

    /// What a refusal says was expected, such as `a string`.
    const EXPECTED: &'static str;

    /// Writes the value.
    ///
    /// # Errors
    ///
    /// The serializer's, or that the value has no form in JSON.
    fn write<S: Serializer>(value: &Self::Value, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads true or false.
    fn bool(_: bool) -> Option<Self::Value> {
        None
    }

    /// Reads an integer.
    fn i64(_: i64) -> Option<Self::Value> {
        None
    }

    /// Reads an integer that is not negative.
    fn u64(value: u64) -> Option<Self::Value> {
        i64::try_from(value).ok().and_then(Self::i64)
    }

    /// Reads any other number.
    fn f64(_: f64) -> Option<Self::Value> {
        None
    }

    /// Reads a string.
    fn str(_: &str) -> Option<Self::Value> {
        None
    }

    /// Reads a string that need not be copied.
    fn string(value: String) -> Option<Self::Value> {
        Self::str(&value)
    }

    /// Reads the text of a path variable or a query parameter.
    fn text(text: &str) -> Option<Self::Value> {
        Self::str(text)
    }

    /// Reads null.
    fn null() -> Option<Self::Value> {
        None
    }

    /// Reads an array.
    ///
    /// # Errors
    ///
    /// What the array holds that it should not.
    fn array<'de, A: SeqAccess<'de>>(_: A) -> Result<Self::Value, A::Error> {
        Err(expected::<Self, _>())
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// What the object holds that it should not.
    fn object<'de, A: MapAccess<'de>>(_: A) -> Result<Self::Value, A::Error> {
        Err(expected::<Self, _>())
    }
}

/// The refusal of a value that `C` does not read.
fn expected<C: Codec + ?Sized, E: de::Error>() -> E {
    E::custom(format_args!("must be {}", C::EXPECTED))
}

/// Any number of values; JSON has them in an array.
pub struct List<C>(PhantomData<C>);

impl<C: Codec> Codec for List<C> {
    type Value = Vec<C::Value>;
    const EXPECTED: &'static str = "an array";

    fn write<S: Serializer>(value: &Self::Value, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(value.iter().map(Out::<C>))
    }

    fn array<'de, A: SeqAccess<'de>>(mut array: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(In(value)) = array.next_element::<In<C>>()? {
            values.push(value);
        }
        Ok(values)
    }
}

/// A value that null leaves unset.
struct OrNull<C>(PhantomData<C>);

impl<C: Codec> Codec for OrNull<C> {
    type Value = Option<C::Value>;
    const EXPECTED: &'static str = C::EXPECTED;

    fn write<S: Serializer>(value: &Self::Value, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => C::write(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    fn bool(value: bool) -> Option<Self::Value> {
        C::bool(value).map(Some)
    }

    fn i64(value: i64) -> Option<Self::Value> {
        C::i64(value).map(Some)
    }

    fn u64(value: u64) -> Option<Self::Value> {
        C::u64(value).map(Some)
    }

    fn f64(value: f64) -> Option<Self::Value> {
        C::f64(value).map(Some)
    }

    fn str(value: &str) -> Option<Self::Value> {
        C::str(value).map(Some)
    }

    fn string(value: String) -> Option<Self::Value> {
        C::string(value).map(Some)
    }

    fn null() -> Option<Self::Value> {
        Some(None)
    }

    fn array<'de, A: SeqAccess<'de>>(array: A) -> Result<Self::Value, A::Error> {
        C::array(array).map(Some)
    }

    fn object<'de, A: MapAccess<'de>>(object: A) -> Result<Self::Value, A::Error> {
        C::object(object).map(Some)
    }
}

/// A value to write.
struct Out<'a, C: Codec>(&'a C::Value);

impl<C: Codec> Serialize for Out<'_, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        C::write(self.0, serializer)
    }
}

/// A value that was read.
struct In<C: Codec>(C::Value);

impl<'de, C: Codec> Deserialize<'de> for In<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(AnyVisitor::<C>(PhantomData))
            .map(In)
    }
}

/// Takes any JSON and lets the codec say whether it fits. Every method is here:
/// those that serde would add put the value into the error.
struct AnyVisitor<C>(PhantomData<C>);

impl<'de, C: Codec> Visitor<'de> for AnyVisitor<C> {
    type Value = C::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(C::EXPECTED)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<C::Value, E> {
        C::bool(value).ok_or_else(expected::<C, E>)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<C::Value, E> {
        C::i64(value).ok_or_else(expected::<C, E>)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<C::Value, E> {
        Err(expected::<C, E>())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<C::Value, E> {
        C::u64(value).ok_or_else(expected::<C, E>)
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<C::Value, E> {
        Err(expected::<C, E>())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<C::Value, E> {
        C::f64(value).ok_or_else(expected::<C, E>)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<C::Value, E> {
        C::str(value).ok_or_else(expected::<C, E>)
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<C::Value, E> {
        C::string(value).ok_or_else(expected::<C, E>)
    }

    fn visit_bytes<E: de::Error>(self, _: &[u8]) -> Result<C::Value, E> {
        Err(expected::<C, E>())
    }

    fn visit_none<E: de::Error>(self) -> Result<C::Value, E> {
        self.visit_unit()
    }

    fn visit_unit<E: de::Error>(self) -> Result<C::Value, E> {
        C::null().ok_or_else(expected::<C, E>)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<C::Value, A::Error> {
        C::array(array)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<C::Value, A::Error> {
        C::object(object)
    }
}

/// Reads the value of the member whose name was just read; None for null.
///
/// # Errors
///
/// What the value should have been.
pub fn take<'de, C: Codec, A: MapAccess<'de>>(
    members: &mut A,
) -> Result<Option<C::Value>, A::Error> {
    members.next_value::<In<OrNull<C>>>().map(|In(value)| value)
}

/// Writes a member that is always there.
///
/// # Errors
///
/// As [`Codec::write`].
pub fn put<C: Codec, S: SerializeStruct>(
    members: &mut S,
    name: &'static str,
    value: &C::Value,
) -> Result<(), S::Error> {
    members.serialize_field(name, &Out::<C>(value))
}

/// Writes a member that is left out when it is unset.
///
/// # Errors
///
/// As [`Codec::write`].
pub fn put_present<C: Codec, S: SerializeStruct>(
    members: &mut S,
    name: &'static str,
    value: &Option<C::Value>,
) -> Result<(), S::Error> {
    match value {
        Some(value) => put::<C, S>(members, name, value),
        None => members.skip_field(name),
    }
}

/// Writes a member that is null when it is unset.
///
/// # Errors
///
/// As [`Codec::write`].
pub fn put_or_null<C: Codec, S: SerializeStruct>(
    members: &mut S,
    name: &'static str,
    value: &Option<C::Value>,
) -> Result<(), S::Error> {
    put::<OrNull<C>, S>(members, name, value)
}

/// Reads the text of a path variable or a query parameter.
///
/// # Errors
///
/// What the text should have been, such as `a number`.
pub fn text<C: Codec>(text: &str) -> Result<C::Value, &'static str> {
    C::text(text).ok_or(C::EXPECTED)
}
