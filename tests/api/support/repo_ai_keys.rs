//! Repos and their AI keys.

use keyward::proto::v1 as pb;
use keyward::proto::v1::repo_ai_key_service_client::RepoAiKeyServiceClient;
use keyward_testkit::fixtures;
use serde_json::{Value, json};
use tonic::Status;

use super::grpc::{Authorized, Bearer, bearer};
use super::{RestRequest, TestServer, User};

/// The existing repo, in workspace A.
pub const REPO_A: &str = "repo-a";
/// A hyphenated UUID of no key.
pub const NO_SUCH_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// Table that counts the AI keys ever created.
pub const REPO_AI_KEYS: &str = "repo_ai_keys";
/// Audit events of AI keys.
pub const REPO_AI_KEY_EVENTS: &str = "audit_events WHERE resource_kind = 'repo_ai_key'";
/// Bodies of the 403 of the four endpoints: list, create, update and delete.
pub const REPO_AI_KEYS_DENIED: [&str; 4] = [
    r#"{"success":false,"apiKeys":[],"message":"Insufficient permissions"}"#,
    r#"{"success":false,"message":"Insufficient permissions"}"#,
    r#"{"success":false,"message":"Insufficient permissions"}"#,
    r#"{"success":false,"message":"Insufficient permissions"}"#,
];

/// A created AI key.
#[derive(Debug, Clone)]
pub struct CreatedRepoAiKey {
    pub id: String,
    pub key: String,
    pub secret: String,
}

/// Returns the path of a repo's AI keys.
pub fn repo_ai_keys_path(repo: &str) -> String {
    format!("/repo/{repo}/ai/apikey")
}

/// Returns the path of an AI key.
pub fn repo_ai_key_path(repo: &str, id: &str) -> String {
    format!("/repo/{repo}/ai/apikey/{id}")
}

impl TestServer {
    /// Returns a client of RepoAiKeyService with that token.
    pub fn repo_ai_keys(&self, token: &str) -> RepoAiKeyServiceClient<Authorized> {
        RepoAiKeyServiceClient::with_interceptor(self.channel(), bearer(token))
    }

    pub fn repo_ai_keys_without_token(&self) -> RepoAiKeyServiceClient<Authorized> {
        RepoAiKeyServiceClient::with_interceptor(self.channel(), Bearer(None))
    }

    /// Adds a repo.
    pub async fn add_repo(&self, workspace: &str, id: &str) {
        let platform = fixtures::caller(fixtures::service());
        let repo = fixtures::repo(workspace, id);
        let added = self.use_cases.directory.upsert_repo(&platform, repo).await;
        added.unwrap();
    }

    /// Creates an AI key of a repo, for OPENAI, as the owner.
    pub async fn create_repo_ai_key(&self, repo: &str, name: &str) -> CreatedRepoAiKey {
        let body = json!({ "name": name, "aiType": "OPENAI" });
        self.create_repo_ai_key_as(User::Owner, repo, &body).await
    }

    /// Creates an AI key of a repo.
    pub async fn create_repo_ai_key_as(
        &self,
        user: User,
        repo: &str,
        body: &Value,
    ) -> CreatedRepoAiKey {
        let call = self.post(&repo_ai_keys_path(repo));
        let answer = call.bearer(&self.token(user)).json(body).send().await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let answer = answer.json();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        CreatedRepoAiKey {
            id: text("id"),
            key: text("key"),
            secret: text("secret"),
        }
    }

    /// Deletes an AI key as the owner.
    pub async fn delete_repo_ai_key(&self, repo: &str, id: &str) {
        let call = self.delete(&repo_ai_key_path(repo, id));
        let answer = call.bearer(&self.token(User::Owner)).send().await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Returns the AI keys of a repo as the owner sees them.
    pub async fn list_repo_ai_keys(&self, repo: &str) -> Vec<Value> {
        let call = self.get(&repo_ai_keys_path(repo));
        let answer = call.bearer(&self.token(User::Owner)).send().await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["apiKeys"].as_array().unwrap().clone()
    }

    /// Returns a valid request to each endpoint: list, create, update and delete.
    pub fn repo_ai_key_calls(&self, token: Option<&str>, repo: &str, id: &str) -> [RestRequest; 4] {
        let (all, one) = (repo_ai_keys_path(repo), repo_ai_key_path(repo, id));
        let create = json!({ "name": "over REST", "aiType": "GOOGLE" });
        let calls = [
            self.get(&all),
            self.post(&all).json(&create),
            self.put(&one).json(&json!({ "name": "renamed" })),
            self.delete(&one),
        ];
        calls.map(|call| match token {
            Some(token) => call.bearer(token),
            None => call,
        })
    }

    /// Returns the results of the same requests over gRPC.
    pub async fn repo_ai_keys_over_grpc(
        &self,
        token: Option<&str>,
        repo: &str,
        id: &str,
    ) -> [Result<(), Status>; 4] {
        let mut client = match token {
            Some(token) => self.repo_ai_keys(token),
            None => self.repo_ai_keys_without_token(),
        };
        let (repo_id, apikey_id) = (repo.to_owned(), id.to_owned());
        let list = pb::ListRepoAiKeysRequest {
            repo_id: repo_id.clone(),
            ..Default::default()
        };
        let create = pb::CreateRepoAiKeyRequest {
            repo_id: repo_id.clone(),
            name: "over gRPC".to_owned(),
            ai_type: pb::AiType::Google.into(),
        };
        let update = pb::UpdateRepoAiKeyRequest {
            repo_id: repo_id.clone(),
            apikey_id: apikey_id.clone(),
            name: Some("renamed".to_owned()),
        };
        let delete = pb::DeleteRepoAiKeyRequest { repo_id, apikey_id };
        [
            client.list_repo_ai_keys(list).await.map(drop),
            client.create_repo_ai_key(create).await.map(drop),
            client.update_repo_ai_key(update).await.map(drop),
            client.delete_repo_ai_key(delete).await.map(drop),
        ]
    }

    /// Returns the response to a service that verifies a key and a secret.
    pub async fn verify_repo_ai_key(&self, key: &str, secret: &str) -> pb::VerifyRepoAiKeyResponse {
        let request = pb::VerifyRepoAiKeyRequest {
            key: key.to_owned(),
            secret: secret.to_owned(),
        };
        let mut service = self.repo_ai_keys(&self.service_token());
        let verified = service.verify_repo_ai_key(request).await;
        verified.unwrap().into_inner()
    }

    /// Returns true if the verification reports that the key is live and the secret matches.
    pub async fn is_live(&self, created: &CreatedRepoAiKey) -> bool {
        let verified = self.verify_repo_ai_key(&created.key, &created.secret).await;
        verified.verdict() == pb::RepoAiKeyVerdict::Valid
    }
}
