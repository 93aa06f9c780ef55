//! No page of any list is larger than the operator allows.

use keyward::proto::v1 as pb;
use serde_json::json;

use crate::support::{ORGANIZATION, REPO_A, Setup, TestServer, WORKSPACE_A};

/// Maximum number of items in a page; every list has more.
const MAX: u32 = 2;
/// Requested page sizes, each with the number of items returned.
const ASKED: [(u32, usize); 5] = [(0, 2), (1, 1), (2, 2), (3, 2), (u32::MAX, 2)];

async fn start(setup: Setup) -> TestServer {
    let setup = Setup {
        max_page_items: MAX,
        ..setup
    };
    setup.start().await
}

/// Requests pages of each size; the requests differ in nothing else.
macro_rules! pages_are_bounded {
    ($client:expr, $method:ident, $items:ident, $request:expr) => {
        for (page_size, expected) in ASKED {
            let mut request = $request;
            request.page_size = page_size;
            let page = $client.$method(request).await.unwrap().into_inner();
            assert_eq!(page.$items.len(), expected, "{page_size}");
            assert_ne!(page.next_page_token, "");
        }
    };
}

async fn directory_lists_have_pages_of_bounded_size(setup: Setup) {
    let server = start(setup).await;
    server.add_organization("org-3").await;
    for id in ["repo-2", "repo-3", REPO_A] {
        server.add_repo(WORKSPACE_A, id).await;
    }
    let mut directory = server.directory(&server.service_token());
    let workspace = Some(pb::Workspace {
        id: "workspace-c".to_owned(),
        organization_id: ORGANIZATION.to_owned(),
        name: "Third".to_owned(),
        is_default: false,
    });
    directory
        .upsert_workspace(pb::UpsertWorkspaceRequest { workspace })
        .await
        .unwrap();
    let organization_id = || ORGANIZATION.to_owned();
    pages_are_bounded!(directory, list_organizations, organizations, {
        pb::ListOrganizationsRequest {
            page_token: String::new(),
            ..Default::default()
        }
    });
    pages_are_bounded!(
        directory,
        list_workspaces,
        workspaces,
        pb::ListWorkspacesRequest {
            organization_id: organization_id(),
            ..Default::default()
        }
    );
    pages_are_bounded!(
        directory,
        list_members,
        members,
        pb::ListMembersRequest {
            organization_id: organization_id(),
            ..Default::default()
        }
    );
    pages_are_bounded!(
        directory,
        list_repos,
        repos,
        pb::ListReposRequest {
            workspace_id: WORKSPACE_A.to_owned(),
            ..Default::default()
        }
    );
}

async fn management_key_list_has_pages_of_bounded_size(setup: Setup) {
    let server = start(setup).await;
    for _ in 0..3 {
        server.management_key(ORGANIZATION).await;
    }
    let mut client = server.management_keys(&server.service_token());
    pages_are_bounded!(client, list_management_keys, management_keys, {
        pb::ListManagementKeysRequest {
            organization_id: ORGANIZATION.to_owned(),
            ..Default::default()
        }
    });
}

async fn link_list_has_pages_of_bounded_size(setup: Setup) {
    let server = start(setup).await;
    let body = json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
    });
    let uuid = server.create(body).await;
    let mut client = server.api_keys(&server.service_token());
    for resource in ["a", "b", "c"] {
        let request = pb::LinkApiKeyRequest {
            uuid: uuid.clone(),
            resource_kind: pb::ResourceKind::Bucket.into(),
            resource_id: resource.to_owned(),
        };
        client.link_api_key(request).await.unwrap();
    }
    pages_are_bounded!(
        client,
        list_api_key_links,
        links,
        pb::ListApiKeyLinksRequest {
            uuid: uuid.clone(),
            ..Default::default()
        }
    );
}

each_engine! {
    directory_lists_have_pages_of_bounded_size
    management_key_list_has_pages_of_bounded_size
    link_list_has_pages_of_bounded_size
}
