//! Common rules of the repo AI key endpoints: no secret is stored in the clear, both protocols agree, and no
//! error reveals its cause.

use keyward::proto::v1::{AiType, CreateRepoAiKeyRequest, UpdateRepoAiKeyRequest};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tonic::{Code, Status};

use crate::support::{
    Engine, NO_SUCH_ID, REPO_A, RestRequest, TestServer, User, WORKSPACE_A, WORKSPACE_B, rejected,
    repo_ai_key_path, repo_ai_keys_path,
};

const INTERNAL: &str = "Internal server error";
const UNAVAILABLE: &str = "Service unavailable";
/// Texts that a cause may contain.
const CAUSES: [&str; 6] = [
    "repo_ai_keys",
    "data_keys",
    "table",
    "relation",
    "SQL",
    "envelope",
];

/// Returns the HTTP status that these services' errors have over REST.
fn http_status(code: Code) -> u16 {
    match code {
        Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        other => panic!("{other:?} is not expected here"),
    }
}

/// Expects that both protocols reject the same request alike.
async fn agree(name: &str, rest: RestRequest, grpc: Result<(), Status>) {
    let (answer, status) = (rest.send().await, grpc.expect_err(name));
    assert_eq!(
        answer.status,
        http_status(status.code()),
        "{name}: {status:?}"
    );
    assert_eq!(answer.json()["message"], status.message(), "{name}");
    assert_eq!(answer.json()["success"], false, "{name}");
}

/// Expects this error from all four endpoints for the owner, on REST and on gRPC.
async fn everything_answers(server: &TestServer, id: &str, status: u16, code: Code) {
    let token = server.token(User::Owner);
    let (message, reason) = match status {
        500 => (INTERNAL, "INTERNAL"),
        _ => (UNAVAILABLE, "UNAVAILABLE"),
    };
    let calls = server.repo_ai_key_calls(Some(&token), REPO_A, id);
    for (place, call) in calls.into_iter().enumerate() {
        let answer = call.send().await;
        if (place, status) == (0, 500) {
            let body = r#"{"success":false,"apiKeys":[],"message":"Internal server error"}"#;
            answer.is(500, body);
        } else {
            answer.rejects(status, message);
        }
    }
    for result in server
        .repo_ai_keys_over_grpc(Some(&token), REPO_A, id)
        .await
    {
        rejected(result)
            .is(code, reason, message)
            .alone()
            .hides(&CAUSES);
    }
}

/// Returns the AI type of a body, which is a number in gRPC.
fn ai_type(body: &Value) -> i32 {
    match &body["aiType"] {
        Value::String(name) if name == "AWS" => AiType::Aws.into(),
        number => number.as_i64().unwrap_or_default().try_into().unwrap(),
    }
}

/// Returns every byte of the only stored AI key, column by column.
async fn stored(server: &TestServer) -> Vec<(String, Vec<u8>)> {
    let rows = server.database.query("SELECT * FROM repo_ai_keys").await;
    let [row] = rows.as_slice() else {
        panic!("one key is stored");
    };
    let columns = row.column_names().into_iter().map(|column| {
        let bytes = match column.as_str() {
            "id" => row
                .try_get::<uuid::Uuid>("", &column)
                .unwrap()
                .into_bytes()
                .to_vec(),
            "sealed_secret" | "secret_hash" => row.try_get("", &column).unwrap(),
            "created_at" => row
                .try_get::<i64>("", &column)
                .unwrap()
                .to_be_bytes()
                .to_vec(),
            "deleted_at" => Vec::new(),
            _ => row.try_get::<String>("", &column).unwrap().into_bytes(),
        };
        (column, bytes)
    });
    columns.collect()
}

/// Returns the random bytes from which a secret was made.
fn random_bytes(secret: &str) -> Vec<u8> {
    let hex = secret.strip_prefix("FB_AIS_").unwrap().as_bytes();
    let digits = hex[..64]
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

async fn secret_is_stored_sealed_and_hashed_and_never_as_it_is(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "Production").await;
    let random = random_bytes(&created.secret);
    let columns = stored(&server).await;
    for (column, bytes) in &columns {
        assert!(!contains(bytes, created.secret.as_bytes()), "{column}");
        assert!(!contains(bytes, &random), "{column}");
    }
    let column = |name: &str| &columns.iter().find(|(column, _)| column == name).unwrap().1;
    assert_eq!(column("key"), created.key.as_bytes());
    assert_eq!(
        column("secret_hash").as_slice(),
        Sha256::digest(&created.secret).as_slice()
    );
    assert!(column("sealed_secret").len() > created.secret.len());

    let events = server.database.events().await;
    assert!(!format!("{events:?}").contains(&created.secret));
    if server.engine == Engine::Sqlite {
        // Nor in any other table, nor in pending writes.
        let file = server.database.file();
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.extend(std::fs::read(file.with_extension("db-wal")).unwrap_or_default());
        assert!(contains(&bytes, created.key.as_bytes()));
        assert!(!contains(&bytes, created.secret.as_bytes()) && !contains(&bytes, &random));
    }
}

async fn rejected_creations_agree(server: TestServer) {
    server.add_repo(WORKSPACE_B, "repo-b").await;
    server.create_repo_ai_key(REPO_A, "there").await;
    let long = "r".repeat(256);
    for token in [
        server.token(User::WriterInA),
        server.service_token(),
        "x".to_owned(),
    ] {
        for (repo, body) in [
            (REPO_A, json!({})),
            (REPO_A, json!({ "name": "n" })),
            (REPO_A, json!({ "aiType": "AWS" })),
            (REPO_A, json!({ "name": "", "aiType": "AWS" })),
            (REPO_A, json!({ "name": "n", "aiType": 99 })),
            (REPO_A, json!({ "name": "n".repeat(256), "aiType": "AWS" })),
            (REPO_A, json!({ "name": "\n", "aiType": "AWS" })),
            (REPO_A, json!({ "name": "\n", "aiType": 99 })),
            (REPO_A, json!({ "name": "there", "aiType": "AWS" })),
            ("repo-b", json!({ "name": "n", "aiType": "AWS" })),
            ("none", json!({ "name": "n", "aiType": "AWS" })),
            ("none", json!({ "name": "n", "aiType": 99 })),
            (&long, json!({ "name": "n", "aiType": "AWS" })),
            (&long, json!({ "name": "\n", "aiType": "AWS" })),
        ] {
            let rest = server
                .post(&repo_ai_keys_path(repo))
                .bearer(&token)
                .json(&body);
            let request = CreateRepoAiKeyRequest {
                repo_id: repo.to_owned(),
                name: body["name"].as_str().unwrap_or_default().to_owned(),
                ai_type: ai_type(&body),
            };
            let grpc = server
                .repo_ai_keys(&token)
                .create_repo_ai_key(request)
                .await;
            agree(&format!("{repo} {body}"), rest, grpc.map(drop)).await;
        }
    }
}

async fn rejected_updates_agree(server: TestServer) {
    server.add_repo(WORKSPACE_A, "repo-other").await;
    server.add_repo(WORKSPACE_B, "repo-b").await;
    let own = server.create_repo_ai_key(REPO_A, "own").await.id;
    server.create_repo_ai_key(REPO_A, "there").await;
    let in_b = server.create_repo_ai_key("repo-b", "own").await.id;
    for token in [
        server.token(User::WriterInA),
        server.service_token(),
        "x".to_owned(),
    ] {
        for (repo, id, name) in [
            (REPO_A, own.as_str(), Some("")),
            (REPO_A, &own, Some("\n")),
            (REPO_A, &own, Some("there")),
            (REPO_A, NO_SUCH_ID, Some("n")),
            (REPO_A, NO_SUCH_ID, None),
            (REPO_A, NO_SUCH_ID, Some("\n")),
            (REPO_A, "none", Some("n")),
            (REPO_A, &in_b, None),
            ("repo-other", &own, Some("n")),
            ("repo-b", &in_b, Some("n")),
            ("none", &own, Some("n")),
            ("none", "none", None),
        ] {
            let rest = server.put(&repo_ai_key_path(repo, id)).bearer(&token);
            let rest = rest.json(&json!({ "name": name }));
            let request = UpdateRepoAiKeyRequest {
                repo_id: repo.to_owned(),
                apikey_id: id.to_owned(),
                name: name.map(str::to_owned),
            };
            let grpc = server
                .repo_ai_keys(&token)
                .update_repo_ai_key(request)
                .await;
            agree(&format!("{repo} {id} {name:?}"), rest, grpc.map(drop)).await;
        }
    }
}

async fn rejected_lists_and_deletions_agree(server: TestServer) {
    server.add_repo(WORKSPACE_B, "repo-b").await;
    let own = server.create_repo_ai_key(REPO_A, "own").await.id;
    let in_b = server.create_repo_ai_key("repo-b", "own").await.id;
    let writer = server.token(User::WriterInA);
    let service = server.service_token();
    for (token, repo, id, lists) in [
        (writer.as_str(), "repo-b", &in_b, false),
        (&writer, "none", &own, false),
        (&writer, REPO_A, &in_b, true),
        (&service, REPO_A, &own, false),
        (&service, "none", &own, false),
        ("x", REPO_A, &own, false),
    ] {
        let [list, _, _, delete] = server.repo_ai_key_calls(Some(token), repo, id);
        let [list_result, _, _, delete_result] =
            server.repo_ai_keys_over_grpc(Some(token), repo, id).await;
        if lists {
            assert_eq!(list.send().await.status, 200);
            assert!(list_result.is_ok());
        } else {
            agree(&format!("GET {repo}"), list, list_result).await;
        }
        agree(&format!("DELETE {repo} {id}"), delete, delete_result).await;
    }
}

async fn failing_store_is_an_internal_error_without_its_cause(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "Production").await;
    server
        .database
        .execute("ALTER TABLE repo_ai_keys RENAME TO gone")
        .await;
    everything_answers(&server, &created.id, 500, Code::Internal).await;
    server
        .database
        .execute("ALTER TABLE gone RENAME TO repo_ai_keys")
        .await;
    assert_eq!(server.list_repo_ai_keys(REPO_A).await.len(), 1);
    assert!(server.is_live(&created).await);
}

async fn failing_store_at_the_permission_is_an_internal_error(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "Production").await;
    server
        .database
        .execute("ALTER TABLE repos RENAME TO gone")
        .await;
    everything_answers(&server, &created.id, 500, Code::Internal).await;
}

async fn closed_store_is_unavailable_and_never_a_bad_token(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "Production").await;
    server.store.close().await;
    everything_answers(&server, &created.id, 503, Code::Unavailable).await;
}

async fn data_key_that_does_not_unwrap_stops_creations_alone(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "Production").await;
    let nothing = match server.engine {
        Engine::Sqlite => "X'00'",
        Engine::Postgres => r"'\x00'::bytea",
    };
    server
        .database
        .execute(&format!("UPDATE data_keys SET wrapped = {nothing}"))
        .await;
    let token = server.token(User::Owner);
    let [list, create, update, delete] =
        server.repo_ai_key_calls(Some(&token), REPO_A, &created.id);
    create.send().await.rejects(500, INTERNAL);
    assert_eq!(list.send().await.status, 200);
    assert!(server.is_live(&created).await);
    assert_eq!(update.send().await.status, 200);
    assert_eq!(delete.send().await.status, 200);
    let [_, create, _, _] = server
        .repo_ai_keys_over_grpc(Some(&token), REPO_A, &created.id)
        .await;
    rejected(create)
        .is(Code::Internal, "INTERNAL", INTERNAL)
        .alone()
        .hides(&CAUSES);
    let live = "repo_ai_keys WHERE deleted_at IS NULL";
    assert_eq!(server.database.count(live).await, 0);
}

each_engine! {
    secret_is_stored_sealed_and_hashed_and_never_as_it_is
    rejected_creations_agree
    rejected_updates_agree
    rejected_lists_and_deletions_agree
    failing_store_is_an_internal_error_without_its_cause
    failing_store_at_the_permission_is_an_internal_error
    closed_store_is_unavailable_and_never_a_bad_token
    data_key_that_does_not_unwrap_stops_creations_alone
}
