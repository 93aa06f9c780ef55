//! Health of the store.

use async_trait::async_trait;

use crate::error::Error;

/// Checks that the store can be reached.
#[async_trait]
pub trait StoreHealth: Send + Sync {
    /// Sends a request to the store and waits for the response.
    async fn ping(&self) -> Result<(), Error>;
}
