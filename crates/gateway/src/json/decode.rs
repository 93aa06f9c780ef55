//! The body of a request, and why it could not be read.

use serde::de::DeserializeSeed;
use serde_json::error::Category;
use tonic::Status;

use super::message::{Seen, Tracked};
use super::{In, JsonMessage, Message, Out};
use crate::check::{Violation, refused_fields};

/// Writes a message as the body of a response.
///
/// # Errors
///
/// That a value, such as a timestamp after the year 9999, has no form in JSON.
pub fn encode<M: JsonMessage>(message: &M) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Out::<Message<M>>(message))
}

/// Reads a message from the body of a request.
///
/// # Errors
///
/// INVALID_ARGUMENT that says where the text stops being JSON, or names the
/// member that is wrong and what it should be. It never repeats a value.
pub fn decode<M: JsonMessage>(body: &[u8], domain: &str) -> Result<M, Status> {
    decode_seen(body, domain).map(|(message, _)| message)
}

/// As [`decode`], with the members that the body has.
///
/// # Errors
///
/// As [`decode`].
pub(crate) fn decode_seen<M: JsonMessage>(body: &[u8], domain: &str) -> Result<(M, Seen), Status> {
    match serde_json::from_slice::<In<Tracked<M>>>(body) {
        Ok(In(read)) => Ok(read),
        Err(error) => Err(explain::<M>(body, &error, domain)),
    }
}

/// Reads the body once more, now with an eye on where it fails.
fn explain<M: JsonMessage>(body: &[u8], error: &serde_json::Error, domain: &str) -> Status {
    if error.classify() != Category::Data {
        let (line, column) = (error.line(), error.column());
        let text = format!("Malformed JSON at line {line} column {column}");
        return refused_fields(&[Violation::new("", text)], "JSON_MALFORMED", domain);
    }
    let mut track = serde_path_to_error::Track::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    let failed = std::marker::PhantomData::<In<Message<M>>>
        .deserialize(tracked)
        .is_err();
    let path = if failed {
        track.path().to_string()
    } else {
        String::new()
    };

    let violation = if path.is_empty() || path == "." {
        Violation::new("", "The body must be a JSON object")
    } else {
        let description = format!("`{path}` {}", fault(error));
        Violation::new(path, description)
    };
    refused_fields(&[violation], "JSON_MALFORMED", domain)
}

/// What the codec said, without the place that `serde_json` puts behind it.
fn fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}
