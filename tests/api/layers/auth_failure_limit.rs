//! Limit on failed authentications by client address: past it, the next unknown token is rejected before it
//! is looked up.
//!
//! A failure is forgiven after an hour here, longer than any test runs.

use std::num::NonZeroU32;
use std::time::Duration;

use keyward::http::client_ip::TrustedProxies;
use keyward::proto::v1::{ListApiKeysRequest, RevokeManagementKeyRequest};
use keyward_crypto::{Token, TokenKind};
use keyward_throttle::Rate;
use serde_json::json;
use tonic::{Code, Status};

use crate::support::{
    ORGANIZATION, Setup, TestServer, UNAUTHENTICATED, User, WebFlavor, rejected, sha256_hex,
    waiting,
};

const LIST: &str = "/keyward.v1.ApiKeyService/ListApiKeys";
const MESSAGE: &str = "Too many failed authentications from this address";
/// Number of failures that an address may have.
const BURST: u32 = 3;

/// Starts a server that trusts the forwarded client address.
async fn start(setup: Setup) -> TestServer {
    let trusted_proxies = TrustedProxies::parse(&["127.0.0.1"]).unwrap();
    start_behind(setup, trusted_proxies).await
}

async fn start_behind(setup: Setup, trusted_proxies: TrustedProxies) -> TestServer {
    let failed_authentications = Some(Rate {
        interval: Duration::from_secs(3600),
        burst: NonZeroU32::new(BURST).unwrap(),
    });
    let setup = Setup {
        failed_authentications,
        trusted_proxies,
        ..setup
    };
    setup.start().await
}

/// A key of the right form that was never issued.
fn unknown_key() -> String {
    let token = Token::generate(TokenKind::ISSUED_KEY).unwrap();
    token.expose().to_owned()
}

/// Returns the status of a list request with `token`.
async fn list(server: &TestServer, token: &str) -> u16 {
    server.get("/apikeys").bearer(token).send().await.status
}

/// Fails up to the limit, each time with a different token.
async fn exhaust(server: &TestServer) {
    for _ in 0..BURST {
        assert_eq!(list(server, &unknown_key()).await, 401);
    }
    assert_eq!(list(server, &unknown_key()).await, 429);
}

/// Expects the reason and the retry delay in the status.
#[track_caller]
fn says_when(status: &Status) {
    waiting::says_when(status, "TOO_MANY_FAILED_AUTHENTICATIONS", MESSAGE);
}

async fn every_bad_token_is_a_failure_and_too_many_are_rejected(setup: Setup) {
    let server = start(setup).await;
    let revoked = server.management_key(ORGANIZATION).await;
    server.revoke_management_key(&revoked).await;
    let expired = server.token_with(User::Owner, json!({ "exp": 1 }));
    let bad = [
        "garbage".to_owned(),
        "sk-kw-v1-garbage".to_owned(),
        unknown_key(),
        revoked,
        expired,
        server.token(User::Unlisted),
        server.token(User::Unvalidated),
        format!("{}x", server.token(User::Owner)),
    ];
    for (number, token) in bad.iter().enumerate() {
        // As many failures as one address may have, each from a different address.
        let from = format!("203.0.113.{number}");
        let call = || {
            server
                .get("/apikeys")
                .header("x-forwarded-for", &from)
                .bearer(token)
        };
        for _ in 0..BURST {
            call().send().await.rejects(401, UNAUTHENTICATED);
        }
        let answer = call().send().await;
        answer.rejects(429, MESSAGE);
        waiting::about_an_hour(answer.header("retry-after").unwrap().parse().unwrap());
    }
    let managed = format!(r#"{{"error":{{"code":429,"message":"{MESSAGE}"}}}}"#);
    let call = server.get("/keys").header("x-forwarded-for", "203.0.113.0");
    call.bearer("another").send().await.is(429, &managed);
}

async fn failures_on_every_protocol_share_one_count(setup: Setup) {
    let server = start(setup).await;
    let request = ListApiKeysRequest::default();
    let mut client = server.api_keys(&unknown_key());
    rejected(client.list_api_keys(request.clone()).await).is(
        Code::Unauthenticated,
        "TOKEN_INVALID",
        UNAUTHENTICATED,
    );
    let token = unknown_key();
    let answer = server
        .grpc_web(WebFlavor::Text, LIST, Some(&token), &request)
        .await;
    assert_eq!(answer.code(), "16");
    assert_eq!(list(&server, &unknown_key()).await, 401);
    says_when(&client.list_api_keys(request.clone()).await.unwrap_err());
    for flavor in WebFlavor::ALL {
        let answer = server.grpc_web(flavor, LIST, Some(&token), &request).await;
        assert_eq!(answer.http_status, 200);
        says_when(&Status::from_header_map(&answer.headers).unwrap());
    }
    assert_eq!(list(&server, &unknown_key()).await, 429);
}

async fn rejected_token_is_not_looked_up(setup: Setup) {
    let server = start(setup).await;
    exhaust(&server).await;
    server.store.close().await;
    assert_eq!(list(&server, &unknown_key()).await, 429);
    let call = server
        .get("/apikeys")
        .header("x-forwarded-for", "203.0.113.5");
    assert_eq!(call.bearer(&unknown_key()).send().await.status, 503);
}

async fn recently_valid_token_bypasses_the_limit(setup: Setup) {
    let server = start(setup).await;
    let session = server.token(User::Owner);
    let service = server.service_token();
    let management = server.management_key(ORGANIZATION).await;
    let get = |path: &str, token: &str| server.get(path).bearer(token).send();
    assert_eq!(get("/apikeys", &session).await.status, 200);
    assert_eq!(get("/apikeys", &service).await.status, 403);
    assert_eq!(get("/keys", &management).await.status, 200);
    exhaust(&server).await;
    assert_eq!(get("/apikeys", &session).await.status, 200);
    assert_eq!(get("/apikeys", &service).await.status, 403);
    assert_eq!(get("/keys", &management).await.status, 200);
    // A token used for the first time from there has to wait.
    assert_eq!(
        get("/apikeys", &server.token(User::ReaderInA)).await.status,
        429
    );
    // The first call with a revoked token is verified and counts as a failure.
    let request = RevokeManagementKeyRequest {
        hash: sha256_hex(&management),
    };
    server
        .management_keys(&service)
        .revoke_management_key(request)
        .await
        .unwrap();
    assert_eq!(get("/keys", &management).await.status, 401);
    assert_eq!(get("/keys", &management).await.status, 429);
}

async fn repeated_bad_tokens_close_the_connection(setup: Setup) {
    let server = start_behind(setup, TrustedProxies::default()).await;
    exhaust(&server).await;
    // Many requests at once, without reading the responses.
    let call = "GET /apikeys HTTP/1.1\r\nhost: keyward.test\r\nauthorization: Bearer x\r\n\r\n";
    let answers = server.raw(call.repeat(10).as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    assert!(answers.starts_with("HTTP/1.1 429 "), "{answers}");
    assert!(answers.contains("\r\nconnection: close\r\n"), "{answers}");
    // Over HTTP/2 the connection ends without that header, which HTTP/2 does not have.
    let answer = server
        .http2
        .get(server.url("/apikeys"))
        .bearer_auth("x")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers().get("connection")),
        (429, None)
    );
}

async fn connection_of_a_trusted_proxy_is_not_closed(setup: Setup) {
    let server = start(setup).await;
    // Other clients share the proxy's connection, also when the proxy does not name its client.
    let from = |address: &str| {
        let call = server.get("/apikeys").header("x-forwarded-for", address);
        call.bearer("garbage").send()
    };
    for _ in 0..BURST {
        assert_eq!(from("203.0.113.5").await.status, 401);
    }
    let answer = from("203.0.113.5").await;
    assert_eq!((answer.status, answer.header("connection")), (429, None));
    exhaust(&server).await;
    let answer = server.get("/apikeys").bearer("garbage").send().await;
    assert_eq!((answer.status, answer.header("connection")), (429, None));
}

async fn successful_authentication_is_not_counted(setup: Setup) {
    let server = start(setup).await;
    for _ in 0..4 * BURST {
        assert_eq!(list(&server, &server.token(User::Owner)).await, 200);
        assert_eq!(list(&server, &server.service_token()).await, 403);
    }
    exhaust(&server).await;
}

async fn call_without_a_token_is_neither_counted_nor_rejected(setup: Setup) {
    let server = start(setup).await;
    for _ in 0..2 * BURST {
        assert_eq!(server.get("/apikeys").send().await.status, 401);
    }
    exhaust(&server).await;
    assert_eq!(server.get("/apikeys").send().await.status, 401);
    for (path, status) in [
        ("/nowhere", 404),
        ("/docs", 200),
        ("/healthz", 200),
        ("/readyz", 200),
    ] {
        assert_eq!(
            server.get(path).bearer("garbage").send().await.status,
            status,
            "{path}"
        );
    }
}

async fn closed_store_counts_no_failed_authentication(setup: Setup) {
    let server = start(setup).await;
    let token = server.token(User::Owner);
    server.store.close().await;
    for _ in 0..4 * BURST {
        assert_eq!(list(&server, &unknown_key()).await, 503);
        assert_eq!(list(&server, &token).await, 503);
    }
}

async fn another_address_is_not_limited(setup: Setup) {
    let server = start(setup).await;
    exhaust(&server).await;
    let token = server.token(User::Owner);
    let from = |address: &str| {
        server
            .get("/apikeys")
            .header("x-forwarded-for", address)
            .bearer(&token)
            .send()
    };
    assert_eq!(list(&server, &token).await, 429);
    for address in ["203.0.113.5", "2001:db8::1"] {
        assert_eq!(from(address).await.status, 200);
    }
    // The token was valid there, so it is valid here.
    assert_eq!(list(&server, &token).await, 200);
}

each_engine! {
    every_bad_token_is_a_failure_and_too_many_are_rejected
    failures_on_every_protocol_share_one_count
    rejected_token_is_not_looked_up
    recently_valid_token_bypasses_the_limit
    repeated_bad_tokens_close_the_connection
    connection_of_a_trusted_proxy_is_not_closed
    successful_authentication_is_not_counted
    call_without_a_token_is_neither_counted_nor_rejected
    closed_store_counts_no_failed_authentication
    another_address_is_not_limited
}
