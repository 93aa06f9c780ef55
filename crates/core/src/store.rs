//! What storage offers: one trait for each noun, one method for each transaction.
//!
//! A method that changes something takes the audit event and stores it in the same transaction. A
//! method that fails has changed nothing. A method that touches a workspace takes a grant and
//! reaches no other workspace; the exceptions are the inputs of authentication and of the policy
//! itself, and one look at start-up, and say so.

use async_trait::async_trait;

use crate::audit::AuditEvent;
use crate::directory::{Member, Organization, Repo, Workspace};
use crate::error::Error;
use crate::id::{OrganizationId, ProviderKeyId, RepoId, UserId, WorkspaceId};
use crate::page::{Page, PageRequest};
use crate::policy::{DirectoryGrant, Grant, Read, Serve, WorkspaceScope, Write};
use crate::provider::Provider;
use crate::provider_key::{Link, ListedProviderKey, Resource, StoredProviderKey};
use crate::vault::WrappedDataKey;

/// Keeps the directory.
///
/// Pages are ordered by the item's own id; [`PageRequest::after`] is that id.
#[async_trait]
pub trait DirectoryStore: Send + Sync {
    /// A member, for authentication: without a grant, since it is how a principal comes to be.
    async fn member(
        &self,
        organization: &OrganizationId,
        user: &UserId,
    ) -> Result<Option<Member>, Error>;

    /// A workspace, as input of the policy.
    async fn workspace(&self, id: &WorkspaceId) -> Result<Option<Workspace>, Error>;

    /// Every workspace of an organization, as input of the policy.
    async fn workspaces(&self, organization: &OrganizationId) -> Result<Vec<Workspace>, Error>;

    /// A repo, as input of the policy.
    async fn repo(&self, id: &RepoId) -> Result<Option<Repo>, Error>;

    /// Creates an organization or changes its name, and returns it as it is then. The given
    /// default workspace is ignored.
    async fn upsert_organization(
        &self,
        grant: &DirectoryGrant,
        organization: &Organization,
        event: &AuditEvent,
    ) -> Result<Organization, Error>;

    /// An organization.
    async fn organization(
        &self,
        grant: &DirectoryGrant,
        id: &OrganizationId,
    ) -> Result<Option<Organization>, Error>;

    /// Organizations by id.
    async fn organizations(
        &self,
        grant: &DirectoryGrant,
        page: &PageRequest,
    ) -> Result<Page<Organization>, Error>;

    /// Deletes an organization: not found, or not empty while it has workspaces or members.
    async fn delete_organization(
        &self,
        grant: &DirectoryGrant,
        id: &OrganizationId,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Creates a workspace or changes its name, and makes it the default if it says so or if the
    /// organization has none: the organization is not found, or the workspace is another's.
    async fn upsert_workspace(
        &self,
        grant: &DirectoryGrant,
        workspace: &Workspace,
        event: &AuditEvent,
    ) -> Result<Workspace, Error>;

    /// An organization's workspaces by id.
    async fn workspaces_page(
        &self,
        grant: &DirectoryGrant,
        organization: &OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<Workspace>, Error>;

    /// Deletes a workspace with its data keys and the members' access to it: not found, or not
    /// empty while it has repos or provider keys. Its organization's default passes to no one.
    async fn delete_workspace(
        &self,
        grant: &DirectoryGrant,
        id: &WorkspaceId,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Creates or replaces a member with all access: the organization is not found, or a
    /// workspace is not found in it.
    async fn upsert_member(
        &self,
        grant: &DirectoryGrant,
        member: &Member,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// An organization's members by user id.
    async fn members(
        &self,
        grant: &DirectoryGrant,
        organization: &OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<Member>, Error>;

    /// Deletes a member: not found.
    async fn delete_member(
        &self,
        grant: &DirectoryGrant,
        organization: &OrganizationId,
        user: &UserId,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Creates a repo or changes its name: the workspace is not found, or the repo is another's.
    async fn upsert_repo(
        &self,
        grant: &DirectoryGrant,
        repo: &Repo,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// A workspace's repos by id.
    async fn repos(
        &self,
        grant: &DirectoryGrant,
        workspace: &WorkspaceId,
        page: &PageRequest,
    ) -> Result<Page<Repo>, Error>;

    /// Deletes a repo: not found.
    async fn delete_repo(
        &self,
        grant: &DirectoryGrant,
        id: &RepoId,
        event: &AuditEvent,
    ) -> Result<(), Error>;
}

/// Keeps workspaces' wrapped data keys.
#[async_trait]
pub trait DataKeyStore: Send + Sync {
    /// The data keys of the granted workspace.
    async fn data_keys(&self, scope: &dyn WorkspaceScope) -> Result<Vec<WrappedDataKey>, Error>;

    /// One of the wrapped data keys, if there are any, with its workspace. Without a grant, since it
    /// is asked at start-up, when there is no caller: whether the key-encryption key opens what the
    /// database holds.
    async fn any_data_key(&self) -> Result<Option<(WorkspaceId, WrappedDataKey)>, Error>;

    /// Stores those data keys whose purpose and version the granted workspace does not have yet.
    async fn insert_missing_data_keys(
        &self,
        scope: &dyn WorkspaceScope,
        keys: &[WrappedDataKey],
    ) -> Result<(), Error>;
}

/// What turns a stored provider key into its successor. It may run more than once.
pub type Change<'a> =
    dyn Fn(&StoredProviderKey) -> Result<StoredProviderKey, Error> + Send + Sync + 'a;

/// Keeps provider keys and their links.
#[async_trait]
pub trait ProviderKeyStore: Send + Sync {
    /// The workspace of a provider key, as input of the policy.
    async fn locate(&self, id: ProviderKeyId) -> Result<Option<Workspace>, Error>;

    /// The provider keys of the granted workspaces with their links counted, newest first; only
    /// those of one of the providers, if any are given.
    async fn list(
        &self,
        grants: &[Grant<Read>],
        providers: Option<&[Provider]>,
    ) -> Result<Vec<ListedProviderKey>, Error>;

    /// Stores a new provider key: duplicate credentials.
    async fn insert(
        &self,
        grant: &Grant<Write>,
        key: &StoredProviderKey,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Replaces a provider key by its successor while no one else can: not found, duplicate
    /// credentials, or what `change` answers.
    async fn modify(
        &self,
        grant: &Grant<Write>,
        id: ProviderKeyId,
        change: &Change<'_>,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Deletes a provider key: not found, or in use.
    async fn delete(
        &self,
        grant: &Grant<Write>,
        id: ProviderKeyId,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// A provider key with its sealed secret, for release: not found.
    async fn release(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        event: &AuditEvent,
    ) -> Result<StoredProviderKey, Error>;

    /// Links a resource and returns the link, or the earlier link if there is one, in which case
    /// no event is stored: not found.
    async fn link(
        &self,
        grant: &Grant<Serve>,
        link: &Link,
        event: &AuditEvent,
    ) -> Result<Link, Error>;

    /// Unlinks a resource if it is linked; only then the event is stored.
    async fn unlink(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        resource: &Resource,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// The links of a provider key by kind and resource id; [`Page::next`] is
    /// [`Resource::sort_key`].
    async fn links(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        page: &PageRequest<Resource>,
    ) -> Result<Page<Link>, Error>;
}

/// Tells whether the store can be reached.
#[async_trait]
pub trait StoreHealth: Send + Sync {
    /// Asks the store for an answer.
    async fn ping(&self) -> Result<(), Error>;
}
