//! gRPC and REST agree: the same request has the same outcome and the same message on both.

use keyward::proto::v1::{
    CreateApiKeyRequest, DeleteApiKeyRequest, LinkApiKeyRequest, ListApiKeysRequest, ResourceKind,
    UpdateApiKeyRequest,
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::{RestRequest, TestServer, User, WORKSPACE_A, WORKSPACE_B};

/// Returns the HTTP status that these services' errors have over REST.
fn http_status(code: Code) -> u16 {
    match code {
        Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::Internal => 500,
        Code::Unavailable => 503,
        other => panic!("{other:?} is not expected here"),
    }
}

/// Expects the same outcome of a request on both protocols.
async fn agree(name: &str, rest: RestRequest, grpc: Result<(), Status>, success: u16) {
    let answer = rest.send().await;
    match grpc {
        Ok(()) => assert_eq!(answer.status, success, "{name}: {}", answer.body),
        Err(status) => {
            assert_eq!(
                answer.status,
                http_status(status.code()),
                "{name}: {status:?}"
            );
            assert_eq!(answer.json()["message"], status.message(), "{name}");
            assert_eq!(answer.json()["success"], false, "{name}");
        }
    }
}

fn create_message(body: &Value) -> CreateApiKeyRequest {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    CreateApiKeyRequest {
        workspace_id: text("workspaceId"),
        key: text("key"),
        secret: text("secret"),
        provider: text("provider"),
        region: body["region"].as_str().map(str::to_owned),
        ..Default::default()
    }
}

fn create_bodies() -> Vec<Value> {
    vec![
        json!({}),
        json!({ "workspaceId": WORKSPACE_A }),
        json!({ "workspaceId": WORKSPACE_A, "key": "k", "secret": "s" }),
        json!({ "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "NOPE" }),
        json!({ "workspaceId": WORKSPACE_A, "key": "there", "secret": "s", "provider": "AWS" }),
        json!({ "workspaceId": WORKSPACE_B, "key": "k", "secret": "s", "provider": "AWS" }),
        json!({ "workspaceId": "none", "key": "k", "secret": "s", "provider": "AWS" }),
        json!({ "workspaceId": "w".repeat(300), "key": "k", "secret": "s", "provider": "AWS" }),
        json!({ "workspaceId": WORKSPACE_A, "key": "\n", "secret": "s", "provider": "AWS" }),
        json!({ "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
            "region": "r".repeat(300) }),
    ]
}

async fn rejected_creations_agree(server: TestServer) {
    server
        .create(json!({
            "workspaceId": WORKSPACE_A, "key": "there", "secret": "s", "provider": "AWS",
        }))
        .await;
    for token in [
        server.token(User::WriterInA),
        server.service_token(),
        "x".to_owned(),
    ] {
        for body in create_bodies() {
            let rest = server.post("/apikeys").bearer(&token).json(&body);
            let grpc = server
                .api_keys(&token)
                .create_api_key(create_message(&body))
                .await;
            assert!(grpc.is_err(), "{body}");
            agree(&body.to_string(), rest, grpc.map(drop), 201).await;
        }
    }
}

async fn lists_agree(server: TestServer) {
    let requests = [
        ("", ListApiKeysRequest::default()),
        ("workspaceId=workspace-a", in_workspace(WORKSPACE_A)),
        ("workspaceId=workspace-b", in_workspace(WORKSPACE_B)),
        ("workspaceId=none", in_workspace("none")),
        (
            "provider=AWS",
            ListApiKeysRequest {
                provider: "AWS".to_owned(),
                ..Default::default()
            },
        ),
        (
            "provider=NOPE",
            ListApiKeysRequest {
                provider: "NOPE".to_owned(),
                ..Default::default()
            },
        ),
        (
            "capability=2",
            ListApiKeysRequest {
                capability: Some(2),
                ..Default::default()
            },
        ),
    ];
    for token in [
        server.token(User::ReaderInA),
        server.service_token(),
        "x".to_owned(),
    ] {
        for (query, request) in &requests {
            let rest = server.get(&format!("/apikeys?{query}")).bearer(&token);
            let grpc = server.api_keys(&token).list_api_keys(request.clone()).await;
            agree(query, rest, grpc.map(drop), 200).await;
        }
    }
}

async fn updates_and_deletions_agree(server: TestServer) {
    let mut ids = vec![
        "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        "none".to_owned(),
    ];
    for workspace in [WORKSPACE_A, WORKSPACE_B] {
        ids.push(
            server
                .create(json!({
                    "workspaceId": workspace, "key": "k", "secret": "s", "provider": "AWS",
                }))
                .await,
        );
    }
    let linked = LinkApiKeyRequest {
        uuid: ids[2].clone(),
        resource_kind: ResourceKind::AiModel.into(),
        resource_id: "m".to_owned(),
    };
    server
        .api_keys(&server.service_token())
        .link_api_key(linked)
        .await
        .unwrap();
    for token in [
        server.token(User::WriterInA),
        server.service_token(),
        "x".to_owned(),
    ] {
        for id in &ids {
            let path = format!("/apikeys/{id}");
            for provider in [None, Some("GCP"), Some("NOPE"), Some("")] {
                let rest = server.put(&path).bearer(&token);
                let rest = rest.json(&json!({ "provider": provider }));
                let request = UpdateApiKeyRequest {
                    uuid: id.clone(),
                    provider: provider.map(str::to_owned),
                    ..Default::default()
                };
                let grpc = server.api_keys(&token).update_api_key(request).await;
                agree(&format!("PUT {id} {provider:?}"), rest, grpc.map(drop), 200).await;
            }
            let rest = server.delete(&path).bearer(&token);
            let request = DeleteApiKeyRequest { uuid: id.clone() };
            let grpc = server.api_keys(&token).delete_api_key(request).await;
            assert!(grpc.is_err(), "{id}");
            agree(&format!("DELETE {id}"), rest, grpc.map(drop), 200).await;
        }
    }
}

fn in_workspace(id: &str) -> ListApiKeysRequest {
    ListApiKeysRequest {
        workspace_id: id.to_owned(),
        ..Default::default()
    }
}

each_engine! {
    rejected_creations_agree
    lists_agree
    updates_and_deletions_agree
}
