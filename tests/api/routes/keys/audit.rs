//! Audit trail of issued and management keys, and the secrets of live keys.

use keyward::proto::v1::{CreateManagementKeyRequest, DeleteWorkspaceRequest};
use keyward_testkit::database::StoredEvent;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    CENT, ORGANIZATION, OTHER_ORGANIZATION, TestServer, User, WORKSPACE_B, charge, hold, rejected,
    sha256_hex, spans_of,
};

/// Returns the events that are not of the directory.
async fn events(server: &TestServer) -> Vec<StoredEvent> {
    let mut events = server.database.events().await;
    events.retain(|event| event.resource_kind.ends_with("_key"));
    events
}

async fn issued_key_change_is_one_event_of_its_management_key(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let before = events(&server).await.len();
    server.set_clock("2026-08-01T12:00:01Z");
    let new = json!({ "workspace_id": WORKSPACE_B, "name": "n", "limit": 1.5,
        "limit_reset": "daily", "expires_at": "2026-09-01T00:00:00Z" });
    let issued = server.issued_key(&token, new).await;
    server.set_clock("2026-08-01T12:00:02Z");
    let change = json!({ "limit": 1_000_000, "limit_reset": null, "name": "m", "disabled": true });
    server.change_key(&token, &issued.hash, change).await;
    server.set_clock("2026-08-01T12:00:03Z");
    let call = server
        .delete(&format!("/keys/{}", issued.hash))
        .bearer(&token);
    let answer = call.header("x-request-id", "request-7").send().await;
    assert_eq!(answer.status, 200);

    let events = events(&server).await.split_off(before);
    let actions: Vec<_> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "issued_key.create",
            "issued_key.update",
            "issued_key.delete"
        ]
    );
    let details: Vec<Value> = events
        .iter()
        .map(|event| serde_json::from_str(&event.details).unwrap())
        .collect();
    assert_eq!(
        details[0],
        json!({
            "name.new": "n", "limit.new": "1.5", "limit_reset.new": "daily", "disabled.new": "false",
            "include_byok_in_limit.new": "false", "expires_at.new": "2026-09-01T00:00:00.000Z",
        })
    );
    assert_eq!(
        details[1],
        json!({
            "fields": "name,disabled,limit,limit_reset",
            "name.old": "n", "name.new": "m", "limit.old": "1.5", "limit.new": "1000000",
            "limit_reset.old": "daily", "disabled.old": "false", "disabled.new": "true",
        })
    );
    assert_eq!(details[2], json!({}));
    for event in &events {
        assert_eq!(
            (event.actor_kind.as_str(), event.actor_id.as_str()),
            ("management_key", sha256_hex(&token).as_str())
        );
        assert_eq!(
            (event.resource_kind.as_str(), event.resource_id.as_str()),
            ("issued_key", issued.hash.as_str())
        );
        assert_eq!(event.organization_id.as_deref(), Some(ORGANIZATION));
        assert_eq!(event.workspace_id.as_deref(), Some(WORKSPACE_B));
        assert_eq!(event.source.as_deref(), Some("127.0.0.1"));
        let shown = format!("{event:?}");
        assert!(
            !shown.contains(&issued.key) && !shown.contains(&token),
            "{shown}"
        );
    }
    assert_eq!(events[2].request_id, "request-7");
}

async fn management_key_creation_and_revocation_leave_events(server: TestServer) {
    let request = CreateManagementKeyRequest {
        organization_id: ORGANIZATION.to_owned(),
        name: "n".to_owned(),
    };
    let mut owner = server.management_keys(&server.token(User::Owner));
    let created = owner
        .create_management_key(request)
        .await
        .unwrap()
        .into_inner();
    server.advance_seconds(1);
    server.revoke_management_key(&created.key).await;
    let events = events(&server).await;
    let returned: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.action.as_str(),
                event.actor_kind.as_str(),
                event.actor_id.as_str(),
            )
        })
        .collect();
    assert_eq!(
        returned,
        [
            ("management_key.create", "user", "owner"),
            ("management_key.revoke", "service", "ai-gateway"),
        ]
    );
    for (event, details) in events.into_iter().zip([r#"{"name.new":"n"}"#, "{}"]) {
        assert_eq!(
            (event.resource_kind.as_str(), event.resource_id.as_str()),
            ("management_key", sha256_hex(&created.key).as_str())
        );
        assert_eq!(event.organization_id.as_deref(), Some(ORGANIZATION));
        assert_eq!(
            (event.workspace_id, event.details.as_str()),
            (None, details)
        );
    }
}

async fn rejections_and_reads_leave_no_event(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let other = server.management_key(OTHER_ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({ "limit": 1 })).await;
    let before = events(&server).await;
    let one = format!("/keys/{}", issued.hash);
    let change = json!({ "name": "m" });
    let elsewhere = json!({ "name": "n", "workspace_id": "none" });
    for call in [
        server
            .post("/keys")
            .bearer(&token)
            .json(&json!({ "name": "" })),
        server
            .post("/keys")
            .bearer(&token)
            .json(&json!({ "name": "n", "limit": -1 })),
        server.post("/keys").bearer(&token).json(&elsewhere),
        server.post("/keys").bearer(&issued.key).json(&change),
        server.patch(&one).bearer(&other).json(&change),
        server.patch(&one).bearer(&issued.key).json(&change),
        server
            .patch(&one)
            .bearer(&token)
            .json(&json!({ "limit": -1 })),
        server.delete(&one).bearer(&other),
        server.delete(&one).bearer(&server.token(User::Owner)),
        server.delete("/keys/none").bearer(&token),
        server.delete(&one),
    ] {
        let answer = call.send().await;
        assert!(answer.status >= 400, "{}", answer.body);
    }
    server.change_key(&token, &issued.hash, json!({})).await;
    server.key(&token, &issued.hash).await;
    server.get("/keys").bearer(&token).send().await;
    server.get("/key").bearer(&issued.key).send().await;
    server.verify(&issued.key).await;
    // The ledger serves as its own audit trail.
    server
        .record(charge(&issued.hash, "r", CENT))
        .await
        .unwrap();
    let reservation = server.reserved(hold(&issued.hash, "h", CENT)).await;
    server.settle(&reservation, CENT).await.unwrap();
    assert_eq!(events(&server).await, before);
}

async fn no_span_has_a_plaintext(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let id = |what: &str| format!("{what}-{:?}-{}", server.engine, server.address.port());
    let create = server
        .post("/keys")
        .bearer(&token)
        .json(&json!({ "name": "n" }));
    let answer = create.header("x-request-id", &id("create")).send().await;
    let key = answer.json()["key"].as_str().unwrap().to_owned();
    // Also in the wrong position.
    let path = format!("/keys/{key}?workspace_id={key}");
    for (what, call) in [
        ("get", server.get(&path).bearer(&token)),
        ("current", server.get("/key").bearer(&key)),
        ("denied", server.get(&path).bearer(&key)),
        ("bad", server.get(&path).bearer(&format!("{key}0"))),
    ] {
        let answer = call.header("x-request-id", &id(what)).send().await;
        assert!(!format!("{answer:?}").contains(&key[9..73]), "{answer:?}");
    }
    for what in ["create", "get", "current", "denied", "bad"] {
        let spans = spans_of(&id(what));
        assert_eq!(spans.len(), 1, "{what}");
        let shown = format!("{spans:?}");
        assert!(
            !shown.contains(&key[9..73]) && !shown.contains(&token[9..73]),
            "{shown}"
        );
    }
}

async fn workspace_with_live_issued_keys_is_not_deleted(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server
        .issued_key(&token, json!({ "workspace_id": WORKSPACE_B }))
        .await;
    server
        .change_key(&token, &issued.hash, json!({ "disabled": true }))
        .await;
    let mut directory = server.directory(&server.service_token());
    let request = DeleteWorkspaceRequest {
        workspace_id: WORKSPACE_B.to_owned(),
    };
    let message = "Workspace still has issued keys";
    rejected(directory.delete_workspace(request.clone()).await)
        .is(Code::FailedPrecondition, "NOT_EMPTY", message)
        .preconditions(&[("NOT_EMPTY", "issued keys", message)]);
    assert_eq!(
        server.key(&token, &issued.hash).await["workspace_id"],
        WORKSPACE_B
    );
    server.delete_key(&token, &issued.hash).await;
    directory.delete_workspace(request).await.unwrap();
}

each_engine! {
    issued_key_change_is_one_event_of_its_management_key
    management_key_creation_and_revocation_leave_events
    rejections_and_reads_leave_no_event
    no_span_has_a_plaintext
    workspace_with_live_issued_keys_is_not_deleted
}
