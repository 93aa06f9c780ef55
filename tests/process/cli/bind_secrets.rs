//! Migration from unbound secrets, which earlier versions stored, to bound ones.

use reqwest::Method;
use serde_json::json;
use tonic::Code;

use keyward::proto::v1::ResolveApiKeyRequest;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;

use crate::support::client::{Rest, called_by, channel, resolve};
use crate::support::deployment::{Deployment, Served};
use crate::support::program::{Finished, Program};

const SETTING: &str = "KEYWARD_VAULT__BIND_SECRETS";

fn served(deployment: &Deployment, bind_secrets: &str) -> Served {
    Served::of(deployment.command("serve").env(SETTING, bind_secrets))
}

fn bind_secrets(deployment: &Deployment) -> Program {
    let config = deployment.config();
    let command = ["admin", "bind-secrets", "--config"];
    Program::keyward(command.into_iter().chain(config.to_str()))
}

/// Expects that the command does nothing, and reports the reason.
#[track_caller]
fn rejected(finished: &Finished, code: i32, why: &str) {
    finished.expect(code);
    assert!(finished.stderr.contains(why), "{}", finished.stderr);
}

async fn create(deployment: &Deployment, served: &Served, key: &str) -> String {
    let (token, workspace) = (
        &deployment.env["ADMIN_TOKEN"],
        &deployment.env["WORKSPACE_A"],
    );
    let rest = Rest::new(&served.url);
    let created = rest.create(token, workspace, key, &secret_of(key)).await;
    created.expect(201)["apiKeyId"].as_str().unwrap().to_owned()
}

async fn rotate(deployment: &Deployment, served: &Served, id: &str, key: &str) {
    let (path, body) = (format!("/apikeys/{id}"), json!({"secret": secret_of(key)}));
    let rest = Rest::new(&served.url);
    let token = &deployment.env["ADMIN_TOKEN"];
    let rotated = rest.send(Method::PUT, &path, token, &body).await;
    rotated.expect(200);
}

fn secret_of(key: &str) -> String {
    format!("canary-{key}")
}

async fn expect_opened(deployment: &Deployment, served: &Served, keys: &[(&str, String)]) {
    let channel = channel(&served.url).await;
    for (key, id) in keys {
        let secret = resolve(&channel, &deployment.env["SERVICE_TOKEN"], id).await;
        assert_eq!(secret, secret_of(key));
    }
}

async fn expect_shut(deployment: &Deployment, served: &Served, id: &str) {
    let request = ResolveApiKeyRequest {
        uuid: id.to_owned(),
    };
    let mut client = ApiKeyServiceClient::new(channel(&served.url).await);
    let request = called_by(&deployment.env["SERVICE_TOKEN"], request);
    let status = client.resolve_api_key(request).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Internal, "Internal server error")
    );
}

/// Returns the first byte of each sealed secret, in the order of creation: 2 for bound ones, 1 for others.
async fn forms(deployment: &Deployment) -> Vec<u8> {
    let rows = deployment
        .database
        .query("SELECT sealed_secret FROM provider_keys ORDER BY id")
        .await;
    let sealed = rows
        .iter()
        .map(|row| row.try_get::<Vec<u8>>("", "sealed_secret").unwrap());
    sealed.map(|sealed| sealed[0]).collect()
}

/// Expects that the log of a process names the secret that does not open, once and without its value.
#[track_caller]
fn expect_line(finished: &Finished, id: &str, why: &str) {
    finished.expect(0);
    let lines = finished.stderr.lines();
    let lines: Vec<_> = lines
        .filter(|line| line.contains("integrity error"))
        .collect();
    assert_eq!(lines.len(), 1, "{}", finished.stderr);
    assert!(
        lines[0].contains(id) && lines[0].contains(why),
        "{}",
        lines[0]
    );
    assert!(!finished.stderr.contains("canary"), "{}", finished.stderr);
}

async fn unbound_secrets_become_bound(deployment: Deployment) {
    // As an earlier version stored them.
    let before = served(&deployment, "off");
    let mut keys = vec![("a", create(&deployment, &before, "a").await)];
    keys.push(("b", create(&deployment, &before, "b").await));
    before.running.terminate().expect(0);
    assert_eq!(forms(&deployment).await, [1, 1]);
    let kept = "CREATE TABLE kept AS SELECT id, sealed_secret, secret_version FROM provider_keys";
    deployment.database.execute(kept).await;

    // Replicas of that version may still run, and must be able to open new secrets.
    let auto = served(&deployment, "auto");
    keys.push(("c", create(&deployment, &auto, "c").await));
    expect_opened(&deployment, &auto, &keys).await;
    let finished = auto.running.terminate();
    finished.expect(0);
    assert!(
        finished.stderr.contains("sealing new ones unbound"),
        "{}",
        finished.stderr
    );
    assert_eq!(forms(&deployment).await, [1, 1, 1]);
    rejected(
        &bind_secrets(&deployment).env(SETTING, "off").run(),
        78,
        "`vault.bind_secrets` is off",
    );

    // By default an unbound secret in the database does not decide.
    let on = deployment.start();
    keys.push(("d", create(&deployment, &on, "d").await));
    assert_eq!(forms(&deployment).await, [1, 1, 1, 2]);
    on.running.terminate().expect(0);

    // A rotation leaves a secret in its form.
    let auto = served(&deployment, "auto");
    for (key, id) in [&keys[0], &keys[3]] {
        rotate(&deployment, &auto, id, key).await;
    }
    expect_opened(&deployment, &auto, &keys).await;
    auto.running.terminate().expect(0);
    assert_eq!(forms(&deployment).await, [1, 1, 1, 2]);

    let on = served(&deployment, "on");
    let finished = bind_secrets(&deployment).run();
    finished.expect(0);
    assert_eq!(finished.stdout, "bound 3 secrets\n");
    assert_eq!(forms(&deployment).await, [2, 2, 2, 2]);
    expect_opened(&deployment, &on, &keys).await;
    assert_eq!(
        bind_secrets(&deployment).run().expect(0),
        "bound 0 secrets\n"
    );
    on.running.terminate().expect(0);
    let mut events = deployment.database.events().await;
    events.retain(|event| event.action == "api_key.bind");
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event.actor_id == "keyward-admin"));

    // No secret is unbound: "auto" binds from here on, without a warning.
    let auto = served(&deployment, "auto");
    keys.push(("e", create(&deployment, &auto, "e").await));
    expect_opened(&deployment, &auto, &keys).await;
    let finished = auto.running.terminate();
    finished.expect(0);
    assert!(!finished.stderr.contains("unbound"), "{}", finished.stderr);
    assert_eq!(forms(&deployment).await, [2; 5]);

    let redirected =
        "UPDATE provider_keys SET endpoint = 'https://elsewhere.example' WHERE key = 'a'";
    deployment.database.execute(redirected).await;
    let required = served(&deployment, "required");
    expect_shut(&deployment, &required, &keys[0].1).await;
    expect_opened(&deployment, &required, &keys[1..]).await;
    expect_line(
        &required.running.terminate(),
        &keys[0].1,
        "decryption failed",
    );

    // A database writer restores the row as it was before it was bound.
    let restored = "UPDATE provider_keys SET \
        sealed_secret = (SELECT sealed_secret FROM kept WHERE kept.id = provider_keys.id), \
        secret_version = (SELECT secret_version FROM kept WHERE kept.id = provider_keys.id) \
        WHERE key = 'a'";
    deployment.database.execute(restored).await;
    let required = served(&deployment, "required");
    expect_shut(&deployment, &required, &keys[0].1).await;
    expect_line(
        &required.running.terminate(),
        &keys[0].1,
        "rejects unbound secrets",
    );

    // A row that does not open is reported, and does not stop the others.
    deployment
        .database
        .execute(&format!("{restored} OR key = 'b'"))
        .await;
    deployment
        .database
        .execute("UPDATE provider_keys SET secret_version = 7 WHERE key = 'a'")
        .await;
    let finished = bind_secrets(&deployment).run();
    rejected(
        &finished,
        70,
        &format!("1 secrets do not open, such as those of {}", keys[0].1),
    );
    assert_eq!(finished.stdout, "bound 1 secrets\n");
    assert_eq!(forms(&deployment).await, [1, 2, 2, 2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unbound_secrets_become_bound_on_sqlite() {
    unbound_secrets_become_bound(Deployment::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unbound_secrets_become_bound_on_postgres() {
    if let Some(deployment) = Deployment::postgres().await {
        unbound_secrets_become_bound(deployment).await;
    }
}
