//! Repo AI keys.

use async_trait::async_trait;

use crate::error::Error;
use crate::model::audit::AuditEvent;
use crate::model::clock::Timestamp;
use crate::model::data_key::UsedDataKeys;
use crate::model::id::{RepoAiKeyId, RepoId};
use crate::model::page::{Page, PageRequest, Position};
use crate::model::repo_ai_key::{FoundRepoAiKey, RepoAiKey, StoredRepoAiKey};
use crate::policy::{Grant, Read, Write};

/// Stores repo AI keys.
///
/// A deleted key remains as a row without its sealed secret; no method finds it.
#[async_trait]
pub trait RepoAiKeyStore: Send + Sync {
    /// Returns the live key with this public half, for verification. Takes no grant, since the public half
    /// determines the workspace.
    async fn find_by_key(&self, key: &str) -> Result<Option<FoundRepoAiKey>, Error>;

    /// Lists a page of the repo's live keys, newest first. [`Page::next`] is [`Position::sort_key`].
    async fn list(
        &self,
        grant: &Grant<Read>,
        repo: &RepoId,
        page: &PageRequest<Position>,
    ) -> Result<Page<RepoAiKey>, Error>;

    /// Returns a live key of the repo. Errors: not found.
    async fn get(
        &self,
        grant: &Grant<Write>,
        repo: &RepoId,
        id: RepoAiKeyId,
    ) -> Result<RepoAiKey, Error>;

    /// Stores a new key. Errors: duplicate name; too many in the repo; denied if the repo was deleted or the
    /// workspace no longer belongs to the organization; unavailable if the data keys no longer belong to the
    /// workspace.
    async fn insert(
        &self,
        grant: &Grant<Write>,
        key: &StoredRepoAiKey,
        used: &UsedDataKeys,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Renames a live key of the repo. Errors: not found, or duplicate name.
    async fn rename(
        &self,
        grant: &Grant<Write>,
        repo: &RepoId,
        id: RepoAiKeyId,
        name: &str,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Deletes a live key of the repo, after which its name is available again. Errors: not found.
    async fn delete(
        &self,
        grant: &Grant<Write>,
        repo: &RepoId,
        id: RepoAiKeyId,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), Error>;
}
