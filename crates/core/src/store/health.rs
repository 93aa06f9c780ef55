//! Whether there is a store.

use async_trait::async_trait;

use crate::error::Error;

/// Tells whether the store can be reached.
#[async_trait]
pub trait StoreHealth: Send + Sync {
    /// Asks the store for an answer.
    async fn ping(&self) -> Result<(), Error>;
}
