//! A slot that a call releases while it waits for concurrent changes of the same rows.
//!
//! The slot is task-local, so it is not part of any signature. A spawned task does not inherit it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

tokio::task_local! {
    static OCCUPANCY: Arc<dyn Occupancy>;
}

/// A slot that a call occupies.
pub trait Occupancy: Send + Sync {
    /// Releases the slot.
    fn leave(&self);

    /// Takes the slot again without waiting: other calls may wait for locks that this call now has.
    fn enter(&self);
}

/// Runs a future whose store calls release the slot while they wait for other calls.
pub async fn scope<F: Future>(occupancy: Arc<dyn Occupancy>, future: F) -> F::Output {
    OCCUPANCY.scope(occupancy, future).await
}

/// Waits for other calls. Releases the slot if the wait is not over at once.
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
