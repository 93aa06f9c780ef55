//! Errors when the store fails or is unavailable: no details of the cause, and never 401.

use keyward::proto::v1::{
    CreateApiKeyRequest, DeleteApiKeyRequest, ListApiKeysRequest, ResolveApiKeyRequest,
    UpdateApiKeyRequest,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    Engine, OnEngine, Proxy, Setup, TestServer, User, WORKSPACE_A, WebFlavor, rejected,
};

const INTERNAL: &str = "Internal server error";
const UNAVAILABLE: &str = "Service unavailable";
/// Texts that a cause may contain.
const CAUSES: [&str; 8] = [
    "provider_keys",
    "members",
    "data_keys",
    "table",
    "column",
    "relation",
    "SQL",
    "envelope",
];

fn new_key() -> Value {
    json!({ "workspaceId": WORKSPACE_A, "key": "new", "secret": "s", "provider": "AWS" })
}

fn new_key_message() -> CreateApiKeyRequest {
    CreateApiKeyRequest {
        workspace_id: WORKSPACE_A.to_owned(),
        key: "new".to_owned(),
        secret: "s".to_owned(),
        provider: "AWS".to_owned(),
        ..Default::default()
    }
}

async fn key(server: &TestServer) -> String {
    let body = json!({ "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS" });
    server.create(body).await
}

/// Expects this error from all four endpoints for the owner, on REST, gRPC and gRPC-Web.
async fn everything_answers(server: &TestServer, id: &str, status: u16, code: Code) {
    let token = server.token(User::Owner);
    let (message, reason) = if status == 500 {
        (INTERNAL, "INTERNAL")
    } else {
        (UNAVAILABLE, "UNAVAILABLE")
    };
    let answer = server.get("/apikeys").bearer(&token).send().await;
    if status == 500 {
        answer.is(
            500,
            r#"{"success":false,"apiKeys":[],"message":"Internal server error"}"#,
        );
    } else {
        answer.rejects(503, UNAVAILABLE);
    }
    let path = format!("/apikeys/{id}");
    let update = json!({ "description": "d" });
    for call in [
        server.post("/apikeys").json(&new_key()),
        server.put(&path).json(&update),
        server.delete(&path),
    ] {
        call.bearer(&token).send().await.rejects(status, message);
    }

    let mut client = server.api_keys(&token);
    let uuid = id.to_owned();
    let update = UpdateApiKeyRequest {
        uuid: uuid.clone(),
        ..Default::default()
    };
    for result in [
        client
            .list_api_keys(ListApiKeysRequest::default())
            .await
            .map(drop),
        client.create_api_key(new_key_message()).await.map(drop),
        client.update_api_key(update).await.map(drop),
        client
            .delete_api_key(DeleteApiKeyRequest { uuid })
            .await
            .map(drop),
    ] {
        rejected(result)
            .is(code, reason, message)
            .alone()
            .hides(&CAUSES);
    }
    for flavor in WebFlavor::ALL {
        let path = "/keyward.v1.ApiKeyService/ListApiKeys";
        let request = ListApiKeysRequest::default();
        let answer = server.grpc_web(flavor, path, Some(&token), &request).await;
        assert_eq!(answer.code(), (code as i32).to_string());
        assert_eq!(answer.message(), message);
        let shown = format!("{answer:?}");
        assert!(CAUSES.iter().all(|cause| !shown.contains(cause)), "{shown}");
    }
}

async fn failing_store_is_an_internal_error_without_its_cause(server: TestServer) {
    let id = key(&server).await;
    server
        .database
        .execute("ALTER TABLE provider_keys RENAME TO gone")
        .await;
    everything_answers(&server, &id, 500, Code::Internal).await;
    server
        .database
        .execute("ALTER TABLE gone RENAME TO provider_keys")
        .await;
    assert_eq!(server.list(WORKSPACE_A).await.len(), 1);
}

async fn failing_store_at_authentication_is_an_internal_error(server: TestServer) {
    server.stop_caching().await;
    let id = key(&server).await;
    server
        .database
        .execute("ALTER TABLE members RENAME TO gone")
        .await;
    everything_answers(&server, &id, 500, Code::Internal).await;
}

async fn data_key_that_does_not_unwrap_is_an_internal_error(server: TestServer) {
    let id = key(&server).await;
    let nothing = match server.engine {
        Engine::Sqlite => "X'00'",
        Engine::Postgres => r"'\x00'::bytea",
    };
    server
        .database
        .execute(&format!("UPDATE data_keys SET wrapped = {nothing}"))
        .await;
    let token = server.token(User::Owner);
    let answer = server
        .post("/apikeys")
        .bearer(&token)
        .json(&new_key())
        .send()
        .await;
    answer.rejects(500, INTERNAL);
    let path = format!("/apikeys/{id}");
    let answer = server
        .put(&path)
        .bearer(&token)
        .json(&json!({ "secret": "s2" }))
        .send()
        .await;
    answer.rejects(500, INTERNAL);
    rejected(
        server
            .api_keys(&token)
            .create_api_key(new_key_message())
            .await,
    )
    .is(Code::Internal, "INTERNAL", INTERNAL)
    .alone()
    .hides(&CAUSES);
    let mut service = server.api_keys(&server.service_token());
    rejected(
        service
            .resolve_api_key(ResolveApiKeyRequest { uuid: id })
            .await,
    )
    .is(Code::Internal, "INTERNAL", INTERNAL)
    .alone()
    .hides(&CAUSES);
    // Requests that need no data key still succeed.
    assert_eq!(server.list(WORKSPACE_A).await.len(), 1);
}

async fn data_keys_of_another_workspace_do_not_unwrap(server: TestServer) {
    key(&server).await;
    let mut body = new_key();
    body["workspaceId"] = json!("workspace-b");
    server.create(body.clone()).await;
    server
        .database
        .execute(
            "UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys AS other \
         WHERE other.workspace_id = 'workspace-a' AND other.purpose = data_keys.purpose) \
         WHERE workspace_id = 'workspace-b'",
        )
        .await;
    body["key"] = json!("another");
    let answer = server
        .post("/apikeys")
        .bearer(&server.token(User::Owner))
        .json(&body);
    answer.send().await.rejects(500, INTERNAL);
}

async fn closed_store_is_unavailable_and_never_a_bad_token(server: TestServer) {
    let id = key(&server).await;
    server.store.close().await;
    everything_answers(&server, &id, 503, Code::Unavailable).await;
    let mut service = server.api_keys(&server.service_token());
    rejected(
        service
            .resolve_api_key(ResolveApiKeyRequest { uuid: id })
            .await,
    )
    .is(Code::Unavailable, "UNAVAILABLE", UNAVAILABLE)
    .alone();
    // A client without a token learns nothing about the store.
    assert_eq!(server.get("/apikeys").send().await.status, 401);
}

/// Starts a server that reaches PostgreSQL through a proxy; `None` where PostgreSQL is missing.
async fn behind_a_proxy() -> Option<(TestServer, Proxy)> {
    let setup = Setup::on(Engine::Postgres).await?;
    let proxy = Proxy::before(setup.database.url()).await;
    let store_url = Some(proxy.url(setup.database.url()));
    Some((Setup { store_url, ..setup }.start().await, proxy))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_database_is_unavailable_until_it_returns() {
    let Some((server, proxy)) = behind_a_proxy().await else {
        return;
    };
    let id = key(&server).await;
    let mut service = server.api_keys(&server.service_token());
    service
        .resolve_api_key(ResolveApiKeyRequest { uuid: id.clone() })
        .await
        .unwrap();
    proxy.cut();
    everything_answers(&server, &id, 503, Code::Unavailable).await;
    until_ready(&server, 503, r#"{"status":"unavailable"}"#).await;
    rejected(
        service
            .resolve_api_key(ResolveApiKeyRequest { uuid: id })
            .await,
    )
    .is(Code::Unavailable, "UNAVAILABLE", UNAVAILABLE)
    .alone();
    proxy.mend();
    until_ready(&server, 200, r#"{"status":"ok"}"#).await;
    assert_eq!(server.list(WORKSPACE_A).await.len(), 1);
}

/// Polls until readiness has this status. A success of the last second is cached, and a server that rejected
/// a connection is not tried again at once.
async fn until_ready(server: &TestServer, status: u16, body: &str) {
    let asking = async {
        loop {
            let answer = server.get("/readyz").send().await;
            if answer.status == status {
                return answer.is(status, body);
            }
            tokio::task::yield_now().await;
        }
    };
    let most = std::time::Duration::from_secs(10);
    tokio::time::timeout(most, asking).await.unwrap();
}

each_engine! {
    failing_store_is_an_internal_error_without_its_cause
    failing_store_at_authentication_is_an_internal_error
    data_key_that_does_not_unwrap_is_an_internal_error
    data_keys_of_another_workspace_do_not_unwrap
    closed_store_is_unavailable_and_never_a_bad_token
}
