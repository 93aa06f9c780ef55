//! Rate limit by caller, on every protocol: past it, a request is rejected until a slot is free.
//!
//! A slot comes back after an hour here, longer than any test runs.

use std::num::NonZeroU32;
use std::time::Duration;

use keyward::proto::v1::ListApiKeysRequest;
use keyward_throttle::Rate;
use serde_json::json;
use tonic::Status;

use crate::support::{
    OTHER_ORGANIZATION, Setup, TestServer, UNAUTHENTICATED, User, WORKSPACE_A, WebFlavor, waiting,
};

const LIST: &str = "/keyward.v1.ApiKeyService/ListApiKeys";
const MESSAGE: &str = "Too many requests";
/// Number of requests that a caller may make in a burst.
const BURST: u32 = 3;

async fn start(setup: Setup) -> TestServer {
    let caller_rate = Some(Rate {
        interval: Duration::from_secs(3600),
        burst: NonZeroU32::new(BURST).unwrap(),
    });
    let setup = Setup {
        caller_rate,
        ..setup
    };
    setup.start().await
}

/// Returns the status of a list request with `token` over REST.
async fn list(server: &TestServer, token: &str) -> u16 {
    server.get("/apikeys").bearer(token).send().await.status
}

/// Uses up all requests of a caller.
async fn exhaust(server: &TestServer, token: &str) {
    for _ in 0..BURST {
        assert_eq!(list(server, token).await, 200);
    }
}

/// Expects the reason and the retry delay in the status.
#[track_caller]
fn says_when(status: &Status) {
    waiting::says_when(status, "RATE_LIMITED", MESSAGE);
}

async fn burst_passes_and_the_next_is_rejected_over_rest(setup: Setup) {
    let server = start(setup).await;
    let token = server.token(User::Owner);
    exhaust(&server, &token).await;
    let managed = format!(r#"{{"error":{{"code":429,"message":"{MESSAGE}"}}}}"#);
    let flashback = format!(r#"{{"success":false,"message":"{MESSAGE}"}}"#);
    for (path, body) in [("/apikeys", flashback), ("/keys", managed)] {
        let answer = server.get(path).bearer(&token).send().await;
        answer.is(429, &body);
        waiting::about_an_hour(answer.header("retry-after").unwrap().parse().unwrap());
    }
}

async fn rejected_call_changes_nothing(setup: Setup) {
    let server = start(setup).await;
    let token = server.token(User::WriterInA);
    exhaust(&server, &token).await;
    let body = json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
    });
    let answer = server
        .post("/apikeys")
        .bearer(&token)
        .json(&body)
        .send()
        .await;
    answer.rejects(429, MESSAGE);
    assert!(server.list(WORKSPACE_A).await.is_empty());
}

async fn burst_passes_and_the_next_is_rejected_over_grpc(setup: Setup) {
    let server = start(setup).await;
    let mut client = server.api_keys(&server.token(User::Owner));
    for _ in 0..BURST {
        client
            .list_api_keys(ListApiKeysRequest::default())
            .await
            .unwrap();
    }
    let status = client
        .list_api_keys(ListApiKeysRequest::default())
        .await
        .unwrap_err();
    says_when(&status);
}

async fn burst_passes_and_the_next_is_rejected_over_grpc_web(setup: Setup) {
    let server = start(setup).await;
    let request = ListApiKeysRequest::default();
    for (flavor, user) in WebFlavor::ALL
        .into_iter()
        .zip([User::Owner, User::ReaderInA])
    {
        let token = server.token(user);
        for _ in 0..BURST {
            assert_eq!(
                server
                    .grpc_web(flavor, LIST, Some(&token), &request)
                    .await
                    .code(),
                "0"
            );
        }
        let answer = server.grpc_web(flavor, LIST, Some(&token), &request).await;
        assert_eq!(answer.http_status, 200);
        says_when(&Status::from_header_map(&answer.headers).unwrap());
    }
}

async fn protocols_and_tokens_of_one_caller_share_one_count(setup: Setup) {
    let server = start(setup).await;
    let request = ListApiKeysRequest::default();
    assert_eq!(list(&server, &server.token(User::Owner)).await, 200);
    let other = server.token_with(User::Owner, json!({ "jti": "another" }));
    let mut client = server.api_keys(&other);
    client.list_api_keys(request.clone()).await.unwrap();
    let answer = server
        .grpc_web(WebFlavor::Binary, LIST, Some(&other), &request)
        .await;
    assert_eq!(answer.code(), "0");
    says_when(&client.list_api_keys(request).await.unwrap_err());
    assert_eq!(list(&server, &server.token(User::Owner)).await, 429);
}

async fn call_that_fails_is_counted_too(setup: Setup) {
    let server = start(setup).await;
    let token = server.token(User::Owner);
    for _ in 0..BURST {
        let answer = server
            .delete("/apikeys/unknown")
            .bearer(&token)
            .send()
            .await;
        assert_eq!(answer.status, 404);
    }
    assert_eq!(list(&server, &token).await, 429);
}

async fn another_caller_is_not_limited(setup: Setup) {
    let server = start(setup).await;
    exhaust(&server, &server.token(User::Owner)).await;
    exhaust(&server, &server.token(User::ReaderInA)).await;
    // A user of the same name in another organization.
    let mut namesake = User::Outsider.member();
    namesake.user = User::Owner.member().user;
    let platform = keyward_testkit::fixtures::caller(keyward_testkit::fixtures::service());
    server
        .use_cases
        .directory
        .upsert_member(&platform, namesake)
        .await
        .unwrap();
    let claims = json!({ "org": OTHER_ORGANIZATION });
    exhaust(&server, &server.token_with(User::Owner, claims)).await;
    // A service, which may not list.
    assert_eq!(list(&server, &server.service_token()).await, 403);
    assert_eq!(list(&server, &server.token(User::Owner)).await, 429);
}

async fn services_are_not_counted(setup: Setup) {
    let server = start(setup).await;
    let token = server.service_token();
    for _ in 0..20 {
        assert_eq!(list(&server, &token).await, 403);
    }
}

async fn request_without_a_token_is_not_counted(setup: Setup) {
    let server = start(setup).await;
    let token = server.token(User::Owner);
    exhaust(&server, &token).await;
    for path in ["/healthz", "/readyz"] {
        for _ in 0..2 * BURST {
            server
                .get(path)
                .bearer(&token)
                .send()
                .await
                .is(200, r#"{"status":"ok"}"#);
        }
    }
    for _ in 0..2 * BURST {
        server
            .get("/nowhere")
            .bearer(&token)
            .send()
            .await
            .rejects(404, "Not found");
        server
            .get("/apikeys")
            .send()
            .await
            .rejects(401, UNAUTHENTICATED);
    }
}

async fn without_a_limit_nothing_is_rejected(server: TestServer) {
    let token = server.token(User::Owner);
    for _ in 0..100 {
        assert_eq!(list(&server, &token).await, 200);
    }
}

each_engine! {
    burst_passes_and_the_next_is_rejected_over_rest
    rejected_call_changes_nothing
    burst_passes_and_the_next_is_rejected_over_grpc
    burst_passes_and_the_next_is_rejected_over_grpc_web
    protocols_and_tokens_of_one_caller_share_one_count
    call_that_fails_is_counted_too
    another_caller_is_not_limited
    services_are_not_counted
    request_without_a_token_is_not_counted
    without_a_limit_nothing_is_rejected
}
