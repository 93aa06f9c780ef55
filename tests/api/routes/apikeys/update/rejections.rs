//! PUT /apikeys/{uuid} and UpdateApiKey: rejections, which change nothing.

use keyward::proto::v1::UpdateApiKeyRequest;
use serde_json::json;
use tonic::Code;

use crate::support::{DENIED, Setup, TestServer, User, WORKSPACE_A, WORKSPACE_B, rejected};

const DUPLICATE: &str = "API key with these credentials already exists";
const NOT_FOUND: &str = "API key not found";
/// UUID of no key.
const NOBODY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn key_in(server: &TestServer, workspace: &str, key: &str) -> String {
    let body = json!({ "workspaceId": workspace, "key": key, "secret": "s", "provider": "AWS" });
    server.create(body).await
}

fn request(uuid: &str) -> UpdateApiKeyRequest {
    UpdateApiKeyRequest {
        uuid: uuid.to_owned(),
        ..Default::default()
    }
}

async fn update_into_a_duplicate_is_rejected(server: TestServer) {
    let id = key_in(&server, WORKSPACE_A, "k1").await;
    key_in(&server, WORKSPACE_A, "k2").await;
    let before = server.list(WORKSPACE_A).await;
    let token = server.token(User::WriterInA);
    let path = format!("/apikeys/{id}");
    for body in [
        json!({ "key": "k2" }),
        json!({ "key": "k2", "secret": "s" }),
    ] {
        let answer = server.put(&path).bearer(&token).json(&body).send().await;
        answer.rejects(400, DUPLICATE);
    }
    let duplicate = UpdateApiKeyRequest {
        key: Some("k2".to_owned()),
        ..request(&id)
    };
    rejected(server.api_keys(&token).update_api_key(duplicate).await)
        .is(Code::AlreadyExists, "API_KEY_ALREADY_EXISTS", DUPLICATE)
        .alone();
    assert_eq!(server.list(WORKSPACE_A).await, before);
}

async fn changed_destination_without_the_secret_is_rejected_if_set_so(setup: Setup) {
    let server = Setup {
        endpoint_change_needs_secret: true,
        ..setup
    }
    .start()
    .await;
    let new = json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS", "endpoint": "e",
    });
    let id = server.create(new).await;
    let before = server.list(WORKSPACE_A).await;
    let events = server.database.events().await;
    let token = server.token(User::WriterInA);
    let path = format!("/apikeys/{id}");
    for (body, field, label) in [
        (json!({ "endpoint": "f" }), "endpoint", "Endpoint"),
        (
            json!({ "endpoint": "", "region": "r" }),
            "endpoint",
            "Endpoint",
        ),
        (json!({ "provider": "OPENAI" }), "provider", "Provider"),
    ] {
        let message = format!("{label} can be changed only together with the secret");
        let answer = server.put(&path).bearer(&token).json(&body).send().await;
        answer.rejects(400, &message);
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let call = UpdateApiKeyRequest {
            endpoint: text("endpoint"),
            provider: text("provider"),
            region: text("region"),
            ..request(&id)
        };
        rejected(server.api_keys(&token).update_api_key(call).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", &message)
            .fields(&[(field, &message)]);
    }
    assert_eq!(server.list(WORKSPACE_A).await, before);
    assert_eq!(server.database.events().await, events);

    // Unchanged values, and values sent with the secret, are accepted.
    for body in [
        json!({ "endpoint": "e", "provider": "AWS", "region": "r" }),
        json!({ "endpoint": "f", "provider": "OPENAI", "secret": "s" }),
    ] {
        let answer = server.put(&path).bearer(&token).json(&body).send().await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(server.list(WORKSPACE_A).await[0]["endpoint"], "f");
}

async fn empty_credential_field_is_rejected(server: TestServer) {
    let id = key_in(&server, WORKSPACE_A, "k").await;
    let token = server.token(User::WriterInA);
    let path = format!("/apikeys/{id}");
    for (field, message) in [
        ("key", "Key is required"),
        ("secret", "Secret is required"),
        ("provider", "Provider is required"),
    ] {
        let body = json!({ field: "", "description": "changed" });
        let answer = server.put(&path).bearer(&token).json(&body).send().await;
        answer.rejects(400, message);
    }
    let empty = UpdateApiKeyRequest {
        secret: Some(String::new()),
        ..request(&id)
    };
    rejected(server.api_keys(&token).update_api_key(empty).await)
        .is(
            Code::InvalidArgument,
            "FIELD_REQUIRED",
            "Secret is required",
        )
        .fields(&[("secret", "Secret is required")]);
    assert!(
        server.list(WORKSPACE_A).await[0]
            .get("description")
            .is_none()
    );
}

async fn unregistered_provider_is_rejected(server: TestServer) {
    let id = key_in(&server, WORKSPACE_A, "k").await;
    let token = server.token(User::WriterInA);
    let answer = server.put(&format!("/apikeys/{id}")).bearer(&token);
    let answer = answer.json(&json!({ "provider": "NOPE" })).send().await;
    answer.rejects(400, "Unsupported provider");
    let unsupported = UpdateApiKeyRequest {
        provider: Some("NOPE".to_owned()),
        ..request(&id)
    };
    rejected(server.api_keys(&token).update_api_key(unsupported).await)
        .is(
            Code::InvalidArgument,
            "FIELD_INVALID",
            "Unsupported provider",
        )
        .fields(&[("provider", "Unsupported provider")]);
}

async fn member_of_the_wrong_type_is_named_without_its_value(server: TestServer) {
    let id = key_in(&server, WORKSPACE_A, "k").await;
    let token = server.token(User::WriterInA);
    for field in ["key", "secret", "provider", "endpoint", "region", "uuid"] {
        let body = json!({ field: 4711 });
        let answer = server
            .put(&format!("/apikeys/{id}"))
            .bearer(&token)
            .json(&body)
            .send();
        answer
            .await
            .rejects(400, &format!("`{field}` must be a string"));
    }
}

async fn uuid_that_is_unknown_or_none_is_not_found(server: TestServer) {
    let token = server.token(User::WriterInA);
    let body = json!({ "description": "d" });
    for id in [NOBODY, "not-a-uuid", "42", "%F0%9F%94%91"] {
        let answer = server
            .put(&format!("/apikeys/{id}"))
            .bearer(&token)
            .json(&body)
            .send();
        answer.await.rejects(404, NOT_FOUND);
    }
    for id in [NOBODY, "not-a-uuid", ""] {
        let result = server.api_keys(&token).update_api_key(request(id)).await;
        rejected(result)
            .is(Code::NotFound, "API_KEY_NOT_FOUND", NOT_FOUND)
            .alone();
    }
}

async fn key_in_a_workspace_that_the_caller_cannot_write_is_rejected(server: TestServer) {
    let id = key_in(&server, WORKSPACE_A, "k").await;
    let in_b = key_in(&server, WORKSPACE_B, "k").await;
    for (user, id) in [
        (User::ReaderInA, &id),
        (User::NoAccess, &id),
        (User::Outsider, &id),
        (User::ReaderInAWriterInB, &id),
        (User::WriterInA, &in_b),
    ] {
        let token = server.token(user);
        let body = json!({ "description": "changed" });
        let answer = server
            .put(&format!("/apikeys/{id}"))
            .bearer(&token)
            .json(&body)
            .send();
        answer.await.rejects(403, DENIED);
        let result = server.api_keys(&token).update_api_key(request(id)).await;
        rejected(result)
            .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
            .alone();
    }
    for workspace in [WORKSPACE_A, WORKSPACE_B] {
        assert!(server.list(workspace).await[0].get("description").is_none());
    }
}

each_engine! {
    update_into_a_duplicate_is_rejected
    changed_destination_without_the_secret_is_rejected_if_set_so
    empty_credential_field_is_rejected
    unregistered_provider_is_rejected
    member_of_the_wrong_type_is_named_without_its_value
    uuid_that_is_unknown_or_none_is_not_found
    key_in_a_workspace_that_the_caller_cannot_write_is_rejected
}
