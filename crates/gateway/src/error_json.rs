//! JSON form of errors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use prost_types::Any;
use tonic::Status;

use crate::details;
use crate::json::{self, JsonOptions};

/// Fills in a declared error body. The message is inserted last, so that a placeholder inside it is
/// not replaced.
pub(crate) fn envelope(template: &str, message: &str, http: StatusCode) -> String {
    let parts: Vec<String> = template
        .split("$message")
        .map(|part| part.replace("$status", http.as_str()))
        .collect();
    parts.join(&quoted(message))
}

/// Returns the error of <https://google.aip.dev/193>: the HTTP status and the gRPC name of the
/// code.
pub(crate) fn aip_193(status: &Status, http: StatusCode, options: &JsonOptions) -> String {
    format!(
        r#"{{"error":{{"code":{code},"message":{message},"status":"{name}","details":{details}}}}}"#,
        code = http.as_u16(),
        message = quoted(status.message()),
        name = details::code_name(status.code()),
        details = list(status, options),
    )
}

/// Returns the JSON of `google.rpc.Status`, which ends a failed stream.
pub(crate) fn status(status: &Status, options: &JsonOptions) -> String {
    format!(
        r#"{{"code":{code},"message":{message},"details":{details}}}"#,
        code = status.code() as i32,
        message = quoted(status.message()),
        details = list(status, options),
    )
}

/// Returns the details that gRPC clients get in `grpc-status-details-bin`.
fn list(status: &Status, options: &JsonOptions) -> String {
    let details = details::decode(status).details;
    let list: Vec<String> = details.iter().map(|any| detail(any, options)).collect();
    format!("[{}]", list.join(","))
}

/// Returns the JSON of one detail. A detail of an unknown type is written in base64, so that no
/// part of an error is lost.
fn detail(any: &Any, options: &JsonOptions) -> String {
    let known = json::encode(any, options).map(String::from_utf8);
    if let Ok(Ok(text)) = known {
        return text;
    }
    format!(
        r#"{{"@type":{},"value":"{}"}}"#,
        quoted(&any.type_url),
        STANDARD.encode(&any.value)
    )
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}
