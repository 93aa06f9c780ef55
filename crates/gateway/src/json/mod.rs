//! Reads and writes protobuf JSON (<https://protobuf.dev/programming-guides/json/>) without
//! reflection.
//!
//! Every kind of field is one [`Codec`]; the generated code only selects the codec of each member.
//! Values are read in place, so reading a member again merges into the existing value. Path
//! variables and query parameters are read by the same code and merge with the body in this way.
//! Errors never repeat a value: a [`DecodeError`] has the position and the expected form.

mod any;
mod buffered;
mod context;
mod decimal;
mod decode;
mod duration;
mod encode;
mod field;
mod field_mask;
mod google;
mod info;
mod list;
mod message;
mod nearest;
mod options;
mod scalar;
mod skipped;
mod structure;
#[cfg(test)]
mod tests;
mod text;
mod timestamp;

use serde::de::{self, MapAccess, SeqAccess};
use serde::ser::Serializer;

pub use any::{Any, AnyType};
pub(crate) use buffered::BufferedValue;
pub(crate) use context::{MAX_PARAMETER_DEPTH, Masked};
pub use context::{ReadContext, WriteContext};
pub use decimal::Decimal;
pub use decode::{DecodeError, bind_path, bind_query, decode, decode_into, decode_member_into};
pub(crate) use decode::{parse, read_body, read_query};
pub use duration::Duration;
pub use encode::{encode, encode_member};
pub use field::{
    read_field, read_oneof_field, read_optional_field, write_field, write_nullable_field,
    write_optional_field,
};
pub use field_mask::{FieldMask, UpdatePaths, read_update_mask};
pub use info::{MemberInfo, MemberKind, MessageInfo, info, members, proto_path, resolve};
pub use list::{Boxed, List, Map};
pub use message::{JsonMessage, Message, UpdateMask, deserialize, serialize};
pub(crate) use nearest::{nearest_path, shown, suggestion};
pub use options::JsonOptions;
pub use scalar::{Binary, Bool, Double, Enum, Float, Int32, Int64, JsonEnum, Text, UInt32, UInt64};
pub use structure::{ListValue, NullValue, Struct, Value};
pub use timestamp::{Timestamp, Utc};

/// JSON form of one kind of value. The default methods reject their form of JSON.
pub trait Codec {
    /// Type of the value in the message.
    type Value: Default;

    /// Expected form in an error, such as `a string`.
    const EXPECTED: &'static str;

    /// True if a string is the name of an enum value, which may be unknown.
    const IS_ENUM: bool = false;

    /// Writes the value.
    ///
    /// # Errors
    ///
    /// The serializer fails, or the value has no form in JSON.
    fn write<S: Serializer>(
        value: &Self::Value,
        serializer: S,
        context: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error>;

    /// Returns true if the value is the default of a field without presence, which may be omitted.
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

    /// Reads a non-negative integer.
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

    /// Reads an owned string without copying it.
    fn string(value: String) -> Option<Self::Value> {
        Self::str(&value)
    }

    /// Reads the text of a path variable, a query parameter or a map's key.
    ///
    /// # Errors
    ///
    /// Gives the expected form of the text, such as `a number`.
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
    /// Describes the invalid content of the array.
    fn array<'de, A: SeqAccess<'de>>(
        _: &mut Self::Value,
        _: A,
        context: &ReadContext<'_>,
    ) -> Result<(), A::Error> {
        if context.is_text() {
            return Err(de::Error::custom(GIVEN_TWICE));
        }
        Err(expected::<Self, _>())
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// Describes the invalid content of the object.
    fn object<'de, A: MapAccess<'de>>(
        _: &mut Self::Value,
        _: A,
        _: &ReadContext<'_>,
    ) -> Result<(), A::Error> {
        Err(expected::<Self, _>())
    }
}

/// Error for a member that occurs too often.
const GIVEN_TWICE: &str = "must be given once";

/// Creates the error for a value that `C` does not read.
fn expected<C: Codec + ?Sized, E: de::Error>() -> E {
    E::custom(format_args!("must be {}", C::EXPECTED))
}
