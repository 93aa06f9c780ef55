//! Texts with paths, read as an object.

use std::fmt::{self, Display};

use serde::de::value::{SeqDeserializer, StrDeserializer, U64Deserializer};
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

/// Text of an error.
#[derive(Debug)]
pub(crate) struct TextError(String);

impl Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TextError {}

impl serde::de::Error for TextError {
    fn custom<T: Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

/// Indices that lead to a value, and its text.
type Texts<'t> = Vec<(&'t [usize], &'t str)>;

/// Members of a message, each with the texts whose path begins with it.
pub(super) struct Members<'t> {
    rest: Texts<'t>,
    value: Texts<'t>,
}

impl<'t> Members<'t> {
    pub(super) fn new(texts: Texts<'t>) -> Self {
        Self {
            rest: texts,
            value: Vec::new(),
        }
    }
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = TextError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, TextError> {
        let next = self.rest.first().and_then(|(path, _)| path.first());
        let Some(member) = next.copied() else {
            return Ok(None);
        };
        let (value, rest) = std::mem::take(&mut self.rest)
            .into_iter()
            .partition(|(path, _)| path.first() == Some(&member));
        self.rest = rest;
        self.value = value;
        for (path, _) in &mut self.value {
            *path = path.get(1..).unwrap_or_default();
        }
        let index = u64::try_from(member).unwrap_or(u64::MAX);
        let index: U64Deserializer<TextError> = index.into_deserializer();
        seed.deserialize(index).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, TextError> {
        seed.deserialize(Value(std::mem::take(&mut self.value)))
    }
}

/// One text, several, or those of the nested members.
struct Value<'t>(Texts<'t>);

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = TextError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TextError> {
        let own: Vec<&str> = self
            .0
            .iter()
            .filter(|(path, _)| path.is_empty())
            .map(|(_, text)| *text)
            .collect();
        match own.as_slice() {
            [] => visitor.visit_map(Members::new(self.0)),
            [text] => visitor.visit_str(text),
            several => {
                let texts = several.iter().map(|text| Text(text));
                visitor.visit_seq(SeqDeserializer::<_, TextError>::new(texts))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

struct Text<'t>(&'t str);

impl<'t> IntoDeserializer<'_, TextError> for Text<'t> {
    type Deserializer = StrDeserializer<'t, TextError>;

    fn into_deserializer(self) -> Self::Deserializer {
        self.0.into_deserializer()
    }
}
