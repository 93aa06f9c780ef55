//! Who belongs where: organizations, workspaces, members and repos, and how the platform tells
//! Keyward about them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::audit::{AuditEvent, Audited, Values};
use crate::clock::Clock;
use crate::error::{Error, Noun};
use crate::id::{OrganizationId, RepoId, UserId, WorkspaceId};
use crate::page::{Page, PageRequest};
use crate::policy::{self, DirectoryGrant};
use crate::principal::Caller;
use crate::store::DirectoryStore;
use crate::text::check_name;

/// A customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// The platform's identifier.
    pub id: OrganizationId,
    /// Human-readable name.
    pub name: String,
    /// The default workspace, once there is a workspace.
    pub default_workspace: Option<WorkspaceId>,
}

/// A tenant boundary inside an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// The platform's identifier.
    pub id: WorkspaceId,
    /// The organization that it belongs to, for good.
    pub organization: OrganizationId,
    /// Human-readable name.
    pub name: String,
    /// Whether it is the organization's default. Setting it takes it from the workspace that had it;
    /// an organization's first workspace has it in any case.
    pub is_default: bool,
}

/// What a member is in an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrganizationRole {
    /// An ordinary user.
    User,
    /// Sees to the bills.
    Billing,
    /// Sees to the workspaces.
    Workspaces,
    /// Acts as ADMIN in every workspace.
    Administrators,
    /// Acts as ADMIN in every workspace.
    Owner,
}

impl OrganizationRole {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::User,
        Self::Billing,
        Self::Workspaces,
        Self::Administrators,
        Self::Owner,
    ];

    /// The name that is stored and shown.
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

    /// The role of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// What a member may do in a workspace; each includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// See.
    Read,
    /// Change.
    Write,
    /// Administer.
    Admin,
}

impl Access {
    /// Every access type, from the least to the most.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// The name that is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Admin => "ADMIN",
        }
    }

    /// The access type of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|access| access.name() == name)
    }
}

/// A user's membership of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The organization.
    pub organization: OrganizationId,
    /// The user.
    pub user: UserId,
    /// What the user is in the organization.
    pub role: OrganizationRole,
    /// Whether the platform has validated the user; one who is not is refused everywhere.
    pub validated: bool,
    /// What the user may do in single workspaces, all of them the organization's.
    pub access: BTreeMap<WorkspaceId, Access>,
}

/// A workspace's repository of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// The platform's identifier.
    pub id: RepoId,
    /// The workspace that it belongs to, for good.
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

/// The directory's use cases, for internal services alone.
///
/// Every change is audited in the transaction that makes it. Deleting what does not exist, or what
/// still holds something, is an error.
#[derive(Clone)]
pub struct Directory {
    store: Arc<dyn DirectoryStore>,
    clock: Arc<dyn Clock>,
}

impl Directory {
    /// The directory that a store holds.
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

    /// Creates an organization or changes its name. Its default workspace is not changed here.
    ///
    /// # Errors
    /// Denied to all but services; an unfit name.
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

    /// Describes an organization.
    ///
    /// # Errors
    /// Denied to all but services; not found.
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
    /// Denied to all but services.
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
    /// Denied to all but services; not found; not empty while it has workspaces, members or
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

    /// Creates a workspace, or changes its name or which workspace is the default.
    ///
    /// # Errors
    /// Denied to all but services; the organization is not found; the workspace belongs to another.
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

    /// Describes a workspace.
    ///
    /// # Errors
    /// Denied to all but services; not found.
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
    /// Denied to all but services; the organization is not found.
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

    /// Deletes a workspace, and with it its data keys and the members' access to it.
    ///
    /// # Errors
    /// Denied to all but services; not found; not empty while it has repos or keys.
    pub async fn delete_workspace(&self, caller: &Caller, id: &WorkspaceId) -> Result<(), Error> {
        let (grant, event) =
            self.begin(caller, "workspace.delete", Noun::Workspace, id.as_str())?;
        self.store.delete_workspace(&grant, id, &event).await
    }

    /// Creates a member or replaces what the member is allowed, in one step.
    ///
    /// # Errors
    /// Denied to all but services; the organization or one of the workspaces is not found in it.
    pub async fn upsert_member(&self, caller: &Caller, member: Member) -> Result<Member, Error> {
        let (grant, event) =
            self.begin(caller, "member.upsert", Noun::Member, member.user.as_str())?;
        let event = event
            .with_detail("role", member.role.name())
            .with_detail("validated", if member.validated { "true" } else { "false" });
        self.store.upsert_member(&grant, &member, &event).await?;
        Ok(member)
    }

    /// Describes a member.
    ///
    /// # Errors
    /// Denied to all but services; not found.
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
    /// Denied to all but services; the organization is not found.
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

    /// Deletes a member; the user's tokens stop working at once.
    ///
    /// # Errors
    /// Denied to all but services; not found.
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
    /// Denied to all but services; the workspace is not found; the repo belongs to another.
    pub async fn upsert_repo(&self, caller: &Caller, repo: Repo) -> Result<Repo, Error> {
        check_name("repo.name", &repo.name)?;
        let (grant, event) = self.begin(caller, "repo.upsert", Noun::Repo, repo.id.as_str())?;
        self.store.upsert_repo(&grant, &repo, &event).await?;
        Ok(repo)
    }

    /// Describes a repo.
    ///
    /// # Errors
    /// Denied to all but services; not found.
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
    /// Denied to all but services; the workspace is not found.
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
    /// Denied to all but services; not found; not empty while it has live AI keys.
    pub async fn delete_repo(&self, caller: &Caller, id: &RepoId) -> Result<(), Error> {
        let (grant, event) = self.begin(caller, "repo.delete", Noun::Repo, id.as_str())?;
        self.store.delete_repo(&grant, id, &event).await
    }
}
