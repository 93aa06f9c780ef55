//! DirectoryService: rejected requests and callers.

use keyward::proto::v1::{self as pb, AccessType, OrganizationRole};
use serde_json::json;
use tonic::Code;

use crate::support::{DENIED, TestServer, User, WORKSPACE_A, WORKSPACE_B, WORKSPACE_X, rejected};

fn workspace(id: &str, organization: &str) -> pb::UpsertWorkspaceRequest {
    pb::UpsertWorkspaceRequest {
        workspace: Some(pb::Workspace {
            id: id.to_owned(),
            organization_id: organization.to_owned(),
            ..Default::default()
        }),
    }
}

fn member(access: &[(&str, AccessType)]) -> pb::Member {
    pb::Member {
        organization_id: "org-1".to_owned(),
        user_id: "new".to_owned(),
        role: OrganizationRole::User.into(),
        validated: true,
        workspaces: access
            .iter()
            .map(|(id, access)| pb::WorkspaceAccess {
                workspace_id: (*id).to_owned(),
                access: (*access).into(),
            })
            .collect(),
    }
}

fn repo(id: &str, workspace: &str) -> pb::UpsertRepoRequest {
    let repo = pb::Repo {
        id: id.to_owned(),
        workspace_id: workspace.to_owned(),
        ..Default::default()
    };
    pb::UpsertRepoRequest { repo: Some(repo) }
}

async fn user_of_any_role_may_not_manage_the_directory(server: TestServer) {
    for user in [
        User::Owner,
        User::Administrator,
        User::ReaderInA,
        User::Outsider,
    ] {
        let mut directory = server.directory(&server.token(user));
        let organization_id = "org-1".to_owned();
        for result in [
            directory
                .upsert_workspace(workspace("w", "org-1"))
                .await
                .map(drop),
            directory
                .list_organizations(pb::ListOrganizationsRequest::default())
                .await
                .map(drop),
            directory
                .upsert_member(pb::UpsertMemberRequest {
                    member: Some(member(&[])),
                })
                .await
                .map(drop),
            directory
                .get_organization(pb::GetOrganizationRequest {
                    organization_id: organization_id.clone(),
                })
                .await
                .map(drop),
            directory
                .delete_organization(pb::DeleteOrganizationRequest { organization_id })
                .await
                .map(drop),
            // Nor learn that a resource does not exist.
            directory
                .get_workspace(pb::GetWorkspaceRequest {
                    workspace_id: "none".to_owned(),
                })
                .await
                .map(drop),
        ] {
            rejected(result)
                .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
                .alone();
        }
    }
}

async fn parent_with_children_is_not_deleted(server: TestServer) {
    let mut directory = server.directory(&server.service_token());
    let delete = |id: &str| pb::DeleteOrganizationRequest {
        organization_id: id.to_owned(),
    };
    let message = "Organization still has workspaces";
    rejected(directory.delete_organization(delete("org-1")).await)
        .is(Code::FailedPrecondition, "NOT_EMPTY", message)
        .preconditions(&[("NOT_EMPTY", "workspaces", message)]);

    let delete_workspace = |id: &str| pb::DeleteWorkspaceRequest {
        workspace_id: id.to_owned(),
    };
    let message = "Workspace still has repos";
    rejected(
        directory
            .delete_workspace(delete_workspace(WORKSPACE_A))
            .await,
    )
    .is(Code::FailedPrecondition, "NOT_EMPTY", message)
    .preconditions(&[("NOT_EMPTY", "repos", message)]);
    server
        .create(json!({
            "workspaceId": WORKSPACE_B, "key": "k", "secret": "s", "provider": "AWS",
        }))
        .await;
    let message = "Workspace still has API keys";
    rejected(
        directory
            .delete_workspace(delete_workspace(WORKSPACE_B))
            .await,
    )
    .is(Code::FailedPrecondition, "NOT_EMPTY", message)
    .preconditions(&[("NOT_EMPTY", "API keys", message)]);

    directory
        .delete_workspace(delete_workspace(WORKSPACE_X))
        .await
        .unwrap();
    let message = "Organization still has members";
    rejected(directory.delete_organization(delete("org-2")).await)
        .is(Code::FailedPrecondition, "NOT_EMPTY", message)
        .preconditions(&[("NOT_EMPTY", "members", message)]);
}

async fn nothing_moves_to_another_parent(server: TestServer) {
    let mut directory = server.directory(&server.service_token());
    let message = "Workspace belongs to another organization";
    rejected(
        directory
            .upsert_workspace(workspace(WORKSPACE_A, "org-2"))
            .await,
    )
    .is(Code::FailedPrecondition, "BELONGS_ELSEWHERE", message);
    let message = "Repo belongs to another workspace";
    rejected(directory.upsert_repo(repo("repo-a", WORKSPACE_B)).await).is(
        Code::FailedPrecondition,
        "BELONGS_ELSEWHERE",
        message,
    );
}

async fn missing_record_is_not_found(server: TestServer) {
    let mut directory = server.directory(&server.service_token());
    let none = || "none".to_owned();
    let organization = ("ORGANIZATION_NOT_FOUND", "Organization not found");
    let workspace = ("WORKSPACE_NOT_FOUND", "Workspace not found");
    let member = ("MEMBER_NOT_FOUND", "Member not found");
    let repo = ("REPO_NOT_FOUND", "Repo not found");
    let get = pb::GetOrganizationRequest {
        organization_id: none(),
    };
    let delete = pb::DeleteOrganizationRequest {
        organization_id: none(),
    };
    let get_workspace = pb::GetWorkspaceRequest {
        workspace_id: none(),
    };
    let delete_workspace = pb::DeleteWorkspaceRequest {
        workspace_id: none(),
    };
    let workspaces = pb::ListWorkspacesRequest {
        organization_id: none(),
        ..Default::default()
    };
    let members = pb::ListMembersRequest {
        organization_id: none(),
        ..Default::default()
    };
    let get_member = pb::GetMemberRequest {
        organization_id: "org-1".to_owned(),
        user_id: none(),
    };
    let elsewhere = pb::GetMemberRequest {
        organization_id: "org-2".to_owned(),
        user_id: "owner".to_owned(),
    };
    let delete_member = pb::DeleteMemberRequest {
        organization_id: "org-1".to_owned(),
        user_id: none(),
    };
    let repos = pb::ListReposRequest {
        workspace_id: none(),
        ..Default::default()
    };
    let (get_repo, delete_repo) = (
        pb::GetRepoRequest { repo_id: none() },
        pb::DeleteRepoRequest { repo_id: none() },
    );
    for (result, (reason, message)) in [
        (
            directory.get_organization(get).await.map(drop),
            organization,
        ),
        (
            directory.delete_organization(delete).await.map(drop),
            organization,
        ),
        (
            directory.list_workspaces(workspaces).await.map(drop),
            organization,
        ),
        (
            directory.list_members(members).await.map(drop),
            organization,
        ),
        (
            directory
                .upsert_workspace(self::workspace("w", "none"))
                .await
                .map(drop),
            organization,
        ),
        (
            directory.get_workspace(get_workspace).await.map(drop),
            workspace,
        ),
        (
            directory.delete_workspace(delete_workspace).await.map(drop),
            workspace,
        ),
        (directory.list_repos(repos).await.map(drop), workspace),
        (
            directory
                .upsert_repo(self::repo("r", "none"))
                .await
                .map(drop),
            workspace,
        ),
        (directory.get_member(get_member).await.map(drop), member),
        (directory.get_member(elsewhere).await.map(drop), member),
        (
            directory.delete_member(delete_member).await.map(drop),
            member,
        ),
        (directory.get_repo(get_repo).await.map(drop), repo),
        (directory.delete_repo(delete_repo).await.map(drop), repo),
    ] {
        rejected(result).is(Code::NotFound, reason, message).alone();
    }
    // A workspace of another organization does not belong to this one.
    for id in ["none", WORKSPACE_X] {
        let request = pb::UpsertMemberRequest {
            member: Some(self::member(&[(id, AccessType::Read)])),
        };
        rejected(directory.upsert_member(request).await).is(
            Code::NotFound,
            "WORKSPACE_NOT_FOUND",
            "Workspace not found",
        );
    }
}

async fn unfit_field_is_named(server: TestServer) {
    let mut directory = server.directory(&server.service_token());
    let organization = |id: &str, name: &str| pb::UpsertOrganizationRequest {
        organization: Some(pb::Organization {
            id: id.to_owned(),
            name: name.to_owned(),
            ..Default::default()
        }),
    };
    let absent = pb::UpsertOrganizationRequest { organization: None };
    rejected(directory.upsert_organization(absent).await)
        .is(
            Code::InvalidArgument,
            "FIELD_INVALID",
            "Organization is required",
        )
        .fields(&[("organization", "Organization is required")]);
    rejected(directory.upsert_organization(organization("", "n")).await)
        .is(
            Code::InvalidArgument,
            "FIELD_REQUIRED",
            "Organization ID is required",
        )
        .fields(&[("organization.id", "Organization ID is required")]);
    let status = rejected(
        directory
            .upsert_organization(organization("a\nb", "n"))
            .await,
    )
    .status;
    assert_eq!(status.code(), Code::InvalidArgument);
    let long = organization("o", &"n".repeat(256));
    let status = rejected(directory.upsert_organization(long).await).status;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(!status.message().contains("nnn"));

    let request = pb::UpsertMemberRequest {
        member: Some(pb::Member {
            role: 0,
            ..member(&[])
        }),
    };
    rejected(directory.upsert_member(request).await)
        .is(Code::InvalidArgument, "FIELD_INVALID", "Role is required")
        .fields(&[("member.role", "Role is required")]);
    let twice = [
        (WORKSPACE_A, AccessType::Read),
        (WORKSPACE_A, AccessType::Admin),
    ];
    let request = pb::UpsertMemberRequest {
        member: Some(member(&twice)),
    };
    rejected(directory.upsert_member(request).await).is(
        Code::InvalidArgument,
        "FIELD_INVALID",
        "A workspace must not be named twice",
    );
    let unspecified = [(WORKSPACE_A, AccessType::Unspecified)];
    let request = pb::UpsertMemberRequest {
        member: Some(member(&unspecified)),
    };
    rejected(directory.upsert_member(request).await).is(
        Code::InvalidArgument,
        "FIELD_INVALID",
        "Access is required",
    );
    let request = pb::GetWorkspaceRequest {
        workspace_id: String::new(),
    };
    rejected(directory.get_workspace(request).await)
        .is(
            Code::InvalidArgument,
            "FIELD_INVALID",
            "Workspace ID is required",
        )
        .fields(&[("workspaceId", "Workspace ID is required")]);
    let request = pb::ListOrganizationsRequest {
        page_size: 0,
        page_token: "canary".to_owned(),
    };
    rejected(directory.list_organizations(request).await)
        .is(
            Code::InvalidArgument,
            "FIELD_INVALID",
            "Page token is not valid",
        )
        .fields(&[("pageToken", "Page token is not valid")])
        .hides(&["canary"]);
}

each_engine! {
    user_of_any_role_may_not_manage_the_directory
    parent_with_children_is_not_deleted
    nothing_moves_to_another_parent
    missing_record_is_not_found
    unfit_field_is_named
}
