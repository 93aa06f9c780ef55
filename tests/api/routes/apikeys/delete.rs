//! DELETE /apikeys/{uuid} and DeleteApiKey.

use keyward::proto::v1::{
    DeleteApiKeyRequest, LinkApiKeyRequest, ResourceKind, UnlinkApiKeyRequest,
};
use serde_json::json;
use tonic::Code;

use crate::support::{DENIED, TestServer, User, WORKSPACE_A, WORKSPACE_B, rejected};

const DELETED: &str = r#"{"success":true,"message":"API key deleted successfully"}"#;
const NOT_FOUND: &str = "API key not found";
/// UUID of no key.
const NOBODY: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn key_in(server: &TestServer, workspace: &str) -> String {
    let body = json!({ "workspaceId": workspace, "key": "k", "secret": "s", "provider": "AWS" });
    server.create(body).await
}

fn request(uuid: &str) -> DeleteApiKeyRequest {
    DeleteApiKeyRequest {
        uuid: uuid.to_owned(),
    }
}

async fn link(server: &TestServer, uuid: &str, kind: ResourceKind, resource: &str) {
    let request = LinkApiKeyRequest {
        uuid: uuid.to_owned(),
        resource_kind: kind.into(),
        resource_id: resource.to_owned(),
    };
    server
        .api_keys(&server.service_token())
        .link_api_key(request)
        .await
        .unwrap();
}

async fn unlink(server: &TestServer, uuid: &str, kind: ResourceKind, resource: &str) {
    let request = UnlinkApiKeyRequest {
        uuid: uuid.to_owned(),
        resource_kind: kind.into(),
        resource_id: resource.to_owned(),
    };
    server
        .api_keys(&server.service_token())
        .unlink_api_key(request)
        .await
        .unwrap();
}

async fn deleted_key_stays_deleted(server: TestServer) {
    let token = server.token(User::WriterInA);
    let id = key_in(&server, WORKSPACE_A).await;
    let path = format!("/apikeys/{id}");
    server
        .delete(&path)
        .bearer(&token)
        .send()
        .await
        .is(200, DELETED);
    assert!(server.list(WORKSPACE_A).await.is_empty());
    assert_eq!(server.database.count("provider_keys").await, 0);
    server
        .delete(&path)
        .bearer(&token)
        .send()
        .await
        .rejects(404, NOT_FOUND);
    let answer = server
        .put(&path)
        .bearer(&token)
        .json(&json!({}))
        .send()
        .await;
    answer.rejects(404, NOT_FOUND);

    let id = key_in(&server, WORKSPACE_A).await;
    let mut client = server.api_keys(&token);
    let deleted = client
        .delete_api_key(request(&id))
        .await
        .unwrap()
        .into_inner();
    assert!(deleted.success);
    assert_eq!(deleted.message, "API key deleted successfully");
    rejected(client.delete_api_key(request(&id)).await)
        .is(Code::NotFound, "API_KEY_NOT_FOUND", NOT_FOUND)
        .alone();
}

async fn linked_key_is_kept_and_the_rejection_counts_its_links(server: TestServer) {
    use ResourceKind::{AiModel, Bucket};
    let token = server.token(User::WriterInA);
    let id = key_in(&server, WORKSPACE_A).await;
    let path = format!("/apikeys/{id}");

    link(&server, &id, Bucket, "b1").await;
    let message = "API key is in use by 1 bucket and 0 AI models";
    server
        .delete(&path)
        .bearer(&token)
        .send()
        .await
        .rejects(400, message);
    rejected(server.api_keys(&token).delete_api_key(request(&id)).await)
        .is(Code::FailedPrecondition, "API_KEY_IN_USE", message)
        .metadata(&[("buckets", "1"), ("aiModels", "0")])
        .preconditions(&[("LINKED", "buckets", "1 linked")]);

    link(&server, &id, Bucket, "b2").await;
    link(&server, &id, AiModel, "m1").await;
    let message = "API key is in use by 2 buckets and 1 AI model";
    server
        .delete(&path)
        .bearer(&token)
        .send()
        .await
        .rejects(400, message);
    rejected(server.api_keys(&token).delete_api_key(request(&id)).await)
        .is(Code::FailedPrecondition, "API_KEY_IN_USE", message)
        .metadata(&[("buckets", "2"), ("aiModels", "1")])
        .preconditions(&[
            ("LINKED", "buckets", "2 linked"),
            ("LINKED", "aiModels", "1 linked"),
        ]);
    assert_eq!(server.list(WORKSPACE_A).await.len(), 1);

    for (kind, resource) in [(Bucket, "b1"), (Bucket, "b2"), (AiModel, "m1")] {
        unlink(&server, &id, kind, resource).await;
    }
    server
        .delete(&path)
        .bearer(&token)
        .send()
        .await
        .is(200, DELETED);
}

async fn uuid_that_is_unknown_or_none_is_not_found(server: TestServer) {
    let token = server.token(User::WriterInA);
    for id in [NOBODY, "not-a-uuid", "42", "%20"] {
        let answer = server
            .delete(&format!("/apikeys/{id}"))
            .bearer(&token)
            .send()
            .await;
        answer.rejects(404, NOT_FOUND);
    }
    for id in [NOBODY, "not-a-uuid", ""] {
        let result = server.api_keys(&token).delete_api_key(request(id)).await;
        rejected(result)
            .is(Code::NotFound, "API_KEY_NOT_FOUND", NOT_FOUND)
            .alone();
    }
}

async fn key_in_a_workspace_that_the_caller_cannot_write_is_rejected(server: TestServer) {
    let id = key_in(&server, WORKSPACE_A).await;
    let in_b = key_in(&server, WORKSPACE_B).await;
    for (user, id) in [
        (User::ReaderInA, &id),
        (User::NoAccess, &id),
        (User::Outsider, &id),
        (User::ReaderInAWriterInB, &id),
        (User::WriterInA, &in_b),
    ] {
        let token = server.token(user);
        let answer = server
            .delete(&format!("/apikeys/{id}"))
            .bearer(&token)
            .send()
            .await;
        answer.rejects(403, DENIED);
        let result = server.api_keys(&token).delete_api_key(request(id)).await;
        rejected(result)
            .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
            .alone();
    }
    assert_eq!(server.database.count("provider_keys").await, 2);
}

async fn links_are_not_revealed_without_write_access(server: TestServer) {
    let id = key_in(&server, WORKSPACE_A).await;
    link(&server, &id, ResourceKind::Bucket, "b1").await;
    let answer = server.delete(&format!("/apikeys/{id}"));
    answer
        .bearer(&server.token(User::ReaderInA))
        .send()
        .await
        .rejects(403, DENIED);
}

async fn credentials_of_a_deleted_key_can_be_stored_again(server: TestServer) {
    let id = key_in(&server, WORKSPACE_A).await;
    let answer = server
        .delete(&format!("/apikeys/{id}"))
        .bearer(&server.token(User::Owner));
    answer.send().await.is(200, DELETED);
    assert_ne!(key_in(&server, WORKSPACE_A).await, id);
}

async fn deletion_is_audited_and_a_rejected_one_is_not(server: TestServer) {
    let id = key_in(&server, WORKSPACE_A).await;
    let deletions = "audit_events WHERE action = 'api_key.delete'";
    link(&server, &id, ResourceKind::Bucket, "b1").await;
    let path = format!("/apikeys/{id}");
    let token = server.token(User::Owner);
    assert_eq!(server.delete(&path).bearer(&token).send().await.status, 400);
    assert_eq!(server.database.count(deletions).await, 0);
    unlink(&server, &id, ResourceKind::Bucket, "b1").await;
    server
        .delete(&path)
        .bearer(&token)
        .send()
        .await
        .is(200, DELETED);
    assert_eq!(server.database.count(deletions).await, 1);
}

each_engine! {
    deleted_key_stays_deleted
    linked_key_is_kept_and_the_rejection_counts_its_links
    uuid_that_is_unknown_or_none_is_not_found
    key_in_a_workspace_that_the_caller_cannot_write_is_rejected
    links_are_not_revealed_without_write_access
    credentials_of_a_deleted_key_can_be_stored_again
    deletion_is_audited_and_a_rejected_one_is_not
}
