//! The directory.

use async_trait::async_trait;

use crate::audit::AuditEvent;
use crate::directory::{Member, Organization, Repo, Workspace};
use crate::error::Error;
use crate::id::{OrganizationId, RepoId, UserId, WorkspaceId};
use crate::page::{Page, PageRequest};
use crate::policy::DirectoryGrant;

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

    /// An organization's default workspace, as input of the policy.
    async fn default_workspace(
        &self,
        organization: &OrganizationId,
    ) -> Result<Option<Workspace>, Error>;

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

    /// Deletes an organization: not found, or not empty while it has workspaces, members or live
    /// management keys.
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
    /// empty while it has repos, provider keys or live issued keys. Its organization's default
    /// passes to no one.
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
