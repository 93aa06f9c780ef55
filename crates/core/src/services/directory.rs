//! Use cases of the directory, by which the platform maintains organizations, workspaces, members and repos.

use std::sync::Arc;

use crate::error::{Error, Noun};
use crate::model::audit::AuditEvent;
use crate::model::clock::Clock;
use crate::model::id::{OrganizationId, RepoId, UserId, WorkspaceId};
use crate::model::page::{Page, PageRequest};
use crate::model::principal::Caller;
use crate::model::tenancy::{Member, Organization, Repo, Workspace};
use crate::model::text::check_name;
use crate::policy::{self, DirectoryGrant};
use crate::ports::DirectoryStore;

/// Use cases of the directory, for internal services only.
///
/// Every change is audited in the transaction that makes it. Deleting a resource that does not exist, or that
/// still has children, is an error.
#[derive(Clone)]
pub struct Directory {
    store: Arc<dyn DirectoryStore>,
    clock: Arc<dyn Clock>,
}

impl Directory {
    /// Returns the use cases on a store.
    #[must_use]
    pub fn new(store: Arc<dyn DirectoryStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    fn begin(
        &self,
        caller: &Caller,
        action: &'static str,
        noun: Noun,
        id: &str,
    ) -> Result<(DirectoryGrant, AuditEvent), Error> {
        let grant = policy::authorize_directory(&caller.principal)?;
        let event = AuditEvent::new(caller, self.clock.now(), action, noun, id);
        Ok((grant, event))
    }

    /// Creates an organization or changes its name. Does not change its default workspace.
    ///
    /// # Errors
    /// Denied for all callers but services; the name is invalid.
    pub async fn upsert_organization(
        &self,
        caller: &Caller,
        organization: Organization,
    ) -> Result<Organization, Error> {
        check_name("organization.name", &organization.name)?;
        let id = organization.id.clone();
        let (grant, event) = self.begin(
            caller,
            "organization.upsert",
            Noun::Organization,
            id.as_str(),
        )?;
        self.store
            .upsert_organization(&grant, &organization, &event)
            .await
    }

    /// Returns an organization.
    ///
    /// # Errors
    /// Denied for all callers but services; not found.
    pub async fn organization(
        &self,
        caller: &Caller,
        id: &OrganizationId,
    ) -> Result<Organization, Error> {
        let grant = policy::authorize_directory(&caller.principal)?;
        let found = self.store.organization(&grant, id).await?;
        found.ok_or(Error::NotFound(Noun::Organization))
    }

    /// Lists organizations by id.
    ///
    /// # Errors
    /// Denied for all callers but services.
    pub async fn organizations(
        &self,
        caller: &Caller,
        page: &PageRequest,
    ) -> Result<Page<Organization>, Error> {
        let grant = policy::authorize_directory(&caller.principal)?;
        self.store.organizations(&grant, page).await
    }

    /// Deletes an organization.
    ///
    /// # Errors
    /// Denied for all callers but services; not found; not empty while it has workspaces, members or
    /// management keys.
    pub async fn delete_organization(
        &self,
        caller: &Caller,
        id: &OrganizationId,
    ) -> Result<(), Error> {
        let (grant, event) = self.begin(
            caller,
            "organization.delete",
            Noun::Organization,
            id.as_str(),
        )?;
        self.store.delete_organization(&grant, id, &event).await
    }

    /// Creates a workspace, changes its name, or makes it the default workspace.
    ///
    /// # Errors
    /// Denied for all callers but services; the organization is not found; the workspace belongs to another.
    pub async fn upsert_workspace(
        &self,
        caller: &Caller,
        workspace: Workspace,
    ) -> Result<Workspace, Error> {
        check_name("workspace.name", &workspace.name)?;
        let (grant, event) = self.begin(
            caller,
            "workspace.upsert",
            Noun::Workspace,
            workspace.id.as_str(),
        )?;
        self.store
            .upsert_workspace(&grant, &workspace, &event)
            .await
    }

    /// Returns a workspace.
    ///
    /// # Errors
    /// Denied for all callers but services; not found.
    pub async fn workspace(&self, caller: &Caller, id: &WorkspaceId) -> Result<Workspace, Error> {
        policy::authorize_directory(&caller.principal)?;
        self.store
            .workspace(id)
            .await?
            .ok_or(Error::NotFound(Noun::Workspace))
    }

    /// Lists an organization's workspaces by id.
    ///
    /// # Errors
    /// Denied for all callers but services; the organization is not found.
    pub async fn workspaces(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<Workspace>, Error> {
        self.organization(caller, organization).await?;
        let grant = policy::authorize_directory(&caller.principal)?;
        self.store.workspaces_page(&grant, organization, page).await
    }

    /// Deletes a workspace with its data keys and the members' access to it.
    ///
    /// # Errors
    /// Denied for all callers but services; not found; not empty while it has repos or keys.
    pub async fn delete_workspace(&self, caller: &Caller, id: &WorkspaceId) -> Result<(), Error> {
        let (grant, event) =
            self.begin(caller, "workspace.delete", Noun::Workspace, id.as_str())?;
        self.store.delete_workspace(&grant, id, &event).await
    }

    /// Creates a member or replaces the member's role and access, in one transaction.
    ///
    /// # Errors
    /// Denied for all callers but services; the organization is not found, or a workspace is not found in it.
    pub async fn upsert_member(&self, caller: &Caller, member: Member) -> Result<Member, Error> {
        let (grant, event) =
            self.begin(caller, "member.upsert", Noun::Member, member.user.as_str())?;
        let event = event
            .with_detail("role", member.role.name())
            .with_detail("validated", if member.validated { "true" } else { "false" });
        self.store.upsert_member(&grant, &member, &event).await?;
        Ok(member)
    }

    /// Returns a member.
    ///
    /// # Errors
    /// Denied for all callers but services; not found.
    pub async fn member(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        user: &UserId,
    ) -> Result<Member, Error> {
        policy::authorize_directory(&caller.principal)?;
        self.store
            .member(organization, user)
            .await?
            .ok_or(Error::NotFound(Noun::Member))
    }

    /// Lists an organization's members by user id.
    ///
    /// # Errors
    /// Denied for all callers but services; the organization is not found.
    pub async fn members(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<Member>, Error> {
        self.organization(caller, organization).await?;
        let grant = policy::authorize_directory(&caller.principal)?;
        self.store.members(&grant, organization, page).await
    }

    /// Deletes a member; the user's tokens stop working immediately.
    ///
    /// # Errors
    /// Denied for all callers but services; not found.
    pub async fn delete_member(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        user: &UserId,
    ) -> Result<(), Error> {
        let (grant, event) = self.begin(caller, "member.delete", Noun::Member, user.as_str())?;
        self.store
            .delete_member(&grant, organization, user, &event)
            .await
    }

    /// Creates a repo or changes its name.
    ///
    /// # Errors
    /// Denied for all callers but services; the workspace is not found; the repo belongs to another.
    pub async fn upsert_repo(&self, caller: &Caller, repo: Repo) -> Result<Repo, Error> {
        check_name("repo.name", &repo.name)?;
        let (grant, event) = self.begin(caller, "repo.upsert", Noun::Repo, repo.id.as_str())?;
        self.store.upsert_repo(&grant, &repo, &event).await?;
        Ok(repo)
    }

    /// Returns a repo.
    ///
    /// # Errors
    /// Denied for all callers but services; not found.
    pub async fn repo(&self, caller: &Caller, id: &RepoId) -> Result<Repo, Error> {
        policy::authorize_directory(&caller.principal)?;
        self.store
            .repo(id)
            .await?
            .ok_or(Error::NotFound(Noun::Repo))
    }

    /// Lists a workspace's repos by id.
    ///
    /// # Errors
    /// Denied for all callers but services; the workspace is not found.
    pub async fn repos(
        &self,
        caller: &Caller,
        workspace: &WorkspaceId,
        page: &PageRequest,
    ) -> Result<Page<Repo>, Error> {
        self.workspace(caller, workspace).await?;
        let grant = policy::authorize_directory(&caller.principal)?;
        self.store.repos(&grant, workspace, page).await
    }

    /// Deletes a repo.
    ///
    /// # Errors
    /// Denied for all callers but services; not found; not empty while it has live AI keys.
    pub async fn delete_repo(&self, caller: &Caller, id: &RepoId) -> Result<(), Error> {
        let (grant, event) = self.begin(caller, "repo.delete", Noun::Repo, id.as_str())?;
        self.store.delete_repo(&grant, id, &event).await
    }
}
