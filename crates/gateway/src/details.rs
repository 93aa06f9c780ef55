//! `google.rpc` details of an error.

use bytes::Bytes;
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::pb;

pub(crate) const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
pub(crate) const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
pub(crate) const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// Packs one detail.
pub(crate) fn any(type_url: &str, detail: &impl Message) -> Any {
    Any {
        type_url: type_url.to_owned(),
        value: detail.encode_to_vec(),
    }
}

/// Creates the detail with the reason of an error and the variable parts of its message
/// (<https://google.aip.dev/193>).
pub(crate) fn error_info(reason: &str, domain: &str, metadata: Vec<(&'static str, String)>) -> Any {
    let metadata = metadata.into_iter();
    let info = pb::ErrorInfo {
        reason: reason.to_owned(),
        domain: domain.to_owned(),
        metadata: metadata
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    };
    any(ERROR_INFO, &info)
}

/// Sets the domain of an `ErrorInfo` that has none.
pub(crate) fn with_domain(detail: &mut Any, domain: &str) {
    let Ok(mut info) = pb::ErrorInfo::decode(detail.value.as_slice()) else {
        return;
    };
    if info.domain.is_empty() {
        info.domain = domain.to_owned();
        detail.value = info.encode_to_vec();
    }
}

/// Creates the detail with the number of seconds after which the client may retry.
pub(crate) fn retry_info(seconds: i64) -> Any {
    let delay = prost_types::Duration { seconds, nanos: 0 };
    let info = pb::RetryInfo {
        retry_delay: Some(delay),
    };
    any(RETRY_INFO, &info)
}

/// Returns the value of `grpc-status-details-bin`, which repeats code and message.
pub(crate) fn encode(code: Code, message: &str, details: Vec<Any>) -> Bytes {
    let status = pb::Status {
        code: code as i32,
        message: message.to_owned(),
        details,
    };
    status.encode_to_vec().into()
}

/// Decodes the details of a status. The result is empty if they cannot be read.
pub(crate) fn decode(status: &Status) -> pb::Status {
    pb::Status::decode(status.details()).unwrap_or_default()
}

/// Returns the retry delay in seconds, rounded up, if there is a `RetryInfo`.
pub(crate) fn retry_after_s(details: &[Any]) -> Option<u64> {
    let packed = details
        .iter()
        .find(|detail| detail.type_url == RETRY_INFO)?;
    let delay = pb::RetryInfo::decode(packed.value.as_slice())
        .ok()?
        .retry_delay?;
    let seconds = u64::try_from(delay.seconds).ok()?;
    Some(seconds.saturating_add(u64::from(delay.nanos > 0)))
}

/// Returns the name of a code in the protocol.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Returns the usual HTTP status of a code.
pub(crate) fn http_status(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
    }
}
