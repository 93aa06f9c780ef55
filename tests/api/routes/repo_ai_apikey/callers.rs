//! Every kind of caller at every endpoint of the repo AI keys.

use keyward::proto::v1::{RepoAiKeyVerdict, VerifyRepoAiKeyRequest};
use serde_json::json;
use tonic::Code;

use crate::support::{
    DENIED, NO_SUCH_ID, ORGANIZATION, OTHER_ORGANIZATION, REPO_A, REPO_AI_KEY_EVENTS, REPO_AI_KEYS,
    REPO_AI_KEYS_DENIED, TestServer, UNAUTHENTICATED, UNAUTHENTICATED_BODY, User, WORKSPACE_A,
    WORKSPACE_B, WORKSPACE_X, rejected,
};

/// Success statuses of the four endpoints.
const DONE: [u16; 4] = [200, 201, 200, 200];

/// Valid tokens that do not belong to a user: the service's, and an ordinary and a management key of each
/// organization.
async fn tokens_of_no_user(server: &TestServer) -> Vec<(&'static str, String)> {
    let management = server.management_key(ORGANIZATION).await;
    let elsewhere = server.management_key(OTHER_ORGANIZATION).await;
    let in_a = server
        .issued_key(&management, json!({ "workspace_id": WORKSPACE_A }))
        .await
        .key;
    let in_x = server
        .issued_key(&elsewhere, json!({ "workspace_id": WORKSPACE_X }))
        .await
        .key;
    vec![
        ("service", server.service_token()),
        ("management key", management),
        ("another organization's management key", elsewhere),
        ("issued key", in_a),
        ("another organization's issued key", in_x),
    ]
}

/// Expects that the four endpoints reject a known caller, on REST and on gRPC alike.
async fn all_deny(server: &TestServer, caller: &str, token: &str, repo: &str, id: &str) {
    let in_path = repo.replace('\n', "%0A");
    for (place, call) in server
        .repo_ai_key_calls(Some(token), &in_path, id)
        .into_iter()
        .enumerate()
    {
        println!("{caller} in {repo}: {place} over REST");
        call.send().await.is(403, REPO_AI_KEYS_DENIED[place]);
    }
    for result in server.repo_ai_keys_over_grpc(Some(token), repo, id).await {
        rejected(result)
            .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
            .alone();
    }
}

/// Expects that the four endpoints and the verification reject an unknown caller.
async fn all_ask_who_calls(server: &TestServer, token: Option<&str>, reason: &str) {
    let created = server.create_repo_ai_key(REPO_A, "Production").await;
    for call in server.repo_ai_key_calls(token, REPO_A, &created.id) {
        let answer = call.send().await;
        answer.is(401, UNAUTHENTICATED_BODY);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    for result in server
        .repo_ai_keys_over_grpc(token, REPO_A, &created.id)
        .await
    {
        rejected(result)
            .is(Code::Unauthenticated, reason, UNAUTHENTICATED)
            .alone();
    }
    let mut client = match token {
        Some(token) => server.repo_ai_keys(token),
        None => server.repo_ai_keys_without_token(),
    };
    let request = VerifyRepoAiKeyRequest {
        key: created.key.clone(),
        secret: created.secret.clone(),
    };
    rejected(client.verify_repo_ai_key(request).await)
        .is(Code::Unauthenticated, reason, UNAUTHENTICATED)
        .alone();
    assert!(server.is_live(&created).await);
    server.delete_repo_ai_key(REPO_A, &created.id).await;
}

async fn member_has_the_rights_of_role_and_access_alone(server: TestServer) {
    for user in User::MEMBERS {
        let token = server.token(user);
        let allowed = [
            user.reads_a(),
            user.writes_a(),
            user.writes_a(),
            user.writes_a(),
        ];
        let id = server.create_repo_ai_key(REPO_A, "Production").await.id;
        let calls = server.repo_ai_key_calls(Some(&token), REPO_A, &id);
        for (place, call) in calls.into_iter().enumerate() {
            let answer = call.send().await;
            if allowed[place] {
                assert_eq!(
                    answer.status, DONE[place],
                    "{user:?} {place} {}",
                    answer.body
                );
            } else {
                answer.is(403, REPO_AI_KEYS_DENIED[place]);
            }
        }
        server.database.execute("DELETE FROM repo_ai_keys").await;

        let id = server.create_repo_ai_key(REPO_A, "Production").await.id;
        let results = server
            .repo_ai_keys_over_grpc(Some(&token), REPO_A, &id)
            .await;
        for (place, result) in results.into_iter().enumerate() {
            if allowed[place] {
                assert!(result.is_ok(), "{user:?} {place} {result:?}");
            } else {
                rejected(result)
                    .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
                    .alone();
            }
        }
        server.database.execute("DELETE FROM repo_ai_keys").await;
    }
}

async fn hidden_repo_is_rejected_like_a_missing_one(server: TestServer) {
    server.add_repo(WORKSPACE_B, "repo-b").await;
    server.add_repo(WORKSPACE_X, "repo-x").await;
    let in_a = server.create_repo_ai_key(REPO_A, "Production").await;
    let in_b = server.create_repo_ai_key("repo-b", "Production").await;
    let body = json!({ "name": "Production", "aiType": "AWS" });
    let in_x = server
        .create_repo_ai_key_as(User::Outsider, "repo-x", &body)
        .await;
    let too_long = "r".repeat(256);
    let events = server.database.count(REPO_AI_KEY_EVENTS).await;
    for (user, repo, id) in [
        (User::NoAccess, REPO_A, in_a.id.as_str()),
        (User::Outsider, REPO_A, &in_a.id),
        (User::WriterInA, "repo-b", &in_b.id),
        (User::Owner, "repo-x", &in_x.id),
        // Nor does an existing key help, or an invalid id.
        (User::WriterInA, "repo-b", &in_a.id),
        (User::WriterInA, "repo-b", "not-a-uuid"),
        (User::Outsider, REPO_A, &in_x.id),
        (User::Outsider, REPO_A, NO_SUCH_ID),
        (User::Owner, "no-such-repo", &in_a.id),
        (User::Outsider, "no-such-repo", &in_x.id),
        (User::Owner, &too_long, &in_a.id),
        (User::Owner, "a\nb", &in_a.id),
        (User::Owner, WORKSPACE_A, &in_a.id),
    ] {
        all_deny(&server, &format!("{user:?}"), &server.token(user), repo, id).await;
    }
    assert_eq!(server.database.count(REPO_AI_KEYS).await, 3);
    assert_eq!(server.database.count(REPO_AI_KEY_EVENTS).await, events);
    assert!(server.is_live(&in_a).await && server.is_live(&in_b).await);
    assert!(server.is_live(&in_x).await);
}

async fn callers_other_than_users_are_rejected(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "Production").await;
    for (caller, token) in tokens_of_no_user(&server).await {
        for repo in [REPO_A, "no-such-repo"] {
            all_deny(&server, caller, &token, repo, &created.id).await;
        }
    }
    assert_eq!(server.database.count(REPO_AI_KEYS).await, 1);
    assert_eq!(server.database.count(REPO_AI_KEY_EVENTS).await, 1);
    assert_eq!(
        server.list_repo_ai_keys(REPO_A).await[0]["name"],
        "Production"
    );
}

async fn request_without_a_valid_token_is_rejected(server: TestServer) {
    all_ask_who_calls(&server, None, "TOKEN_MISSING").await;
    let never_issued = keyward_crypto::Token::generate(keyward_crypto::TokenKind::ISSUED_KEY);
    let never_issued = never_issued.unwrap();
    for token in ["garbage", "sk-kw-v1-garbage", never_issued.expose()] {
        all_ask_who_calls(&server, Some(token), "TOKEN_INVALID").await;
    }
}

async fn unknown_or_unvalidated_users_are_rejected(server: TestServer) {
    for user in [User::Unlisted, User::Unvalidated] {
        all_ask_who_calls(&server, Some(&server.token(user)), "TOKEN_INVALID").await;
    }
}

async fn repo_ai_key_and_its_secret_are_no_tokens(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "own").await;
    for token in [&created.key, &created.secret] {
        all_ask_who_calls(&server, Some(token), "TOKEN_INVALID").await;
    }
}

async fn services_alone_may_verify(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "Production").await;
    let good = VerifyRepoAiKeyRequest {
        key: created.key.clone(),
        secret: created.secret.clone(),
    };
    let mut tokens = tokens_of_no_user(&server).await;
    let (_, service) = tokens.remove(0);
    tokens.extend(User::MEMBERS.map(|user| (user.id(), server.token(user))));
    for (caller, token) in tokens {
        for request in [good.clone(), VerifyRepoAiKeyRequest::default()] {
            println!("{caller}");
            rejected(
                server
                    .repo_ai_keys(&token)
                    .verify_repo_ai_key(request)
                    .await,
            )
            .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
            .alone();
        }
    }
    let verified = server
        .repo_ai_keys(&service)
        .verify_repo_ai_key(good)
        .await
        .unwrap();
    assert_eq!(verified.into_inner().verdict(), RepoAiKeyVerdict::Valid);
}

each_engine! {
    member_has_the_rights_of_role_and_access_alone
    hidden_repo_is_rejected_like_a_missing_one
    callers_other_than_users_are_rejected
    request_without_a_valid_token_is_rejected
    unknown_or_unvalidated_users_are_rejected
    repo_ai_key_and_its_secret_are_no_tokens
    services_alone_may_verify
}
