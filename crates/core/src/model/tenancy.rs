//! Organizations, workspaces, members and repos.

use std::collections::BTreeMap;

use crate::model::audit_changes::{Audited, Values};
use crate::model::id::{OrganizationId, RepoId, UserId, WorkspaceId};

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
