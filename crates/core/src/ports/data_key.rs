//! Wrapped data keys of workspaces.

use async_trait::async_trait;

use crate::error::Error;
use crate::model::data_key::WrappedDataKey;
use crate::model::id::WorkspaceId;
use crate::policy::WorkspaceScope;

/// Stores wrapped data keys of workspaces.
#[async_trait]
pub trait DataKeyStore: Send + Sync {
    /// Returns the data keys of the granted workspace.
    async fn data_keys(&self, scope: &dyn WorkspaceScope) -> Result<Vec<WrappedDataKey>, Error>;

    /// Returns up to `each` wrapped data keys, with their workspaces, of every version of the key-encryption
    /// key in use, for at most one version more than a keyring can have. They serve to check at start-up that
    /// the key-encryption key opens the database. Takes no grant, since it does not serve a caller.
    async fn sample_data_keys(
        &self,
        each: u32,
    ) -> Result<Vec<(WorkspaceId, WrappedDataKey)>, Error>;

    /// Stores the data keys whose purpose and version the granted workspace does not have yet. A workspace
    /// with sealed secrets gets no key of a purpose that it lacks:
    /// [`DataKeysLost`](crate::model::data_key::DataKeysLost).
    async fn insert_missing_data_keys(
        &self,
        scope: &dyn WorkspaceScope,
        keys: &[WrappedDataKey],
    ) -> Result<(), Error>;
}
