//! GET /keys/{hash} and GetKey.

use keyward::proto::v1::GetKeyRequest;
use serde_json::json;
use tonic::Code;

use crate::support::{
    KEY_NOT_FOUND, MOUNTS, ORGANIZATION, OTHER_ORGANIZATION, TestServer, WORKSPACE_B, rejected,
    sha256_hex,
};

async fn key_is_shown_as_it_was_created(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let body = json!({ "name": "n", "limit": 3, "workspace_id": WORKSPACE_B });
    let created = server
        .post("/keys")
        .bearer(&token)
        .json(&body)
        .send()
        .await
        .json();
    let hash = created["data"]["hash"].as_str().unwrap();
    for mount in MOUNTS {
        let answer = server
            .get(&format!("{mount}/keys/{hash}"))
            .bearer(&token)
            .send()
            .await;
        let text = json!({ "data": created["data"] });
        assert_eq!((answer.status, answer.json()), (200, text));
    }
    let request = GetKeyRequest {
        hash: hash.to_owned(),
    };
    let key = server
        .management_keys(&token)
        .get_key(request)
        .await
        .unwrap()
        .into_inner();
    let key = key.data.unwrap();
    assert_eq!(
        (key.hash.as_str(), key.limit_remaining_nanos),
        (hash, Some(3_000_000_000))
    );
    assert_eq!((key.usage_nanos, key.byok_usage_nanos), (0, 0));
    assert_eq!(key.workspace_id, WORKSPACE_B);
}

async fn disabled_or_expired_key_is_shown(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let soon = json!({ "expires_at": "2026-08-01T12:00:01Z" });
    let issued = server.issued_key(&token, soon).await;
    server.advance_seconds(1);
    let changed = server
        .change_key(&token, &issued.hash, json!({ "disabled": true }))
        .await;
    assert_eq!(server.key(&token, &issued.hash).await, changed);
    assert_eq!(changed["disabled"], true);
}

async fn hash_without_a_key_of_the_organization_is_not_found(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let other = server.management_key(OTHER_ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    let foreign = server.issued_key(&other, json!({})).await;
    let deleted = server.issued_key(&token, json!({})).await;
    server.delete_key(&token, &deleted.hash).await;
    for hash in [
        foreign.hash.clone(),
        deleted.hash,
        sha256_hex("nothing"),
        // Management keys are not issued keys.
        sha256_hex(&token),
        issued.hash.to_ascii_uppercase(),
        issued.hash[..63].to_owned(),
        format!("{}0", issued.hash),
        "g".repeat(64),
        "none".to_owned(),
        // A plaintext does not identify its key.
        issued.key.clone(),
    ] {
        for mount in MOUNTS {
            let path = format!("{mount}/keys/{hash}");
            let answer = server.get(&path).bearer(&token).send().await;
            answer.rejects_key(404, KEY_NOT_FOUND);
            assert!(!answer.body.contains(&hash));
        }
        let request = GetKeyRequest { hash: hash.clone() };
        rejected(server.management_keys(&token).get_key(request).await)
            .is(Code::NotFound, "API_KEY_NOT_FOUND", KEY_NOT_FOUND)
            .alone()
            .hides(&[&hash]);
    }
    // Without a hash the path is different, or the message lacks its field.
    let request = GetKeyRequest::default();
    rejected(server.management_keys(&token).get_key(request).await).is(
        Code::NotFound,
        "API_KEY_NOT_FOUND",
        KEY_NOT_FOUND,
    );
    assert_eq!(server.get("/keys/").bearer(&token).send().await.status, 404);
    assert_eq!(
        server.key(&other, &foreign.hash).await["hash"],
        foreign.hash
    );
}

each_engine! {
    key_is_shown_as_it_was_created
    disabled_or_expired_key_is_shown
    hash_without_a_key_of_the_organization_is_not_found
}
