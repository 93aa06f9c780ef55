//! Authentication: session tokens are accepted, all other credentials are rejected.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use keyward::proto::v1::ListApiKeysRequest;
use keyward_core::tenancy::OrganizationRole;
use keyward_testkit::fixtures;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    AUDIENCE, Algorithm, Jwks, OTHER_ORGANIZATION, Setup, SigningKey, TestServer, UNAUTHENTICATED,
    UNAUTHENTICATED_BODY, User, rejected,
};

/// Expects the same generic rejection on both protocols.
async fn is_rejected(server: &TestServer, authorization: &str) {
    let answer = server
        .get("/apikeys")
        .header("authorization", authorization)
        .send()
        .await;
    answer.is(401, UNAUTHENTICATED_BODY);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let mut client = server.api_keys_without_token();
    let mut request = tonic::Request::new(ListApiKeysRequest::default());
    request
        .metadata_mut()
        .insert("authorization", authorization.parse().unwrap());
    rejected(client.list_api_keys(request).await)
        .is(Code::Unauthenticated, "TOKEN_INVALID", UNAUTHENTICATED)
        .alone();
}

async fn is_let_in(server: &TestServer, token: &str) {
    let answer = server.get("/apikeys").bearer(token).send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut client = server.api_keys(token);
    client
        .list_api_keys(ListApiKeysRequest::default())
        .await
        .unwrap();
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

async fn header_that_carries_no_token_is_rejected(server: TestServer) {
    let token = server.token(User::Owner);
    for authorization in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer garbage".to_owned(),
        "Bearer a.b.c".to_owned(),
        "Basic b3duZXI6cGFzc3dvcmQ=".to_owned(),
        format!("Basic {token}"),
        token.clone(),
        format!("Bearer {token} {token}"),
        format!("Bearer {token},Bearer {token}"),
        format!("Bearer {}", "a".repeat(9000)),
        "Bearer sk-kw-v1-0000".to_owned(),
    ] {
        is_rejected(&server, &authorization).await;
    }
}

async fn scheme_is_read_in_any_case(server: TestServer) {
    let token = server.token(User::Owner);
    for scheme in ["bearer", "BEARER", "Bearer  "] {
        let authorization = format!("{scheme} {token}");
        let answer = server
            .get("/apikeys")
            .header("authorization", &authorization);
        assert_eq!(answer.send().await.status, 200);
    }
}

async fn two_headers_are_rejected_even_if_each_is_good(server: TestServer) {
    let token = server.token(User::Owner);
    let answer = server
        .get("/apikeys")
        .bearer(&token)
        .bearer(&token)
        .send()
        .await;
    answer.is(401, UNAUTHENTICATED_BODY);
    let mut request = tonic::Request::new(ListApiKeysRequest::default());
    for _ in 0..2 {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().append("authorization", value);
    }
    rejected(server.api_keys_without_token().list_api_keys(request).await).is(
        Code::Unauthenticated,
        "TOKEN_INVALID",
        UNAUTHENTICATED,
    );
}

async fn token_is_good_from_nbf_to_exp_give_or_take_a_minute(server: TestServer) {
    let now = server.now_seconds();
    for (changes, good) in [
        (json!({ "exp": now - 59 }), true),
        (json!({ "exp": now - 60 }), false),
        (json!({ "exp": now - 86_400 }), false),
        (json!({ "exp": null }), false),
        (json!({ "exp": "tomorrow" }), false),
        (json!({ "nbf": now }), true),
        (json!({ "nbf": now + 60 }), true),
        (json!({ "nbf": now + 61 }), false),
    ] {
        let token = server.token_with(User::Owner, changes.clone());
        if good {
            is_let_in(&server, &token).await;
        } else {
            is_rejected(&server, &format!("Bearer {token}")).await;
        }
    }
}

async fn accepted_token_is_rejected_after_its_expiry(server: TestServer) {
    let token = server.token(User::Owner);
    is_let_in(&server, &token).await;
    server.clock.advance(Duration::from_secs(3600 + 59));
    is_let_in(&server, &token).await;
    server.clock.advance(Duration::from_secs(1));
    is_rejected(&server, &format!("Bearer {token}")).await;
}

async fn issuer_and_audience_must_be_ours(server: TestServer) {
    for changes in [
        json!({ "aud": "someone-else" }),
        json!({ "aud": ["someone", "else"] }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "iss": "https://id.test/" }),
        json!({ "iss": "https://evil.test" }),
        json!({ "iss": null }),
        // A session token with the services' audience, and the reverse.
        json!({ "aud": "keyward-internal" }),
        json!({ "iss": "https://cluster.test", "aud": "keyward-internal" }),
        json!({ "iss": "https://cluster.test" }),
    ] {
        let token = server.token_with(User::Owner, changes);
        is_rejected(&server, &format!("Bearer {token}")).await;
    }
    let token = server.token_with(User::Owner, json!({ "aud": ["else", AUDIENCE] }));
    is_let_in(&server, &token).await;
}

async fn user_and_organization_must_fit(server: TestServer) {
    for changes in [
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": 7 }),
        json!({ "sub": "nobody" }),
        json!({ "sub": "s".repeat(256) }),
        json!({ "org": null }),
        json!({ "org": "" }),
        json!({ "org": "no-such-organization" }),
        json!({ "org": OTHER_ORGANIZATION }),
        json!({ "validated": false }),
        json!({ "validated": "false" }),
    ] {
        let token = server.token_with(User::Owner, changes);
        is_rejected(&server, &format!("Bearer {token}")).await;
    }
    is_let_in(
        &server,
        &server.token_with(User::Owner, json!({ "validated": true })),
    )
    .await;
    for user in [User::Unlisted, User::Unvalidated] {
        is_rejected(&server, &format!("Bearer {}", server.token(user))).await;
    }
}

async fn only_the_published_key_signs(server: TestServer) {
    let claims = server.claims(User::Owner);
    let imposter = SigningKey::generate("key-1", Algorithm::ES256);
    is_rejected(&server, &format!("Bearer {}", imposter.sign(&claims))).await;
    // Another algorithm under the id of the published key.
    let imposter = SigningKey::generate("key-1", Algorithm::EdDSA);
    is_rejected(&server, &format!("Bearer {}", imposter.sign(&claims))).await;
    // The services' issuer does not sign for users, nor the reverse.
    is_rejected(
        &server,
        &format!("Bearer {}", server.cluster.key.sign(&claims)),
    )
    .await;
    let service = server.issuer.key.sign(&server.service_claims());
    is_rejected(&server, &format!("Bearer {service}")).await;

    let token = server.token(User::Owner);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bytes[7] ^= 1;
    is_rejected(
        &server,
        &format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(bytes)),
    )
    .await;
    is_rejected(&server, &format!("Bearer {signed}.")).await;
    // A signature over the reader's claims, attached to the owner's claims.
    let readers = server.token(User::ReaderInA);
    let (_, signature) = readers.rsplit_once('.').unwrap();
    is_rejected(&server, &format!("Bearer {signed}.{signature}")).await;
    is_let_in(&server, &token).await;
}

async fn token_that_lives_too_long_is_rejected(setup: Setup) {
    let server = Setup {
        max_service_token_seconds: 7 * 86_400,
        ..setup
    }
    .start()
    .await;
    let now = server.now_seconds();
    let day = 86_400;
    let century = 100 * 365 * day;
    for (changes, good) in [
        (json!({ "iat": now, "exp": now + day }), true),
        (json!({ "iat": now, "exp": now + day + 1 }), false),
        (json!({ "iat": now - 10, "exp": now + day - 10 }), true),
        (json!({ "iat": now - 10, "exp": now + day - 9 }), false),
        // Without `iat` the lifetime starts now.
        (json!({ "iat": null, "exp": now + day }), true),
        (json!({ "iat": null, "exp": now + day + 1 }), false),
        (json!({ "exp": now + day }), true),
        (json!({ "exp": now + day + 1 }), false),
        (json!({ "exp": now + century }), false),
        (json!({ "exp": 1e300 }), false),
        // An `iat` in the future does not shorten the lifetime.
        (
            json!({ "iat": now + century - 1, "exp": now + century }),
            false,
        ),
        (json!({ "iat": "today" }), false),
    ] {
        let token = server.token_with(User::Owner, changes.clone());
        if good {
            is_let_in(&server, &token).await;
        } else {
            is_rejected(&server, &format!("Bearer {token}")).await;
        }
    }
    // Services have a separate maximum.
    for (lifetime, status) in [(7 * day, 403), (7 * day + 1, 401)] {
        let mut claims = server.service_claims();
        claims["iat"] = now.into();
        claims["exp"] = (now + lifetime).into();
        let token = server.cluster.key.sign(&claims);
        let answer = server.get("/apikeys").bearer(&token).send().await;
        assert_eq!(answer.status, status, "{lifetime}");
    }
}

async fn token_may_call_its_algorithm_ed25519(setup: Setup) {
    let server = Setup {
        algorithm: Algorithm::EdDSA,
        ..setup
    }
    .start()
    .await;
    let claims = server.claims(User::Owner);
    let mut jwk = serde_json::to_value(server.issuer.key.jwk()).unwrap();
    jwk["alg"] = "Ed25519".into();
    server
        .issuer
        .server
        .publish_text(&json!({ "keys": [jwk] }).to_string());
    for (algorithm, good) in [
        ("Ed25519", true),
        ("EdDSA", true),
        ("Ed448", false),
        ("ed25519", false),
    ] {
        let header = json!({ "alg": algorithm, "kid": "key-1" });
        let token = server.issuer.key.sign_with(&header, &claims);
        if good {
            is_let_in(&server, &token).await;
        } else {
            is_rejected(&server, &format!("Bearer {token}")).await;
        }
    }
    let critical = json!({ "alg": "EdDSA", "kid": "key-1", "crit": ["exp"] });
    let token = server.issuer.key.sign_with(&critical, &claims);
    is_rejected(&server, &format!("Bearer {token}")).await;
}

async fn token_without_a_key_id_is_good_while_one_key_is_published(server: TestServer) {
    let claims = server.claims(User::Owner);
    is_let_in(&server, &server.issuer.key.sign_as(None, &claims)).await;
}

async fn unsigned_tokens_and_shared_secrets_are_rejected(server: TestServer) {
    let claims = server.claims(User::Owner);
    for algorithm in ["none", "None", "nOnE", "HS256", "ES512"] {
        let header = part(&json!({ "alg": algorithm, "typ": "JWT", "kid": "key-1" }));
        let payload = part(&claims);
        is_rejected(&server, &format!("Bearer {header}.{payload}.")).await;
        is_rejected(&server, &format!("Bearer {header}.{payload}.AAAA")).await;
    }
    // The public key, which is not secret, used as a shared secret.
    let jwk = serde_json::to_value(server.issuer.key.jwk()).unwrap();
    let x = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
    for secret in [
        x,
        jwk["x"].to_string().into_bytes(),
        jwk.to_string().into_bytes(),
    ] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384] {
            let mut header = Header::new(algorithm);
            header.kid = Some("key-1".to_owned());
            let key = EncodingKey::from_secret(&secret);
            let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
            is_rejected(&server, &format!("Bearer {token}")).await;
        }
    }
}

async fn service_must_be_registered(server: TestServer) {
    for changes in [
        json!({ "sub": "system:serviceaccount:ai:other" }),
        json!({ "sub": "ai-gateway" }),
        json!({ "exp": server.now_seconds() - 61 }),
        json!({ "aud": "keyward" }),
        json!({ "iss": "https://id.test" }),
    ] {
        let mut claims = server.service_claims();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = server.cluster.key.sign(&claims);
        is_rejected(&server, &format!("Bearer {token}")).await;
    }
}

async fn change_of_membership_counts_at_once(server: TestServer) {
    let platform = fixtures::caller(fixtures::service());
    let directory = &server.use_cases.directory;
    let token = server.token(User::NoAccess);
    let path = "/apikeys?workspaceId=workspace-a";
    assert_eq!(server.get(path).bearer(&token).send().await.status, 403);

    let mut member = User::NoAccess.member();
    member.role = OrganizationRole::Owner;
    directory
        .upsert_member(&platform, member.clone())
        .await
        .unwrap();
    assert_eq!(server.get(path).bearer(&token).send().await.status, 200);
    member.role = OrganizationRole::User;
    directory
        .upsert_member(&platform, member.clone())
        .await
        .unwrap();
    assert_eq!(server.get(path).bearer(&token).send().await.status, 403);
    member.validated = false;
    directory
        .upsert_member(&platform, member.clone())
        .await
        .unwrap();
    assert_eq!(server.get(path).bearer(&token).send().await.status, 401);
    member.validated = true;
    directory
        .upsert_member(&platform, member.clone())
        .await
        .unwrap();
    assert_eq!(server.get(path).bearer(&token).send().await.status, 403);
    directory
        .delete_member(&platform, &member.organization, &member.user)
        .await
        .unwrap();
    assert_eq!(server.get(path).bearer(&token).send().await.status, 401);
}

async fn each_algorithm_is_taken_from_a_url_and_from_a_file(setup: Setup) {
    let mut setup = Some(setup);
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256] {
        for jwks in [Jwks::Url, Jwks::File] {
            let given = match setup.take() {
                Some(setup) => setup,
                // Additional servers for the same check need no other database.
                None => <Setup as crate::support::OnEngine>::on(crate::support::Engine::Sqlite)
                    .await
                    .unwrap(),
            };
            let server = Setup {
                algorithm,
                jwks,
                ..given
            }
            .start()
            .await;
            is_let_in(&server, &server.token(User::Owner)).await;
            let fetched = usize::from(jwks == Jwks::Url);
            assert_eq!(server.issuer.server.requests(), fetched);
        }
    }
}

each_engine! {
    header_that_carries_no_token_is_rejected
    scheme_is_read_in_any_case
    two_headers_are_rejected_even_if_each_is_good
    token_is_good_from_nbf_to_exp_give_or_take_a_minute
    accepted_token_is_rejected_after_its_expiry
    issuer_and_audience_must_be_ours
    user_and_organization_must_fit
    only_the_published_key_signs
    token_that_lives_too_long_is_rejected
    token_may_call_its_algorithm_ed25519
    token_without_a_key_id_is_good_while_one_key_is_published
    unsigned_tokens_and_shared_secrets_are_rejected
    service_must_be_registered
    change_of_membership_counts_at_once
    each_algorithm_is_taken_from_a_url_and_from_a_file
}
