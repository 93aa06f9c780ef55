//! Converts failures to gRPC statuses. Only this module does; the gateway derives the REST response from the
//! status, so that both protocols agree.
//!
//! Clients get a stable reason and a fixed text; the cause is logged once, here.

use std::collections::HashMap;
use std::time::Duration;

use keyward_core::{Ending, Error, Noun};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::admission::permits;
use crate::telemetry::causes;

/// `domain` of every ErrorInfo.
pub(crate) const ERROR_DOMAIN: &str = "keyward";

/// Time after which a request for a busy key may be retried.
const KEY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Returns the status of a call for a key that has too many under way.
pub(crate) fn too_many_for_key() -> Status {
    permits::mark_limited();
    let message = Error::KeyBusy.to_string();
    with_retry(Code::Unavailable, "OVERLOADED", &message, KEY_RETRY_AFTER)
}

/// Converts a failure of a use case to a status with `google.rpc` details.
pub(crate) fn to_status(error: Error) -> Status {
    if let Error::KeyBusy = error {
        return too_many_for_key();
    }
    let message = error.to_string();
    let (code, reason) = code_and_reason(&error);
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata(&error));
    match &error {
        Error::Invalid { field, message } => {
            details.add_bad_request_violation(*field, message.clone());
        }
        Error::ProviderKeyInUse { buckets, ai_models } => {
            for (subject, count) in [("buckets", buckets), ("aiModels", ai_models)] {
                if *count > 0 {
                    let description = format!("{count} linked");
                    details.add_precondition_failure_violation("LINKED", subject, description);
                }
            }
        }
        Error::NotEmpty { held, .. } => {
            details.add_precondition_failure_violation("NOT_EMPTY", *held, message.clone());
        }
        Error::TooManyKeys { parent, .. } => {
            details.add_precondition_failure_violation("TOO_MANY", parent.name(), message.clone());
        }
        Error::LimitExceeded {
            retry_after: Some(after),
        } => {
            details.set_retry_info(Some(*after));
        }
        Error::Unavailable(_) => tracing::warn!(cause = causes(&error), "dependency unavailable"),
        Error::Internal(_) => tracing::error!(cause = causes(&error), "internal error"),
        _ => {}
    }
    Status::with_error_details(code, message, details)
}

/// Returns the variable parts of the message, by name (<https://google.aip.dev/193>). Values that the client
/// sent are not included.
fn metadata(error: &Error) -> HashMap<String, String> {
    let parts: Vec<(&str, String)> = match error {
        Error::Invalid { field, .. } => vec![("field", (*field).to_owned())],
        Error::NotFound(noun) => vec![("resource", noun.name().to_owned())],
        Error::ProviderKeyInUse { buckets, ai_models } => vec![
            ("buckets", buckets.to_string()),
            ("aiModels", ai_models.to_string()),
        ],
        Error::NotEmpty { noun, held } => vec![
            ("resource", noun.name().to_owned()),
            ("held", (*held).to_owned()),
        ],
        Error::Immovable { noun, parent } => vec![
            ("resource", noun.name().to_owned()),
            ("parent", parent.name().to_owned()),
        ],
        Error::TooManyKeys { parent, limit } => vec![
            ("parent", parent.name().to_owned()),
            ("limit", limit.to_string()),
        ],
        Error::RequestIdConflict { earlier } => vec![("earlier", (*earlier).to_owned())],
        Error::ReservationEnded(ending) => vec![("ending", ending.name().to_owned())],
        _ => Vec::new(),
    };
    let parts = parts.into_iter();
    parts
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn code_and_reason(error: &Error) -> (Code, &'static str) {
    match error {
        Error::Invalid { .. } => (Code::InvalidArgument, "FIELD_INVALID"),
        Error::Denied => (Code::PermissionDenied, "PERMISSION_DENIED"),
        Error::NotFound(noun) => (Code::NotFound, not_found_reason(*noun)),
        Error::DuplicateCredentials => (Code::AlreadyExists, "API_KEY_ALREADY_EXISTS"),
        Error::DuplicateName => (Code::AlreadyExists, "NAME_ALREADY_EXISTS"),
        Error::RequestIdConflict { .. } => (Code::AlreadyExists, "REQUEST_ID_CONFLICT"),
        Error::KeyDisabled => (Code::FailedPrecondition, "KEY_DISABLED"),
        Error::KeyExpired => (Code::FailedPrecondition, "KEY_EXPIRED"),
        Error::LimitExceeded { .. } => (Code::ResourceExhausted, "LIMIT_EXCEEDED"),
        Error::ReservationEnded(ending) => (Code::FailedPrecondition, ended_reason(*ending)),
        Error::ProviderKeyInUse { .. } => (Code::FailedPrecondition, "API_KEY_IN_USE"),
        Error::NotEmpty { .. } => (Code::FailedPrecondition, "NOT_EMPTY"),
        Error::TooManyKeys { .. } => (Code::FailedPrecondition, "TOO_MANY_KEYS"),
        Error::Immovable { .. } => (Code::FailedPrecondition, "BELONGS_ELSEWHERE"),
        Error::DeadlineExceeded => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        Error::KeyBusy => (Code::Unavailable, "OVERLOADED"),
        Error::Unavailable(_) => (Code::Unavailable, "UNAVAILABLE"),
        _ => (Code::Internal, "INTERNAL"),
    }
}

fn ended_reason(ending: Ending) -> &'static str {
    match ending {
        Ending::Settled => "RESERVATION_SETTLED",
        Ending::Released => "RESERVATION_RELEASED",
        Ending::Expired => "RESERVATION_EXPIRED",
    }
}

fn not_found_reason(noun: Noun) -> &'static str {
    match noun {
        Noun::Organization => "ORGANIZATION_NOT_FOUND",
        Noun::Workspace => "WORKSPACE_NOT_FOUND",
        Noun::Member => "MEMBER_NOT_FOUND",
        Noun::Repo => "REPO_NOT_FOUND",
        Noun::ProviderKey | Noun::RepoAiKey | Noun::IssuedKey => "API_KEY_NOT_FOUND",
        Noun::ManagementKey => "MANAGEMENT_KEY_NOT_FOUND",
        Noun::Reservation => "RESERVATION_NOT_FOUND",
        _ => "NOT_FOUND",
    }
}

/// Returns the status of an expired deadline, regardless of the component that detects it.
pub(crate) fn deadline_exceeded() -> Status {
    to_status(Error::DeadlineExceeded)
}

/// Returns the status of a health check for an unknown service.
pub(crate) fn service_not_found() -> Status {
    plain(Code::NotFound, "SERVICE_NOT_FOUND", "Service not found")
}

/// Time after which a stream may be retried. The duration of the other streams is unknown.
const STREAM_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Returns the status of a stream beyond the maximum number.
pub(crate) fn too_many_streams() -> Status {
    let message = "Too many streams are open";
    with_retry(
        Code::ResourceExhausted,
        "TOO_MANY_STREAMS",
        message,
        STREAM_RETRY_AFTER,
    )
}

/// Returns the status that ends a stream at shutdown, so that its client reconnects to another process.
pub(crate) fn shutting_down() -> Status {
    let message = "The server is shutting down";
    with_retry(
        Code::Unavailable,
        "SHUTTING_DOWN",
        message,
        STREAM_RETRY_AFTER,
    )
}

/// Returns a rejection with the time to retry after.
pub(crate) fn with_retry(code: Code, reason: &str, message: &str, wait: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []);
    details.set_retry_info(Some(wait));
    Status::with_error_details(code, message, details)
}

/// Returns a status with exactly one detail, the ErrorInfo.
pub(crate) fn plain(code: Code, reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []);
    Status::with_error_details(code, message, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_an_internal_error_stays_inside() {
        let status = to_status(Error::internal("table api_keys is on fire"));
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "Internal server error");
        assert!(!format!("{status:?}").contains("on fire"));
    }

    #[test]
    fn an_unavailable_store_is_not_an_authentication_failure() {
        assert_eq!(
            to_status(Error::unavailable("no route")).code(),
            Code::Unavailable
        );
    }

    #[test]
    fn busy_key_is_overloaded_for_a_second() {
        let status = to_status(Error::KeyBusy);
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(
            status.message(),
            "Too many requests for this key are under way"
        );
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.as_str());
        assert_eq!(reason, Some("OVERLOADED"));
        let retry = details.retry_info().and_then(|info| info.retry_delay);
        assert_eq!(retry, Some(KEY_RETRY_AFTER));
    }

    #[test]
    fn expired_deadline_has_its_own_status() {
        let status = to_status(Error::DeadlineExceeded);
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(
            status.message(),
            "The deadline expired before the call could complete"
        );
        let details = status.get_error_details();
        let info = details.error_info();
        assert_eq!(
            info.map(|info| (info.reason.as_str(), info.domain.as_str())),
            Some(("DEADLINE_EXCEEDED", ERROR_DOMAIN))
        );
        assert_eq!(info.map(|info| info.metadata.len()), Some(0));
    }
}
