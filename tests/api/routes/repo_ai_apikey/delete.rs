//! DELETE /repo/{repoId}/ai/apikey/{apikeyId} and DeleteRepoAiKey.

use std::sync::Arc;
use std::time::Duration;

use keyward::proto::v1::{
    DeleteRepoAiKeyRequest, DeleteRepoRequest, DeleteWorkspaceRequest, GetRepoRequest,
    RepoAiKeyVerdict,
};
use keyward_core::clock::Clock;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::{
    NO_SUCH_ID, REPO_A, REPO_AI_KEY_EVENTS, REPO_AI_KEYS, TestServer, User, WORKSPACE_A,
    WORKSPACE_B, rejected, repo_ai_key_path,
};

const DELETED: &str = r#"{"success":true,"message":"API key deleted successfully"}"#;
const NOT_FOUND: &str = "API key not found";
const DELETERS: usize = 16;

fn request(repo: &str, id: &str) -> DeleteRepoAiKeyRequest {
    DeleteRepoAiKeyRequest {
        repo_id: repo.to_owned(),
        apikey_id: id.to_owned(),
    }
}

/// Expects that REST and gRPC reject a deletion by the owner with not found.
async fn is_not_found(server: &TestServer, repo: &str, id: &str) {
    let token = server.token(User::Owner);
    let call = server.delete(&repo_ai_key_path(repo, id)).bearer(&token);
    call.send().await.rejects(404, NOT_FOUND);
    let mut client = server.repo_ai_keys(&token);
    rejected(client.delete_repo_ai_key(request(repo, id)).await)
        .is(Code::NotFound, "API_KEY_NOT_FOUND", NOT_FOUND)
        .alone();
}

async fn deleted_key_is_not_found_again(server: TestServer) {
    let token = server.token(User::WriterInA);
    let created = server.create_repo_ai_key(REPO_A, "first").await;
    let path = repo_ai_key_path(REPO_A, &created.id);
    server
        .delete(&path)
        .bearer(&token)
        .send()
        .await
        .is(200, DELETED);
    is_not_found(&server, REPO_A, &created.id).await;
    assert!(server.list_repo_ai_keys(REPO_A).await.is_empty());

    let created = server.create_repo_ai_key(REPO_A, "second").await;
    let mut client = server.repo_ai_keys(&token);
    let deleted = client
        .delete_repo_ai_key(request(REPO_A, &created.id))
        .await
        .unwrap();
    let deleted = deleted.into_inner();
    assert!(deleted.success);
    assert_eq!(deleted.message, "API key deleted successfully");
    is_not_found(&server, REPO_A, &created.id).await;
}

async fn deleted_key_stops_working_at_once_and_no_other_does(server: TestServer) {
    let first = server.create_repo_ai_key(REPO_A, "first").await;
    let second = server.create_repo_ai_key(REPO_A, "second").await;
    assert!(server.is_live(&first).await);
    server.delete_repo_ai_key(REPO_A, &first.id).await;
    assert!(!server.is_live(&first).await);
    assert!(server.is_live(&second).await);
    // Not even a new key of the same name restores the old key.
    server.create_repo_ai_key(REPO_A, "first").await;
    assert!(!server.is_live(&first).await);
}

async fn row_stays_with_its_moment_and_without_its_sealed_secret(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "first").await;
    let created_at = server.clock.now().unix_millis();
    server.clock.advance(Duration::from_millis(1234));
    server.delete_repo_ai_key(REPO_A, &created.id).await;

    let rows = server.database.query("SELECT * FROM repo_ai_keys").await;
    let [row] = rows.as_slice() else {
        panic!("{rows:?}")
    };
    let text = |column: &str| row.try_get::<String>("", column).unwrap();
    let id: uuid::Uuid = row.try_get("", "id").unwrap();
    assert_eq!(id.to_string(), created.id);
    assert_eq!(
        (text("name"), text("key")),
        ("first".to_owned(), created.key)
    );
    assert_eq!(
        (text("repo_id"), text("ai_type")),
        (REPO_A.to_owned(), "OPENAI".to_owned())
    );
    assert_eq!(row.try_get::<i64>("", "created_at").unwrap(), created_at);
    let deleted_at: Option<i64> = row.try_get("", "deleted_at").unwrap();
    assert_eq!(deleted_at, Some(created_at + 1234));
    let sealed: Option<Vec<u8>> = row.try_get("", "sealed_secret").unwrap();
    assert_eq!(sealed, None);
}

async fn id_that_is_unknown_or_none_is_not_found(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "first").await;
    let plain = created.id.replace('-', "");
    for id in [NO_SUCH_ID, "not-a-uuid", "42", &created.key, &plain] {
        is_not_found(&server, REPO_A, id).await;
    }
    let mut client = server.repo_ai_keys(&server.token(User::Owner));
    rejected(client.delete_repo_ai_key(request(REPO_A, "")).await)
        .is(Code::NotFound, "API_KEY_NOT_FOUND", NOT_FOUND)
        .alone();
    let call = server.delete(&repo_ai_key_path(REPO_A, "%20"));
    call.bearer(&server.token(User::Owner))
        .send()
        .await
        .rejects(404, NOT_FOUND);
    assert!(server.is_live(&created).await);
}

async fn key_of_another_repo_is_not_found(server: TestServer) {
    server.add_repo(WORKSPACE_A, "repo-other").await;
    server.add_repo(WORKSPACE_B, "repo-b").await;
    for repo in ["repo-other", "repo-b"] {
        let created = server.create_repo_ai_key(repo, "first").await;
        is_not_found(&server, REPO_A, &created.id).await;
        assert!(server.is_live(&created).await);
    }
}

async fn concurrent_deletions_succeed_once(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "first").await;
    let path = repo_ai_key_path(REPO_A, &created.id);
    let (server, barrier) = (Arc::new(server), Arc::new(Barrier::new(DELETERS)));
    let mut deleters = JoinSet::new();
    for _ in 0..DELETERS {
        let (server, barrier) = (Arc::clone(&server), Arc::clone(&barrier));
        let path = path.clone();
        deleters.spawn(async move {
            let call = server.delete(&path).bearer(&server.token(User::WriterInA));
            barrier.wait().await;
            let answer = call.send().await;
            if answer.status == 200 {
                return true;
            }
            answer.rejects(404, NOT_FOUND);
            false
        });
    }
    let deleted = deleters.join_all().await;
    assert_eq!(deleted.iter().filter(|deleted| **deleted).count(), 1);
    let deletions = "audit_events WHERE action = 'repo_ai_key.delete'";
    assert_eq!(server.database.count(deletions).await, 1);
}

async fn repo_with_live_keys_is_kept_and_one_without_is_not(server: TestServer) {
    let first = server.create_repo_ai_key(REPO_A, "first").await;
    let second = server.create_repo_ai_key(REPO_A, "second").await;
    let mut directory = server.directory(&server.service_token());
    let delete = || DeleteRepoRequest {
        repo_id: REPO_A.to_owned(),
    };
    let message = "Repo still has AI keys";
    for created in [&first, &second] {
        rejected(directory.delete_repo(delete()).await)
            .is(Code::FailedPrecondition, "NOT_EMPTY", message)
            .preconditions(&[("NOT_EMPTY", "AI keys", message)]);
        assert!(server.is_live(created).await);
        server.delete_repo_ai_key(REPO_A, &created.id).await;
    }
    directory.delete_repo(delete()).await.unwrap();
    let get = GetRepoRequest {
        repo_id: REPO_A.to_owned(),
    };
    assert_eq!(
        directory.get_repo(get).await.unwrap_err().code(),
        Code::NotFound
    );
    let delete = DeleteWorkspaceRequest {
        workspace_id: WORKSPACE_A.to_owned(),
    };
    directory.delete_workspace(delete).await.unwrap();
    assert_eq!(server.database.count(REPO_AI_KEYS).await, 2);
    assert!(!server.is_live(&first).await && !server.is_live(&second).await);
}

async fn recreated_repo_has_no_earlier_keys(server: TestServer) {
    let earlier = server.create_repo_ai_key(REPO_A, "first").await;
    server.delete_repo_ai_key(REPO_A, &earlier.id).await;
    let delete = DeleteRepoRequest {
        repo_id: REPO_A.to_owned(),
    };
    server
        .directory(&server.service_token())
        .delete_repo(delete)
        .await
        .unwrap();
    // Even in another workspace.
    server.add_repo(WORKSPACE_B, REPO_A).await;
    assert!(server.list_repo_ai_keys(REPO_A).await.is_empty());
    is_not_found(&server, REPO_A, &earlier.id).await;
    let later = server.create_repo_ai_key(REPO_A, "first").await;
    let verified = server.verify_repo_ai_key(&later.key, &later.secret).await;
    assert_eq!(verified.verdict(), RepoAiKeyVerdict::Valid);
    assert_eq!(verified.workspace_id, WORKSPACE_B);
    assert!(!server.is_live(&earlier).await);
}

async fn deletion_is_audited_once_and_a_rejected_one_is_not(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "first").await;
    let path = repo_ai_key_path(REPO_A, &created.id);
    let before = server.database.count(REPO_AI_KEY_EVENTS).await;
    for (user, path, status) in [
        (User::ReaderInA, path.as_str(), 403),
        (User::Owner, &repo_ai_key_path(REPO_A, NO_SUCH_ID), 404),
        (User::Owner, &repo_ai_key_path("none", &created.id), 403),
    ] {
        let answer = server.delete(path).bearer(&server.token(user)).send().await;
        assert_eq!(answer.status, status);
    }
    assert_eq!(server.database.count(REPO_AI_KEY_EVENTS).await, before);

    let call = server.delete(&path).bearer(&server.token(User::WriterInA));
    call.header("x-request-id", "delete-1")
        .send()
        .await
        .is(200, DELETED);
    is_not_found(&server, REPO_A, &created.id).await;
    let events = server.database.events().await;
    let events: Vec<_> = events
        .iter()
        .filter(|e| e.action == "repo_ai_key.delete")
        .collect();
    let [event] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(event.resource_kind, "repo_ai_key");
    assert_eq!(
        (&event.resource_id, event.request_id.as_str()),
        (&created.id, "delete-1")
    );
    assert_eq!(
        (event.actor_kind.as_str(), event.actor_id.as_str()),
        ("user", "writer-in-a")
    );
    assert_eq!(event.organization_id.as_deref(), Some("org-1"));
    assert_eq!(event.workspace_id.as_deref(), Some(WORKSPACE_A));
    assert_eq!(event.details, r#"{"repo_id":"repo-a"}"#);
}

each_engine! {
    deleted_key_is_not_found_again
    deleted_key_stops_working_at_once_and_no_other_does
    row_stays_with_its_moment_and_without_its_sealed_secret
    id_that_is_unknown_or_none_is_not_found
    key_of_another_repo_is_not_found
    concurrent_deletions_succeed_once
    repo_with_live_keys_is_kept_and_one_without_is_not
    recreated_repo_has_no_earlier_keys
    deletion_is_audited_once_and_a_rejected_one_is_not
}
