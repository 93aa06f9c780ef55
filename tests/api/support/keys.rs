//! Keys that Keyward issues: test helpers to create them, and the errors of their paths.

use std::fmt::Write as _;
use std::time::Duration;

use keyward::proto::v1::management_key_service_client::ManagementKeyServiceClient;
use keyward::proto::v1::{CreateManagementKeyRequest, RevokeManagementKeyRequest};
use keyward_core::clock::Timestamp;
use keyward_testkit::fixtures;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::TestServer;
use super::grpc::{Authorized, Bearer, bearer};
use super::rest::Answer;

/// Prefixes of the paths of keys: each path exists under both.
pub const MOUNTS: [&str; 2] = ["", "/api/v1"];
/// Message of a 401 without a token.
pub const NO_HEADER: &str = "Missing Authentication header";
/// Message of a 404.
pub const KEY_NOT_FOUND: &str = "API key not found";

/// An issued key: its plaintext, and the hash that identifies it.
#[derive(Debug, Clone)]
pub struct Issued {
    pub key: String,
    pub hash: String,
}

impl TestServer {
    /// Returns a client of ManagementKeyService with that token.
    pub fn management_keys(&self, token: &str) -> ManagementKeyServiceClient<Authorized> {
        ManagementKeyServiceClient::with_interceptor(self.channel(), bearer(token))
    }

    pub fn management_keys_without_token(&self) -> ManagementKeyServiceClient<Authorized> {
        ManagementKeyServiceClient::with_interceptor(self.channel(), Bearer(None))
    }

    /// Creates a management key of that organization and returns its plaintext.
    pub async fn management_key(&self, organization: &str) -> String {
        let request = CreateManagementKeyRequest {
            organization_id: organization.to_owned(),
            name: "a management key".to_owned(),
        };
        let mut service = self.management_keys(&self.service_token());
        let created = service.create_management_key(request).await.unwrap();
        created.into_inner().key
    }

    /// Revokes a management key, given its plaintext.
    pub async fn revoke_management_key(&self, management_key: &str) {
        let hash = sha256_hex(management_key);
        let mut service = self.management_keys(&self.service_token());
        let request = RevokeManagementKeyRequest { hash };
        service.revoke_management_key(request).await.unwrap();
    }

    /// Issues a key with a management key; `body` has its members besides the name.
    pub async fn issued_key(&self, management_key: &str, mut body: Value) -> Issued {
        if body.get("name").is_none() {
            body["name"] = json!("an issued key");
        }
        let call = self.post("/keys").bearer(management_key).json(&body);
        let answer = call.send().await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let created = answer.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Issued {
            key: text(&created["key"]),
            hash: text(&created["data"]["hash"]),
        }
    }

    /// Returns the key with that hash, as a management key sees it.
    pub async fn key(&self, management_key: &str, hash: &str) -> Value {
        let call = self.get(&format!("/keys/{hash}")).bearer(management_key);
        let answer = call.send().await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["data"].clone()
    }

    /// Changes a key with a management key, and returns the changed key.
    pub async fn change_key(&self, management_key: &str, hash: &str, body: Value) -> Value {
        let call = self.patch(&format!("/keys/{hash}")).bearer(management_key);
        let answer = call.json(&body).send().await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        answer.json()["data"].clone()
    }

    pub async fn delete_key(&self, management_key: &str, hash: &str) {
        let call = self.delete(&format!("/keys/{hash}")).bearer(management_key);
        call.send().await.is(200, r#"{"deleted":true}"#);
    }

    /// Adds an organization without workspaces.
    pub async fn add_organization(&self, id: &str) {
        let platform = fixtures::caller(fixtures::service());
        let organization = fixtures::organization(id);
        let directory = &self.use_cases.directory;
        let added = directory.upsert_organization(&platform, organization).await;
        added.unwrap();
    }

    /// Moves the server's clock to a moment in RFC 3339.
    pub fn set_clock(&self, moment: &str) {
        let moment: prost_types::Timestamp = moment.parse().unwrap();
        let millis = moment.seconds * 1000 + i64::from(moment.nanos) / 1_000_000;
        self.clock.set(Timestamp::from_unix_millis(millis));
    }

    pub fn advance_seconds(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

impl Answer {
    /// Expects an error of the paths of keys.
    #[track_caller]
    pub fn rejects_key(&self, status: u16, message: &str) {
        let message = serde_json::to_string(message).unwrap();
        let body = format!(r#"{{"error":{{"code":{status},"message":{message}}}}}"#);
        self.is(status, &body);
    }
}

/// Returns the SHA-256 of a text, in lower-case hex.
pub fn sha256_hex(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
}
