//! Issued keys.

use async_trait::async_trait;
use keyward_crypto::KeyHash;

use crate::audit::AuditEvent;
use crate::clock::Timestamp;
use crate::directory::Workspace;
use crate::error::Error;
use crate::id::IssuedKeyId;
use crate::issued_key::IssuedKey;
use crate::limit::MeteredKey;
use crate::policy::{Grant, Manage};

/// What turns an issued key into its successor. It may run more than once.
pub type KeyChange<'a> = dyn Fn(&IssuedKey) -> IssuedKey + Send + Sync + 'a;

/// Keeps issued keys.
///
/// Accounts are of the moment `now`, each read in one statement, so that it is of one state of the
/// ledger. What is deleted stays as a row for the ledger's sake and is found by no method here.
#[async_trait]
pub trait IssuedKeyStore: Send + Sync {
    /// A live key, for authentication: without a grant, since it is how a principal comes to be.
    async fn find_by_hash(&self, hash: &KeyHash) -> Result<Option<IssuedKey>, Error>;

    /// A live key and its account, for verification and for a key that asks about itself: without a
    /// grant, since the plaintext was presented.
    async fn find_metered(
        &self,
        hash: &KeyHash,
        now: Timestamp,
    ) -> Result<Option<MeteredKey>, Error>;

    /// The workspace of a live key, as input of the policy.
    async fn locate(&self, hash: &KeyHash) -> Result<Option<Workspace>, Error>;

    /// The workspace's live keys, newest first, without the disabled ones unless they are wanted.
    async fn list(
        &self,
        grant: &Grant<Manage>,
        include_disabled: bool,
        offset: u64,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<MeteredKey>, Error>;

    /// A live key of the workspace: not found.
    async fn get(
        &self,
        grant: &Grant<Manage>,
        hash: &KeyHash,
        now: Timestamp,
    ) -> Result<MeteredKey, Error>;

    /// Stores a new key: denied when the workspace went away.
    async fn insert(
        &self,
        grant: &Grant<Manage>,
        key: &IssuedKey,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Replaces a live key by its successor while no one else can, and returns it: not found.
    async fn modify(
        &self,
        grant: &Grant<Manage>,
        hash: &KeyHash,
        now: Timestamp,
        change: &KeyChange<'_>,
        event: &AuditEvent,
    ) -> Result<MeteredKey, Error>;

    /// Deletes a live key: not found.
    async fn delete(
        &self,
        grant: &Grant<Manage>,
        hash: &KeyHash,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Notes a use where [`last_use::notes`](crate::last_use::notes) says so, in a task of
    /// its own that is waited for no longer than a moment: that it cannot be noted is for the log,
    /// and no reason to refuse the use. Without a grant and without an event, since it notes that a
    /// key proved itself, and changes nothing that anyone set.
    async fn touch(&self, id: IssuedKeyId, used_at: Timestamp);
}
