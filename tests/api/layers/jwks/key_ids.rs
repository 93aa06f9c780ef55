//! The issuers' published keys: the choice of a key by its id, and fetches for unknown ids.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::{published, status};
use crate::support::{Algorithm, Setup, SigningKey, TestServer, UNAUTHENTICATED_BODY, User};

/// Maximum number of requests that wait for one issuer's keys, as in `src/auth/jwks/mod.rs`.
const MAX_WAITING: usize = 64;

async fn keys_that_share_a_name_or_have_none_are_each_tried(setup: Setup) {
    let server = Setup {
        jwks_min_refresh: Duration::ZERO,
        ..setup
    }
    .start()
    .await;
    let claims = server.claims(User::Owner);
    let keys = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::ES256]
        .map(|algorithm| SigningKey::generate("shared", algorithm));
    server
        .issuer
        .server
        .publish_text(&published(&keys, |jwk| jwk));
    for key in &keys {
        assert_eq!(status(&server, &key.sign(&claims)).await, 200);
        assert_eq!(status(&server, &key.sign_as(None, &claims)).await, 200);
    }
    let unnamed = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256]
        .map(|algorithm| SigningKey::generate("unnamed", algorithm));
    server
        .issuer
        .server
        .publish_text(&published(&unnamed, |mut jwk| {
            jwk.as_object_mut().unwrap().remove("kid");
            jwk.as_object_mut().unwrap().remove("alg");
            jwk
        }));
    for key in &unnamed {
        assert_eq!(status(&server, &key.sign(&claims)).await, 200);
        assert_eq!(status(&server, &key.sign_as(None, &claims)).await, 200);
    }
    assert_eq!(status(&server, &keys[0].sign_as(None, &claims)).await, 401);
}

async fn entries_that_cannot_be_used_do_not_spoil_the_others(server: TestServer) {
    let key = &server.issuer.key;
    let good = serde_json::to_value(key.jwk()).unwrap();
    let encryption =
        json!({ "kty": "RSA", "use": "enc", "kid": "key-1", "n": "AQAB", "e": "AQAB" });
    let entries = json!({ "keys": [
        null, 7, {}, { "kty": 7 }, { "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" },
        { "kty": "EC", "crv": "P-256", "kid": "key-1" }, encryption, good,
    ] });
    server.issuer.server.publish_text(&entries.to_string());
    assert_eq!(status(&server, &server.token(User::Owner)).await, 200);
}

/// The issuer is slow, a thousand tokens name keys that it never had, and there are slots for ten
/// requests.
async fn unknown_signers_hold_no_place_of_services(setup: Setup) {
    let server = Setup {
        max_in_flight: 10,
        ..setup
    }
    .start()
    .await;
    let service = server.service_token();
    assert_eq!(status(&server, &service).await, 403);
    // A connection on which no valid token was shown has few calls at a time.
    let shown = server
        .http2
        .get(server.url("/apikeys"))
        .bearer_auth(&service);
    assert_eq!(shown.send().await.unwrap().status().as_u16(), 403);
    server.issuer.server.hold(true);
    let claims = server.claims(User::Owner);
    let mut unknown = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let token = server
            .issuer
            .key
            .sign_as(Some(&format!("unknown-{number}")), &claims);
        // Over one connection: an address may not open a thousand.
        let call = server.http2.get(server.url("/apikeys")).bearer_auth(token);
        unknown.spawn(async move {
            let answer = call.send().await.unwrap();
            let retry_after = answer.headers().get("retry-after").cloned();
            (answer.status().as_u16(), retry_after)
        });
    }
    let mut rejected = 0;
    // All but the requests that may wait are rejected at once, while the issuer still delays its
    // response.
    while rejected < 1000 - MAX_WAITING {
        let (status, retry_after) = unknown.join_next().await.unwrap().unwrap();
        assert_eq!((status, retry_after.unwrap().as_bytes()), (503, &b"1"[..]));
        rejected += 1;
    }
    for _ in 0..20 {
        assert_eq!(status(&server, &service).await, 403);
        assert_eq!(status(&server, &server.service_token()).await, 403);
    }
    assert_eq!(server.issuer.server.requests(), 1);
    server.issuer.server.hold(false);
    while let Some(answer) = unknown.join_next().await {
        let (status, _) = answer.unwrap();
        assert!([401, 503].contains(&status), "{status}");
    }
    assert_eq!(status(&server, &server.token(User::Owner)).await, 200);
}

async fn token_of_another_issuer_or_audience_triggers_no_fetch(server: TestServer) {
    for changes in [
        json!({"iss": "https://elsewhere"}),
        json!({"aud": "someone-else"}),
    ] {
        let token = server.token_with(User::Owner, changes);
        server
            .get("/apikeys")
            .bearer(&token)
            .send()
            .await
            .is(401, UNAUTHENTICATED_BODY);
    }
    assert_eq!(server.issuer.server.requests(), 0);
}

async fn unknown_key_id_triggers_a_fetch_of_rotated_keys(setup: Setup) {
    let server = Setup {
        jwks_min_refresh: Duration::ZERO,
        ..setup
    }
    .start()
    .await;
    let token = server.token(User::Owner);
    assert_eq!(status(&server, &token).await, 200);
    let next = SigningKey::generate("key-2", Algorithm::EdDSA);
    let next_token = next.sign(&server.claims(User::Owner));
    server
        .get("/apikeys")
        .bearer(&next_token)
        .send()
        .await
        .is(401, UNAUTHENTICATED_BODY);
    server.issuer.server.publish(&[&server.issuer.key, &next]);
    assert_eq!(status(&server, &next_token).await, 200);
    // With two keys published, a token need not name its key.
    let unnamed = next.sign_as(None, &server.claims(User::ReaderInA));
    assert_eq!(status(&server, &unnamed).await, 200);

    // The old key is withdrawn: tokens that it signs from now on are rejected.
    server.issuer.server.publish(&[&next]);
    let other = SigningKey::generate("key-3", Algorithm::ES256);
    let unknown = other.sign(&server.claims(User::Owner));
    assert_eq!(status(&server, &unknown).await, 401);
    let old = server.token(User::WriterInA);
    server
        .get("/apikeys")
        .bearer(&old)
        .send()
        .await
        .is(401, UNAUTHENTICATED_BODY);
}

/// The issuer replaces its key and keeps the key id, first with a key of the same algorithm, then of another.
async fn key_replaced_under_its_id_is_fetched(setup: Setup) {
    let server = Setup {
        jwks_min_refresh: Duration::ZERO,
        ..setup
    }
    .start()
    .await;
    let claims = server.claims(User::Owner);
    let old = server.token(User::Owner);
    assert_eq!(status(&server, &old).await, 200);
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256] {
        let next = SigningKey::generate("key-1", algorithm);
        server.issuer.server.publish(&[&next]);
        assert_eq!(status(&server, &next.sign(&claims)).await, 200);
        assert_eq!(status(&server, &old).await, 401);
    }
}

/// A set may have a key of each algorithm under one key id; the second one is published later.
async fn key_id_of_a_second_algorithm_is_fetched(setup: Setup) {
    let server = Setup {
        jwks_min_refresh: Duration::ZERO,
        ..setup
    }
    .start()
    .await;
    let claims = server.claims(User::Owner);
    assert_eq!(status(&server, &server.token(User::Owner)).await, 200);
    let second = SigningKey::generate("key-1", Algorithm::EdDSA);
    assert_eq!(status(&server, &second.sign(&claims)).await, 401);
    server.issuer.server.publish(&[&server.issuer.key, &second]);
    assert_eq!(status(&server, &second.sign(&claims)).await, 200);
    assert_eq!(status(&server, &server.token(User::ReaderInA)).await, 200);
}

async fn forged_tokens_trigger_no_fetch_within_the_bound(server: TestServer) {
    assert_eq!(status(&server, &server.token(User::Owner)).await, 200);
    let imposter = SigningKey::generate("key-1", Algorithm::ES256);
    let forged = imposter.sign(&server.claims(User::Owner));
    let calls = (0..24).map(|_| status(&server, &forged));
    assert!(join_all(calls).await.iter().all(|status| *status == 401));
    assert_eq!(server.issuer.server.requests(), 1);
}

async fn invented_key_ids_trigger_no_fetch(server: TestServer) {
    assert_eq!(status(&server, &server.token(User::Owner)).await, 200);
    assert_eq!(server.issuer.server.requests(), 1);
    let claims = server.claims(User::Owner);
    let invented = (0..24).map(|number| {
        server
            .issuer
            .key
            .sign_as(Some(&format!("invented-{number}")), &claims)
    });
    let invented: Vec<_> = invented.collect();
    let calls = invented.iter().map(|token| status(&server, token));
    assert!(join_all(calls).await.iter().all(|status| *status == 401));
    assert_eq!(
        server.issuer.server.requests(),
        1,
        "the bound has not passed since the first"
    );
}

async fn invented_key_ids_that_come_first_cost_one_fetch_together(server: TestServer) {
    let claims = server.claims(User::Owner);
    let invented = (0..24).map(|number| {
        server
            .issuer
            .key
            .sign_as(Some(&format!("invented-{number}")), &claims)
    });
    let invented: Vec<_> = invented.collect();
    let calls = invented.iter().map(|token| status(&server, token));
    assert!(join_all(calls).await.iter().all(|status| *status == 401));
    assert_eq!(server.issuer.server.requests(), 1);
    assert_eq!(status(&server, &server.token(User::Owner)).await, 200);
}

each_engine! {
    keys_that_share_a_name_or_have_none_are_each_tried
    entries_that_cannot_be_used_do_not_spoil_the_others
    unknown_signers_hold_no_place_of_services
    token_of_another_issuer_or_audience_triggers_no_fetch
    unknown_key_id_triggers_a_fetch_of_rotated_keys
    key_replaced_under_its_id_is_fetched
    key_id_of_a_second_algorithm_is_fetched
    forged_tokens_trigger_no_fetch_within_the_bound
    invented_key_ids_trigger_no_fetch
    invented_key_ids_that_come_first_cost_one_fetch_together
}
