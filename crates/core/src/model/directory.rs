//! Directory of organizations, workspaces, members and repos, and the use cases by which the platform
//! maintains it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Noun};
use crate::model::audit::{AuditEvent, Audited, Values};
use crate::model::clock::Clock;
use crate::model::id::{OrganizationId, RepoId, UserId, WorkspaceId};
use crate::model::page::{Page, PageRequest};
use crate::model::principal::Caller;
use crate::model::text::check_name;
use crate::policy::{self, DirectoryGrant};
use crate::ports::DirectoryStore;

/// A customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// The platform's identifier.
    pub id: OrganizationId,
    /// Human-readable name.
    pub name: String,
    /// The default workspace; `None` while the organization has no workspace.
    pub default_workspace: Option<WorkspaceId>,
}

/// A tenant boundary within an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// The platform's identifier.
    pub id: WorkspaceId,
    /// The organization that it belongs to. Never changes.
    pub organization: OrganizationId,
    /// Human-readable name.
    pub name: String,
    /// True if it is the organization's default workspace. Setting it clears it on the previous default
    /// workspace; the first workspace of an organization is always the default.
    pub is_default: bool,
}

/// Role of a member in an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrganizationRole {
    /// An ordinary user.
    User,
    /// Manages billing.
    Billing,
    /// Manages workspaces.
    Workspaces,
    /// Acts as ADMIN in every workspace.
    Administrators,
    /// Acts as ADMIN in every workspace.
    Owner,
}

impl OrganizationRole {
    /// All roles.
    pub const ALL: [Self; 5] = [
        Self::User,
        Self::Billing,
        Self::Workspaces,
        Self::Administrators,
        Self::Owner,
    ];

    /// Returns the name that is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Billing => "BILLING",
            Self::Workspaces => "WORKSPACES",
            Self::Administrators => "ADMINISTRATORS",
            Self::Owner => "OWNER",
        }
    }

    /// Returns the role with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Access of a member to a workspace; each level includes the previous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Administer.
    Admin,
}

impl Access {
    /// All access types, in ascending order.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// Returns the name that is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Admin => "ADMIN",
        }
    }

    /// Returns the access type with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|access| access.name() == name)
    }
}

/// Membership of a user in an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The organization.
    pub organization: OrganizationId,
    /// The user.
    pub user: UserId,
    /// The user's role in the organization.
    pub role: OrganizationRole,
    /// True if the platform has validated the user. Users that are not validated are rejected everywhere.
    pub validated: bool,
    /// The user's access to individual workspaces, all of which belong to the organization.
    pub access: BTreeMap<WorkspaceId, Access>,
}

/// A workspace's repository of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// The platform's identifier.
    pub id: RepoId,
    /// The workspace that it belongs to. Never changes.
    pub workspace: WorkspaceId,
    /// Human-readable name.
    pub name: String,
}

impl Audited for Organization {
    fn audited(&self) -> Values {
        vec![("name".into(), Some(self.name.clone()))]
    }
}

impl Audited for Workspace {
    fn audited(&self) -> Values {
        vec![
            ("name".into(), Some(self.name.clone())),
            ("is_default".into(), Some(self.is_default.to_string())),
        ]
    }
}

impl Audited for Member {
    fn audited(&self) -> Values {
        let mut values: Values = vec![
            ("role".into(), Some(self.role.name().to_owned())),
            ("validated".into(), Some(self.validated.to_string())),
        ];
        let accesses = self.access.iter().map(|(workspace, access)| {
            let name = format!("access.{workspace}");
            (name.into(), Some(access.name().to_owned()))
        });
        values.extend(accesses);
        values
    }
}

impl Audited for Repo {
    fn audited(&self) -> Values {
        vec![("name".into(), Some(self.name.clone()))]
    }
}

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
