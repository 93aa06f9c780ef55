//! The moment by which the caller wants an answer.
//!
//! It travels with the task, so that no signature carries it; a task that is spawned does not
//! inherit it.

use std::future::Future;
use std::time::Duration;

use keyward_core::error::Cause;
use tokio::time::Instant;

use crate::error::DeadlinePassed;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs a future whose store calls give up at this moment, or at an earlier one that is in scope.
pub async fn scope<F: Future>(at: Instant, future: F) -> F::Output {
    let at = current().map_or(at, |outer| outer.min(at));
    DEADLINE.scope(at, future).await
}

/// How much time is left, if a deadline is in scope; zero when it has passed.
#[must_use]
pub fn remaining() -> Option<Duration> {
    current().map(|at| at.saturating_duration_since(Instant::now()))
}

/// Whether a cause is that the deadline passed before the database answered.
#[must_use]
pub fn is_cause(cause: &Cause) -> bool {
    cause.is::<DeadlinePassed>()
}

/// The deadline in scope.
pub(crate) fn current() -> Option<Instant> {
    DEADLINE.try_with(|at| *at).ok()
}
