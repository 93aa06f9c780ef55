//! Buffered JSON, for values whose type is known only after they have begun.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserialize, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::text::TextError;

/// JSON value. Integers are exact, and every member is kept, including duplicates.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum BufferedValue {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<BufferedValue>),
    Object(Vec<(String, BufferedValue)>),
}

impl<'de> Deserialize<'de> for BufferedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BufferedValueVisitor)
    }
}

struct BufferedValueVisitor;

impl<'de> Visitor<'de> for BufferedValueVisitor {
    type Value = BufferedValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<BufferedValue, E> {
        Ok(BufferedValue::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<BufferedValue, E> {
        Ok(BufferedValue::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<BufferedValue, E> {
        Ok(BufferedValue::Signed(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<BufferedValue, E> {
        Ok(BufferedValue::Unsigned(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<BufferedValue, E> {
        Ok(BufferedValue::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<BufferedValue, E> {
        Ok(BufferedValue::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<BufferedValue, E> {
        Ok(BufferedValue::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<BufferedValue, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = array.next_element()? {
            values.push(value);
        }
        Ok(BufferedValue::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<BufferedValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = object.next_entry()? {
            entries.push(entry);
        }
        Ok(BufferedValue::Object(entries))
    }
}

impl<'de> Deserializer<'de> for &BufferedValue {
    type Error = TextError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
        match self {
            BufferedValue::Null => visitor.visit_unit(),
            BufferedValue::Bool(value) => visitor.visit_bool(*value),
            BufferedValue::Signed(value) => visitor.visit_i64(*value),
            BufferedValue::Unsigned(value) => visitor.visit_u64(*value),
            BufferedValue::Float(value) => visitor.visit_f64(*value),
            BufferedValue::Text(value) => visitor.visit_str(value),
            BufferedValue::List(values) => visitor.visit_seq(SeqDeserializer::new(values.iter())),
            BufferedValue::Object(entries) => visitor.visit_map(members(entries, "")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl<'t> IntoDeserializer<'_, TextError> for &'t BufferedValue {
    type Deserializer = &'t BufferedValue;

    fn into_deserializer(self) -> Self::Deserializer {
        self
    }
}

/// Returns the members of an object, except those of one name.
pub(super) fn members<'de: 't, 't>(
    entries: &'t [(String, BufferedValue)],
    without: &'t str,
) -> impl MapAccess<'de, Error = TextError> {
    let kept = entries
        .iter()
        .filter(move |(name, _)| without.is_empty() || name != without)
        .map(|(name, value)| (name.as_str(), value));
    MapDeserializer::new(kept)
}
