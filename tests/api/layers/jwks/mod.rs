//! The issuers' published keys: fetches, and behavior while a fetch fails.

mod key_ids;

use std::time::Duration;

use futures_util::future::join_all;
use keyward::proto::v1::ListApiKeysRequest;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    Algorithm, Jwks, Setup, SigningKey, TestServer, UNAUTHENTICATED_BODY, User, rejected,
};

const UNAVAILABLE: &str = "Service unavailable";

/// Returns the text of a key set, each key changed by `change`.
fn published(keys: &[SigningKey], change: impl Fn(Value) -> Value) -> String {
    let keys = keys
        .iter()
        .map(|key| change(serde_json::to_value(key.jwk()).unwrap()));
    json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
}

async fn status(server: &TestServer, token: &str) -> u16 {
    server.get("/apikeys").bearer(token).send().await.status
}

async fn is_unavailable(server: &TestServer, token: &str) {
    server
        .get("/apikeys")
        .bearer(token)
        .send()
        .await
        .rejects(503, UNAVAILABLE);
    let result = server
        .api_keys(token)
        .list_api_keys(ListApiKeysRequest::default())
        .await;
    rejected(result)
        .is(Code::Unavailable, "UNAVAILABLE", UNAVAILABLE)
        .alone();
}

async fn concurrent_first_uses_fetch_the_keys_once(server: TestServer) {
    assert_eq!(server.issuer.server.requests(), 0);
    let tokens: Vec<_> = User::MEMBERS.map(|user| server.token(user)).into();
    let calls = tokens.iter().map(|token| status(&server, token));
    assert_eq!(join_all(calls).await, [200; 8]);
    assert_eq!(server.issuer.server.requests(), 1);
    assert_eq!(server.cluster.server.requests(), 0);
}

async fn failed_fetch_is_unavailable_until_one_succeeds(setup: Setup) {
    let server = Setup {
        jwks_min_refresh: Duration::ZERO,
        ..setup
    }
    .start()
    .await;
    let token = server.token(User::Owner);
    server.issuer.server.fail(true);
    is_unavailable(&server, &token).await;
    // A token that no key could verify gets the same response: its validity is unknown.
    let imposter = SigningKey::generate("key-1", Algorithm::ES256);
    is_unavailable(&server, &imposter.sign(&server.claims(User::Owner))).await;
    // A response that needs no key is sent at once.
    server
        .get("/apikeys")
        .bearer("garbage")
        .send()
        .await
        .is(401, UNAUTHENTICATED_BODY);
    server.issuer.server.fail(false);
    assert_eq!(status(&server, &token).await, 200);
}

async fn issuer_that_fails_is_not_asked_again_at_once(server: TestServer) {
    server.issuer.server.fail(true);
    for user in User::MEMBERS {
        is_unavailable(&server, &server.token(user)).await;
    }
    assert_eq!(server.issuer.server.requests(), 1);
}

async fn failing_issuer_does_not_affect_tokens_of_the_other(server: TestServer) {
    server.issuer.server.fail(true);
    assert_eq!(status(&server, &server.service_token()).await, 403);
    is_unavailable(&server, &server.token(User::Owner)).await;
}

async fn known_tokens_and_keys_stay_good_while_the_issuer_is_down(setup: Setup) {
    let server = Setup {
        jwks_min_refresh: Duration::ZERO,
        ..setup
    }
    .start()
    .await;
    let token = server.token(User::Owner);
    assert_eq!(status(&server, &token).await, 200);
    server.issuer.server.fail(true);
    let requests = server.issuer.server.requests();
    assert_eq!(status(&server, &token).await, 200);
    // A new token, under a key that was published.
    assert_eq!(status(&server, &server.token(User::ReaderInA)).await, 200);
    assert_eq!(server.issuer.server.requests(), requests);
}

/// With a maximum age of 0, keys are always older than twice that.
async fn keys_too_old_to_use_are_fetched_before_each_use(setup: Setup) {
    let always_old = Setup {
        jwks_max_age: Duration::ZERO,
        jwks_min_refresh: Duration::ZERO,
        ..setup
    };
    let server = always_old.start().await;
    let token = server.token(User::Owner);
    assert_eq!(status(&server, &token).await, 200);
    server.issuer.server.fail(true);
    is_unavailable(&server, &token).await;
    is_unavailable(&server, &server.token(User::ReaderInA)).await;
    server.issuer.server.fail(false);
    assert_eq!(status(&server, &token).await, 200);
    // The key is withdrawn: a token that it signed is not accepted even once more.
    let next = SigningKey::generate("key-2", Algorithm::ES256);
    server.issuer.server.publish(&[&next]);
    server
        .get("/apikeys")
        .bearer(&token)
        .send()
        .await
        .is(401, UNAUTHENTICATED_BODY);
    let fresh = server.token(User::ReaderInA);
    server
        .get("/apikeys")
        .bearer(&fresh)
        .send()
        .await
        .is(401, UNAUTHENTICATED_BODY);
    assert_eq!(
        status(&server, &next.sign(&server.claims(User::Owner))).await,
        200
    );
}

async fn cached_token_ends_when_its_key_leaves_the_set(setup: Setup) {
    let server = Setup {
        jwks_min_refresh: Duration::ZERO,
        ..setup
    }
    .start()
    .await;
    let token = server.token(User::Owner);
    assert_eq!(status(&server, &token).await, 200);
    // Another key of the same name replaces it; a token of that key triggers the fetch.
    let next = SigningKey::generate("key-2", Algorithm::ES256);
    server.issuer.server.publish(&[&next]);
    assert_eq!(
        status(&server, &next.sign(&server.claims(User::Owner))).await,
        200
    );
    server
        .get("/apikeys")
        .bearer(&token)
        .send()
        .await
        .is(401, UNAUTHENTICATED_BODY);
}

async fn dropped_tokens_and_keys_are_verified_and_fetched_again(server: TestServer) {
    let token = server.token(User::Owner);
    assert_eq!(status(&server, &token).await, 200);
    server.authenticator.drop_tokens_and_keys();
    assert_eq!(status(&server, &token).await, 200);
    assert_eq!(server.issuer.server.requests(), 2);
    let next = SigningKey::generate("key-1", Algorithm::ES256);
    server.issuer.server.publish(&[&next]);
    assert_eq!(status(&server, &token).await, 200);
    server.authenticator.drop_tokens_and_keys();
    server
        .get("/apikeys")
        .bearer(&token)
        .send()
        .await
        .is(401, UNAUTHENTICATED_BODY);
    assert_eq!(
        status(&server, &next.sign(&server.claims(User::Owner))).await,
        200
    );
}

async fn set_without_usable_keys_is_a_fetch_that_failed(setup: Setup) {
    let server = Setup {
        jwks_min_refresh: Duration::ZERO,
        ..setup
    }
    .start()
    .await;
    let token = server.token(User::Owner);
    let unknown = server
        .issuer
        .key
        .sign_as(Some("unknown"), &server.claims(User::Owner));
    for text in [
        "{\"keys\":[]}",
        "{}",
        "<html>",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}",
    ] {
        server.issuer.server.publish_text(text);
        is_unavailable(&server, &unknown).await;
    }
    server.issuer.server.publish(&[&server.issuer.key]);
    assert_eq!(status(&server, &token).await, 200);
    server.issuer.server.publish_text("{\"keys\":[]}");
    is_unavailable(&server, &unknown).await;
    // Keys published before stay valid.
    assert_eq!(status(&server, &server.token(User::ReaderInA)).await, 200);
}

async fn readiness_names_the_keys_that_cannot_be_fetched(setup: Setup) {
    let server = Setup {
        jwks_min_refresh: Duration::ZERO,
        ..setup
    }
    .start()
    .await;
    let token = server.token(User::Owner);
    server
        .get("/readyz")
        .send()
        .await
        .is(200, r#"{"status":"ok"}"#);
    server.issuer.server.fail(true);
    is_unavailable(&server, &token).await;
    let reasons =
        r#"{"reasons":["auth.session.jwks: the key set cannot be fetched"],"status":"ok"}"#;
    let answer = server.get("/readyz").send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        serde_json::from_str::<Value>(reasons).unwrap()
    );
    server
        .get("/healthz")
        .send()
        .await
        .is(200, r#"{"status":"ok"}"#);
    server.issuer.server.fail(false);
    assert_eq!(status(&server, &token).await, 200);
    server
        .get("/readyz")
        .send()
        .await
        .is(200, r#"{"status":"ok"}"#);
}

/// Any client can send a token with an invented key id and disconnect at once.
async fn cancelled_caller_does_not_end_a_shared_fetch(server: TestServer) {
    server.issuer.server.hold(true);
    let invented = server
        .issuer
        .key
        .sign_as(Some("invented"), &server.claims(User::Owner));
    let hasty = tokio::spawn(server.get("/apikeys").bearer(&invented).send());
    server.issuer.server.asked(1).await;
    // Its connection closes, and the server drops the request.
    hasty.abort();
    assert!(hasty.await.unwrap_err().is_cancelled());
    let hasty = server
        .get("/apikeys")
        .bearer(&invented)
        .header("grpc-timeout", "20m");
    assert_eq!(hasty.send().await.status, 504);
    let token = server.token(User::Owner);
    let (answer, ()) = tokio::join!(status(&server, &token), async {
        server.issuer.server.hold(false);
    });
    assert_eq!(answer, 200);
    assert_eq!(server.issuer.server.requests(), 1);
}

async fn keys_from_a_file_are_read_again_too(setup: Setup) {
    let from_file = Setup {
        jwks: Jwks::File,
        jwks_min_refresh: Duration::ZERO,
        ..setup
    };
    let server = from_file.start().await;
    assert_eq!(status(&server, &server.token(User::Owner)).await, 200);
    let next = SigningKey::generate("key-2", Algorithm::ES256);
    server.write_jwks_file(&[&next]);
    assert_eq!(
        status(&server, &next.sign(&server.claims(User::Owner))).await,
        200
    );
    assert_eq!(server.issuer.server.requests(), 0);

    std::fs::write(server.jwks_file.path(), "{").unwrap();
    let another = SigningKey::generate("key-3", Algorithm::ES256);
    is_unavailable(&server, &another.sign(&server.claims(User::Owner))).await;
}

each_engine! {
    concurrent_first_uses_fetch_the_keys_once
    failed_fetch_is_unavailable_until_one_succeeds
    issuer_that_fails_is_not_asked_again_at_once
    failing_issuer_does_not_affect_tokens_of_the_other
    known_tokens_and_keys_stay_good_while_the_issuer_is_down
    keys_too_old_to_use_are_fetched_before_each_use
    cached_token_ends_when_its_key_leaves_the_set
    dropped_tokens_and_keys_are_verified_and_fetched_again
    set_without_usable_keys_is_a_fetch_that_failed
    readiness_names_the_keys_that_cannot_be_fetched
    cancelled_caller_does_not_end_a_shared_fetch
    keys_from_a_file_are_read_again_too
}
