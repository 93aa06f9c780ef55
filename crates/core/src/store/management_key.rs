//! Management keys.

use async_trait::async_trait;
use keyward_crypto::KeyHash;

use crate::audit::AuditEvent;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::ManagementKeyId;
use crate::issued_key::ManagementKey;
use crate::page::{Page, PageRequest};
use crate::policy::OrganizationGrant;

/// Keeps management keys. What is revoked stays as a row and is found by no method.
#[async_trait]
pub trait ManagementKeyStore: Send + Sync {
    /// A live key, for authentication and as input of the policy: without a grant, as for issued
    /// keys.
    async fn find_by_hash(&self, hash: &KeyHash) -> Result<Option<ManagementKey>, Error>;

    /// Stores a new key: the organization is not found.
    async fn insert(
        &self,
        grant: &OrganizationGrant,
        key: &ManagementKey,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// The organization's live keys, newest first; [`Page::next`] is the last one's id.
    async fn list(
        &self,
        grant: &OrganizationGrant,
        page: &PageRequest<ManagementKeyId>,
    ) -> Result<Page<ManagementKey>, Error>;

    /// Ends a live key of the organization for good: not found.
    async fn revoke(
        &self,
        grant: &OrganizationGrant,
        hash: &KeyHash,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Notes a use, as [`IssuedKeyStore::touch`](super::IssuedKeyStore::touch) does.
    async fn touch(&self, id: ManagementKeyId, used_at: Timestamp);
}
