//! VerifyRepoAiKey: the response to a service that presents a key and a secret.

use keyward::proto::v1::{
    AiType, RepoAiKeyVerdict, VerifyRepoAiKeyRequest, VerifyRepoAiKeyResponse,
};
use keyward_crypto::{Token, TokenKind};
use prost::Message;
use serde_json::json;
use tonic::Code;

use crate::support::{
    OTHER_ORGANIZATION, REPO_A, REPO_AI_KEY_EVENTS, TestServer, User, WORKSPACE_A, WORKSPACE_B,
    WORKSPACE_X, WebFlavor, rejected, repo_ai_key_path,
};

const PATH: &str = "/keyward.v1.RepoAiKeyService/VerifyRepoAiKey";

fn not_found() -> VerifyRepoAiKeyResponse {
    VerifyRepoAiKeyResponse {
        verdict: RepoAiKeyVerdict::NotFound.into(),
        ..Default::default()
    }
}

fn request(key: &str, secret: &str) -> VerifyRepoAiKeyRequest {
    VerifyRepoAiKeyRequest {
        key: key.to_owned(),
        secret: secret.to_owned(),
    }
}

/// Returns the token with another character in that position.
fn with_typo(token: &str, place: usize) -> String {
    let other = if token.as_bytes()[place] == b'0' {
        "1"
    } else {
        "0"
    };
    format!("{}{other}{}", &token[..place], &token[place + 1..])
}

/// Returns a token in Keyward's format that Keyward did not issue.
fn never_issued(kind: TokenKind) -> String {
    Token::generate(kind).unwrap().expose().to_owned()
}

async fn live_key_with_its_secret_is_valid_and_described(server: TestServer) {
    server.add_repo(WORKSPACE_B, "repo-b").await;
    server.add_repo(WORKSPACE_X, "repo-x").await;
    let mut all = Vec::new();
    for (user, repo, workspace, organization, (name, ai_type)) in [
        (
            User::Owner,
            REPO_A,
            WORKSPACE_A,
            "org-1",
            ("OPENAI", AiType::Openai),
        ),
        (
            User::WriterInA,
            REPO_A,
            WORKSPACE_A,
            "org-1",
            ("GOOGLE", AiType::Google),
        ),
        (
            User::WriterInA,
            REPO_A,
            WORKSPACE_A,
            "org-1",
            ("ANTHROPIC", AiType::Anthropic),
        ),
        (
            User::Owner,
            "repo-b",
            WORKSPACE_B,
            "org-1",
            ("AWS", AiType::Aws),
        ),
        (
            User::Outsider,
            "repo-x",
            WORKSPACE_X,
            OTHER_ORGANIZATION,
            ("OTHER", AiType::Other),
        ),
    ] {
        let body = json!({ "name": name, "aiType": name });
        let created = server.create_repo_ai_key_as(user, repo, &body).await;
        let expected = VerifyRepoAiKeyResponse {
            verdict: RepoAiKeyVerdict::Valid.into(),
            id: created.id.clone(),
            repo_id: repo.to_owned(),
            workspace_id: workspace.to_owned(),
            organization_id: organization.to_owned(),
            ai_type: ai_type.into(),
        };
        all.push((created, expected));
    }
    for (created, expected) in all {
        let verified = server
            .verify_repo_ai_key(&created.key, &created.secret)
            .await;
        assert_eq!(verified, expected);
    }
}

async fn grpc_web_verifies(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "Production").await;
    let token = server.service_token();
    for flavor in WebFlavor::ALL {
        for (secret, verdict) in [
            (created.secret.as_str(), RepoAiKeyVerdict::Valid),
            ("", RepoAiKeyVerdict::NotFound),
        ] {
            let request = request(&created.key, secret);
            let answer = server.grpc_web(flavor, PATH, Some(&token), &request).await;
            assert_eq!(answer.code(), "0");
            let message = answer.messages[0].as_slice();
            assert_eq!(
                VerifyRepoAiKeyResponse::decode(message).unwrap().verdict(),
                verdict
            );
        }
        let owner = server.token(User::Owner);
        let request = request(&created.key, &created.secret);
        let answer = server.grpc_web(flavor, PATH, Some(&owner), &request).await;
        assert_eq!(answer.code(), "7");
        assert!(answer.messages.is_empty());
    }
}

async fn other_credentials_are_not_found_and_not_described(server: TestServer) {
    let own = server.create_repo_ai_key(REPO_A, "own").await;
    let other = server.create_repo_ai_key(REPO_A, "other").await;
    let deleted = server.create_repo_ai_key(REPO_A, "deleted").await;
    server.delete_repo_ai_key(REPO_A, &deleted.id).await;
    let (new_key, new_secret) = (
        never_issued(TokenKind::REPO_AI_KEY),
        never_issued(TokenKind::REPO_AI_SECRET),
    );
    let (key, secret) = (own.key.as_str(), own.secret.as_str());
    for (what, key, secret) in [
        ("another key's secret", key, other.secret.as_str()),
        ("the secret of another key", other.key.as_str(), secret),
        ("a deleted key", &deleted.key, &deleted.secret),
        (
            "a live key with a deleted one's secret",
            key,
            &deleted.secret,
        ),
        (
            "a deleted key with a live one's secret",
            &deleted.key,
            secret,
        ),
        ("a key that was never issued", &new_key, secret),
        ("a secret that was never issued", key, &new_secret),
        ("nothing", "", ""),
        ("no key", "", secret),
        ("no secret", key, ""),
        ("both exchanged", secret, key),
        ("the key twice", key, key),
        ("the secret twice", secret, secret),
        ("the id for the key", &own.id, secret),
        ("the name for the key", "own", secret),
        ("upper case", &key.to_ascii_uppercase(), secret),
        ("space around the key", &format!(" {key}"), secret),
        ("space around the secret", key, &format!("{secret}\n")),
        ("a shorter secret", key, &secret[..secret.len() - 1]),
        ("a longer secret", key, &format!("{secret}0")),
        ("control characters", "FB_AI_\u{0}", "\u{0}"),
        ("a pattern", "FB_AI_%", "%"),
        ("much", &"FB_AI_".repeat(10_000), secret),
    ] {
        assert_eq!(
            server.verify_repo_ai_key(key, secret).await,
            not_found(),
            "{what}"
        );
    }
    assert!(server.is_live(&own).await && server.is_live(&other).await);
}

async fn typo_anywhere_is_not_found(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "Production").await;
    let (key, secret) = (&created.key, &created.secret);
    // In the prefix, the random part, and the checksum.
    for place in [
        0,
        3,
        5,
        6,
        7,
        40,
        key.len() - 9,
        key.len() - 8,
        key.len() - 1,
    ] {
        let typo = with_typo(key, place);
        assert_eq!(
            server.verify_repo_ai_key(&typo, secret).await,
            not_found(),
            "{place}"
        );
    }
    for place in [
        0,
        5,
        6,
        7,
        8,
        40,
        secret.len() - 9,
        secret.len() - 8,
        secret.len() - 1,
    ] {
        let typo = with_typo(secret, place);
        assert_eq!(
            server.verify_repo_ai_key(key, &typo).await,
            not_found(),
            "{place}"
        );
    }
}

async fn renaming_leaves_a_key_valid(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "before").await;
    let before = server
        .verify_repo_ai_key(&created.key, &created.secret)
        .await;
    let call = server.put(&repo_ai_key_path(REPO_A, &created.id));
    let call = call
        .bearer(&server.token(User::Owner))
        .json(&json!({ "name": "after" }));
    assert_eq!(call.send().await.status, 200);
    assert_eq!(
        server
            .verify_repo_ai_key(&created.key, &created.secret)
            .await,
        before
    );
}

async fn failing_store_is_an_error_and_no_verdict(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "Production").await;
    let mut service = server.repo_ai_keys(&server.service_token());
    server
        .database
        .execute("ALTER TABLE repo_ai_keys RENAME TO gone")
        .await;
    let message = "Internal server error";
    rejected(
        service
            .verify_repo_ai_key(request(&created.key, &created.secret))
            .await,
    )
    .is(Code::Internal, "INTERNAL", message)
    .alone()
    .hides(&[&created.key, &created.secret, "repo_ai_keys", "SQL"]);
    // A malformed key is rejected without a lookup.
    let typo = with_typo(&created.key, 40);
    assert_eq!(
        server.verify_repo_ai_key(&typo, &created.secret).await,
        not_found()
    );

    server.store.close().await;
    rejected(
        service
            .verify_repo_ai_key(request(&created.key, &created.secret))
            .await,
    )
    .is(Code::Unavailable, "UNAVAILABLE", "Service unavailable")
    .alone();
}

async fn verifying_changes_nothing(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "Production").await;
    let listed = server.list_repo_ai_keys(REPO_A).await;
    let events = server.database.count(REPO_AI_KEY_EVENTS).await;
    for _ in 0..3 {
        assert!(server.is_live(&created).await);
    }
    assert_eq!(server.list_repo_ai_keys(REPO_A).await, listed);
    assert_eq!(server.database.count(REPO_AI_KEY_EVENTS).await, events);
}

each_engine! {
    live_key_with_its_secret_is_valid_and_described
    grpc_web_verifies
    other_credentials_are_not_found_and_not_described
    typo_anywhere_is_not_found
    renaming_leaves_a_key_valid
    failing_store_is_an_error_and_no_verdict
    verifying_changes_nothing
}
