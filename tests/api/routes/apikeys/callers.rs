//! Every kind of caller at every endpoint of the provider API keys.

use http::Method;
use keyward::proto::v1::{
    CreateApiKeyRequest, DeleteApiKeyRequest, ListApiKeysRequest, UpdateApiKeyRequest,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    DENIED, LIST_DENIED, TestServer, UNAUTHENTICATED, User, WORKSPACE_A, rejected,
};

/// The four endpoints, each with a body and the message of the rejection.
fn endpoints(id: &str) -> [(Method, String, Option<Value>, &'static str); 4] {
    let create = json!({
        "workspaceId": WORKSPACE_A, "key": "new", "secret": "s", "provider": "AWS",
    });
    let path = format!("/apikeys/{id}");
    [
        (
            Method::GET,
            "/apikeys?workspaceId=workspace-a".to_owned(),
            None,
            LIST_DENIED,
        ),
        (Method::POST, "/apikeys".to_owned(), Some(create), DENIED),
        (
            Method::PUT,
            path.clone(),
            Some(json!({ "description": "changed" })),
            DENIED,
        ),
        (Method::DELETE, path, None, DENIED),
    ]
}

async fn key(server: &TestServer) -> String {
    let body = json!({ "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS" });
    server.create(body).await
}

/// Calls the four methods over gRPC and returns their results' codes and messages.
async fn over_grpc(server: &TestServer, token: &str, id: &str) -> [Result<(), tonic::Status>; 4] {
    let mut client = server.api_keys(token);
    let list = ListApiKeysRequest {
        workspace_id: WORKSPACE_A.to_owned(),
        ..Default::default()
    };
    let create = CreateApiKeyRequest {
        workspace_id: WORKSPACE_A.to_owned(),
        key: "over-grpc".to_owned(),
        secret: "s".to_owned(),
        provider: "AWS".to_owned(),
        ..Default::default()
    };
    let update = UpdateApiKeyRequest {
        uuid: id.to_owned(),
        ..Default::default()
    };
    let delete = DeleteApiKeyRequest {
        uuid: id.to_owned(),
    };
    [
        client.list_api_keys(list).await.map(drop),
        client.create_api_key(create).await.map(drop),
        client.update_api_key(update).await.map(drop),
        client.delete_api_key(delete).await.map(drop),
    ]
}

async fn member_has_the_rights_of_role_and_access_alone(server: TestServer) {
    for user in User::MEMBERS {
        let token = server.token(user);
        let id = key(&server).await;
        for (method, path, body, denial) in endpoints(&id) {
            let allowed = if method == Method::GET {
                user.reads_a()
            } else {
                user.writes_a()
            };
            let mut call = server.call(method.clone(), &path).bearer(&token);
            if let Some(body) = &body {
                call = call.json(body);
            }
            let answer = call.send().await;
            if allowed {
                let expected = if method == Method::POST { 201 } else { 200 };
                assert_eq!(
                    answer.status, expected,
                    "{user:?} {method}: {}",
                    answer.body
                );
            } else {
                answer.rejects(403, denial);
            }
        }
        server.database.execute("DELETE FROM provider_keys").await;

        let id = key(&server).await;
        for (place, result) in over_grpc(&server, &token, &id)
            .await
            .into_iter()
            .enumerate()
        {
            let allowed = if place == 0 {
                user.reads_a()
            } else {
                user.writes_a()
            };
            if allowed {
                assert!(result.is_ok(), "{user:?} {place} {result:?}");
            } else {
                let denial = if place == 0 { LIST_DENIED } else { DENIED };
                rejected(result)
                    .is(Code::PermissionDenied, "PERMISSION_DENIED", denial)
                    .alone();
            }
        }
        server.database.execute("DELETE FROM provider_keys").await;
    }
}

async fn internal_service_is_rejected(server: TestServer) {
    let (token, id) = (server.service_token(), key(&server).await);
    for (method, path, body, denial) in endpoints(&id) {
        let mut call = server.call(method, &path).bearer(&token);
        if let Some(body) = &body {
            call = call.json(body);
        }
        call.send().await.rejects(403, denial);
    }
    let answer = server.get("/apikeys").bearer(&token).send().await;
    answer.rejects(403, LIST_DENIED);
    for (place, result) in over_grpc(&server, &token, &id)
        .await
        .into_iter()
        .enumerate()
    {
        let denial = if place == 0 { LIST_DENIED } else { DENIED };
        rejected(result)
            .is(Code::PermissionDenied, "PERMISSION_DENIED", denial)
            .alone();
    }
}

async fn request_without_a_token_is_rejected(server: TestServer) {
    let id = key(&server).await;
    for (method, path, body, _) in endpoints(&id) {
        let mut call = server.call(method, &path);
        if let Some(body) = &body {
            call = call.json(body);
        }
        let answer = call.send().await;
        answer.rejects(401, UNAUTHENTICATED);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let mut client = server.api_keys_without_token();
    let request = ListApiKeysRequest::default();
    rejected(client.list_api_keys(request).await)
        .is(Code::Unauthenticated, "TOKEN_MISSING", UNAUTHENTICATED)
        .alone();
    assert_eq!(server.list(WORKSPACE_A).await.len(), 1);
}

async fn unknown_or_unvalidated_users_are_rejected(server: TestServer) {
    let id = key(&server).await;
    for user in [User::Unlisted, User::Unvalidated] {
        let token = server.token(user);
        for (method, path, body, _) in endpoints(&id) {
            let mut call = server.call(method, &path).bearer(&token);
            if let Some(body) = &body {
                call = call.json(body);
            }
            call.send().await.rejects(401, UNAUTHENTICATED);
        }
        for result in over_grpc(&server, &token, &id).await {
            rejected(result)
                .is(Code::Unauthenticated, "TOKEN_INVALID", UNAUTHENTICATED)
                .alone();
        }
    }
}

each_engine! {
    member_has_the_rights_of_role_and_access_alone
    internal_service_is_rejected
    request_without_a_token_is_rejected
    unknown_or_unvalidated_users_are_rejected
}
