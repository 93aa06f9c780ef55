//! Every kind of caller at every path of the issued keys, and keys at other paths.

use http::Method;
use keyward::proto::v1::{
    CreateKeyRequest, DeleteKeyRequest, GetCurrentKeyRequest, GetKeyRequest, ListKeysRequest,
    UpdateKeyRequest,
};
use keyward_crypto::{Token, TokenKind};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::support::{
    DENIED, LIST_DENIED, MOUNTS, NO_HEADER, ORGANIZATION, RestRequest, TestServer,
    UNAUTHENTICATED_BODY, User, rejected,
};

const INVALID: &str = "Invalid token";

/// Valid requests to every endpoint that needs a management key, on both mounts.
fn calls(server: &TestServer, hash: &str) -> Vec<RestRequest> {
    let on = |mount: &str| {
        let (all, one) = (format!("{mount}/keys"), format!("{mount}/keys/{hash}"));
        [
            server.get(&all),
            server.get(&format!("{all}?workspace_id=workspace-a")),
            server.post(&all).json(&json!({ "name": "over REST" })),
            server.get(&one),
            server.patch(&one).json(&json!({ "name": "changed" })),
            server.delete(&one),
        ]
    };
    MOUNTS.into_iter().flat_map(on).collect()
}

/// Results of the same requests over gRPC.
async fn over_grpc(
    server: &TestServer,
    token: Option<&str>,
    hash: &str,
) -> [Result<(), Status>; 5] {
    let mut client = match token {
        Some(token) => server.management_keys(token),
        None => server.management_keys_without_token(),
    };
    let hash = hash.to_owned();
    let create = CreateKeyRequest {
        name: "over gRPC".to_owned(),
        ..Default::default()
    };
    let update = UpdateKeyRequest {
        hash: hash.clone(),
        name: Some("changed".to_owned()),
        ..Default::default()
    };
    let get = GetKeyRequest { hash: hash.clone() };
    [
        client.list_keys(ListKeysRequest::default()).await.map(drop),
        client.create_key(create).await.map(drop),
        client.get_key(get).await.map(drop),
        client.update_key(update).await.map(drop),
        client.delete_key(DeleteKeyRequest { hash }).await.map(drop),
    ]
}

/// Plaintexts of former keys, and of keys that never existed.
async fn dead_keys(server: &TestServer) -> Vec<(&'static str, String)> {
    let token = server.management_key(ORGANIZATION).await;
    let disabled = server.issued_key(&token, json!({})).await;
    server
        .change_key(&token, &disabled.hash, json!({ "disabled": true }))
        .await;
    let expired = json!({ "expires_at": "2026-08-01T12:00:01Z" });
    let expired = server.issued_key(&token, expired).await;
    server.advance_seconds(1);
    let deleted = server.issued_key(&token, json!({})).await;
    server.delete_key(&token, &deleted.hash).await;
    let revoked = server.management_key(ORGANIZATION).await;
    server.revoke_management_key(&revoked).await;

    let live = server.issued_key(&token, json!({})).await.key;
    let mut typo = live.clone().into_bytes();
    typo[40] = if typo[40] == b'0' { b'1' } else { b'0' };
    let unknown = Token::generate(TokenKind::ISSUED_KEY).unwrap();
    vec![
        ("disabled", disabled.key),
        ("expired", expired.key),
        ("deleted", deleted.key),
        ("revoked", revoked),
        ("typo", String::from_utf8(typo).unwrap()),
        ("unknown", unknown.expose().to_owned()),
        ("cut", live[..80].to_owned()),
        ("long", format!("{live}0")),
        ("upper case", live.to_ascii_uppercase()),
        (
            "upper hex",
            format!("sk-kw-v1-{}", live[9..].to_ascii_uppercase()),
        ),
        ("prefix", "sk-".to_owned()),
        (
            "another's",
            "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".to_owned(),
        ),
        (
            "hash",
            server.key(&token, &disabled.hash).await["hash"]
                .as_str()
                .unwrap()
                .to_owned(),
        ),
    ]
}

async fn request_without_a_token_is_rejected(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    let mut calls = calls(&server, &issued.hash);
    calls.extend(MOUNTS.map(|mount| server.get(&format!("{mount}/key"))));
    for call in calls {
        let answer = call.send().await;
        answer.is(
            401,
            r#"{"error":{"code":401,"message":"Missing Authentication header"}}"#,
        );
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    for result in over_grpc(&server, None, &issued.hash).await {
        rejected(result)
            .is(Code::Unauthenticated, "TOKEN_MISSING", NO_HEADER)
            .alone();
    }
    let mut client = server.management_keys_without_token();
    rejected(client.get_current_key(GetCurrentKeyRequest {}).await)
        .is(Code::Unauthenticated, "TOKEN_MISSING", NO_HEADER)
        .alone();
    assert_eq!(
        server.key(&token, &issued.hash).await["updated_at"],
        json!(null)
    );
}

async fn token_of_an_unknown_principal_is_rejected(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    let users = [User::Unlisted, User::Unvalidated].map(|user| server.token(user));
    for token in users
        .into_iter()
        .chain(["garbage".to_owned(), "a.b.c".to_owned()])
    {
        for call in calls(&server, &issued.hash) {
            call.bearer(&token).send().await.rejects_key(401, INVALID);
        }
        for result in over_grpc(&server, Some(&token), &issued.hash).await {
            rejected(result)
                .is(Code::Unauthenticated, "TOKEN_INVALID", INVALID)
                .alone();
        }
    }
    for value in ["Basic b3duZXI6cHc=", "Bearer", "Bearer ", &issued.key] {
        for call in calls(&server, &issued.hash) {
            call.header("authorization", value)
                .send()
                .await
                .rejects_key(401, INVALID);
        }
    }
    let key = server.key(&token, &issued.hash).await;
    assert_eq!(
        (&key["updated_at"], &key["last_used_at"]),
        (&json!(null), &json!(null))
    );
}

async fn invalid_key_is_rejected_on_every_path(server: TestServer) {
    let paths = [
        "/key",
        "/keys",
        "/keys/00",
        "/api/v1/key",
        "/api/v1/keys",
        "/api/v1/keys/00",
    ];
    for (what, key) in dead_keys(&server).await {
        for path in paths {
            let answer = server.get(path).bearer(&key).send().await;
            assert_eq!(answer.status, 401, "{what} {path}");
            answer.rejects_key(401, INVALID);
        }
        for path in ["/apikeys", "/repo/repo-a/ai/apikey"] {
            let answer = server.get(path).bearer(&key).send().await;
            answer.is(401, UNAUTHENTICATED_BODY);
        }
        for result in over_grpc(&server, Some(&key), "00").await {
            rejected(result)
                .is(Code::Unauthenticated, "TOKEN_INVALID", INVALID)
                .alone()
                .hides(&[&key]);
        }
    }
}

async fn users_and_services_administer_no_issued_keys(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    let users = User::MEMBERS.map(|user| server.token(user));
    for token in users.into_iter().chain([server.service_token()]) {
        for call in calls(&server, &issued.hash) {
            call.bearer(&token).send().await.rejects_key(403, DENIED);
        }
        for result in over_grpc(&server, Some(&token), &issued.hash).await {
            rejected(result)
                .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
                .alone();
        }
    }
    assert_eq!(
        server.key(&token, &issued.hash).await["updated_at"],
        json!(null)
    );
    assert_eq!(server.database.count("issued_keys").await, 1);
}

async fn ordinary_key_administers_no_keys_not_even_itself(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    let other = server.issued_key(&token, json!({})).await;
    for hash in [&issued.hash, &other.hash, &"none".to_owned()] {
        for call in calls(&server, hash) {
            call.bearer(&issued.key)
                .send()
                .await
                .rejects_key(403, DENIED);
        }
        for result in over_grpc(&server, Some(&issued.key), hash).await {
            rejected(result)
                .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
                .alone();
        }
    }
    assert_eq!(server.database.count("issued_keys").await, 2);
}

async fn issued_and_management_keys_are_rejected_on_other_routes(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    let provider_key = json!({
        "workspaceId": "workspace-a", "key": "k", "secret": "s", "provider": "AWS",
    });
    let id = server.create(provider_key.clone()).await;
    let one = format!("/apikeys/{id}");
    let repo_key = json!({ "name": "n", "aiType": "OPENAI" });
    for key in [&token, &issued.key] {
        for path in ["/apikeys", "/apikeys?workspaceId=workspace-a"] {
            server
                .get(path)
                .bearer(key)
                .send()
                .await
                .rejects(403, LIST_DENIED);
        }
        for call in [
            server.post("/apikeys").json(&provider_key),
            server.put(&one).json(&json!({ "description": "d" })),
            server.delete(&one),
            server.post("/repo/repo-a/ai/apikey").json(&repo_key),
            server
                .put("/repo/repo-a/ai/apikey/k")
                .json(&json!({ "name": "m" })),
            server.delete("/repo/repo-a/ai/apikey/k"),
        ] {
            call.bearer(key).send().await.rejects(403, DENIED);
        }
        server
            .get("/repo/repo-a/ai/apikey")
            .bearer(key)
            .send()
            .await
            .is(
                403,
                r#"{"success":false,"apiKeys":[],"message":"Insufficient permissions"}"#,
            );
    }
}

async fn management_key_may_do_everything_on_both_mounts(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for mount in MOUNTS {
        let issued = server.issued_key(&token, json!({})).await;
        let (all, one) = (
            format!("{mount}/keys"),
            format!("{mount}/keys/{}", issued.hash),
        );
        for (call, status) in [
            (server.get(&all), 200),
            (server.get(&format!("{all}?workspace_id=workspace-a")), 200),
            (server.post(&all).json(&json!({ "name": "n" })), 201),
            (server.get(&one), 200),
            (server.patch(&one).json(&json!({ "name": "m" })), 200),
            (server.delete(&one), 200),
        ] {
            let answer = call.bearer(&token).send().await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
    }
    let issued = server.issued_key(&token, json!({})).await;
    for result in over_grpc(&server, Some(&token), &issued.hash).await {
        result.unwrap();
    }
}

async fn wrong_verbs_and_unknown_paths_answer_in_the_body_of_the_keys(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for mount in MOUNTS {
        for (method, path, allow) in [
            (Method::POST, "/key", "GET, HEAD, OPTIONS"),
            (Method::PUT, "/keys", "GET, HEAD, OPTIONS, POST"),
            (Method::PUT, "/keys/00", "DELETE, GET, HEAD, OPTIONS, PATCH"),
            (
                Method::POST,
                "/keys/00",
                "DELETE, GET, HEAD, OPTIONS, PATCH",
            ),
        ] {
            let call = || server.call(method.clone(), &format!("{mount}{path}"));
            call().send().await.rejects_key(401, NO_HEADER);
            let answer = call().bearer(&token).send().await;
            answer.rejects_key(405, "Method not allowed");
            assert_eq!(answer.header("allow"), Some(allow), "{path}");
        }
        for path in ["/keys/00/more", "/key/more", "/keys/"] {
            server
                .get(&format!("{mount}{path}"))
                .send()
                .await
                .rejects_key(404, "Not found");
        }
    }
}

async fn store_that_fails_is_never_a_bad_key(server: TestServer) {
    server.stop_caching().await;
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    server
        .database
        .execute("ALTER TABLE issued_keys RENAME TO gone")
        .await;
    for key in [&token, &issued.key] {
        for path in ["/key", "/api/v1/key", "/keys"] {
            let answer = server.get(path).bearer(key).send().await;
            answer.rejects_key(500, "Internal server error");
        }
    }
    server
        .database
        .execute("ALTER TABLE gone RENAME TO issued_keys")
        .await;
    assert_eq!(
        server.get("/key").bearer(&issued.key).send().await.status,
        200
    );
    server.store.close().await;
    for key in [&token, &issued.key] {
        for path in ["/key", "/api/v1/key", "/keys"] {
            let answer = server.get(path).bearer(key).send().await;
            answer.rejects_key(503, "Service unavailable");
        }
        for result in over_grpc(&server, Some(key), &issued.hash).await {
            rejected(result)
                .is(Code::Unavailable, "UNAVAILABLE", "Service unavailable")
                .alone();
        }
    }
    // A typo is detected without the store.
    let typo = format!("{}x", issued.key);
    server
        .get("/key")
        .bearer(&typo)
        .send()
        .await
        .rejects_key(401, INVALID);
}

async fn token_in_the_query_or_the_body_is_ignored(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for path in [
        format!("/keys?key={token}"),
        format!("/key?api_key={token}&token={token}"),
    ] {
        server.get(&path).send().await.rejects_key(401, NO_HEADER);
    }
    let body: Value = json!({ "name": "n", "key": token, "token": token });
    server
        .post("/keys")
        .json(&body)
        .send()
        .await
        .rejects_key(401, NO_HEADER);
    let call = server.get("/keys").header("x-api-key", &token);
    call.send().await.rejects_key(401, NO_HEADER);
    let twice = server.get("/keys").bearer(&token).bearer(&token);
    twice.send().await.rejects_key(401, INVALID);
}

each_engine! {
    request_without_a_token_is_rejected
    token_of_an_unknown_principal_is_rejected
    invalid_key_is_rejected_on_every_path
    users_and_services_administer_no_issued_keys
    ordinary_key_administers_no_keys_not_even_itself
    issued_and_management_keys_are_rejected_on_other_routes
    management_key_may_do_everything_on_both_mounts
    wrong_verbs_and_unknown_paths_answer_in_the_body_of_the_keys
    store_that_fails_is_never_a_bad_key
    token_in_the_query_or_the_body_is_ignored
}
