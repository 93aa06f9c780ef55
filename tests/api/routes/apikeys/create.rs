//! POST /apikeys and CreateApiKey.

use keyward::proto::v1::{CreateApiKeyRequest, ResolveApiKeyRequest};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{DENIED, TestServer, User, WORKSPACE_A, WORKSPACE_B, WORKSPACE_X, rejected};

const DUPLICATE: &str = "API key with these credentials already exists";

fn valid() -> Value {
    json!({ "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS" })
}

fn message() -> CreateApiKeyRequest {
    CreateApiKeyRequest {
        workspace_id: WORKSPACE_A.to_owned(),
        key: "k".to_owned(),
        secret: "s".to_owned(),
        provider: "AWS".to_owned(),
        ..Default::default()
    }
}

async fn created_key_is_answered_with_its_id(server: TestServer) {
    let token = server.token(User::WriterInA);
    let answer = server
        .post("/apikeys")
        .bearer(&token)
        .json(&valid())
        .send()
        .await;
    let id = server.list(WORKSPACE_A).await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    answer.is(201, &format!(r#"{{"success":true,"apiKeyId":"{id}"}}"#));
    assert_eq!(uuid::Uuid::try_parse(&id).unwrap().to_string(), id);

    let request = CreateApiKeyRequest {
        key: "k2".to_owned(),
        ..message()
    };
    let created = server
        .api_keys(&token)
        .create_api_key(request)
        .await
        .unwrap()
        .into_inner();
    assert!(created.success);
    assert!(
        server
            .list(WORKSPACE_A)
            .await
            .iter()
            .any(|key| key["id"] == created.api_key_id)
    );
}

async fn stored_secret_is_the_one_that_was_sent(server: TestServer) {
    let secret = "-----BEGIN KEY-----\n\u{1F511} \"quoted\"\t\u{0}\n-----END KEY-----\n";
    let id = server
        .create(json!({
            "workspaceId": WORKSPACE_A, "key": "k", "secret": secret, "provider": "GCP",
        }))
        .await;
    let mut service = server.api_keys(&server.service_token());
    let opened = service
        .resolve_api_key(ResolveApiKeyRequest { uuid: id })
        .await
        .unwrap();
    assert_eq!(opened.into_inner().secret, secret);
}

async fn provider_that_the_operator_added_is_taken(server: TestServer) {
    let mut body = valid();
    body["provider"] = json!("MINIO");
    server.create(body).await;
}

async fn nulls_and_empty_texts_are_as_if_absent(server: TestServer) {
    let mut body = valid();
    body["region"] = json!(null);
    body["endpoint"] = json!("");
    server.create(body).await;
    let key = server.list(WORKSPACE_A).await.remove(0);
    assert!(key.get("region").is_none() && key.get("endpoint").is_none());
}

async fn required_field_that_is_missing_null_or_empty_is_named(server: TestServer) {
    let token = server.token(User::WriterInA);
    for (field, message) in [
        ("workspaceId", "Workspace ID is required"),
        ("key", "Key is required"),
        ("secret", "Secret is required"),
        ("provider", "Provider is required"),
    ] {
        let mut absent = valid();
        absent.as_object_mut().unwrap().remove(field);
        let (mut null, mut empty) = (valid(), valid());
        null[field] = json!(null);
        empty[field] = json!("");
        for body in [absent, null, empty] {
            let answer = server
                .post("/apikeys")
                .bearer(&token)
                .json(&body)
                .send()
                .await;
            answer.rejects(400, message);
        }
        let mut request = self::message();
        match field {
            "workspaceId" => request.workspace_id.clear(),
            "key" => request.key.clear(),
            "secret" => request.secret.clear(),
            _ => request.provider.clear(),
        }
        rejected(server.api_keys(&token).create_api_key(request).await)
            .is(Code::InvalidArgument, "FIELD_REQUIRED", message)
            .fields(&[(field, message)]);
    }
    assert!(server.list(WORKSPACE_A).await.is_empty());
}

async fn first_of_several_missing_fields_is_named(server: TestServer) {
    let token = server.token(User::WriterInA);
    for (body, message) in [
        (json!({}), "Workspace ID is required"),
        (json!({ "workspaceId": WORKSPACE_A }), "Key is required"),
        (
            json!({ "key": "k", "provider": "AWS" }),
            "Workspace ID is required",
        ),
        (
            json!({ "workspaceId": WORKSPACE_A, "key": "k" }),
            "Secret is required",
        ),
        (
            json!({ "workspaceId": WORKSPACE_A, "key": "k", "secret": "s" }),
            "Provider is required",
        ),
        // A missing field is reported before an invalid one.
        (
            json!({ "workspaceId": WORKSPACE_A, "provider": "NOPE", "key": "k" }),
            "Secret is required",
        ),
    ] {
        let answer = server
            .post("/apikeys")
            .bearer(&token)
            .json(&body)
            .send()
            .await;
        answer.rejects(400, message);
    }
    // A missing body is an empty one.
    let answer = server.post("/apikeys").bearer(&token).send().await;
    answer.rejects(400, "Workspace ID is required");

    let result = server
        .api_keys(&token)
        .create_api_key(CreateApiKeyRequest::default())
        .await;
    rejected(result)
        .is(
            Code::InvalidArgument,
            "FIELD_REQUIRED",
            "Workspace ID is required",
        )
        .fields(&[
            ("workspaceId", "Workspace ID is required"),
            ("key", "Key is required"),
            ("secret", "Secret is required"),
            ("provider", "Provider is required"),
        ]);
}

async fn unregistered_provider_is_rejected(server: TestServer) {
    let token = server.token(User::WriterInA);
    let mut body = valid();
    body["provider"] = json!("NOPE");
    let answer = server
        .post("/apikeys")
        .bearer(&token)
        .json(&body)
        .send()
        .await;
    answer.rejects(400, "Unsupported provider");
    let request = CreateApiKeyRequest {
        provider: "NOPE".to_owned(),
        ..message()
    };
    rejected(server.api_keys(&token).create_api_key(request).await)
        .is(
            Code::InvalidArgument,
            "FIELD_INVALID",
            "Unsupported provider",
        )
        .fields(&[("provider", "Unsupported provider")]);
}

async fn member_of_the_wrong_type_is_named_without_its_value(server: TestServer) {
    let token = server.token(User::WriterInA);
    for field in [
        "workspaceId",
        "key",
        "secret",
        "provider",
        "endpoint",
        "description",
    ] {
        for value in [
            json!(4711),
            json!(["canary"]),
            json!({ "canary": 1 }),
            json!(true),
        ] {
            let mut body = valid();
            body[field] = value;
            let answer = server
                .post("/apikeys")
                .bearer(&token)
                .json(&body)
                .send()
                .await;
            answer.rejects(400, &format!("`{field}` must be a string"));
        }
    }
    assert!(server.list(WORKSPACE_A).await.is_empty());
}

async fn text_that_is_too_long_or_has_control_characters_is_named(server: TestServer) {
    let token = server.token(User::WriterInA);
    for (field, value, message) in [
        ("key", "k".repeat(4097), "Key must have at most 4096 bytes"),
        (
            "secret",
            "s".repeat(65_537),
            "Secret must have at most 65536 bytes",
        ),
        (
            "endpoint",
            "e".repeat(2049),
            "Endpoint must have at most 2048 bytes",
        ),
        (
            "region",
            "r".repeat(256),
            "Region must have at most 255 bytes",
        ),
        (
            "tenantId",
            "t".repeat(256),
            "Tenant ID must have at most 255 bytes",
        ),
        (
            "subscriptionId",
            "s".repeat(256),
            "Subscription ID must have at most 255 bytes",
        ),
        (
            "description",
            "d".repeat(4097),
            "Description must have at most 4096 bytes",
        ),
        (
            "key",
            "a\u{0}b".to_owned(),
            "Key must not have control characters",
        ),
        (
            "region",
            "a\nb".to_owned(),
            "Region must not have control characters",
        ),
        (
            "description",
            "a\u{7}b".to_owned(),
            "Description must not have control characters",
        ),
    ] {
        let mut body = valid();
        body[field] = json!(value);
        let answer = server
            .post("/apikeys")
            .bearer(&token)
            .json(&body)
            .send()
            .await;
        answer.rejects(400, message);
    }
    let request = CreateApiKeyRequest {
        region: Some("r".repeat(256)),
        ..message()
    };
    let message = "Region must have at most 255 bytes";
    rejected(server.api_keys(&token).create_api_key(request).await)
        .is(Code::InvalidArgument, "FIELD_INVALID", message)
        .fields(&[("region", message)]);
}

async fn same_credentials_are_stored_once_in_a_workspace(server: TestServer) {
    let token = server.token(User::Owner);
    server.create(valid()).await;
    let mut other_texts = valid();
    other_texts["description"] = json!("other words, same credentials");
    for body in [valid(), other_texts] {
        let answer = server
            .post("/apikeys")
            .bearer(&token)
            .json(&body)
            .send()
            .await;
        answer.rejects(400, DUPLICATE);
    }
    let result = server.api_keys(&token).create_api_key(message()).await;
    rejected(result)
        .is(Code::AlreadyExists, "API_KEY_ALREADY_EXISTS", DUPLICATE)
        .alone();
    assert_eq!(server.list(WORKSPACE_A).await.len(), 1);

    // A key that is equal in two of three fields, or is in another workspace, is not the same.
    for (field, value) in [
        ("key", "k2"),
        ("secret", "s2"),
        ("provider", "GCP"),
        ("workspaceId", WORKSPACE_B),
    ] {
        let mut body = valid();
        body[field] = json!(value);
        server.create(body).await;
    }
}

async fn credentials_whose_parts_run_together_are_not_the_same(server: TestServer) {
    for (key, secret) in [("ab", "c"), ("a", "bc"), ("a", "b"), ("AWSa", "b")] {
        server
            .create(json!({
                "workspaceId": WORKSPACE_A, "key": key, "secret": secret, "provider": "AWS",
            }))
            .await;
    }
}

async fn unwritable_workspace_is_rejected_like_a_missing_one(server: TestServer) {
    for (user, workspace) in [
        (User::ReaderInA, WORKSPACE_A),
        (User::NoAccess, WORKSPACE_A),
        (User::WriterInA, WORKSPACE_B),
        (User::Outsider, WORKSPACE_A),
        (User::Owner, WORKSPACE_X),
        (User::Owner, "no-such-workspace"),
    ] {
        let token = server.token(user);
        let mut body = valid();
        body["workspaceId"] = json!(workspace);
        let answer = server
            .post("/apikeys")
            .bearer(&token)
            .json(&body)
            .send()
            .await;
        answer.rejects(403, DENIED);
        let request = CreateApiKeyRequest {
            workspace_id: workspace.to_owned(),
            ..message()
        };
        let result = server.api_keys(&token).create_api_key(request).await;
        rejected(result)
            .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
            .alone();
    }
    assert_eq!(server.database.count("provider_keys").await, 0);
}

async fn duplicates_are_not_revealed_without_write_access(server: TestServer) {
    server.create(valid()).await;
    let token = server.token(User::ReaderInA);
    server
        .post("/apikeys")
        .bearer(&token)
        .json(&valid())
        .send()
        .await
        .rejects(403, DENIED);
}

async fn creation_is_audited_without_the_secret(server: TestServer) {
    let mut body = valid();
    body["secret"] = json!("canary-4711");
    let answer = server
        .post("/apikeys")
        .bearer(&server.token(User::WriterInA));
    let answer = answer
        .header("x-request-id", "create-1")
        .json(&body)
        .send()
        .await;
    let id = answer.json()["apiKeyId"].as_str().unwrap().to_owned();
    let events = server.database.events().await;
    let event = events
        .iter()
        .find(|event| event.action == "api_key.create")
        .unwrap();
    assert_eq!(
        (event.actor_kind.as_str(), event.actor_id.as_str()),
        ("user", "writer-in-a")
    );
    assert_eq!(
        (event.resource_kind.as_str(), &event.resource_id),
        ("api_key", &id)
    );
    assert_eq!(event.organization_id.as_deref(), Some("org-1"));
    assert_eq!(event.workspace_id.as_deref(), Some(WORKSPACE_A));
    assert_eq!(event.request_id, "create-1");
    assert_eq!(event.source.as_deref(), Some("127.0.0.1"));
    assert!(!format!("{events:?}").contains("canary"));
}

each_engine! {
    created_key_is_answered_with_its_id
    stored_secret_is_the_one_that_was_sent
    provider_that_the_operator_added_is_taken
    nulls_and_empty_texts_are_as_if_absent
    required_field_that_is_missing_null_or_empty_is_named
    first_of_several_missing_fields_is_named
    unregistered_provider_is_rejected
    member_of_the_wrong_type_is_named_without_its_value
    text_that_is_too_long_or_has_control_characters_is_named
    same_credentials_are_stored_once_in_a_workspace
    credentials_whose_parts_run_together_are_not_the_same
    unwritable_workspace_is_rejected_like_a_missing_one
    duplicates_are_not_revealed_without_write_access
    creation_is_audited_without_the_secret
}
