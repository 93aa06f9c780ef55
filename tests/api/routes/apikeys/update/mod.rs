//! PUT /apikeys/{uuid} and UpdateApiKey: successful changes.

mod rejections;

use std::time::Duration;

use keyward::proto::v1::{ResolveApiKeyRequest, ResolveApiKeyResponse, UpdateApiKeyRequest};
use serde_json::{Value, json};

use crate::support::{TestServer, User, WORKSPACE_A};

const UPDATED: &str = r#"{"success":true,"message":"API key updated successfully"}"#;

async fn full_key(server: &TestServer) -> String {
    server
        .create(json!({
            "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
            "endpoint": "e", "region": "r", "tenantId": "t", "subscriptionId": "u",
            "description": "d",
        }))
        .await
}

async fn resolve(server: &TestServer, id: &str) -> ResolveApiKeyResponse {
    let mut service = server.api_keys(&server.service_token());
    let request = ResolveApiKeyRequest {
        uuid: id.to_owned(),
    };
    service.resolve_api_key(request).await.unwrap().into_inner()
}

async fn put(server: &TestServer, id: &str, body: &Value) {
    let path = format!("/apikeys/{id}");
    let answer = server
        .put(&path)
        .bearer(&server.token(User::WriterInA))
        .json(body)
        .send()
        .await;
    answer.is(200, UPDATED);
}

async fn only_the_fields_that_are_present_change(server: TestServer) {
    let id = full_key(&server).await;
    let mut expected = server.list(WORKSPACE_A).await.remove(0);
    for (field, value) in [
        ("key", "k2"),
        ("provider", "GCP"),
        ("endpoint", "e2"),
        ("region", "r2"),
        ("tenantId", "t2"),
        ("subscriptionId", "u2"),
        ("description", "d2"),
    ] {
        server.clock.advance(Duration::from_secs(1));
        put(&server, &id, &json!({ field: value })).await;
        expected[field] = json!(value);
        assert_eq!(server.list(WORKSPACE_A).await, [expected.clone()]);
    }
    assert_eq!(resolve(&server, &id).await.secret, "s");
}

async fn update_over_grpc_has_the_same_result(server: TestServer) {
    let id = full_key(&server).await;
    let mut client = server.api_keys(&server.token(User::WriterInA));
    let request = UpdateApiKeyRequest {
        uuid: id.clone(),
        description: Some("d2".to_owned()),
        region: Some(String::new()),
        ..Default::default()
    };
    let updated = client.update_api_key(request).await.unwrap().into_inner();
    assert!(updated.success);
    assert_eq!(updated.message, "API key updated successfully");
    let key = server.list(WORKSPACE_A).await.remove(0);
    assert_eq!(
        (key["description"].as_str(), key.get("region")),
        (Some("d2"), None)
    );
    assert_eq!(key["endpoint"], "e");
}

async fn null_leaves_alone_and_an_empty_text_clears(server: TestServer) {
    let id = full_key(&server).await;
    let before = server.list(WORKSPACE_A).await;
    let nulls = json!({
        "key": null, "secret": null, "provider": null, "endpoint": null, "region": null,
        "tenantId": null, "subscriptionId": null, "description": null,
    });
    put(&server, &id, &nulls).await;
    assert_eq!(server.list(WORKSPACE_A).await, before);
    assert_eq!(resolve(&server, &id).await.secret, "s");

    let empty = json!({
        "endpoint": "", "region": "", "tenantId": "", "subscriptionId": "", "description": "",
    });
    put(&server, &id, &empty).await;
    let key = server.list(WORKSPACE_A).await.remove(0);
    let names: Vec<_> = key
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "aillm_count",
        "bucket_count",
        "createdAt",
        "id",
        "key",
        "provider",
    ];
    let mut names = names;
    names.sort_unstable();
    assert_eq!(names, expected);
}

async fn new_secret_rotates_the_credential(server: TestServer) {
    let id = full_key(&server).await;
    let before = resolve(&server, &id).await;
    put(&server, &id, &json!({ "secret": "s2" })).await;
    let after = resolve(&server, &id).await;
    assert_eq!(
        (after.secret.as_str(), after.version),
        ("s2", before.version + 1)
    );
    assert_eq!(
        ResolveApiKeyResponse {
            secret: before.secret.clone(),
            version: before.version,
            ..after
        },
        before
    );
}

async fn every_update_makes_a_new_version_and_an_empty_one_succeeds(server: TestServer) {
    let id = full_key(&server).await;
    assert_eq!(resolve(&server, &id).await.version, 1);
    let before = server.list(WORKSPACE_A).await;
    put(&server, &id, &json!({})).await;
    assert_eq!(server.list(WORKSPACE_A).await, before);
    put(&server, &id, &json!({ "description": "d2" })).await;
    put(&server, &id, &json!({ "secret": "s2" })).await;
    put(&server, &id, &json!({ "key": "k2" })).await;
    let after = resolve(&server, &id).await;
    assert_eq!((after.key.as_str(), after.secret.as_str()), ("k2", "s2"));
    assert!(after.version >= 4, "{}", after.version);

    let path = format!("/apikeys/{id}");
    let answer = server
        .put(&path)
        .bearer(&server.token(User::WriterInA))
        .send()
        .await;
    answer.is(200, UPDATED);
}

async fn path_wins_over_a_uuid_in_the_body(server: TestServer) {
    let id = full_key(&server).await;
    let other = server
        .create(json!({
            "workspaceId": WORKSPACE_A, "key": "other", "secret": "s", "provider": "AWS",
        }))
        .await;
    put(
        &server,
        &id,
        &json!({ "uuid": other, "description": "changed" }),
    )
    .await;
    for key in server.list(WORKSPACE_A).await {
        assert_eq!(key["description"] == "changed", key["id"] == id, "{key}");
    }
    // A PUT ignores the query.
    let path = format!("/apikeys/{id}?uuid={other}&description=query");
    let answer = server.put(&path).bearer(&server.token(User::WriterInA));
    let said = "`description` must be given in the body and not in the query";
    answer.json(&json!({})).send().await.rejects(400, said);
    assert!(
        server
            .list(WORKSPACE_A)
            .await
            .iter()
            .all(|key| key["description"] != "query")
    );
}

async fn unknown_member_changes_nothing_and_is_named(server: TestServer) {
    let id = full_key(&server).await;
    let (before, opened) = (server.list(WORKSPACE_A).await, resolve(&server, &id).await);
    let path = format!("/apikeys/{id}");
    for (member, message) in [
        (
            "secrt",
            "`secrt` is not a known member; did you mean `secret`?",
        ),
        (
            "Secret",
            "`Secret` is not a known member; did you mean `secret`?",
        ),
        ("workspaceId", "`workspaceId` is not a known member"),
        ("bucket_count", "`bucket_count` is not a known member"),
    ] {
        let body = json!({ "description": "changed", member: "canary" });
        let call = server
            .put(&path)
            .bearer(&server.token(User::WriterInA))
            .json(&body);
        call.send().await.rejects(400, message);
    }
    assert_eq!(server.list(WORKSPACE_A).await, before);
    assert_eq!(resolve(&server, &id).await, opened);
}

async fn uuid_may_be_written_in_upper_case(server: TestServer) {
    let id = full_key(&server).await;
    put(
        &server,
        &id.to_ascii_uppercase(),
        &json!({ "description": "d2" }),
    )
    .await;
    assert_eq!(server.list(WORKSPACE_A).await[0]["description"], "d2");
}

async fn update_to_what_the_key_is_already_is_no_duplicate(server: TestServer) {
    let id = full_key(&server).await;
    put(
        &server,
        &id,
        &json!({ "key": "k", "secret": "s", "provider": "AWS" }),
    )
    .await;
}

async fn replaced_credentials_can_be_stored_again(server: TestServer) {
    let id = full_key(&server).await;
    put(&server, &id, &json!({ "secret": "s2" })).await;
    let again = server
        .create(json!({
            "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
        }))
        .await;
    assert_ne!(again, id);
}

async fn update_is_audited_with_old_and_new_values_but_secrets(server: TestServer) {
    let id = full_key(&server).await;
    let before = server.list(WORKSPACE_A).await[0].clone();
    let path = format!("/apikeys/{id}");
    let body = json!({
        "secret": "canary-4711", "key": "canary-4712", "description": "canary-4713",
        "endpoint": "https://user:canary-4714@b.example/v2?key=canary-4715", "region": "north",
    });
    let call = server.put(&path).bearer(&server.token(User::WriterInA));
    call.header("x-request-id", "update-1")
        .json(&body)
        .send()
        .await
        .is(200, UPDATED);
    let events = server.database.events().await;
    let event = events
        .iter()
        .find(|event| event.action == "api_key.update")
        .unwrap();
    assert_eq!(
        (&event.resource_id, event.request_id.as_str()),
        (&id, "update-1")
    );
    assert_eq!(event.actor_id, "writer-in-a");
    let details: serde_json::Value = serde_json::from_str(&event.details).unwrap();
    assert_eq!(
        details,
        json!({
            "fields": "key,secret,endpoint,region,description",
            "endpoint.old": before["endpoint"], "endpoint.new": "https://b.example/v2",
            "region.old": before["region"], "region.new": "north",
        })
    );
    assert!(!format!("{events:?}").contains("canary"));
}

each_engine! {
    only_the_fields_that_are_present_change
    update_over_grpc_has_the_same_result
    null_leaves_alone_and_an_empty_text_clears
    new_secret_rotates_the_credential
    every_update_makes_a_new_version_and_an_empty_one_succeeds
    path_wins_over_a_uuid_in_the_body
    unknown_member_changes_nothing_and_is_named
    uuid_may_be_written_in_upper_case
    update_to_what_the_key_is_already_is_no_duplicate
    replaced_credentials_can_be_stored_again
    update_is_audited_with_old_and_new_values_but_secrets
}
