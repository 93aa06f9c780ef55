//! What requests are made of: bodies, query parameters and path variables.

use std::borrow::Cow;
use std::str::Utf8Error;

use serde::de::{DeserializeSeed, MapAccess};
use serde_json::error::Category;
use tonic::Status;

use super::Codec;
use super::decimal::DECIMAL;
use super::message::{JsonMessage, Message, failed_in};
use super::options::{JsonOptions, Masked, Mode, Reading};
use super::slot::Slot;
use super::text::Members;
use super::tree::Tree;
use crate::check::{Violation, refused_fields};

/// Why a part of a request could not be read. It never holds what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The path of what is wrong, in JSON names; empty when it is the whole.
    pub field: String,
    /// What is wrong with it, as a sentence.
    pub description: String,
    /// The parts of the sentence that vary, by name, for `ErrorInfo.metadata`.
    pub metadata: Vec<(&'static str, String)>,
}

impl Fault {
    /// The fault of `field`, which the description names.
    pub(crate) fn of_field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            description: description.into(),
            metadata: Vec::new(),
        }
    }

    /// The fault of a request as a whole.
    pub(crate) fn of_all(description: impl Into<String>) -> Self {
        Self::of_field("", description)
    }

    /// Adds the known name that the description suggests.
    pub(crate) fn with_nearest(mut self, nearest: Option<String>) -> Self {
        self.metadata.extend(nearest.map(|name| ("nearest", name)));
        self
    }

    /// The INVALID_ARGUMENT that says so.
    pub fn into_status(self, reason: &str, domain: &str) -> Status {
        let violation = Violation::new(self.field, self.description);
        refused_fields(&[violation], reason, domain, self.metadata)
    }

    /// What a JSON text is refused for.
    #[cold]
    fn of_json(error: &serde_json::Error, reading: &Reading<'_>) -> Self {
        if error.classify() != Category::Data {
            let (line, column) = (error.line(), error.column());
            let description = format!("Malformed JSON at line {line} column {column}");
            let place = [("line", line), ("column", column)];
            return Self {
                metadata: place.map(|(name, at)| (name, at.to_string())).into(),
                ..Self::of_all(description)
            };
        }
        // The parser puts the place behind what the codec said.
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        Self::at(reading, text.strip_suffix(&place).unwrap_or(&text))
    }

    /// What a body is refused for that is not even text, as
    /// <https://www.rfc-editor.org/rfc/rfc8259#section-8.1> demands.
    #[cold]
    fn of_bytes(_: Utf8Error) -> Self {
        Self::of_all("The body must be UTF-8")
    }

    #[cold]
    fn at(reading: &Reading<'_>, text: &str) -> Self {
        let field = reading.path();
        let is_decimal = text.strip_prefix("must be ") == Some(DECIMAL);
        if let Some(expected) = reading.expected_decimal().filter(|_| is_decimal) {
            let description = format!("`{field}` must be {expected}");
            return Self::of_field(field, description);
        }
        let description = match text {
            "must be an object" if field.is_empty() => "The body must be a JSON object".to_owned(),
            text if field.is_empty() => format!("The body {text}"),
            text => format!("`{field}` {text}"),
        };
        Self::of_field(field, description).with_nearest(reading.nearest())
    }
}

/// Reads a message from the body of a request.
///
/// # Errors
///
/// As [`decode_into`].
pub fn decode<M: JsonMessage>(body: &[u8], options: &JsonOptions) -> Result<M, Fault> {
    let mut message = M::default();
    decode_into(&mut message, body, options)?;
    Ok(message)
}

/// Reads the body of a request into a message.
///
/// # Errors
///
/// Where the text stops being JSON, or the member that is wrong and what it should
/// be.
pub fn decode_into<M: JsonMessage>(
    message: &mut M,
    body: &[u8],
    options: &JsonOptions,
) -> Result<(), Fault> {
    read_body(message, body, options, None)
}

/// As [`decode_into`], with the request's mask read by the names of what it is about.
pub(crate) fn read_body<M: JsonMessage>(
    message: &mut M,
    body: &[u8],
    options: &JsonOptions,
    masked: Option<Masked>,
) -> Result<(), Fault> {
    let reading = Reading::new(options, Mode::Json).with_mask_of(masked);
    let mut text = serde_json::Deserializer::from_str(utf8(body)?);
    Slot::<M::Form>::new(message, &reading)
        .deserialize(&mut text)
        .and_then(|_| text.end())
        .map_err(|error| Fault::of_json(&error, &reading))
}

/// Reads the body of a request into one member of a message.
///
/// # Errors
///
/// As [`decode_into`].
pub fn decode_member_into<M: JsonMessage>(
    message: &mut M,
    member: usize,
    body: &[u8],
    options: &JsonOptions,
) -> Result<(), Fault> {
    let reading = Reading::new(options, Mode::Json);
    let mut text = serde_json::Deserializer::from_str(utf8(body)?);
    message
        .read(member, &mut OnlyValue(&mut text), &reading)
        .inspect_err(|_| failed_in::<M>(member, &reading))
        .and_then(|()| text.end())
        .map_err(|error| Fault::of_json(&error, &reading))
}

/// Reads a body whose type is of no interest.
///
/// # Errors
///
/// Where the text stops being JSON.
pub(super) fn parse(body: &[u8]) -> Result<Tree, Fault> {
    let options = JsonOptions::default();
    let reading = Reading::new(&options, Mode::Json);
    serde_json::from_str(utf8(body)?).map_err(|error| Fault::of_json(&error, &reading))
}

fn utf8(body: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(body).map_err(Fault::of_bytes)
}

/// Sets what a path variable gives; it replaces what is there. `path` has the places
/// of the members that lead to the field.
///
/// # Errors
///
/// The field and what its text should have been.
pub fn bind_path<M: JsonMessage>(
    message: &mut M,
    path: &[usize],
    text: &str,
    options: &JsonOptions,
) -> Result<(), Fault> {
    let reading = Reading::new(options, Mode::Path);
    bind(message, vec![(path, text)], &reading)
}

/// Sets what query parameters give, each a path as [`bind_path`] takes it and a text.
///
/// # Errors
///
/// The field and what its text should have been, or that it is there twice.
pub fn bind_query<M: JsonMessage>(
    message: &mut M,
    values: &[(Vec<usize>, Cow<'_, str>)],
    options: &JsonOptions,
) -> Result<(), Fault> {
    read_query(message, values, options, None)
}

/// As [`bind_query`], with the request's mask read by the names of what it is about.
pub(crate) fn read_query<M: JsonMessage>(
    message: &mut M,
    values: &[(Vec<usize>, Cow<'_, str>)],
    options: &JsonOptions,
    masked: Option<Masked>,
) -> Result<(), Fault> {
    let reading = Reading::new(options, Mode::Query).with_mask_of(masked);
    let values = values
        .iter()
        .map(|(path, text)| (path.as_slice(), text.as_ref()))
        .collect();
    bind(message, values, &reading)
}

fn bind<M: JsonMessage>(
    message: &mut M,
    values: Vec<(&[usize], &str)>,
    reading: &Reading<'_>,
) -> Result<(), Fault> {
    Message::<M>::object(message, Members::new(values), reading)
        .map_err(|error| Fault::at(reading, &error.to_string()))
}

/// One value without its name.
struct OnlyValue<D>(D);

impl<'de, R: serde_json::de::Read<'de>> MapAccess<'de>
    for OnlyValue<&mut serde_json::Deserializer<R>>
{
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        _: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Self::Error> {
        seed.deserialize(&mut *self.0)
    }
}
