//! `grpc-timeout` applies on every protocol, down to the database.

use std::time::Duration;

use keyward::proto::v1::UpdateApiKeyRequest;
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};
use serde_json::json;

use crate::support::{Setup, TestServer, User, WORKSPACE_A, grpc_frame};

const EXPIRED: &str = "The deadline expired before the call could complete";
const UPDATE: &str = "/keyward.v1.ApiKeyService/UpdateApiKey";

async fn key(server: &TestServer) -> String {
    let body = json!({ "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS" });
    server.create(body).await
}

/// Locks the rows of the keys until the transaction is rolled back.
async fn lock(server: &TestServer) -> DatabaseTransaction {
    let transaction = server.database.raw().await.begin().await.unwrap();
    transaction
        .execute_unprepared("UPDATE provider_keys SET version = version")
        .await
        .unwrap();
    transaction
}

/// Calls UpdateApiKey over native gRPC without a client that has a deadline of its own. Returns the response
/// headers.
async fn update(server: &TestServer, id: &str, timeout: &str) -> http::HeaderMap {
    let http2 = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let message = UpdateApiKeyRequest {
        uuid: id.to_owned(),
        description: Some("too late".to_owned()),
        ..Default::default()
    };
    let response = http2
        .post(server.url(UPDATE))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header(
            "authorization",
            format!("Bearer {}", server.token(User::Owner)),
        )
        .header("grpc-timeout", timeout)
        .body(grpc_frame(&message))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    response.headers().clone()
}

async fn lock_wait_ends_at_the_deadline_without_a_change(server: TestServer) {
    let id = key(&server).await;
    let before = server.list(WORKSPACE_A).await;
    let held = lock(&server).await;

    let headers = update(&server, &id, "300m").await;
    assert_eq!(headers["grpc-status"], "4");
    assert_eq!(
        headers["grpc-message"]
            .to_str()
            .unwrap()
            .replace("%20", " "),
        EXPIRED
    );
    assert!(headers.contains_key("x-request-id"));

    let path = format!("/apikeys/{id}");
    let call = server.put(&path).bearer(&server.token(User::Owner));
    let call = call
        .header("grpc-timeout", "300m")
        .json(&json!({ "description": "too late" }));
    call.send().await.rejects(504, EXPIRED);

    held.rollback().await.unwrap();
    assert_eq!(server.list(WORKSPACE_A).await, before);
    // A later change waits for any change still in progress, and is the only one.
    let call = server.put(&path).bearer(&server.token(User::Owner));
    let answer = call.json(&json!({ "region": "r" })).send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let after = server.list(WORKSPACE_A).await.remove(0);
    assert_eq!(
        (after["region"].as_str(), after.get("description")),
        (Some("r"), None)
    );
    let updates = "audit_events WHERE action = 'api_key.update'";
    assert_eq!(server.database.count(updates).await, 1);
}

async fn operator_bounds_what_a_caller_may_ask(setup: Setup) {
    let server = Setup {
        max_deadline: Duration::from_millis(400),
        ..setup
    }
    .start()
    .await;
    let id = key(&server).await;
    let held = lock(&server).await;
    assert_eq!(update(&server, &id, "1H").await["grpc-status"], "4");
    let call = server
        .delete(&format!("/apikeys/{id}"))
        .bearer(&server.token(User::Owner));
    call.send().await.rejects(504, EXPIRED);
    held.rollback().await.unwrap();
    assert_eq!(server.list(WORKSPACE_A).await.len(), 1);
}

async fn expired_deadline_is_reported_before_any_work(server: TestServer) {
    let id = key(&server).await;
    assert_eq!(update(&server, &id, "0n").await["grpc-status"], "4");
    assert!(
        server.list(WORKSPACE_A).await[0]
            .get("description")
            .is_none()
    );
}

async fn malformed_timeout_is_rejected(server: TestServer) {
    let id = key(&server).await;
    let malformed = "The grpc-timeout header is malformed";
    for timeout in ["", "S", "123456789S", "1", "-1S", "1.5S", "1X"] {
        let headers = update(&server, &id, timeout).await;
        assert_eq!(headers["grpc-status"], "3", "{timeout}");
        assert_eq!(
            headers["grpc-message"]
                .to_str()
                .unwrap()
                .replace("%20", " "),
            malformed
        );
        let call = server.get("/apikeys").bearer(&server.token(User::Owner));
        call.header("grpc-timeout", timeout)
            .send()
            .await
            .rejects(400, malformed);
    }
}

each_engine! {
    lock_wait_ends_at_the_deadline_without_a_change
    operator_bounds_what_a_caller_may_ask
    expired_deadline_is_reported_before_any_work
    malformed_timeout_is_rejected
}
