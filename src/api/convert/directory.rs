//! Organizations, workspaces, members and repos.

use std::collections::BTreeMap;

use keyward_core::Error;
use keyward_core::id::{OrganizationId, RepoId, UserId, WorkspaceId};
use keyward_core::tenancy::{Access, Member, Organization, OrganizationRole, Repo, Workspace};

use super::id_from_proto;
use crate::api::proto::v1;

pub(crate) fn organization_id_from_proto(text: String) -> Result<OrganizationId, Error> {
    id_from_proto(
        OrganizationId::parse,
        "organizationId",
        "Organization ID",
        text,
    )
}

pub(crate) fn workspace_id_from_proto(text: String) -> Result<WorkspaceId, Error> {
    id_from_proto(WorkspaceId::parse, "workspaceId", "Workspace ID", text)
}

pub(crate) fn user_id_from_proto(text: String) -> Result<UserId, Error> {
    id_from_proto(UserId::parse, "userId", "User ID", text)
}

pub(crate) fn repo_id_from_proto(text: String) -> Result<RepoId, Error> {
    id_from_proto(RepoId::parse, "repoId", "Repo ID", text)
}

/// Returns the required message.
fn required<T>(message: Option<T>, field: &'static str, label: &str) -> Result<T, Error> {
    message.ok_or_else(|| Error::invalid(field, format!("{label} is required")))
}

pub(crate) fn organization_from_proto(
    message: Option<v1::Organization>,
) -> Result<Organization, Error> {
    let message = required(message, "organization", "Organization")?;
    let id = id_from_proto(
        OrganizationId::parse,
        "organization.id",
        "Organization ID",
        message.id,
    )?;
    Ok(Organization {
        id,
        name: message.name,
        default_workspace: None,
    })
}

pub(crate) fn organization_to_proto(organization: Organization) -> v1::Organization {
    v1::Organization {
        id: organization.id.to_string(),
        name: organization.name,
        default_workspace_id: organization
            .default_workspace
            .map(|id| id.to_string())
            .unwrap_or_default(),
    }
}

pub(crate) fn workspace_from_proto(message: Option<v1::Workspace>) -> Result<Workspace, Error> {
    let message = required(message, "workspace", "Workspace")?;
    let organization = message.organization_id;
    Ok(Workspace {
        id: id_from_proto(
            WorkspaceId::parse,
            "workspace.id",
            "Workspace ID",
            message.id,
        )?,
        organization: id_from_proto(
            OrganizationId::parse,
            "workspace.organizationId",
            "Organization ID",
            organization,
        )?,
        name: message.name,
        is_default: message.is_default,
    })
}

pub(crate) fn workspace_to_proto(workspace: Workspace) -> v1::Workspace {
    v1::Workspace {
        id: workspace.id.to_string(),
        organization_id: workspace.organization.to_string(),
        name: workspace.name,
        is_default: workspace.is_default,
    }
}

pub(crate) fn member_from_proto(message: Option<v1::Member>) -> Result<Member, Error> {
    let message = required(message, "member", "Member")?;
    let role = match message.role() {
        v1::OrganizationRole::User => OrganizationRole::User,
        v1::OrganizationRole::Billing => OrganizationRole::Billing,
        v1::OrganizationRole::Workspaces => OrganizationRole::Workspaces,
        v1::OrganizationRole::Administrators => OrganizationRole::Administrators,
        v1::OrganizationRole::Owner => OrganizationRole::Owner,
        v1::OrganizationRole::Unspecified => {
            return Err(Error::invalid("member.role", "Role is required"));
        }
    };
    let mut access = BTreeMap::new();
    for entry in message.workspaces {
        let (workspace, granted) = workspace_access_from_proto(entry)?;
        if access.insert(workspace, granted).is_some() {
            let message = "A workspace must not be named twice";
            return Err(Error::invalid("member.workspaces", message));
        }
    }
    let organization = message.organization_id;
    Ok(Member {
        organization: id_from_proto(
            OrganizationId::parse,
            "member.organizationId",
            "Organization ID",
            organization,
        )?,
        user: id_from_proto(UserId::parse, "member.userId", "User ID", message.user_id)?,
        role,
        validated: message.validated,
        access,
    })
}

fn workspace_access_from_proto(
    message: v1::WorkspaceAccess,
) -> Result<(WorkspaceId, Access), Error> {
    let access = match message.access() {
        v1::AccessType::Read => Access::Read,
        v1::AccessType::Write => Access::Write,
        v1::AccessType::Admin => Access::Admin,
        v1::AccessType::Unspecified => {
            return Err(Error::invalid(
                "member.workspaces.access",
                "Access is required",
            ));
        }
    };
    let field = "member.workspaces.workspaceId";
    Ok((
        id_from_proto(
            WorkspaceId::parse,
            field,
            "Workspace ID",
            message.workspace_id,
        )?,
        access,
    ))
}

pub(crate) fn member_to_proto(member: Member) -> v1::Member {
    let role = match member.role {
        OrganizationRole::User => v1::OrganizationRole::User,
        OrganizationRole::Billing => v1::OrganizationRole::Billing,
        OrganizationRole::Workspaces => v1::OrganizationRole::Workspaces,
        OrganizationRole::Administrators => v1::OrganizationRole::Administrators,
        OrganizationRole::Owner => v1::OrganizationRole::Owner,
    };
    let access = |access| match access {
        Access::Read => v1::AccessType::Read,
        Access::Write => v1::AccessType::Write,
        Access::Admin => v1::AccessType::Admin,
    };
    v1::Member {
        organization_id: member.organization.to_string(),
        user_id: member.user.to_string(),
        role: role.into(),
        validated: member.validated,
        workspaces: member
            .access
            .into_iter()
            .map(|(workspace, granted)| v1::WorkspaceAccess {
                workspace_id: workspace.to_string(),
                access: access(granted).into(),
            })
            .collect(),
    }
}

pub(crate) fn repo_from_proto(message: Option<v1::Repo>) -> Result<Repo, Error> {
    let message = required(message, "repo", "Repo")?;
    Ok(Repo {
        id: id_from_proto(RepoId::parse, "repo.id", "Repo ID", message.id)?,
        workspace: id_from_proto(
            WorkspaceId::parse,
            "repo.workspaceId",
            "Workspace ID",
            message.workspace_id,
        )?,
        name: message.name,
    })
}

pub(crate) fn repo_to_proto(repo: Repo) -> v1::Repo {
    v1::Repo {
        id: repo.id.to_string(),
        workspace_id: repo.workspace.to_string(),
        name: repo.name,
    }
}
