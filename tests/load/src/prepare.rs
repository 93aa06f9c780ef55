//! Creates the organization of a `dev.env` if `keyward dev` did not, which is the case on
//! PostgreSQL.

use crate::Outcome;
use crate::clients::{Clients, RestVersion, answered, called_by};
use crate::environment::EnvironmentArgs;
use crate::proto::directory_service_client::DirectoryServiceClient;
use crate::proto::{
    AccessType, Member, Organization, OrganizationRole, UpsertMemberRequest,
    UpsertOrganizationRequest, UpsertWorkspaceRequest, Workspace, WorkspaceAccess,
};

/// Subject of `dev.env`'s ADMIN_TOKEN.
const ADMIN: &str = "demo-admin";

pub(crate) async fn run(args: &EnvironmentArgs) -> Outcome<()> {
    let environment = args.read()?;
    let clients = Clients::new(args, &environment, RestVersion::Http2, 1)?;
    let mut directory =
        DirectoryServiceClient::with_origin(clients.grpc_channel(), clients.grpc_origin());
    let token = environment.get("SERVICE_TOKEN")?;
    let organization = environment.get("ORGANIZATION_ID")?.to_owned();
    let workspaces = ["WORKSPACE_A", "WORKSPACE_B"].map(|name| environment.get(name));
    let request = UpsertOrganizationRequest {
        organization: Some(Organization {
            id: organization.clone(),
            name: organization.clone(),
            ..Default::default()
        }),
    };
    answered(directory.upsert_organization(called_by(token, request)?)).await?;
    let mut access = Vec::new();
    for workspace in workspaces {
        let id = workspace?.to_owned();
        let request = UpsertWorkspaceRequest {
            workspace: Some(Workspace {
                id: id.clone(),
                organization_id: organization.clone(),
                name: id.clone(),
                is_default: false,
            }),
        };
        answered(directory.upsert_workspace(called_by(token, request)?)).await?;
        access.push(WorkspaceAccess {
            workspace_id: id,
            access: AccessType::Admin.into(),
        });
    }
    let request = UpsertMemberRequest {
        member: Some(Member {
            organization_id: organization,
            user_id: ADMIN.to_owned(),
            role: OrganizationRole::User.into(),
            validated: true,
            workspaces: access,
        }),
    };
    answered(directory.upsert_member(called_by(token, request)?)).await?;
    Ok(())
}
