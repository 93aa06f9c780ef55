//! POST /repo/{repoId}/ai/apikey and CreateRepoAiKey.

use std::sync::Arc;

use keyward::proto::v1::{
    AiType, CreateRepoAiKeyRequest, CreateRepoAiKeyResponse, RepoAiKeyVerdict,
};
use keyward_crypto::{Token, TokenKind};
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::{
    REPO_A, REPO_AI_KEY_EVENTS, REPO_AI_KEYS, TestServer, User, WORKSPACE_A, rejected,
};

const PATH: &str = "/repo/repo-a/ai/apikey";
const DUPLICATE: &str = "API key with this name already exists";
const CREATORS: usize = 32;
const AI_TYPES: [(&str, AiType); 5] = [
    ("OPENAI", AiType::Openai),
    ("GOOGLE", AiType::Google),
    ("ANTHROPIC", AiType::Anthropic),
    ("AWS", AiType::Aws),
    ("OTHER", AiType::Other),
];

fn valid() -> Value {
    json!({ "name": "Production", "aiType": "OPENAI" })
}

fn message() -> CreateRepoAiKeyRequest {
    CreateRepoAiKeyRequest {
        repo_id: REPO_A.to_owned(),
        name: "Production".to_owned(),
        ai_type: AiType::Openai.into(),
    }
}

fn is_key(text: &str) -> bool {
    text.starts_with("FB_AI_") && Token::parse(TokenKind::REPO_AI_KEY, text).is_some()
}

fn is_secret(text: &str) -> bool {
    text.starts_with("FB_AIS_") && Token::parse(TokenKind::REPO_AI_SECRET, text).is_some()
}

async fn created_key_is_answered_with_its_secret(server: TestServer) {
    let token = server.token(User::WriterInA);
    let answer = server.post(PATH).bearer(&token).json(&valid()).send().await;
    let body = answer.json();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    let (id, key, secret) = (text("id"), text("key"), text("secret"));
    answer.is(
        201,
        &format!(r#"{{"success":true,"id":"{id}","key":"{key}","secret":"{secret}"}}"#),
    );
    assert_eq!(uuid::Uuid::try_parse(&id).unwrap().to_string(), id);
    assert!(is_key(&key) && is_secret(&secret));
    let listed = server.list_repo_ai_keys(REPO_A).await;
    assert_eq!(
        (&listed[0]["id"], &listed[0]["key"]),
        (&json!(id), &json!(key))
    );

    let request = CreateRepoAiKeyRequest {
        name: "Other".to_owned(),
        ..message()
    };
    let created = server
        .repo_ai_keys(&token)
        .create_repo_ai_key(request)
        .await
        .unwrap();
    let created = created.into_inner();
    assert!(created.success && is_key(&created.key) && is_secret(&created.secret));
    assert!(!format!("{created:?}").contains(&created.secret));
    let CreateRepoAiKeyResponse {
        id, key, secret, ..
    } = created;
    assert_eq!(server.list_repo_ai_keys(REPO_A).await[0]["id"], id);
    let verified = server.verify_repo_ai_key(&key, &secret).await;
    assert_eq!(verified.verdict(), RepoAiKeyVerdict::Valid);
}

async fn no_two_keys_have_anything_in_common(server: TestServer) {
    let mut bodies = std::collections::BTreeSet::new();
    for number in 0..20 {
        let created = server.create_repo_ai_key(REPO_A, &number.to_string()).await;
        // Not even a key and its own secret.
        bodies.insert(created.key["FB_AI_".len()..].to_owned());
        bodies.insert(created.secret["FB_AIS_".len()..].to_owned());
    }
    assert_eq!(bodies.len(), 40);
}

async fn each_ai_type_is_taken_and_listed(server: TestServer) {
    let token = server.token(User::WriterInA);
    for (name, ai_type) in AI_TYPES {
        let body = json!({ "name": name, "aiType": name });
        server
            .create_repo_ai_key_as(User::WriterInA, REPO_A, &body)
            .await;
        assert_eq!(server.list_repo_ai_keys(REPO_A).await[0]["aiType"], name);
        let request = CreateRepoAiKeyRequest {
            name: format!("{name} over gRPC"),
            ai_type: ai_type.into(),
            ..message()
        };
        server
            .repo_ai_keys(&token)
            .create_repo_ai_key(request)
            .await
            .unwrap();
        assert_eq!(server.list_repo_ai_keys(REPO_A).await[0]["aiType"], name);
    }
}

async fn ai_type_that_is_missing_or_none_of_them_is_named(server: TestServer) {
    let token = server.token(User::WriterInA);
    let none = "`aiType` must be one of OPENAI, GOOGLE, ANTHROPIC, AWS, OTHER";
    let number = "AI type must be one of OPENAI, GOOGLE, ANTHROPIC, AWS, OTHER";
    let missing = "AI type is required";
    for (value, message) in [
        (json!("MISTRAL"), none),
        (json!("openai"), none),
        (json!("OPENAI "), none),
        (json!(""), none),
        (json!(true), none),
        (json!(1.5), none),
        (json!(4_000_000_000_u32), none),
        (json!(["OPENAI"]), none),
        (json!({ "canary": "OPENAI" }), none),
        (json!(99), number),
        (json!(-1), number),
        (json!(null), missing),
    ] {
        let mut body = valid();
        body["aiType"] = value;
        let answer = server.post(PATH).bearer(&token).json(&body).send().await;
        answer.rejects(400, message);
    }
    let body = json!({ "name": "Production" });
    server
        .post(PATH)
        .bearer(&token)
        .json(&body)
        .send()
        .await
        .rejects(400, missing);

    let mut client = server.repo_ai_keys(&token);
    let request = CreateRepoAiKeyRequest {
        ai_type: 0,
        ..message()
    };
    rejected(client.create_repo_ai_key(request).await)
        .is(Code::InvalidArgument, "FIELD_REQUIRED", missing)
        .fields(&[("aiType", missing)]);
    for ai_type in [6, 99, -1] {
        let request = CreateRepoAiKeyRequest {
            ai_type,
            ..message()
        };
        rejected(client.create_repo_ai_key(request).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", number)
            .fields(&[("aiType", number)]);
    }
    assert_eq!(server.database.count(REPO_AI_KEYS).await, 0);
}

async fn name_that_is_missing_or_unfit_is_named(server: TestServer) {
    let token = server.token(User::WriterInA);
    let mut client = server.repo_ai_keys(&token);
    let (missing, long, control) = (
        "Name is required",
        "Name must have at most 255 bytes",
        "Name must not have control characters",
    );
    let null = json!({ "aiType": "AWS", "name": null });
    for body in [json!({ "aiType": "AWS" }), null, json!({})] {
        let answer = server.post(PATH).bearer(&token).json(&body).send().await;
        answer.rejects(400, missing);
    }
    // A missing body is an empty one.
    server
        .post(PATH)
        .bearer(&token)
        .send()
        .await
        .rejects(400, missing);
    for (name, reason, message) in [
        (String::new(), "FIELD_REQUIRED", missing),
        ("n".repeat(256), "FIELD_INVALID", long),
        ("\u{e9}".repeat(256), "FIELD_INVALID", long),
        ("a\nb".to_owned(), "FIELD_INVALID", control),
        ("a\u{0}b".to_owned(), "FIELD_INVALID", control),
        ("a\u{85}b".to_owned(), "FIELD_INVALID", control),
    ] {
        let mut body = valid();
        body["name"] = json!(name);
        let answer = server.post(PATH).bearer(&token).json(&body).send().await;
        answer.rejects(400, message);
        let request = CreateRepoAiKeyRequest {
            name,
            ..self::message()
        };
        rejected(client.create_repo_ai_key(request).await)
            .is(Code::InvalidArgument, reason, message)
            .fields(&[("name", message)]);
    }
    for name in [
        json!(4711),
        json!(["canary"]),
        json!({ "canary": 1 }),
        json!(true),
    ] {
        let mut body = valid();
        body["name"] = name;
        let answer = server.post(PATH).bearer(&token).json(&body).send().await;
        answer.rejects(400, "`name` must be a string");
    }
    let request = CreateRepoAiKeyRequest {
        repo_id: REPO_A.to_owned(),
        ..Default::default()
    };
    rejected(client.create_repo_ai_key(request).await)
        .is(Code::InvalidArgument, "FIELD_REQUIRED", missing)
        .fields(&[("name", missing), ("aiType", "AI type is required")]);
    assert_eq!(server.database.count(REPO_AI_KEYS).await, 0);
}

async fn longest_name_is_counted_in_bytes(server: TestServer) {
    let name = format!("{}abc", "\u{1F511}".repeat(63));
    server.create_repo_ai_key(REPO_A, &name).await;
    assert_eq!(server.list_repo_ai_keys(REPO_A).await[0]["name"], name);
    let body = json!({ "name": "\u{1F511}".repeat(64), "aiType": "AWS" });
    let call = server
        .post(PATH)
        .bearer(&server.token(User::WriterInA))
        .json(&body);
    call.send()
        .await
        .rejects(400, "Name must have at most 255 bytes");
}

async fn unknown_member_is_rejected_and_named(server: TestServer) {
    let token = server.token(User::WriterInA);
    for (member, message) in [
        (
            "aitype",
            "`aitype` is not a known member; did you mean `aiType`?",
        ),
        ("secret", "`secret` is not a known member"),
        ("createdAt", "`createdAt` is not a known member"),
    ] {
        let body = json!({ "name": "Production", member: "canary" });
        let answer = server.post(PATH).bearer(&token).json(&body).send().await;
        answer.rejects(400, message);
    }
    assert!(server.list_repo_ai_keys(REPO_A).await.is_empty());
}

async fn path_wins_over_a_repo_in_the_body(server: TestServer) {
    server.add_repo(WORKSPACE_A, "repo-other").await;
    let body = json!({
        "name": "Production", "aiType": "AWS", "repoId": "repo-other",
    });
    let created = server
        .create_repo_ai_key_as(User::WriterInA, REPO_A, &body)
        .await;
    assert!(is_key(&created.key) && is_secret(&created.secret));
    assert_eq!(server.list_repo_ai_keys(REPO_A).await[0]["repoId"], REPO_A);
    assert!(server.list_repo_ai_keys("repo-other").await.is_empty());
}

async fn live_name_is_taken_once_in_a_repo(server: TestServer) {
    server.add_repo(WORKSPACE_A, "repo-other").await;
    let token = server.token(User::WriterInA);
    server.create_repo_ai_key(REPO_A, "Production").await;
    for ai_type in ["OPENAI", "GOOGLE"] {
        let body = json!({ "name": "Production", "aiType": ai_type });
        let answer = server.post(PATH).bearer(&token).json(&body).send().await;
        answer.rejects(400, DUPLICATE);
    }
    rejected(
        server
            .repo_ai_keys(&token)
            .create_repo_ai_key(message())
            .await,
    )
    .is(Code::AlreadyExists, "NAME_ALREADY_EXISTS", DUPLICATE)
    .alone();
    assert_eq!(server.list_repo_ai_keys(REPO_A).await.len(), 1);
    // A name that differs, if only by case or space, or a key of another repo, is not a duplicate.
    server.create_repo_ai_key(REPO_A, "production").await;
    server.create_repo_ai_key(REPO_A, "Production ").await;
    server.create_repo_ai_key("repo-other", "Production").await;
}

async fn name_is_free_after_its_key_is_deleted_or_renamed(server: TestServer) {
    let first = server.create_repo_ai_key(REPO_A, "Production").await;
    server.delete_repo_ai_key(REPO_A, &first.id).await;
    let second = server.create_repo_ai_key(REPO_A, "Production").await;
    assert_ne!(second.id, first.id);
    let path = format!("{PATH}/{}", second.id);
    let call = server.put(&path).bearer(&server.token(User::Owner));
    assert_eq!(
        call.json(&json!({ "name": "Retired" })).send().await.status,
        200
    );
    server.create_repo_ai_key(REPO_A, "Production").await;
    let answer = server
        .post(PATH)
        .bearer(&server.token(User::Owner))
        .json(&valid());
    answer.send().await.rejects(400, DUPLICATE);
}

async fn concurrent_creations_of_one_name_succeed_once(server: TestServer) {
    let (server, barrier) = (Arc::new(server), Arc::new(Barrier::new(CREATORS)));
    let mut creators = JoinSet::new();
    for number in 0..CREATORS {
        let (server, barrier) = (Arc::clone(&server), Arc::clone(&barrier));
        creators.spawn(async move {
            let token = server.token(User::WriterInA);
            barrier.wait().await;
            if number % 2 == 0 {
                let answer = server.post(PATH).bearer(&token).json(&valid()).send().await;
                if answer.status == 201 {
                    return true;
                }
                answer.rejects(400, DUPLICATE);
                return false;
            }
            let result = server
                .repo_ai_keys(&token)
                .create_repo_ai_key(message())
                .await;
            if result.is_ok() {
                return true;
            }
            rejected(result)
                .is(Code::AlreadyExists, "NAME_ALREADY_EXISTS", DUPLICATE)
                .alone();
            false
        });
    }
    let created = creators.join_all().await;
    assert_eq!(created.iter().filter(|created| **created).count(), 1);
    assert_eq!(server.list_repo_ai_keys(REPO_A).await.len(), 1);
    assert_eq!(server.database.count(REPO_AI_KEYS).await, 1);
    assert_eq!(server.database.count(REPO_AI_KEY_EVENTS).await, 1);
}

async fn creation_is_audited_without_key_and_secret(server: TestServer) {
    let call = server.post(PATH).bearer(&server.token(User::WriterInA));
    let answer = call
        .header("x-request-id", "create-1")
        .json(&valid())
        .send()
        .await
        .json();
    let events = server.database.events().await;
    let events: Vec<_> = events
        .iter()
        .filter(|e| e.resource_kind == "repo_ai_key")
        .collect();
    let [event] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(event.action, "repo_ai_key.create");
    assert_eq!(event.resource_id, answer["id"].as_str().unwrap());
    assert_eq!(
        (event.actor_kind.as_str(), event.actor_id.as_str()),
        ("user", "writer-in-a")
    );
    assert_eq!(event.organization_id.as_deref(), Some("org-1"));
    assert_eq!(event.workspace_id.as_deref(), Some(WORKSPACE_A));
    assert_eq!(event.request_id, "create-1");
    assert_eq!(event.source.as_deref(), Some("127.0.0.1"));
    let details: serde_json::Value = serde_json::from_str(&event.details).unwrap();
    assert_eq!(
        (&details["repo_id"], &details["name.new"]),
        (&json!("repo-a"), &json!("Production"))
    );
    assert!(!format!("{events:?}").contains("FB_AI"));
}

async fn rejected_creation_leaves_no_trace(server: TestServer) {
    let token = server.token(User::WriterInA);
    server.create_repo_ai_key(REPO_A, "Production").await;
    let invalid = json!({ "name": "a\nb", "aiType": "AWS" });
    for (path, body, status) in [
        (PATH, valid(), 400),
        (PATH, invalid, 400),
        ("/repo/none/ai/apikey", valid(), 403),
    ] {
        assert_eq!(
            server
                .post(path)
                .bearer(&token)
                .json(&body)
                .send()
                .await
                .status,
            status
        );
    }
    assert_eq!(server.database.count(REPO_AI_KEYS).await, 1);
    assert_eq!(server.database.count(REPO_AI_KEY_EVENTS).await, 1);
}

each_engine! {
    created_key_is_answered_with_its_secret
    no_two_keys_have_anything_in_common
    each_ai_type_is_taken_and_listed
    ai_type_that_is_missing_or_none_of_them_is_named
    name_that_is_missing_or_unfit_is_named
    longest_name_is_counted_in_bytes
    unknown_member_is_rejected_and_named
    path_wins_over_a_repo_in_the_body
    live_name_is_taken_once_in_a_repo
    name_is_free_after_its_key_is_deleted_or_renamed
    concurrent_creations_of_one_name_succeed_once
    creation_is_audited_without_key_and_secret
    rejected_creation_leaves_no_trace
}
