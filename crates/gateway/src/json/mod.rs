//! Protobuf JSON, in and out, without reflection, as
//! <https://protobuf.dev/programming-guides/json/> has it.
//!
//! Every kind of field is one [`Codec`]; the generated code says which codec a
//! member has, and nothing more. Values are read in place, so that reading a member
//! once more merges into what is there; that is how path variables and query
//! parameters, which are read by the same code, meet the body. No error made here
//! repeats a value: a [`Fault`] says where it is and what was expected.

mod any;
mod decimal;
mod decode;
mod duration;
mod encode;
mod field_mask;
mod google;
mod info;
mod list;
mod message;
mod nearest;
mod options;
mod scalar;
mod slot;
mod structure;
#[cfg(test)]
mod tests;
mod text;
mod timestamp;
mod tree;
mod unread;

use serde::de::{self, MapAccess, SeqAccess};
use serde::ser::Serializer;

pub use any::{Any, AnyType};
pub use decimal::Decimal;
pub use decode::{Fault, bind_path, bind_query, decode, decode_into, decode_member_into};
pub(crate) use decode::{read_body, read_query};
pub use duration::Duration;
pub use encode::{encode, encode_member};
pub use field_mask::{FieldMask, UpdatePaths, take_update_mask};
pub use info::{
    MemberInfo, MemberKind, MessageInfo, body_paths, info, members, proto_path, resolve,
};
pub use list::{Boxed, List, Map};
pub use message::{JsonMessage, Message, UpdateMask, deserialize, serialize};
pub(crate) use nearest::{nearest_path, shown, suggestion};
pub use options::{JsonOptions, Reading, Writing};
pub(crate) use options::{MAX_PARAMETER_DEPTH, Masked};
pub use scalar::{Binary, Bool, Double, Enum, Float, Int32, Int64, JsonEnum, Text, UInt32, UInt64};
pub use slot::{put, put_or_null, put_present, take, take_choice, take_present};
pub use structure::{ListValue, NullValue, Struct, Value};
pub use timestamp::{Timestamp, Utc};

/// How one kind of value looks in JSON. A method that a kind does not implement
/// refuses that form of JSON.
pub trait Codec {
    /// The value's type in the message.
    type Value: Default;

    /// What a refusal says was expected, such as `a string`.
    const EXPECTED: &'static str;

    /// Whether a string is the name of a value, which may be unknown.
    const IS_ENUM: bool = false;

    /// Writes the value.
    ///
    /// # Errors
    ///
    /// The serializer's, or that the value has no form in JSON.
    fn write<S: Serializer>(
        value: &Self::Value,
        serializer: S,
        writing: &Writing<'_>,
    ) -> Result<S::Ok, S::Error>;

    /// Whether the value is the default of a field without presence, which may be
    /// left out.
    fn is_default(_: &Self::Value) -> bool {
        false
    }

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

    /// Reads the text of a path variable, a query parameter or a map's key.
    ///
    /// # Errors
    ///
    /// What the text should have been, such as `a number`.
    fn text(text: &str) -> Result<Self::Value, &'static str> {
        Self::str(text).ok_or(Self::EXPECTED)
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
    fn array<'de, A: SeqAccess<'de>>(
        _: &mut Self::Value,
        _: A,
        reading: &Reading<'_>,
    ) -> Result<(), A::Error> {
        if reading.is_text() {
            return Err(de::Error::custom(GIVEN_TWICE));
        }
        Err(expected::<Self, _>())
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// What the object holds that it should not.
    fn object<'de, A: MapAccess<'de>>(
        _: &mut Self::Value,
        _: A,
        _: &Reading<'_>,
    ) -> Result<(), A::Error> {
        Err(expected::<Self, _>())
    }
}

/// What a member is told that is there more often than it may be.
const GIVEN_TWICE: &str = "must be given once";

/// The refusal of a value that `C` does not read.
fn expected<C: Codec + ?Sized, E: de::Error>() -> E {
    E::custom(format_args!("must be {}", C::EXPECTED))
}
