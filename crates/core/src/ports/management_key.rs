//! Management keys.

use async_trait::async_trait;
use keyward_crypto::KeyHash;

use crate::error::Error;
use crate::model::audit::AuditEvent;
use crate::model::clock::Timestamp;
use crate::model::id::ManagementKeyId;
use crate::model::management_key::ManagementKey;
use crate::model::page::{Page, PageRequest};
use crate::policy::OrganizationGrant;

/// Stores management keys. A revoked key remains as a row; no method finds it.
#[async_trait]
pub trait ManagementKeyStore: Send + Sync {
    /// Returns a live key, for authentication and as input of the policy. Takes no grant, as for issued keys.
    async fn find_by_hash(&self, hash: &KeyHash) -> Result<Option<ManagementKey>, Error>;

    /// Stores a new key. Errors: the organization is not found.
    async fn insert(
        &self,
        grant: &OrganizationGrant,
        key: &ManagementKey,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Lists the organization's live keys, newest first. [`Page::next`] is the id of the last key.
    async fn list(
        &self,
        grant: &OrganizationGrant,
        page: &PageRequest<ManagementKeyId>,
    ) -> Result<Page<ManagementKey>, Error>;

    /// Revokes a live key of the organization permanently. Errors: not found.
    async fn revoke(
        &self,
        grant: &OrganizationGrant,
        hash: &KeyHash,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Stores a use, like [`IssuedKeyStore::record_use`](super::IssuedKeyStore::record_use).
    async fn record_use(&self, id: ManagementKeyId, used_at: Timestamp);
}
