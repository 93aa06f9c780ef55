//! The deadline of a call.
//!
//! The deadline is task-local, so it is not part of any signature. A spawned task does not inherit it.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs a future whose store calls give up at this deadline, or at an earlier one that is in scope.
pub async fn scope<F: Future>(at: Instant, future: F) -> F::Output {
    let at = current().map_or(at, |outer| outer.min(at));
    DEADLINE.scope(at, future).await
}

/// Polls a future, or a stream, whose store calls give up at this deadline.
pub fn poll_scope<T>(at: Instant, poll: impl FnOnce() -> T) -> T {
    let at = current().map_or(at, |outer| outer.min(at));
    DEADLINE.sync_scope(at, poll)
}

/// Returns the time until the deadline, if a deadline is in scope; zero if it has passed.
#[must_use]
pub fn remaining() -> Option<Duration> {
    current().map(|at| at.saturating_duration_since(Instant::now()))
}

/// Returns the deadline in scope.
pub(crate) fn current() -> Option<Instant> {
    DEADLINE.try_with(|at| *at).ok()
}
