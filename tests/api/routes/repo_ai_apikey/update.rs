//! PUT /repo/{repoId}/ai/apikey/{apikeyId} and UpdateRepoAiKey.

use std::time::Duration;

use keyward::proto::v1::{AiType, UpdateRepoAiKeyRequest};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    NO_SUCH_ID, REPO_A, REPO_AI_KEY_EVENTS, TestServer, User, WORKSPACE_A, WORKSPACE_B, rejected,
    repo_ai_key_path,
};

const UPDATED: &str = r#"{"success":true,"message":"API key updated successfully"}"#;
const DUPLICATE: &str = "API key with this name already exists";
const NOT_FOUND: &str = "API key not found";

async fn put(server: &TestServer, id: &str, body: &Value) {
    let call = server.put(&repo_ai_key_path(REPO_A, id));
    let answer = call
        .bearer(&server.token(User::WriterInA))
        .json(body)
        .send();
    answer.await.is(200, UPDATED);
}

fn rename(repo: &str, id: &str, name: Option<&str>) -> UpdateRepoAiKeyRequest {
    UpdateRepoAiKeyRequest {
        repo_id: repo.to_owned(),
        apikey_id: id.to_owned(),
        name: name.map(str::to_owned),
    }
}

/// Expects that REST and gRPC reject a renaming by the owner with not found.
async fn is_not_found(server: &TestServer, repo: &str, id: &str) {
    let token = server.token(User::Owner);
    for name in [Some("renamed"), None] {
        let call = server.put(&repo_ai_key_path(repo, id)).bearer(&token);
        let answer = call.json(&json!({ "name": name })).send().await;
        answer.rejects(404, NOT_FOUND);
        let mut client = server.repo_ai_keys(&token);
        rejected(client.update_repo_ai_key(rename(repo, id, name)).await)
            .is(Code::NotFound, "API_KEY_NOT_FOUND", NOT_FOUND)
            .alone();
    }
}

async fn name_changes_and_nothing_else(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "before").await;
    let mut expected = server.list_repo_ai_keys(REPO_A).await;
    server.clock.advance(Duration::from_secs(1));
    put(&server, &created.id, &json!({ "name": "after" })).await;
    expected[0]["name"] = json!("after");
    assert_eq!(server.list_repo_ai_keys(REPO_A).await, expected);

    let mut client = server.repo_ai_keys(&server.token(User::WriterInA));
    let request = rename(REPO_A, &created.id, Some("at last"));
    let updated = client
        .update_repo_ai_key(request)
        .await
        .unwrap()
        .into_inner();
    assert!(updated.success);
    assert_eq!(updated.message, "API key updated successfully");
    expected[0]["name"] = json!("at last");
    assert_eq!(server.list_repo_ai_keys(REPO_A).await, expected);
    assert!(server.is_live(&created).await);
}

async fn without_a_name_nothing_changes(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "before").await;
    let before = server.list_repo_ai_keys(REPO_A).await;
    for body in [json!({}), json!({ "name": null })] {
        put(&server, &created.id, &body).await;
    }
    let token = server.token(User::WriterInA);
    let path = repo_ai_key_path(REPO_A, &created.id);
    server
        .put(&path)
        .bearer(&token)
        .send()
        .await
        .is(200, UPDATED);
    let mut client = server.repo_ai_keys(&token);
    let updated = client
        .update_repo_ai_key(rename(REPO_A, &created.id, None))
        .await;
    assert!(updated.unwrap().into_inner().success);
    assert_eq!(server.list_repo_ai_keys(REPO_A).await, before);
}

async fn key_secret_and_type_cannot_change(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "before").await;
    let other = server.create_repo_ai_key(REPO_A, "other").await;
    let before = server.list_repo_ai_keys(REPO_A).await;
    for (member, value) in [
        ("key", json!(other.key)),
        ("secret", json!(other.secret)),
        ("aiType", json!("GOOGLE")),
        ("id", json!(other.id)),
        ("createdAt", json!([])),
        ("deletedAt", json!(1)),
    ] {
        let call = server.put(&repo_ai_key_path(REPO_A, &created.id));
        let call = call.bearer(&server.token(User::WriterInA));
        let answer = call.json(&json!({ member: value })).send().await;
        answer.rejects(400, &format!("`{member}` is not a known member"));
    }
    assert_eq!(server.list_repo_ai_keys(REPO_A).await, before);
    let verified = server
        .verify_repo_ai_key(&created.key, &created.secret)
        .await;
    assert_eq!(
        (&verified.id, verified.ai_type()),
        (&created.id, AiType::Openai)
    );
    assert!(server.is_live(&other).await);
}

async fn path_wins_over_the_body(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "before").await;
    let other = server.create_repo_ai_key(REPO_A, "other").await;
    put(
        &server,
        &created.id,
        &json!({ "apikeyId": other.id, "name": "after" }),
    )
    .await;
    for key in server.list_repo_ai_keys(REPO_A).await {
        assert_eq!(key["name"] == "after", key["id"] == created.id, "{key}");
    }
}

async fn rename_to_the_own_name_passes_to_another_is_rejected(server: TestServer) {
    server.add_repo(WORKSPACE_A, "repo-other").await;
    let created = server.create_repo_ai_key(REPO_A, "own").await;
    server.create_repo_ai_key(REPO_A, "taken").await;
    let deleted = server.create_repo_ai_key(REPO_A, "deleted").await;
    server.delete_repo_ai_key(REPO_A, &deleted.id).await;
    server.create_repo_ai_key("repo-other", "elsewhere").await;

    put(&server, &created.id, &json!({ "name": "own" })).await;
    let token = server.token(User::WriterInA);
    let call = server
        .put(&repo_ai_key_path(REPO_A, &created.id))
        .bearer(&token);
    call.json(&json!({ "name": "taken" }))
        .send()
        .await
        .rejects(400, DUPLICATE);
    let mut client = server.repo_ai_keys(&token);
    rejected(
        client
            .update_repo_ai_key(rename(REPO_A, &created.id, Some("taken")))
            .await,
    )
    .is(Code::AlreadyExists, "NAME_ALREADY_EXISTS", DUPLICATE)
    .alone();
    let names: Vec<_> = server.list_repo_ai_keys(REPO_A).await;
    assert!(names.iter().any(|key| key["name"] == "own"));
    for name in ["deleted", "elsewhere"] {
        put(&server, &created.id, &json!({ "name": name })).await;
    }
}

async fn unfit_name_is_named(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "before").await;
    let (token, path) = (
        server.token(User::WriterInA),
        repo_ai_key_path(REPO_A, &created.id),
    );
    let mut client = server.repo_ai_keys(&token);
    for (name, reason, message) in [
        (String::new(), "FIELD_REQUIRED", "Name is required"),
        (
            "n".repeat(256),
            "FIELD_INVALID",
            "Name must have at most 255 bytes",
        ),
        (
            "a\tb".to_owned(),
            "FIELD_INVALID",
            "Name must not have control characters",
        ),
    ] {
        let call = server
            .put(&path)
            .bearer(&token)
            .json(&json!({ "name": name }));
        call.send().await.rejects(400, message);
        rejected(
            client
                .update_repo_ai_key(rename(REPO_A, &created.id, Some(&name)))
                .await,
        )
        .is(Code::InvalidArgument, reason, message)
        .fields(&[("name", message)]);
    }
    for name in [
        json!(4711),
        json!(["canary"]),
        json!({ "canary": 1 }),
        json!(false),
    ] {
        let call = server
            .put(&path)
            .bearer(&token)
            .json(&json!({ "name": name }));
        call.send().await.rejects(400, "`name` must be a string");
    }
    assert_eq!(server.list_repo_ai_keys(REPO_A).await[0]["name"], "before");
}

async fn id_that_is_unknown_or_none_is_not_found(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "before").await;
    let plain = created.id.replace('-', "");
    for id in [NO_SUCH_ID, "not-a-uuid", "42", &created.key, &plain] {
        is_not_found(&server, REPO_A, id).await;
    }
    let mut client = server.repo_ai_keys(&server.token(User::Owner));
    rejected(
        client
            .update_repo_ai_key(rename(REPO_A, "", Some("renamed")))
            .await,
    )
    .is(Code::NotFound, "API_KEY_NOT_FOUND", NOT_FOUND)
    .alone();
}

async fn key_of_another_repo_is_not_found(server: TestServer) {
    server.add_repo(WORKSPACE_A, "repo-other").await;
    server.add_repo(WORKSPACE_B, "repo-b").await;
    let in_other = server.create_repo_ai_key("repo-other", "before").await;
    let in_b = server.create_repo_ai_key("repo-b", "before").await;
    for id in [&in_other.id, &in_b.id] {
        is_not_found(&server, REPO_A, id).await;
    }
    for repo in ["repo-other", "repo-b"] {
        assert_eq!(server.list_repo_ai_keys(repo).await[0]["name"], "before");
    }
}

async fn deleted_key_is_not_found(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "before").await;
    server.delete_repo_ai_key(REPO_A, &created.id).await;
    is_not_found(&server, REPO_A, &created.id).await;
    let renamed = "repo_ai_keys WHERE name <> 'before'";
    assert_eq!(server.database.count(renamed).await, 0);
}

async fn id_may_be_written_in_upper_case(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "before").await;
    put(
        &server,
        &created.id.to_ascii_uppercase(),
        &json!({ "name": "after" }),
    )
    .await;
    assert_eq!(server.list_repo_ai_keys(REPO_A).await[0]["name"], "after");
}

async fn renaming_is_audited_once_and_what_changes_nothing_is_not(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "before").await;
    let token = server.token(User::WriterInA);
    let path = repo_ai_key_path(REPO_A, &created.id);
    let call = server
        .put(&path)
        .bearer(&token)
        .header("x-request-id", "update-1");
    call.json(&json!({ "name": "canary-4711" }))
        .send()
        .await
        .is(200, UPDATED);
    let events = server.database.events().await;
    let events: Vec<_> = events
        .iter()
        .filter(|e| e.action == "repo_ai_key.update")
        .collect();
    let [event] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(event.resource_kind, "repo_ai_key");
    assert_eq!(
        (&event.resource_id, event.request_id.as_str()),
        (&created.id, "update-1")
    );
    assert_eq!(
        (event.actor_kind.as_str(), event.actor_id.as_str()),
        ("user", "writer-in-a")
    );
    assert_eq!(event.organization_id.as_deref(), Some("org-1"));
    assert_eq!(event.workspace_id.as_deref(), Some(WORKSPACE_A));
    let details: serde_json::Value = serde_json::from_str(&event.details).unwrap();
    assert_eq!(
        details,
        json!({
            "fields": "name", "repo_id": "repo-a", "name.old": "before", "name.new": "canary-4711",
        })
    );

    server.create_repo_ai_key(REPO_A, "taken").await;
    let before = server.database.count(REPO_AI_KEY_EVENTS).await;
    for (path, body, status) in [
        (path.as_str(), json!({}), 200),
        (path.as_str(), json!({ "name": "taken" }), 400),
        (path.as_str(), json!({ "name": "" }), 400),
        (
            &repo_ai_key_path(REPO_A, NO_SUCH_ID),
            json!({ "name": "n" }),
            404,
        ),
        (
            &repo_ai_key_path("none", &created.id),
            json!({ "name": "n" }),
            403,
        ),
    ] {
        let answer = server.put(path).bearer(&token).json(&body).send().await;
        assert_eq!(answer.status, status);
    }
    assert_eq!(server.database.count(REPO_AI_KEY_EVENTS).await, before);
}

each_engine! {
    name_changes_and_nothing_else
    without_a_name_nothing_changes
    key_secret_and_type_cannot_change
    path_wins_over_the_body
    rename_to_the_own_name_passes_to_another_is_rejected
    unfit_name_is_named
    id_that_is_unknown_or_none_is_not_found
    key_of_another_repo_is_not_found
    deleted_key_is_not_found
    id_may_be_written_in_upper_case
    renaming_is_audited_once_and_what_changes_nothing_is_not
}
