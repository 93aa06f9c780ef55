//! Repo AI keys.

use async_trait::async_trait;

use crate::audit::AuditEvent;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{RepoAiKeyId, RepoId};
use crate::page::{Page, PageRequest, Position};
use crate::policy::{Grant, Read, Write};
use crate::repo_ai_key::{FoundRepoAiKey, RepoAiKey, StoredRepoAiKey};
use crate::vault::UsedDataKeys;

/// Keeps repo AI keys.
///
/// What is deleted stays as a row, without its sealed secret, and is found by no method.
#[async_trait]
pub trait RepoAiKeyStore: Send + Sync {
    /// The live key of that public half, for verification: without a grant, since the public half
    /// says which workspace it is about.
    async fn find_by_key(&self, key: &str) -> Result<Option<FoundRepoAiKey>, Error>;

    /// A page of the repo's live keys, newest first. [`Page::next`] is [`Position::sort_key`].
    async fn list(
        &self,
        grant: &Grant<Read>,
        repo: &RepoId,
        page: &PageRequest<Position>,
    ) -> Result<Page<RepoAiKey>, Error>;

    /// A live key of the repo: not found.
    async fn get(
        &self,
        grant: &Grant<Write>,
        repo: &RepoId,
        id: RepoAiKeyId,
    ) -> Result<RepoAiKey, Error>;

    /// Stores a new key: duplicate name; too many in the repo; denied when the repo went away or the workspace is not the
    /// organization's any more; unavailable when the data keys are not the workspace's any more.
    async fn insert(
        &self,
        grant: &Grant<Write>,
        key: &StoredRepoAiKey,
        used: &UsedDataKeys,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Renames a live key of the repo: not found, or duplicate name.
    async fn rename(
        &self,
        grant: &Grant<Write>,
        repo: &RepoId,
        id: RepoAiKeyId,
        name: &str,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Deletes a live key of the repo; its name is free again: not found.
    async fn delete(
        &self,
        grant: &Grant<Write>,
        repo: &RepoId,
        id: RepoAiKeyId,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), Error>;
}
