//! DirectoryService: platform data and the responses to it.

mod rejections;

use keyward::proto::v1::{self as pb, AccessType, OrganizationRole};
use serde_json::json;

use crate::support::{TestServer, User, WORKSPACE_A, WORKSPACE_B};

fn organization(id: &str, name: &str) -> pb::Organization {
    pb::Organization {
        id: id.to_owned(),
        name: name.to_owned(),
        ..Default::default()
    }
}

fn workspace(id: &str, organization: &str, is_default: bool) -> pb::Workspace {
    pb::Workspace {
        id: id.to_owned(),
        organization_id: organization.to_owned(),
        name: format!("Workspace {id}"),
        is_default,
    }
}

fn member(user: &str, role: OrganizationRole, access: &[(&str, AccessType)]) -> pb::Member {
    pb::Member {
        organization_id: "org-1".to_owned(),
        user_id: user.to_owned(),
        role: role.into(),
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

async fn organization_is_created_renamed_described_and_deleted(server: TestServer) {
    let mut directory = server.directory(&server.service_token());
    for name in ["First name", "Second name", ""] {
        let organization = organization("org-new", name);
        let request = pb::UpsertOrganizationRequest {
            organization: Some(organization.clone()),
        };
        let upserted = directory
            .upsert_organization(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(upserted.organization, Some(organization.clone()));
        let request = pb::GetOrganizationRequest {
            organization_id: "org-new".to_owned(),
        };
        let got = directory
            .get_organization(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(got.organization, Some(organization));
    }
    let request = pb::DeleteOrganizationRequest {
        organization_id: "org-new".to_owned(),
    };
    directory.delete_organization(request).await.unwrap();
    let request = pb::GetOrganizationRequest {
        organization_id: "org-new".to_owned(),
    };
    assert!(directory.get_organization(request).await.is_err());
}

async fn organizations_are_listed_by_id_in_pages(server: TestServer) {
    let mut directory = server.directory(&server.service_token());
    let (mut ids, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListOrganizationsRequest {
            page_size: 1,
            page_token,
        };
        let page = directory
            .list_organizations(request)
            .await
            .unwrap()
            .into_inner();
        ids.extend(
            page.organizations
                .into_iter()
                .map(|organization| organization.id),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, ["org-1", "org-2"]);
}

async fn first_workspace_is_the_default_until_another_is_made_it(server: TestServer) {
    let mut directory = server.directory(&server.service_token());
    let request = pb::UpsertOrganizationRequest {
        organization: Some(organization("org-new", "New")),
    };
    directory.upsert_organization(request).await.unwrap();
    for (id, asks, is_default, default_id) in [
        ("w1", false, true, "w1"),
        ("w2", false, false, "w1"),
        ("w2", true, true, "w2"),
        // A request without the flag does not take the default away.
        ("w2", false, true, "w2"),
    ] {
        let request = pb::UpsertWorkspaceRequest {
            workspace: Some(workspace(id, "org-new", asks)),
        };
        let upserted = directory
            .upsert_workspace(request)
            .await
            .unwrap()
            .into_inner();
        let expected = Some(workspace(id, "org-new", is_default));
        assert_eq!(upserted.workspace, expected);
        let request = pb::GetWorkspaceRequest {
            workspace_id: id.to_owned(),
        };
        let got = directory.get_workspace(request).await.unwrap().into_inner();
        assert_eq!(got.workspace, expected);
        let request = pb::GetOrganizationRequest {
            organization_id: "org-new".to_owned(),
        };
        let got = directory
            .get_organization(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(got.organization.unwrap().default_workspace_id, default_id);
    }
    let request = pb::ListWorkspacesRequest {
        organization_id: "org-new".to_owned(),
        ..Default::default()
    };
    let listed = directory
        .list_workspaces(request)
        .await
        .unwrap()
        .into_inner();
    let expected = [
        workspace("w1", "org-new", false),
        workspace("w2", "org-new", true),
    ];
    assert_eq!(listed.workspaces, expected);

    for id in ["w1", "w2"] {
        let request = pb::DeleteWorkspaceRequest {
            workspace_id: id.to_owned(),
        };
        directory.delete_workspace(request).await.unwrap();
    }
    let request = pb::GetOrganizationRequest {
        organization_id: "org-new".to_owned(),
    };
    let got = directory
        .get_organization(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(got.organization.unwrap().default_workspace_id, "");
}

async fn member_is_replaced_as_a_whole(server: TestServer) {
    let mut directory = server.directory(&server.service_token());
    for member in [
        member(
            "new",
            OrganizationRole::User,
            &[
                (WORKSPACE_A, AccessType::Read),
                (WORKSPACE_B, AccessType::Admin),
            ],
        ),
        member(
            "new",
            OrganizationRole::Billing,
            &[(WORKSPACE_B, AccessType::Write)],
        ),
        pb::Member {
            validated: false,
            ..member("new", OrganizationRole::Owner, &[])
        },
    ] {
        let request = pb::UpsertMemberRequest {
            member: Some(member.clone()),
        };
        let upserted = directory.upsert_member(request).await.unwrap().into_inner();
        assert_eq!(upserted.member, Some(member.clone()));
        let request = pb::GetMemberRequest {
            organization_id: "org-1".to_owned(),
            user_id: "new".to_owned(),
        };
        let got = directory.get_member(request).await.unwrap().into_inner();
        assert_eq!(got.member, Some(member));
    }
    let request = pb::ListMembersRequest {
        organization_id: "org-1".to_owned(),
        ..Default::default()
    };
    let listed = directory
        .list_members(request)
        .await
        .unwrap()
        .into_inner()
        .members;
    let users: Vec<_> = listed
        .iter()
        .map(|member| member.user_id.as_str())
        .collect();
    let mut sorted = users.clone();
    sorted.sort_unstable();
    assert_eq!(users, sorted);
    assert!(users.contains(&"new") && !users.contains(&"outsider"));
}

async fn member_change_applies_at_once(server: TestServer) {
    let mut directory = server.directory(&server.service_token());
    let token = server.token(User::NoAccess);
    let status = async || {
        let body = json!({
            "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "NOPE",
        });
        server
            .post("/apikeys")
            .bearer(&token)
            .json(&body)
            .send()
            .await
            .status
    };
    let list = "/apikeys?workspaceId=workspace-a";
    for (access, listed) in [(AccessType::Read, 200), (AccessType::Write, 200)] {
        let member = member(
            "no-access",
            OrganizationRole::User,
            &[(WORKSPACE_A, access)],
        );
        let request = pb::UpsertMemberRequest {
            member: Some(member),
        };
        directory.upsert_member(request).await.unwrap();
        assert_eq!(server.get(list).bearer(&token).send().await.status, listed);
    }
    assert_eq!(status().await, 400);
    let request = pb::DeleteMemberRequest {
        organization_id: "org-1".to_owned(),
        user_id: "no-access".to_owned(),
    };
    directory.delete_member(request).await.unwrap();
    assert_eq!(status().await, 401);
}

async fn repo_is_created_renamed_listed_and_deleted(server: TestServer) {
    let mut directory = server.directory(&server.service_token());
    for name in ["First name", "Second name"] {
        let repo = pb::Repo {
            id: "repo-new".to_owned(),
            workspace_id: WORKSPACE_A.to_owned(),
            name: name.to_owned(),
        };
        let request = pb::UpsertRepoRequest {
            repo: Some(repo.clone()),
        };
        let upserted = directory.upsert_repo(request).await.unwrap().into_inner();
        assert_eq!(upserted.repo, Some(repo.clone()));
        let request = pb::GetRepoRequest {
            repo_id: "repo-new".to_owned(),
        };
        let got = directory.get_repo(request).await.unwrap().into_inner();
        assert_eq!(got.repo, Some(repo));
    }
    let request = pb::ListReposRequest {
        workspace_id: WORKSPACE_A.to_owned(),
        ..Default::default()
    };
    let listed = directory
        .list_repos(request)
        .await
        .unwrap()
        .into_inner()
        .repos;
    let ids: Vec<_> = listed.into_iter().map(|repo| repo.id).collect();
    assert_eq!(ids, ["repo-a", "repo-new"]);
    let request = pb::DeleteRepoRequest {
        repo_id: "repo-new".to_owned(),
    };
    directory.delete_repo(request).await.unwrap();
    let request = pb::GetRepoRequest {
        repo_id: "repo-new".to_owned(),
    };
    assert!(directory.get_repo(request).await.is_err());
}

async fn every_change_is_audited(server: TestServer) {
    let mut directory = server.directory(&server.service_token());
    let before = server.database.count("audit_events").await;
    let request = pb::UpsertWorkspaceRequest {
        workspace: Some(workspace("workspace-new", "org-1", false)),
    };
    directory.upsert_workspace(request).await.unwrap();
    let request = pb::DeleteWorkspaceRequest {
        workspace_id: "workspace-new".to_owned(),
    };
    directory.delete_workspace(request).await.unwrap();
    let request = pb::GetWorkspaceRequest {
        workspace_id: WORKSPACE_A.to_owned(),
    };
    directory.get_workspace(request).await.unwrap();
    let events = server.database.events().await;
    assert_eq!(events.len() as i64, before + 2);
    for action in ["workspace.upsert", "workspace.delete"] {
        let event = events
            .iter()
            .find(|event| event.action == action && event.resource_id == "workspace-new");
        let event = event.unwrap();
        assert_eq!(
            (event.actor_kind.as_str(), event.actor_id.as_str()),
            ("service", "ai-gateway")
        );
        assert_eq!(event.organization_id.as_deref(), Some("org-1"), "{action}");
    }
}

each_engine! {
    organization_is_created_renamed_described_and_deleted
    organizations_are_listed_by_id_in_pages
    first_workspace_is_the_default_until_another_is_made_it
    member_is_replaced_as_a_whole
    member_change_applies_at_once
    repo_is_created_renamed_listed_and_deleted
    every_change_is_audited
}
