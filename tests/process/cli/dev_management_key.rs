//! The management key of `keyward dev`.

use std::fs;
use std::path::Path;

use keyward::proto::v1::management_key_service_client::ManagementKeyServiceClient;
use keyward::proto::v1::{ListManagementKeysRequest, ManagementKey, RevokeManagementKeyRequest};
use serde_json::json;
use tempfile::TempDir;

use crate::support::client::{Rest, called_by, channel};
use crate::support::deployment::Dev;

/// Returns the demo organization's management keys, newest first.
async fn management_keys(dev: &Dev) -> Vec<ManagementKey> {
    let request = ListManagementKeysRequest {
        organization_id: dev.env["ORGANIZATION_ID"].to_owned(),
        ..Default::default()
    };
    let mut client = ManagementKeyServiceClient::new(channel(&dev.url).await);
    let request = called_by(&dev.env["SERVICE_TOKEN"], request);
    let listed = client.list_management_keys(request).await.unwrap();
    listed.into_inner().management_keys
}

/// Returns the status of a list of issued keys with that key.
async fn status(dev: &Dev, key: &str) -> u16 {
    Rest::new(&dev.url).get("/keys", key).await.status
}

/// Stops the program, changes the management key in `dev.env`, and starts the program again.
fn restart_with(dev: Dev, directory: &Path, value: Option<&str>) -> Dev {
    let file = directory.join("dev.env");
    let before = dev.env["MANAGEMENT_KEY"].to_owned();
    dev.running.terminate().expect(0);
    let text = fs::read_to_string(&file).unwrap();
    let line = format!("MANAGEMENT_KEY={before}\n");
    assert!(text.contains(&line));
    let changed = value.map_or_else(String::new, |value| format!("MANAGEMENT_KEY={value}\n"));
    fs::write(&file, text.replace(&line, &changed)).unwrap();
    Dev::start(directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn management_key_of_dev_survives_restarts() {
    let directory = TempDir::new().unwrap();
    let mut dev = Dev::start(directory.path());
    let key = dev.env["MANAGEMENT_KEY"].to_owned();
    let rest = Rest::new(&dev.url);
    let listed = rest.get("/keys", &key).await.expect(200);
    assert_eq!(listed, json!({ "data": [] }));
    let body = json!({ "name": "a key" });
    let path = "/keys";
    let created = rest.send(http::Method::POST, path, &key, &body).await;
    let created = created.expect(201);
    for _ in 0..2 {
        dev.running.terminate().expect(0);
        dev = Dev::start(directory.path());
        assert_eq!(dev.env["MANAGEMENT_KEY"], key);
        let rest = Rest::new(&dev.url);
        let listed = rest.get("/keys", &key).await.expect(200);
        assert_eq!(listed["data"][0]["hash"], created["data"]["hash"]);
        let shown = rest.get("/key", &key).await.expect(200);
        assert_eq!(shown["data"]["is_management_key"], true);
        assert_eq!(shown["data"]["organization_id"], dev.env["ORGANIZATION_ID"]);
        assert_eq!(management_keys(&dev).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_management_key_is_replaced() {
    let directory = TempDir::new().unwrap();
    let dev = Dev::start(directory.path());
    let before = dev.env["MANAGEMENT_KEY"].to_owned();
    let [listed] = &management_keys(&dev).await[..] else {
        panic!("one key was expected")
    };
    assert_eq!(listed.name, "dev.env");
    let request = RevokeManagementKeyRequest {
        hash: listed.hash.clone(),
    };
    let request = called_by(&dev.env["SERVICE_TOKEN"], request);
    let mut client = ManagementKeyServiceClient::new(channel(&dev.url).await);
    client.revoke_management_key(request).await.unwrap();
    assert_eq!(status(&dev, &before).await, 401);
    dev.running.terminate().expect(0);

    let dev = Dev::start(directory.path());
    assert_ne!(dev.env["MANAGEMENT_KEY"], before);
    assert_eq!(status(&dev, &dev.env["MANAGEMENT_KEY"]).await, 200);
    assert_eq!(status(&dev, &before).await, 401);
    assert_eq!(management_keys(&dev).await.len(), 1);
}

/// Regardless of the value in its position: missing, never a key, or a key of another kind.
#[tokio::test(flavor = "multi_thread")]
async fn management_key_missing_in_the_file_is_replaced() {
    let directory = TempDir::new().unwrap();
    let mut dev = Dev::start(directory.path());
    let first = dev.env["MANAGEMENT_KEY"].to_owned();
    let rest = Rest::new(&dev.url);
    let body = json!({ "name": "a key" });
    let created = rest.send(http::Method::POST, "/keys", &first, &body).await;
    let issued = created.expect(201)["key"].as_str().unwrap().to_owned();
    let mut seen = vec![first.clone()];
    let typo = format!("{}x", &first[..first.len() - 1]);
    for value in [
        None,
        Some(""),
        Some("nothing of ours"),
        Some(&typo),
        Some(&issued),
    ] {
        dev = restart_with(dev, directory.path(), value);
        let key = dev.env["MANAGEMENT_KEY"].to_owned();
        assert!(!seen.contains(&key) && key != issued, "{value:?}");
        assert_eq!(status(&dev, &key).await, 200, "{value:?}");
        seen.push(key);
    }
    fs::remove_file(directory.path().join("dev.env")).unwrap();
    dev.running.terminate().expect(0);
    let dev = Dev::start(directory.path());
    assert!(!seen.contains(&dev.env["MANAGEMENT_KEY"].to_owned()));
    // A lost key was not revoked.
    assert_eq!(status(&dev, &first).await, 200);
    assert_eq!(management_keys(&dev).await.len(), seen.len() + 1);
}
