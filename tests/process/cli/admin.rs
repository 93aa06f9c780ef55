//! `keyward admin`.

use std::fs;

use crate::support::client::Rest;
use crate::support::deployment::Deployment;
use crate::support::program::{Finished, Program};

fn create(deployment: &Deployment, arguments: &[&str]) -> Program {
    let config = deployment.config();
    let command = ["admin", "create-management-key", "--config"];
    let command = command.into_iter().chain(config.to_str());
    Program::keyward(command.chain(arguments.iter().copied()))
}

/// Expects a failure that reports the reason, and no output where a key is expected.
#[track_caller]
fn rejected(finished: &Finished, code: i32, why: &str) {
    finished.expect(code);
    assert_eq!(finished.stdout, "");
    assert!(finished.stderr.contains(why), "{}", finished.stderr);
}

async fn a_printed_key_works(deployment: Deployment) {
    let organization = deployment.env["ORGANIZATION_ID"].to_owned();
    let served = deployment.start();
    let rest = Rest::new(&served.url);
    for name in [None, Some("for the pipeline")] {
        let mut arguments = vec!["--organization", &organization];
        arguments.extend(name.iter().flat_map(|name| ["--name", name]));
        let program = create(&deployment, &arguments).env("KEYWARD_LOG__FILTER", "trace");
        let finished = program.run();
        finished.expect(0);
        assert_eq!(finished.stderr, "");
        let key = finished.stdout.strip_suffix('\n').unwrap();
        assert!(key.starts_with("sk-kw-v1-") && !key.contains(char::is_whitespace));
        rest.get("/keys", key).await.expect(200);
        let shown = rest.get("/key", key).await.expect(200);
        assert_eq!(shown["data"]["organization_id"], *organization);
        let stored = "management_keys WHERE name = '";
        let name = name.unwrap_or("created by keyward admin");
        assert_eq!(
            deployment.database.count(&format!("{stored}{name}'")).await,
            1
        );
    }
    let mut events = deployment.database.events().await;
    events.retain(|event| event.action == "management_key.create");
    events.retain(|event| event.actor_id == "keyward-admin");
    assert_eq!(events.len(), 2);
    for event in events {
        assert_eq!(event.actor_kind, "service");
        assert_eq!(event.organization_id.as_ref(), Some(&organization));
        assert_eq!(event.source, None);
    }
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn management_key_is_printed_alone_and_works_on_sqlite() {
    a_printed_key_works(Deployment::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn management_key_is_printed_alone_and_works_on_postgres() {
    if let Some(deployment) = Deployment::postgres().await {
        a_printed_key_works(deployment).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn management_key_needs_a_known_organization() {
    let deployment = Deployment::sqlite().await;
    let organization = deployment.env["ORGANIZATION_ID"].to_owned();
    let before = deployment.database.count("management_keys").await;
    let long = "x".repeat(256);
    for (id, why) in [
        ("Canary7QzX", "Organization not found"),
        ("", "the organization's id"),
        (&long, "the organization's id"),
    ] {
        let finished = create(&deployment, &["--organization", id]).run();
        rejected(&finished, 64, why);
        assert!(
            !finished.stderr.contains("Canary7QzX"),
            "{}",
            finished.stderr
        );
    }
    for (name, why) in [("", "Name is required"), (&*long, "Name must")] {
        let finished = create(
            &deployment,
            &["--organization", &organization, "--name", name],
        )
        .run();
        rejected(&finished, 64, why);
    }
    assert_eq!(deployment.database.count("management_keys").await, before);

    let named = ["--organization", &organization];
    let unconfigured = Program::keyward(["admin", "create-management-key"].iter().chain(&named));
    rejected(&unconfigured.run(), 78, "`auth.session.jwks` is required");
    let elsewhere =
        create(&deployment, &named).env("KEYWARD_DATABASE__URL", "sqlite:/nonexistent/k.db");
    rejected(&elsewhere.run(), 69, "the database cannot be used");
    let unopened = create(&deployment, &named).env("KEYWARD_VAULT__KEYRING_FILE", "/nonexistent");
    rejected(&unopened.run(), 78, "`vault.keyring_file`");
    let empty = deployment.directory.path().join("empty.db");
    fs::write(&empty, "").unwrap();
    let url = format!("sqlite:{}", empty.display());
    let unmigrated = create(&deployment, &named).env("KEYWARD_DATABASE__URL", url);
    rejected(&unmigrated.run(), 78, "keyward migrate");
}

/// The key was never shown, so the command prints its hash, with which it can be revoked.
#[tokio::test(flavor = "multi_thread")]
async fn management_key_that_cannot_be_printed_is_named() {
    let deployment = Deployment::sqlite().await;
    let script = format!(
        "{} admin create-management-key --config {} --organization {} --name unseen >/dev/full",
        env!("CARGO_BIN_EXE_keyward"),
        deployment.config().display(),
        &deployment.env["ORGANIZATION_ID"],
    );
    let finished = Program::bash(&script).run();
    rejected(&finished, 74, "standard output cannot be written");
    let stored = "SELECT hash FROM management_keys WHERE name = 'unseen'";
    let stored = deployment.database.query(stored).await;
    let hash: String = stored[0].try_get("", "hash").unwrap();
    assert!(finished.stderr.contains(&hash), "{}", finished.stderr);
}
