//! Errors of authentication.

use std::sync::Arc;
use std::time::Duration;

/// A cause that is only logged, shared by the calls that it affects.
pub type SharedCause = Arc<dyn std::error::Error + Send + Sync>;

/// Authentication error.
#[derive(Debug, Clone, thiserror::Error)]
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
    Unavailable(#[source] SharedCause),
    /// Too many calls wait for an issuer's keys or a look-up, or are under way; the caller may retry after this time.
    #[error("Service unavailable")]
    Overloaded(Duration),
    /// Unexpected error.
    #[error("Internal server error")]
    Internal(#[source] SharedCause),
}
