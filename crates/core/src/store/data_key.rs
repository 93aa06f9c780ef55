//! Workspaces' wrapped data keys.

use async_trait::async_trait;

use crate::error::Error;
use crate::id::WorkspaceId;
use crate::policy::WorkspaceScope;
use crate::vault::WrappedDataKey;

/// Keeps workspaces' wrapped data keys.
#[async_trait]
pub trait DataKeyStore: Send + Sync {
    /// The data keys of the granted workspace.
    async fn data_keys(&self, scope: &dyn WorkspaceScope) -> Result<Vec<WrappedDataKey>, Error>;

    /// Up to `each` wrapped data keys, with their workspaces, of every version of the key-encryption
    /// key that is in use, of no more versions than a keyring can have and one. Without a grant, since
    /// it is asked at start-up, when there is no caller: whether the key-encryption key opens what the
    /// database holds.
    async fn sample_data_keys(
        &self,
        each: u32,
    ) -> Result<Vec<(WorkspaceId, WrappedDataKey)>, Error>;

    /// Stores those data keys whose purpose and version the granted workspace does not have yet. A
    /// workspace that holds sealed secrets gets no key of a purpose that it lacks:
    /// [`DataKeysLost`](crate::vault::DataKeysLost).
    async fn insert_missing_data_keys(
        &self,
        scope: &dyn WorkspaceScope,
        keys: &[WrappedDataKey],
    ) -> Result<(), Error>;
}
