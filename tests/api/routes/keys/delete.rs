//! DELETE /keys/{hash} and DeleteKey.

use keyward::proto::v1::{DeleteKeyRequest, DeleteWorkspaceRequest, KeyVerdict};
use serde_json::json;
use tonic::Code;

use crate::support::{
    CENT, DOLLAR, KEY_NOT_FOUND, MOUNTS, ORGANIZATION, OTHER_ORGANIZATION, TestServer, WORKSPACE_B,
    charge, hold, rejected, sha256_hex,
};

async fn deleted_key_is_not_found_again(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for mount in MOUNTS {
        let issued = server.issued_key(&token, json!({})).await;
        let path = format!("{mount}/keys/{}", issued.hash);
        server
            .delete(&path)
            .bearer(&token)
            .send()
            .await
            .is(200, r#"{"deleted":true}"#);
        for call in [
            server.delete(&path),
            server.get(&path),
            server.patch(&path).json(&json!({ "disabled": false })),
        ] {
            call.bearer(&token)
                .send()
                .await
                .rejects_key(404, KEY_NOT_FOUND);
        }
    }
    let issued = server.issued_key(&token, json!({})).await;
    let mut client = server.management_keys(&token);
    let request = DeleteKeyRequest { hash: issued.hash };
    assert!(
        client
            .delete_key(request.clone())
            .await
            .unwrap()
            .into_inner()
            .deleted
    );
    rejected(client.delete_key(request).await)
        .is(Code::NotFound, "API_KEY_NOT_FOUND", KEY_NOT_FOUND)
        .alone();
}

async fn deleted_key_stops_working_at_once(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    assert_eq!(
        server.get("/key").bearer(&issued.key).send().await.status,
        200
    );
    assert_eq!(server.verdict(&issued.key).await, KeyVerdict::Valid);
    server.delete_key(&token, &issued.hash).await;
    server
        .get("/key")
        .bearer(&issued.key)
        .send()
        .await
        .rejects_key(401, "Invalid token");
    let verified = server.verify(&issued.key).await;
    assert_eq!(
        (verified.verdict(), verified.hash.as_str()),
        (KeyVerdict::NotFound, "")
    );
    rejected(server.reserve(hold(&issued.hash, "r", CENT)).await)
        .is(Code::NotFound, "API_KEY_NOT_FOUND", KEY_NOT_FOUND)
        .alone();
}

async fn spending_of_a_deleted_key_stays_recorded(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({ "limit": 1 })).await;
    server
        .record(charge(&issued.hash, "before", 30 * CENT))
        .await
        .unwrap();
    server.delete_key(&token, &issued.hash).await;
    let recorded = server
        .record(charge(&issued.hash, "after", 30 * CENT))
        .await
        .unwrap();
    assert_eq!(
        (recorded.duplicate, recorded.limit_remaining_nanos),
        (false, Some(40 * CENT))
    );
    let again = server
        .record(charge(&issued.hash, "after", 30 * CENT))
        .await
        .unwrap();
    assert_eq!(
        (again.duplicate, again.limit_remaining_nanos),
        (true, Some(40 * CENT))
    );
    assert_eq!(server.database.count("charges").await, 2);
    let sum = format!("issued_keys WHERE usage_nanos = {}", 60 * CENT);
    assert_eq!(server.database.count(&sum).await, 1);
}

async fn hold_of_a_deleted_key_can_be_settled_and_released(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({ "limit": 1 })).await;
    let settled = server
        .reserved(hold(&issued.hash, "settled", 20 * CENT))
        .await;
    let released = server
        .reserved(hold(&issued.hash, "released", 20 * CENT))
        .await;
    server.delete_key(&token, &issued.hash).await;
    let answer = server.settle(&settled, 30 * CENT).await.unwrap();
    assert_eq!(
        (answer.duplicate, answer.limit_remaining_nanos),
        (false, Some(70 * CENT))
    );
    server.release(&released).await.unwrap();
    let charged = "charges WHERE request_id = 'settled' AND amount_nanos =";
    assert_eq!(
        server
            .database
            .count(&format!("{charged} {}", 30 * CENT))
            .await,
        1
    );
}

async fn charges_are_recorded_after_the_workspace_is_deleted(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server
        .issued_key(&token, json!({ "workspace_id": WORKSPACE_B }))
        .await;
    let reservation = server.reserved(hold(&issued.hash, "held", CENT)).await;
    server.delete_key(&token, &issued.hash).await;
    let request = DeleteWorkspaceRequest {
        workspace_id: WORKSPACE_B.to_owned(),
    };
    server
        .directory(&server.service_token())
        .delete_workspace(request)
        .await
        .unwrap();
    assert!(
        !server
            .record(charge(&issued.hash, "late", DOLLAR))
            .await
            .unwrap()
            .duplicate
    );
    assert!(!server.settle(&reservation, DOLLAR).await.unwrap().duplicate);
    assert_eq!(server.database.count("charges").await, 2);
}

async fn hash_without_a_key_of_the_organization_is_not_found(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let other = server.management_key(OTHER_ORGANIZATION).await;
    let foreign = server.issued_key(&other, json!({})).await;
    for hash in [
        &foreign.hash,
        &sha256_hex("x"),
        &sha256_hex(&token),
        &"none".to_owned(),
    ] {
        for mount in MOUNTS {
            let call = server
                .delete(&format!("{mount}/keys/{hash}"))
                .bearer(&token);
            call.send().await.rejects_key(404, KEY_NOT_FOUND);
        }
        let request = DeleteKeyRequest { hash: hash.clone() };
        rejected(server.management_keys(&token).delete_key(request).await)
            .is(Code::NotFound, "API_KEY_NOT_FOUND", KEY_NOT_FOUND)
            .alone();
    }
    assert_eq!(server.verdict(&foreign.key).await, KeyVerdict::Valid);
    assert_eq!(server.get("/key").bearer(&token).send().await.status, 200);
}

each_engine! {
    deleted_key_is_not_found_again
    deleted_key_stops_working_at_once
    spending_of_a_deleted_key_stays_recorded
    hold_of_a_deleted_key_can_be_settled_and_released
    charges_are_recorded_after_the_workspace_is_deleted
    hash_without_a_key_of_the_organization_is_not_found
}
