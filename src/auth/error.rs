//! Errors of authentication.

use std::time::Duration;

use keyward_core::Cause;

/// Authentication error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The request has no token.
    #[error("Missing Authentication header")]
    Missing,
    /// The token is malformed, expired, not for Keyward, or of an unknown principal; the reason is only logged.
    #[error("Invalid token")]
    Invalid(&'static str),
    /// The deadline of the call passed during authentication.
    #[error("The deadline expired before the call could complete")]
    DeadlineExceeded,
    /// The token cannot be verified now.
    #[error("Service unavailable")]
    Unavailable(#[source] Cause),
    /// Too many calls wait for an issuer's keys, or are under way; the caller may retry after this time.
    #[error("Service unavailable")]
    Overloaded(Duration),
    /// Unexpected error.
    #[error("Internal server error")]
    Internal(#[source] Cause),
}
