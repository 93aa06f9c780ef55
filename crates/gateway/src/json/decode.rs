//! Decodes the parts of requests: bodies, query parameters and path variables.

use std::borrow::Cow;
use std::str::Utf8Error;

use serde::de::{DeserializeSeed, MapAccess};
use serde_json::error::Category;
use tonic::Status;

use super::Codec;
use super::buffered::BufferedValue;
use super::context::{Masked, Mode, ReadContext};
use super::decimal::DECIMAL;
use super::field::FieldSeed;
use super::message::{JsonMessage, Message, failed_in};
use super::options::JsonOptions;
use super::text::Members;
use crate::check::{Violation, rejected_fields};

/// Reason why a part of a request could not be read. Never contains the value that the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// Path of the invalid value, in JSON names; empty for the whole request.
    pub field: String,
    /// Description of the error, as a sentence.
    pub description: String,
    /// Variable parts of the description, by name, for `ErrorInfo.metadata`.
    pub metadata: Vec<(&'static str, String)>,
}

impl DecodeError {
    /// Creates the error of `field`, which the description names.
    pub(crate) fn of_field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            description: description.into(),
            metadata: Vec::new(),
        }
    }

    /// Creates the error of a request as a whole.
    pub(crate) fn of_all(description: impl Into<String>) -> Self {
        Self::of_field("", description)
    }

    /// Adds the known name that the description suggests.
    pub(crate) fn with_nearest(mut self, nearest: Option<String>) -> Self {
        self.metadata.extend(nearest.map(|name| ("nearest", name)));
        self
    }

    /// Converts the error to an INVALID_ARGUMENT status.
    pub fn into_status(self, reason: &str, domain: &str) -> Status {
        let violation = Violation::new(self.field, self.description);
        rejected_fields(&[violation], reason, domain, self.metadata)
    }

    /// Creates the error for invalid JSON text.
    #[cold]
    fn of_json(error: &serde_json::Error, context: &ReadContext<'_>) -> Self {
        if error.classify() != Category::Data {
            let (line, column) = (error.line(), error.column());
            let description = format!("Malformed JSON at line {line} column {column}");
            let position = [("line", line), ("column", column)];
            return Self {
                metadata: position.map(|(name, at)| (name, at.to_string())).into(),
                ..Self::of_all(description)
            };
        }
        // The parser appends the position to the codec's message.
        let text = error.to_string();
        let position = format!(" at line {} column {}", error.line(), error.column());
        Self::at(context, text.strip_suffix(&position).unwrap_or(&text))
    }

    /// Creates the error for a body that is not UTF-8, which
    /// <https://www.rfc-editor.org/rfc/rfc8259#section-8.1> requires.
    #[cold]
    fn of_bytes(_: Utf8Error) -> Self {
        Self::of_all("The body must be UTF-8")
    }

    #[cold]
    fn at(context: &ReadContext<'_>, text: &str) -> Self {
        let field = context.path();
        let is_decimal = text.strip_prefix("must be ") == Some(DECIMAL);
        if let Some(expected) = context.expected_decimal().filter(|_| is_decimal) {
            let description = format!("`{field}` must be {expected}");
            return Self::of_field(field, description);
        }
        let description = match text {
            "must be an object" if field.is_empty() => "The body must be a JSON object".to_owned(),
            text if field.is_empty() => format!("The body {text}"),
            text => format!("`{field}` {text}"),
        };
        Self::of_field(field, description).with_nearest(context.nearest())
    }
}

/// Reads a message from the body of a request.
///
/// # Errors
///
/// As [`decode_into`].
pub fn decode<M: JsonMessage>(body: &[u8], options: &JsonOptions) -> Result<M, DecodeError> {
    let mut message = M::default();
    decode_into(&mut message, body, options)?;
    Ok(message)
}

/// Reads the body of a request into a message.
///
/// # Errors
///
/// Gives the position where the text is not JSON, or the invalid member and its expected form.
pub fn decode_into<M: JsonMessage>(
    message: &mut M,
    body: &[u8],
    options: &JsonOptions,
) -> Result<(), DecodeError> {
    read_body(message, body, options, None)
}

/// Like [`decode_into`], but reads the request's mask with the names of the message that it applies
/// to.
pub(crate) fn read_body<M: JsonMessage>(
    message: &mut M,
    body: &[u8],
    options: &JsonOptions,
    masked: Option<Masked>,
) -> Result<(), DecodeError> {
    let context = ReadContext::new(options, Mode::Json).with_mask_of(masked);
    let mut text = serde_json::Deserializer::from_str(utf8(body)?);
    FieldSeed::<M::Form>::new(message, &context)
        .deserialize(&mut text)
        .and_then(|_| text.end())
        .map_err(|error| DecodeError::of_json(&error, &context))
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
) -> Result<(), DecodeError> {
    let context = ReadContext::new(options, Mode::Json);
    let mut text = serde_json::Deserializer::from_str(utf8(body)?);
    message
        .read(member, &mut OnlyValue(&mut text), &context)
        .inspect_err(|_| failed_in::<M>(member, &context))
        .and_then(|()| text.end())
        .map_err(|error| DecodeError::of_json(&error, &context))
}

/// Reads a body without regard to its type.
///
/// # Errors
///
/// Gives the position where the text is not JSON.
pub(crate) fn parse(body: &[u8]) -> Result<BufferedValue, DecodeError> {
    let options = JsonOptions::default();
    let context = ReadContext::new(&options, Mode::Json);
    serde_json::from_str(utf8(body)?).map_err(|error| DecodeError::of_json(&error, &context))
}

fn utf8(body: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(body).map_err(DecodeError::of_bytes)
}

/// Sets the field of a path variable and replaces its value. `path` has the indices of the members
/// that lead to the field.
///
/// # Errors
///
/// Gives the field and the expected form of its text.
pub fn bind_path<M: JsonMessage>(
    message: &mut M,
    path: &[usize],
    text: &str,
    options: &JsonOptions,
) -> Result<(), DecodeError> {
    let context = ReadContext::new(options, Mode::Path);
    bind(message, vec![(path, text)], &context)
}

/// Sets the fields of query parameters. Each parameter is a path, as for [`bind_path`], and a text.
///
/// # Errors
///
/// Gives the field and the expected form of its text, or reports that the field is given twice.
pub fn bind_query<M: JsonMessage>(
    message: &mut M,
    values: &[(Vec<usize>, Cow<'_, str>)],
    options: &JsonOptions,
) -> Result<(), DecodeError> {
    read_query(message, values, options, None)
}

/// Like [`bind_query`], but reads the request's mask with the names of the message that it applies
/// to.
pub(crate) fn read_query<M: JsonMessage>(
    message: &mut M,
    values: &[(Vec<usize>, Cow<'_, str>)],
    options: &JsonOptions,
    masked: Option<Masked>,
) -> Result<(), DecodeError> {
    let context = ReadContext::new(options, Mode::Query).with_mask_of(masked);
    let values = values
        .iter()
        .map(|(path, text)| (path.as_slice(), text.as_ref()))
        .collect();
    bind(message, values, &context)
}

fn bind<M: JsonMessage>(
    message: &mut M,
    values: Vec<(&[usize], &str)>,
    context: &ReadContext<'_>,
) -> Result<(), DecodeError> {
    Message::<M>::object(message, Members::new(values), context)
        .map_err(|error| DecodeError::at(context, &error.to_string()))
}

/// Single value, presented to a map reader without a key.
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
