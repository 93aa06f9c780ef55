//! What a call occupies, which it gives up while it waits for others to change the same rows.
//!
//! It travels with the task, so that no signature carries it; a task that is spawned does not inherit it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

tokio::task_local! {
    static OCCUPANCY: Arc<dyn Occupancy>;
}

/// What a call occupies.
pub trait Occupancy: Send + Sync {
    /// Gives it up.
    fn leave(&self);

    /// Takes it again, at once: others may wait for what the call has got.
    fn enter(&self);
}

/// Runs a future whose store calls give this up while they wait for others.
pub async fn scope<F: Future>(occupancy: Arc<dyn Occupancy>, future: F) -> F::Output {
    OCCUPANCY.scope(occupancy, future).await
}

/// Waits for others, without what the call occupies if it does have to wait.
pub(crate) async fn unoccupied<F: Future>(waiting: F) -> F::Output {
    let mut waiting = pin!(waiting);
    let polled = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context)));
    if let Poll::Ready(done) = polled.await {
        return done;
    }
    let Ok(occupancy) = OCCUPANCY.try_with(Arc::clone) else {
        return waiting.await;
    };
    occupancy.leave();
    let done = waiting.await;
    occupancy.enter();
    done
}
