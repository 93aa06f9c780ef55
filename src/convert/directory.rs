//! Organizations, workspaces, members and repos.

use std::collections::BTreeMap;

use keyward_core::Error;
use keyward_core::id::{OrganizationId, RepoId, UserId, WorkspaceId};
use keyward_core::tenancy as core;

use super::id;
use crate::proto::v1::{
    AccessType, Member, Organization, OrganizationRole, Repo, Workspace, WorkspaceAccess,
};

pub(crate) fn organization_id(text: String) -> Result<OrganizationId, Error> {
    id(
        OrganizationId::parse,
        "organizationId",
        "Organization ID",
        text,
    )
}

pub(crate) fn workspace_id(text: String) -> Result<WorkspaceId, Error> {
    id(WorkspaceId::parse, "workspaceId", "Workspace ID", text)
}

pub(crate) fn user_id(text: String) -> Result<UserId, Error> {
    id(UserId::parse, "userId", "User ID", text)
}

pub(crate) fn repo_id(text: String) -> Result<RepoId, Error> {
    id(RepoId::parse, "repoId", "Repo ID", text)
}

/// Returns the required message.
fn required<T>(message: Option<T>, field: &'static str, label: &str) -> Result<T, Error> {
    message.ok_or_else(|| Error::invalid(field, format!("{label} is required")))
}

pub(crate) fn organization(message: Option<Organization>) -> Result<core::Organization, Error> {
    let message = required(message, "organization", "Organization")?;
    let id = id(
        OrganizationId::parse,
        "organization.id",
        "Organization ID",
        message.id,
    )?;
    Ok(core::Organization {
        id,
        name: message.name,
        default_workspace: None,
    })
}

pub(crate) fn organization_message(organization: core::Organization) -> Organization {
    Organization {
        id: organization.id.to_string(),
        name: organization.name,
        default_workspace_id: organization
            .default_workspace
            .map(|id| id.to_string())
            .unwrap_or_default(),
    }
}

pub(crate) fn workspace(message: Option<Workspace>) -> Result<core::Workspace, Error> {
    let message = required(message, "workspace", "Workspace")?;
    let organization = message.organization_id;
    Ok(core::Workspace {
        id: id(
            WorkspaceId::parse,
            "workspace.id",
            "Workspace ID",
            message.id,
        )?,
        organization: id(
            OrganizationId::parse,
            "workspace.organizationId",
            "Organization ID",
            organization,
        )?,
        name: message.name,
        is_default: message.is_default,
    })
}

pub(crate) fn workspace_message(workspace: core::Workspace) -> Workspace {
    Workspace {
        id: workspace.id.to_string(),
        organization_id: workspace.organization.to_string(),
        name: workspace.name,
        is_default: workspace.is_default,
    }
}

pub(crate) fn member(message: Option<Member>) -> Result<core::Member, Error> {
    let message = required(message, "member", "Member")?;
    let role = match message.role() {
        OrganizationRole::User => core::OrganizationRole::User,
        OrganizationRole::Billing => core::OrganizationRole::Billing,
        OrganizationRole::Workspaces => core::OrganizationRole::Workspaces,
        OrganizationRole::Administrators => core::OrganizationRole::Administrators,
        OrganizationRole::Owner => core::OrganizationRole::Owner,
        OrganizationRole::Unspecified => {
            return Err(Error::invalid("member.role", "Role is required"));
        }
    };
    let mut access = BTreeMap::new();
    for entry in message.workspaces {
        let (workspace, granted) = workspace_access(entry)?;
        if access.insert(workspace, granted).is_some() {
            let message = "A workspace must not be named twice";
            return Err(Error::invalid("member.workspaces", message));
        }
    }
    let organization = message.organization_id;
    Ok(core::Member {
        organization: id(
            OrganizationId::parse,
            "member.organizationId",
            "Organization ID",
            organization,
        )?,
        user: id(UserId::parse, "member.userId", "User ID", message.user_id)?,
        role,
        validated: message.validated,
        access,
    })
}

fn workspace_access(message: WorkspaceAccess) -> Result<(WorkspaceId, core::Access), Error> {
    let access = match message.access() {
        AccessType::Read => core::Access::Read,
        AccessType::Write => core::Access::Write,
        AccessType::Admin => core::Access::Admin,
        AccessType::Unspecified => {
            return Err(Error::invalid(
                "member.workspaces.access",
                "Access is required",
            ));
        }
    };
    let field = "member.workspaces.workspaceId";
    Ok((
        id(
            WorkspaceId::parse,
            field,
            "Workspace ID",
            message.workspace_id,
        )?,
        access,
    ))
}

pub(crate) fn member_message(member: core::Member) -> Member {
    let role = match member.role {
        core::OrganizationRole::User => OrganizationRole::User,
        core::OrganizationRole::Billing => OrganizationRole::Billing,
        core::OrganizationRole::Workspaces => OrganizationRole::Workspaces,
        core::OrganizationRole::Administrators => OrganizationRole::Administrators,
        core::OrganizationRole::Owner => OrganizationRole::Owner,
    };
    let access = |access| match access {
        core::Access::Read => AccessType::Read,
        core::Access::Write => AccessType::Write,
        core::Access::Admin => AccessType::Admin,
    };
    Member {
        organization_id: member.organization.to_string(),
        user_id: member.user.to_string(),
        role: role.into(),
        validated: member.validated,
        workspaces: member
            .access
            .into_iter()
            .map(|(workspace, granted)| WorkspaceAccess {
                workspace_id: workspace.to_string(),
                access: access(granted).into(),
            })
            .collect(),
    }
}

pub(crate) fn repo(message: Option<Repo>) -> Result<core::Repo, Error> {
    let message = required(message, "repo", "Repo")?;
    Ok(core::Repo {
        id: id(RepoId::parse, "repo.id", "Repo ID", message.id)?,
        workspace: id(
            WorkspaceId::parse,
            "repo.workspaceId",
            "Workspace ID",
            message.workspace_id,
        )?,
        name: message.name,
    })
}

pub(crate) fn repo_message(repo: core::Repo) -> Repo {
    Repo {
        id: repo.id.to_string(),
        workspace_id: repo.workspace.to_string(),
        name: repo.name,
    }
}
