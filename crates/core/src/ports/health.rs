//! Health of the store.

use async_trait::async_trait;

use crate::error::Error;

/// Reason for which a store is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The machine's clock differs too much from the store's.
    #[error("the machine's clock is {millis} ms ahead of the database's")]
    ClockDiffers {
        /// Difference in milliseconds; negative if the machine's clock is behind.
        millis: i64,
    },
    /// The store cannot be reached, or accepts no writes.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Checks that the store can be reached.
#[async_trait]
pub trait StoreHealth: Send + Sync {
    /// Sends a request to the store and waits for the response.
    ///
    /// # Errors
    /// The store cannot be used, or the clocks differ too much.
    async fn ping(&self) -> Result<(), NotReady>;
}
