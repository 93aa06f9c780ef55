//! `google.protobuf.Any`: a message whose type is given in the value.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;

use super::Codec;
use super::buffered::{BufferedValue, members};
use super::context::{ReadContext, Step, WriteContext};
use super::field::{FieldRef, FieldSeed};
use super::info::MessageInfo;
use super::message::{JsonMessage, Message};
use super::text::TextError;

/// Member with the type.
const TYPE: &str = "@type";
/// Member with a value that is not an object of members.
const VALUE: &str = "value";

type Entries = [(String, BufferedValue)];

/// Type that an `Any` may contain.
#[derive(Clone, Copy)]
pub struct AnyType {
    pub(super) info: &'static MessageInfo,
    has_own_form: bool,
    read: fn(&Entries, &ReadContext<'_>) -> Result<Vec<u8>, TextError>,
    write: fn(&[u8], &WriteContext<'_>) -> Result<String, TextError>,
}

impl AnyType {
    /// Creates the type of a message whose members are written next to `@type`.
    pub const fn message<M: JsonMessage + prost::Message>() -> Self {
        Self {
            info: M::INFO,
            has_own_form: false,
            read: read_members::<M>,
            write: write::<M>,
        }
    }

    /// Creates the type of a message that has its own form in JSON and is written in `value` next
    /// to `@type`.
    pub(super) const fn value<M: JsonMessage + prost::Message>() -> Self {
        Self {
            info: M::INFO,
            has_own_form: true,
            read: read_value::<M>,
            write: write::<M>,
        }
    }
}

impl fmt::Debug for AnyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyType")
            .field(&self.info.full_name)
            .finish()
    }
}

fn read_members<M: JsonMessage + prost::Message>(
    entries: &Entries,
    context: &ReadContext<'_>,
) -> Result<Vec<u8>, TextError> {
    let mut message = Box::<M>::default();
    Message::<M>::object(&mut message, members(entries, TYPE), context)?;
    Ok(message.encode_to_vec())
}

fn read_value<M: JsonMessage + prost::Message>(
    entries: &Entries,
    context: &ReadContext<'_>,
) -> Result<Vec<u8>, TextError> {
    let value = only(entries, VALUE).map_err(|()| TextError::custom("must have one `value`"))?;
    let value = value.ok_or_else(|| TextError::custom("must have a `value`"))?;
    if context.rejects_unknown_members() && entries.len() > 2 {
        return Err(TextError::custom("must have no unknown members"));
    }
    let mut message = Box::<M>::default();
    FieldSeed::<M::Form>::new(&mut message, context)
        .deserialize(value)
        .inspect_err(|_| context.failed_in(Step::Member(VALUE)))?;
    Ok(message.encode_to_vec())
}

fn write<M: JsonMessage + prost::Message>(
    bytes: &[u8],
    context: &WriteContext<'_>,
) -> Result<String, TextError> {
    let message = <M as prost::Message>::decode(bytes)
        .map_err(|_| TextError::custom("an Any does not hold its declared type"))?;
    serde_json::to_string(&FieldRef::<M::Form>::new(&message, context)).map_err(TextError::custom)
}

/// Returns the only entry of this name, if present.
fn only<'e>(entries: &'e Entries, name: &str) -> Result<Option<&'e BufferedValue>, ()> {
    let mut found = entries.iter().filter(|(known, _)| known == name);
    let first = found.next().map(|(_, value)| value);
    if found.next().is_some() {
        return Err(());
    }
    Ok(first)
}

/// Returns the full name at the end of a type URL.
fn full_name(url: &str) -> Option<&str> {
    let (_, name) = url.rsplit_once('/')?;
    Some(name).filter(|name| !name.is_empty())
}

/// `google.protobuf.Any`: an object whose `@type` gives the type of the rest. The type must be
/// registered in the [`JsonOptions`](super::JsonOptions).
pub struct Any;

impl Codec for Any {
    type Value = prost_types::Any;
    const EXPECTED: &'static str = "an object with an @type";

    fn write<S: Serializer>(
        any: &Self::Value,
        serializer: S,
        context: &WriteContext<'_>,
    ) -> Result<S::Ok, S::Error> {
        if any.type_url.is_empty() && any.value.is_empty() {
            return serializer.collect_map(std::iter::empty::<((), ())>());
        }
        let known = full_name(&any.type_url).and_then(|name| context.options.any_type(name));
        let known = known.ok_or_else(|| S::Error::custom("an Any holds an unknown type"))?;
        let inner = (known.write)(&any.value, &context.in_any()?).map_err(S::Error::custom)?;
        let url = serde_json::to_string(&any.type_url).map_err(S::Error::custom)?;
        let text = match inner.strip_prefix('{').filter(|_| !known.has_own_form) {
            Some("}") => format!("{{{TYPE:?}:{url}}}"),
            Some(rest) => format!("{{{TYPE:?}:{url},{rest}"),
            None => format!("{{{TYPE:?}:{url},{VALUE:?}:{inner}}}"),
        };
        RawValue::from_string(text)
            .map_err(S::Error::custom)?
            .serialize(serializer)
    }

    fn object<'de, A: MapAccess<'de>>(
        any: &mut Self::Value,
        mut object: A,
        context: &ReadContext<'_>,
    ) -> Result<(), A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = object.next_entry::<String, BufferedValue>()? {
            entries.push(entry);
        }
        if entries.is_empty() {
            *any = prost_types::Any::default();
            return Ok(());
        }
        let Ok(Some(BufferedValue::Text(url))) = only(&entries, TYPE) else {
            return Err(A::Error::custom("must have one `@type` that is a string"));
        };
        let known = full_name(url).and_then(|name| context.options.any_type(name));
        let known =
            known.ok_or_else(|| A::Error::custom("must have an `@type` that is known here"))?;
        let value = context
            .in_any(|| (known.read)(&entries, context))
            .ok_or_else(|| A::Error::custom("must not be nested so deeply"))?
            .map_err(A::Error::custom)?;
        *any = prost_types::Any {
            type_url: url.clone(),
            value,
        };
        Ok(())
    }
}
