//! Responses that are sent message by message.

use super::node::{Node, Object, object};
use super::schema::Schemas;
use super::template::details;

/// Returns the content of a response that is sent message by message, in the format that the client
/// accepts.
pub(super) fn content(schemas: &mut Schemas, message: Object, example: &Node) -> Object {
    let failure = schemas.add("StreamError", error());
    let result = object! {
        "type" => "object",
        "properties" => object! {"result" => message},
        "required" => vec!["result"],
    };
    let failed = object! {
        "type" => "object",
        "properties" => object! {"error" => failure},
        "required" => vec!["error"],
    };
    let line = object! {
        "description" => "One line. The response has any number of them; a stream that fails ends \
                          with an `error`.",
        "oneOf" => vec![result, failed],
    };
    let events = object! {
        "type" => "string",
        "description" => "Server-sent events, each with a message as its data; a stream that fails \
                          has an event `error`, and the last event of all is `end`.",
    };
    let lines = object! {"schema" => line, "example" => object! {"result" => example.clone()}};
    let event = format!("data: {}\n\nevent: end\ndata: {{}}\n\n", example.compact());
    object! {
        "application/x-ndjson" => lines,
        "text/event-stream" => object! {"schema" => events, "example" => event},
    }
}

/// Returns the schema of `google.rpc.Status`, which ends a stream that fails.
fn error() -> Object {
    object! {
        "type" => "object",
        "properties" => object! {
            "code" => object! {
                "type" => "integer",
                "format" => "int32",
                "description" => "The number of the code in gRPC.",
            },
            "message" => object! {"type" => "string", "description" => "What is wrong, in words."},
            "details" => details(),
        },
        "required" => vec!["code", "message", "details"],
    }
}
