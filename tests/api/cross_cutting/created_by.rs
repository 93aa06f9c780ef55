//! Every key names the principal that created it, over gRPC alone. Updates leave it unchanged.

use keyward::proto::v1::{
    CreateManagementKeyRequest, GetKeyRequest, ListApiKeysRequest, ListManagementKeysRequest,
    ListRepoAiKeysRequest, UpdateKeyRequest,
};
use serde_json::json;

use crate::support::{
    ORGANIZATION, REPO_A, TestServer, User, WORKSPACE_A, repo_ai_key_path, repo_ai_keys_path,
    sha256_hex,
};

/// Tables whose rows are keys.
const TABLES: [&str; 4] = [
    "provider_keys",
    "repo_ai_keys",
    "issued_keys",
    "management_keys",
];

type Creator = (Option<String>, Option<String>);

fn creator(kind: &str, id: &str) -> Creator {
    (Some(kind.to_owned()), Some(id.to_owned()))
}

async fn of_provider_key(server: &TestServer) -> Creator {
    let mut client = server.api_keys(&server.token(User::Owner));
    let request = ListApiKeysRequest {
        workspace_id: WORKSPACE_A.to_owned(),
        ..Default::default()
    };
    let mut listed = client
        .list_api_keys(request)
        .await
        .unwrap()
        .into_inner()
        .api_keys;
    assert_eq!(listed.len(), 1);
    let key = listed.remove(0);
    (key.created_by_kind, key.created_by_id)
}

async fn of_repo_ai_key(server: &TestServer) -> Creator {
    let mut client = server.repo_ai_keys(&server.token(User::Owner));
    let request = ListRepoAiKeysRequest {
        repo_id: REPO_A.to_owned(),
        ..Default::default()
    };
    let mut listed = client
        .list_repo_ai_keys(request)
        .await
        .unwrap()
        .into_inner()
        .api_keys;
    assert_eq!(listed.len(), 1);
    let key = listed.remove(0);
    (key.created_by_kind, key.created_by_id)
}

async fn of_issued_key(server: &TestServer, manager: &str, hash: &str) -> Creator {
    let request = GetKeyRequest {
        hash: hash.to_owned(),
    };
    let found = server.management_keys(manager).get_key(request).await;
    let key = found.unwrap().into_inner().data.unwrap();
    (key.created_by_kind, key.created_by_id)
}

async fn of_management_key(server: &TestServer, hash: &str) -> Creator {
    let request = ListManagementKeysRequest {
        organization_id: ORGANIZATION.to_owned(),
        ..Default::default()
    };
    let mut client = server.management_keys(&server.service_token());
    let listed = client
        .list_management_keys(request)
        .await
        .unwrap()
        .into_inner();
    let key = listed
        .management_keys
        .into_iter()
        .find(|key| key.hash == hash)
        .unwrap();
    (key.created_by_kind, key.created_by_id)
}

async fn provider_key_names_its_creator_through_updates(server: TestServer) {
    let body = json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
    });
    let call = server
        .post("/apikeys")
        .bearer(&server.token(User::WriterInA))
        .json(&body);
    let created = call.send().await;
    assert_eq!(created.status, 201, "{}", created.body);
    let id = created.json()["apiKeyId"].as_str().unwrap().to_owned();
    let expected = creator("user", "writer-in-a");
    assert_eq!(of_provider_key(&server).await, expected);

    let change = json!({ "secret": "s2", "endpoint": "https://b.example", "description": "d" });
    let path = format!("/apikeys/{id}");
    let call = server
        .put(&path)
        .bearer(&server.token(User::Owner))
        .json(&change);
    assert_eq!(call.send().await.status, 200);
    assert_eq!(of_provider_key(&server).await, expected);
    // The contract fixes the JSON of a key: no additional member.
    let listed = server.list(WORKSPACE_A).await.remove(0);
    assert!(listed.get("createdByKind").is_none() && listed.get("createdById").is_none());
}

async fn repo_ai_key_names_its_creator_through_a_rename(server: TestServer) {
    let body = json!({ "name": "n", "aiType": "OPENAI" });
    let created = server
        .create_repo_ai_key_as(User::WriterInA, REPO_A, &body)
        .await;
    let expected = creator("user", "writer-in-a");
    assert_eq!(of_repo_ai_key(&server).await, expected);

    let path = repo_ai_key_path(REPO_A, &created.id);
    let call = server.put(&path).bearer(&server.token(User::Owner));
    assert_eq!(call.json(&json!({ "name": "m" })).send().await.status, 200);
    assert_eq!(of_repo_ai_key(&server).await, expected);
    let call = server
        .get(&repo_ai_keys_path(REPO_A))
        .bearer(&server.token(User::Owner));
    let listed = call.send().await;
    assert!(!listed.body.contains("created_by") && !listed.body.contains("createdBy"));
}

async fn issued_key_names_its_creator_through_updates(server: TestServer) {
    let manager = server.management_key(ORGANIZATION).await;
    let other = server.management_key(ORGANIZATION).await;
    let new = json!({ "workspace_id": WORKSPACE_A, "creator_user_id": "someone" });
    let issued = server.issued_key(&manager, new).await;
    let expected = creator("management_key", &sha256_hex(&manager));
    assert_eq!(
        of_issued_key(&server, &manager, &issued.hash).await,
        expected
    );

    let request = UpdateKeyRequest {
        hash: issued.hash.clone(),
        name: Some("m".to_owned()),
        ..Default::default()
    };
    let updated = server.management_keys(&other).update_key(request).await;
    let key = updated.unwrap().into_inner().data.unwrap();
    assert_eq!((key.created_by_kind, key.created_by_id), expected);
    assert_eq!(of_issued_key(&server, &other, &issued.hash).await, expected);
    let shown = server.key(&manager, &issued.hash).await;
    assert_eq!(shown.get("created_by_kind"), None);
    assert_eq!(shown["creator_user_id"], "someone");
}

async fn management_key_names_its_creator(server: TestServer) {
    for (token, expected) in [
        (server.token(User::Owner), creator("user", "owner")),
        (server.service_token(), creator("service", "ai-gateway")),
    ] {
        let request = CreateManagementKeyRequest {
            organization_id: ORGANIZATION.to_owned(),
            name: "CI".to_owned(),
        };
        let created = server
            .management_keys(&token)
            .create_management_key(request)
            .await;
        let key = created.unwrap().into_inner().management_key.unwrap();
        assert_eq!((key.created_by_kind, key.created_by_id), expected);
        assert_eq!(of_management_key(&server, &key.hash).await, expected);
    }
}

async fn key_of_an_earlier_version_has_no_creator(server: TestServer) {
    server
        .create(json!({
            "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
        }))
        .await;
    server.create_repo_ai_key(REPO_A, "n").await;
    let manager = server.management_key(ORGANIZATION).await;
    let issued = server
        .issued_key(&manager, json!({ "workspace_id": WORKSPACE_A }))
        .await;
    for table in TABLES {
        let sql = format!("UPDATE {table} SET created_by_kind = NULL, created_by_id = NULL");
        server.database.execute(&sql).await;
    }
    let unknown = (None, None);
    assert_eq!(of_provider_key(&server).await, unknown);
    assert_eq!(of_repo_ai_key(&server).await, unknown);
    assert_eq!(
        of_issued_key(&server, &manager, &issued.hash).await,
        unknown
    );
    assert_eq!(
        of_management_key(&server, &sha256_hex(&manager)).await,
        unknown
    );
}

each_engine! {
    provider_key_names_its_creator_through_updates
    repo_ai_key_names_its_creator_through_a_rename
    issued_key_names_its_creator_through_updates
    management_key_names_its_creator
    key_of_an_earlier_version_has_no_creator
}
