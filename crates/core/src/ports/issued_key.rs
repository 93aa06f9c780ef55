//! Issued keys.

use async_trait::async_trait;
use keyward_crypto::KeyHash;

use crate::error::Error;
use crate::model::account::MeteredKey;
use crate::model::audit::AuditEvent;
use crate::model::clock::Timestamp;
use crate::model::id::IssuedKeyId;
use crate::model::issued_key::IssuedKey;
use crate::model::page::{Page, PageRequest, Position};
use crate::model::tenancy::Workspace;
use crate::policy::{Grant, Manage};

/// Turns an issued key into its successor. The store may call it more than once.
pub type KeyChange<'a> = dyn Fn(&IssuedKey) -> IssuedKey + Send + Sync + 'a;

/// Stores issued keys.
///
/// Accounts are as of `now`, each read in one statement, so that it reflects a single state of the ledger. A
/// deleted key remains as a row for the ledger; no method here finds it.
#[async_trait]
pub trait IssuedKeyStore: Send + Sync {
    /// Returns a live key, for authentication. Takes no grant, since the result determines the principal.
    async fn find_by_hash(&self, hash: &KeyHash) -> Result<Option<IssuedKey>, Error>;

    /// Returns a live key and its account, for verification and for a key that reads its own description.
    /// Takes no grant, since the caller presented the plaintext.
    async fn find_metered(
        &self,
        hash: &KeyHash,
        now: Timestamp,
    ) -> Result<Option<MeteredKey>, Error>;

    /// Returns the workspace of a live key, as input of the policy.
    async fn locate(&self, hash: &KeyHash) -> Result<Option<Workspace>, Error>;

    /// Lists a page of the workspace's live keys, newest first, without disabled keys unless requested. Skips
    /// `offset` keys.
    async fn list(
        &self,
        grant: &Grant<Manage>,
        include_disabled: bool,
        offset: u64,
        page: &PageRequest<Position>,
        now: Timestamp,
    ) -> Result<Page<MeteredKey>, Error>;

    /// Returns a live key of the workspace. Errors: not found.
    async fn get(
        &self,
        grant: &Grant<Manage>,
        hash: &KeyHash,
        now: Timestamp,
    ) -> Result<MeteredKey, Error>;

    /// Stores a new key. Errors: denied if the workspace was deleted meanwhile.
    async fn insert(
        &self,
        grant: &Grant<Manage>,
        key: &IssuedKey,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Replaces a live key by its successor under a lock, and returns the successor. Errors: not found.
    async fn modify(
        &self,
        grant: &Grant<Manage>,
        hash: &KeyHash,
        now: Timestamp,
        change: &KeyChange<'_>,
        event: &AuditEvent,
    ) -> Result<MeteredKey, Error>;

    /// Deletes a live key. Errors: not found.
    async fn delete(
        &self,
        grant: &Grant<Manage>,
        hash: &KeyHash,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Stores a use if [`last_use::must_record`](crate::model::last_use::must_record) requires it. Runs in
    /// its own task, for which the caller waits only briefly. A failure is logged and does not reject the use.
    /// Takes no grant and no event, since it records that a key authenticated and changes no data that a caller
    /// set.
    async fn record_use(&self, id: IssuedKeyId, used_at: Timestamp);
}
