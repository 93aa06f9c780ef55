//! Records every decision of the policy as a span with the action and the outcome, but without the principal
//! and the resource.

use tracing::field::Empty;

use crate::error::Error;

/// Makes a decision in a span.
pub(super) fn decide<T>(
    action: &'static str,
    decision: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let span = tracing::info_span!(
        "policy.authorize",
        keyward.action = action,
        keyward.policy.outcome = Empty,
    );
    let decided = span.in_scope(decision);
    let outcome = match &decided {
        Ok(_) => "granted",
        Err(Error::NotFound(_)) => "not_found",
        Err(_) => "denied",
    };
    span.record("keyward.policy.outcome", outcome);
    decided
}
