//! The directory.

use async_trait::async_trait;

use crate::error::Error;
use crate::model::audit::AuditEvent;
use crate::model::id::{OrganizationId, RepoId, UserId, WorkspaceId};
use crate::model::page::{Page, PageRequest};
use crate::model::tenancy::{Member, Organization, Repo, Workspace};
use crate::policy::DirectoryGrant;

/// Stores the directory.
///
/// Pages are ordered by the item's own id; [`PageRequest::after`] is that id.
#[async_trait]
pub trait DirectoryStore: Send + Sync {
    /// Returns a member, for authentication. Takes no grant, since the result determines the principal.
    async fn member(
        &self,
        organization: &OrganizationId,
        user: &UserId,
    ) -> Result<Option<Member>, Error>;

    /// Returns a workspace, as input of the policy.
    async fn workspace(&self, id: &WorkspaceId) -> Result<Option<Workspace>, Error>;

    /// Returns all workspaces of an organization, as input of the policy.
    async fn workspaces(&self, organization: &OrganizationId) -> Result<Vec<Workspace>, Error>;

    /// Returns an organization's default workspace, as input of the policy.
    async fn default_workspace(
        &self,
        organization: &OrganizationId,
    ) -> Result<Option<Workspace>, Error>;

    /// Returns a repo, as input of the policy.
    async fn repo(&self, id: &RepoId) -> Result<Option<Repo>, Error>;

    /// Creates an organization or changes its name, and returns the result. Ignores the given default
    /// workspace.
    async fn upsert_organization(
        &self,
        grant: &DirectoryGrant,
        organization: &Organization,
        event: &AuditEvent,
    ) -> Result<Organization, Error>;

    /// Returns an organization.
    async fn organization(
        &self,
        grant: &DirectoryGrant,
        id: &OrganizationId,
    ) -> Result<Option<Organization>, Error>;

    /// Lists organizations by id.
    async fn organizations(
        &self,
        grant: &DirectoryGrant,
        page: &PageRequest,
    ) -> Result<Page<Organization>, Error>;

    /// Deletes an organization. Errors: not found, or not empty while it has workspaces, members or live
    /// management keys.
    async fn delete_organization(
        &self,
        grant: &DirectoryGrant,
        id: &OrganizationId,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Creates a workspace or changes its name. Makes it the default if requested or if the organization has
    /// no default. Errors: the organization is not found, or the workspace belongs to another.
    async fn upsert_workspace(
        &self,
        grant: &DirectoryGrant,
        workspace: &Workspace,
        event: &AuditEvent,
    ) -> Result<Workspace, Error>;

    /// Lists an organization's workspaces by id.
    async fn workspaces_page(
        &self,
        grant: &DirectoryGrant,
        organization: &OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<Workspace>, Error>;

    /// Deletes a workspace with its data keys and the members' access to it. Errors: not found, or not empty
    /// while it has repos, provider keys or live issued keys. No other workspace becomes the organization's
    /// default.
    async fn delete_workspace(
        &self,
        grant: &DirectoryGrant,
        id: &WorkspaceId,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Creates or replaces a member with all access. Errors: the organization is not found, or a workspace is
    /// not found in it.
    async fn upsert_member(
        &self,
        grant: &DirectoryGrant,
        member: &Member,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Lists an organization's members by user id.
    async fn members(
        &self,
        grant: &DirectoryGrant,
        organization: &OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<Member>, Error>;

    /// Deletes a member. Errors: not found.
    async fn delete_member(
        &self,
        grant: &DirectoryGrant,
        organization: &OrganizationId,
        user: &UserId,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Creates a repo or changes its name. Errors: the workspace is not found, or the repo belongs to
    /// another.
    async fn upsert_repo(
        &self,
        grant: &DirectoryGrant,
        repo: &Repo,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Lists a workspace's repos by id.
    async fn repos(
        &self,
        grant: &DirectoryGrant,
        workspace: &WorkspaceId,
        page: &PageRequest,
    ) -> Result<Page<Repo>, Error>;

    /// Deletes a repo. Errors: not found.
    async fn delete_repo(
        &self,
        grant: &DirectoryGrant,
        id: &RepoId,
        event: &AuditEvent,
    ) -> Result<(), Error>;
}
