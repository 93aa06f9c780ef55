//! CreateManagementKey, ListManagementKeys and RevokeManagementKey.

use keyward::proto::v1::{
    CreateManagementKeyRequest, CreateManagementKeyResponse, DeleteMemberRequest,
    DeleteOrganizationRequest, DeleteWorkspaceRequest, ListManagementKeysRequest,
    ListManagementKeysResponse, ManagementKey, RevokeManagementKeyRequest,
};
use keyward_crypto::{Token, TokenKind};
use serde_json::json;
use tonic::{Code, Status};

use crate::support::{
    DENIED, NO_HEADER, ORGANIZATION, OTHER_ORGANIZATION, TestServer, User, WORKSPACE_X, rejected,
    sha256_hex,
};

const NOT_FOUND: &str = "Management key not found";

async fn create(
    server: &TestServer,
    token: &str,
    organization: &str,
    name: &str,
) -> Result<CreateManagementKeyResponse, Status> {
    let request = CreateManagementKeyRequest {
        organization_id: organization.to_owned(),
        name: name.to_owned(),
    };
    let created = server
        .management_keys(token)
        .create_management_key(request)
        .await?;
    Ok(created.into_inner())
}

async fn page(
    server: &TestServer,
    token: &str,
    organization: &str,
    page_size: u32,
    page_token: &str,
) -> Result<ListManagementKeysResponse, Status> {
    let request = ListManagementKeysRequest {
        organization_id: organization.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    let listed = server
        .management_keys(token)
        .list_management_keys(request)
        .await?;
    Ok(listed.into_inner())
}

async fn list(server: &TestServer, organization: &str) -> Vec<ManagementKey> {
    let page = page(server, &server.service_token(), organization, 0, "").await;
    page.unwrap().management_keys
}

async fn revoke(server: &TestServer, token: &str, hash: &str) -> Result<(), Status> {
    let request = RevokeManagementKeyRequest {
        hash: hash.to_owned(),
    };
    server
        .management_keys(token)
        .revoke_management_key(request)
        .await
        .map(drop)
}

async fn administrators_and_services_create_list_and_revoke(server: TestServer) {
    let users = [User::Owner, User::Administrator].map(|user| server.token(user));
    for token in users.into_iter().chain([server.service_token()]) {
        server.set_clock("2026-08-01T12:00:00.123Z");
        let created = create(&server, &token, ORGANIZATION, "CI").await.unwrap();
        let key = created.management_key.unwrap();
        let expected = ManagementKey {
            hash: sha256_hex(&created.key),
            organization_id: ORGANIZATION.to_owned(),
            name: "CI".to_owned(),
            label: format!("{}...{}", &created.key[..12], &created.key[77..]),
            created_at: Some("2026-08-01T12:00:00.123Z".parse().unwrap()),
            last_used_at: None,
            created_by_kind: key.created_by_kind.clone(),
            created_by_id: key.created_by_id.clone(),
        };
        assert_eq!(key, expected);
        assert!(Token::parse(TokenKind::ISSUED_KEY, &created.key).is_some());
        let listed = page(&server, &token, ORGANIZATION, 0, "").await.unwrap();
        assert_eq!(listed.management_keys, [expected]);
        assert_eq!(listed.next_page_token, "");
        assert_eq!(
            server.get("/keys").bearer(&created.key).send().await.status,
            200
        );

        revoke(&server, &token, &key.hash).await.unwrap();
        server
            .get("/keys")
            .bearer(&created.key)
            .send()
            .await
            .rejects_key(401, "Invalid token");
        server
            .get("/key")
            .bearer(&created.key)
            .send()
            .await
            .rejects_key(401, "Invalid token");
        assert_eq!(list(&server, ORGANIZATION).await, []);
        rejected(revoke(&server, &token, &key.hash).await)
            .is(Code::NotFound, "MANAGEMENT_KEY_NOT_FOUND", NOT_FOUND)
            .alone();
    }
}

async fn other_callers_manage_no_management_keys(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    let foreign = server.management_key(OTHER_ORGANIZATION).await;
    let denied = |result: Result<(), Status>| {
        rejected(result)
            .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
            .alone();
    };
    let members = User::MEMBERS
        .into_iter()
        .filter(|user| !matches!(user, User::Owner | User::Administrator | User::Outsider));
    let members: Vec<_> = members.map(|user| server.token(user)).collect();
    for caller in members.iter().chain([&token, &issued.key, &foreign]) {
        denied(create(&server, caller, ORGANIZATION, "n").await.map(drop));
        denied(page(&server, caller, ORGANIZATION, 0, "").await.map(drop));
        for hash in [&sha256_hex(&token), "none"] {
            denied(revoke(&server, caller, hash).await);
        }
    }
    let outsider = server.token(User::Outsider);
    denied(
        create(&server, &outsider, ORGANIZATION, "n")
            .await
            .map(drop),
    );
    denied(
        page(&server, &outsider, ORGANIZATION, 0, "")
            .await
            .map(drop),
    );
    // The response does not reveal resources of another organization.
    rejected(revoke(&server, &outsider, &sha256_hex(&token)).await)
        .is(Code::NotFound, "MANAGEMENT_KEY_NOT_FOUND", NOT_FOUND)
        .alone();

    for user in [User::Unlisted, User::Unvalidated] {
        let result = create(&server, &server.token(user), ORGANIZATION, "n").await;
        rejected(result)
            .is(Code::Unauthenticated, "TOKEN_INVALID", "Invalid token")
            .alone();
    }
    let request = CreateManagementKeyRequest::default();
    let result = server
        .management_keys_without_token()
        .create_management_key(request)
        .await;
    rejected(result)
        .is(Code::Unauthenticated, "TOKEN_MISSING", NO_HEADER)
        .alone();
    assert_eq!(list(&server, ORGANIZATION).await.len(), 1);
}

async fn administrator_reaches_the_own_organization_alone(server: TestServer) {
    let foreign = server.management_key(OTHER_ORGANIZATION).await;
    let owner = server.token(User::Owner);
    for organization in [OTHER_ORGANIZATION, "none"] {
        rejected(create(&server, &owner, organization, "n").await)
            .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
            .alone();
        rejected(page(&server, &owner, organization, 0, "").await)
            .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
            .alone();
    }
    // A key of another organization has the same response as a missing key.
    for hash in [sha256_hex(&foreign), sha256_hex("none")] {
        rejected(revoke(&server, &owner, &hash).await)
            .is(Code::NotFound, "MANAGEMENT_KEY_NOT_FOUND", NOT_FOUND)
            .alone();
    }
    assert_eq!(
        server.get("/keys").bearer(&foreign).send().await.status,
        200
    );
    revoke(
        &server,
        &server.token(User::Outsider),
        &sha256_hex(&foreign),
    )
    .await
    .unwrap();
    assert_eq!(
        server.get("/keys").bearer(&foreign).send().await.status,
        401
    );
}

async fn missing_organization_is_reported_to_a_service(server: TestServer) {
    rejected(create(&server, &server.service_token(), "none", "n").await)
        .is(
            Code::NotFound,
            "ORGANIZATION_NOT_FOUND",
            "Organization not found",
        )
        .alone();
    assert_eq!(server.database.count("management_keys").await, 0);
}

async fn list_of_an_organization_that_does_not_exist_is_not_found(server: TestServer) {
    rejected(page(&server, &server.service_token(), "none", 0, "").await)
        .is(
            Code::NotFound,
            "ORGANIZATION_NOT_FOUND",
            "Organization not found",
        )
        .alone();
}

async fn id_without_a_management_key_is_not_found(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    let upper = sha256_hex(&token).to_ascii_uppercase();
    for hash in [
        "",
        "none",
        &issued.hash,
        &upper,
        &token,
        &sha256_hex("none"),
    ] {
        for caller in [server.service_token(), server.token(User::Owner)] {
            rejected(revoke(&server, &caller, hash).await)
                .is(Code::NotFound, "MANAGEMENT_KEY_NOT_FOUND", NOT_FOUND)
                .alone();
        }
    }
    assert_eq!(list(&server, ORGANIZATION).await.len(), 1);
}

async fn unfit_field_is_named(server: TestServer) {
    let owner = server.token(User::Owner);
    let long = "Name must have at most 255 bytes";
    rejected(create(&server, &owner, ORGANIZATION, "").await)
        .is(Code::InvalidArgument, "FIELD_REQUIRED", "Name is required")
        .fields(&[("name", "Name is required")]);
    rejected(create(&server, &owner, ORGANIZATION, &"n".repeat(256)).await)
        .is(Code::InvalidArgument, "FIELD_INVALID", long)
        .fields(&[("name", long)]);
    let required = "Organization ID is required";
    rejected(create(&server, &owner, "", "n").await)
        .is(Code::InvalidArgument, "FIELD_INVALID", required)
        .fields(&[("organizationId", required)]);
    rejected(page(&server, &owner, "", 0, "").await)
        .is(Code::InvalidArgument, "FIELD_INVALID", required)
        .fields(&[("organizationId", required)]);
    let token = "Page token is not valid";
    for page_token in ["canary", "00", &"ab".repeat(2000)] {
        rejected(page(&server, &owner, ORGANIZATION, 0, page_token).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", token)
            .fields(&[("pageToken", token)])
            .hides(&["canary"]);
    }
}

async fn list_is_newest_first_in_pages(server: TestServer) {
    let service = server.service_token();
    for number in 0..105 {
        create(&server, &service, ORGANIZATION, &number.to_string())
            .await
            .unwrap();
    }
    server.management_key(OTHER_ORGANIZATION).await;
    let expected: Vec<_> = (0..105).rev().map(|number| number.to_string()).collect();
    for (size, pages) in [
        (0, vec![100, 5]),
        (50, vec![50, 50, 5]),
        (105, vec![105]),
        (u32::MAX, vec![105]),
    ] {
        let (mut names, mut sizes, mut next) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = page(&server, &service, ORGANIZATION, size, &next)
                .await
                .unwrap();
            sizes.push(page.management_keys.len());
            names.extend(page.management_keys.into_iter().map(|key| key.name));
            next = page.next_page_token;
            if next.is_empty() {
                break;
            }
        }
        assert_eq!((sizes, &names), (pages, &expected), "{size}");
    }
    assert_eq!(list(&server, OTHER_ORGANIZATION).await.len(), 1);
}

async fn revoked_key_ends_nothing_that_it_made(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    server.revoke_management_key(&token).await;
    assert_eq!(
        server.get("/key").bearer(&issued.key).send().await.status,
        200
    );
    let successor = server.management_key(ORGANIZATION).await;
    assert_eq!(
        server.key(&successor, &issued.hash).await["hash"],
        issued.hash
    );
}

async fn organization_with_live_management_keys_is_not_deleted(server: TestServer) {
    let token = server.management_key(OTHER_ORGANIZATION).await;
    let mut directory = server.directory(&server.service_token());
    let workspace = DeleteWorkspaceRequest {
        workspace_id: WORKSPACE_X.to_owned(),
    };
    directory.delete_workspace(workspace).await.unwrap();
    let member = DeleteMemberRequest {
        organization_id: OTHER_ORGANIZATION.to_owned(),
        user_id: User::Outsider.id().to_owned(),
    };
    directory.delete_member(member).await.unwrap();
    let organization = DeleteOrganizationRequest {
        organization_id: OTHER_ORGANIZATION.to_owned(),
    };
    let message = "Organization still has management keys";
    rejected(directory.delete_organization(organization.clone()).await)
        .is(Code::FailedPrecondition, "NOT_EMPTY", message)
        .preconditions(&[("NOT_EMPTY", "management keys", message)]);
    assert_eq!(server.get("/key").bearer(&token).send().await.status, 200);
    server.revoke_management_key(&token).await;
    directory.delete_organization(organization).await.unwrap();
}

each_engine! {
    administrators_and_services_create_list_and_revoke
    other_callers_manage_no_management_keys
    administrator_reaches_the_own_organization_alone
    missing_organization_is_reported_to_a_service
    list_of_an_organization_that_does_not_exist_is_not_found
    id_without_a_management_key_is_not_found
    unfit_field_is_named
    list_is_newest_first_in_pages
    revoked_key_ends_nothing_that_it_made
    organization_with_live_management_keys_is_not_deleted
}
