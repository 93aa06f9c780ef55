//! `keyward dev`.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Code;

use crate::support::client::{Rest, called_by, channel, resolve};
use crate::support::deployment::{DEV_VARIABLES, Dev};
use crate::support::program::Program;
use keyward::proto::v1::ResolveApiKeyRequest;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;

/// Returns every file of a directory with its content.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries
        .map(|path| (name(&path), fs::read(&path).unwrap()))
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Returns the commands that `keyward dev` prints: paragraphs of indented lines, without their comments.
fn printed_commands(printed: &str) -> Vec<String> {
    let paragraphs = printed
        .split("\n\n")
        .filter(|paragraph| paragraph.starts_with("  "));
    let command = |paragraph: &str| {
        let lines = paragraph
            .lines()
            .filter(|line| !line.trim_start().starts_with("# "));
        lines
            .map(|line| line.strip_prefix("  ").unwrap())
            .collect::<Vec<_>>()
            .join("\n")
    };
    paragraphs.map(command).collect()
}

/// Runs the printed commands in new shells, as a reader would, and returns their responses.
fn follow_the_tour(printed: &str) -> Vec<Value> {
    let commands = printed_commands(printed);
    let (source, commands) = commands.split_first().unwrap();
    assert!(source.starts_with("source "), "{source}");
    let elsewhere = TempDir::new().unwrap();
    let run = |command: &String| {
        let shell = Program::bash(&format!("{source}\n{command}")).current_dir(elsewhere.path());
        let finished = shell.run();
        finished.expect(0);
        serde_json::from_str(&finished.stdout).unwrap()
    };
    commands.iter().map(run).collect()
}

#[track_caller]
fn check_the_tour(printed: &str) {
    let answers = follow_the_tour(printed);
    let [created, listed] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    assert_eq!(created["success"], json!(true), "{created}");
    assert_eq!(listed["apiKeys"][0]["id"], created["apiKeyId"], "{listed}");
    assert_eq!(
        listed["apiKeys"][0]["key"],
        json!("AKIAIOSFODNN7EXAMPLE"),
        "{listed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn first_start_creates_everything_for_its_owner_alone() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("a").join("b");
    let dev = Dev::start(&directory);
    let rest = Rest::new(&dev.env["KEYWARD_URL"]);
    rest.create(
        &dev.env["ADMIN_TOKEN"],
        &dev.env["WORKSPACE_A"],
        "key",
        "secret",
    )
    .await
    .expect(201);

    assert_eq!(mode(&directory), 0o700);
    assert_eq!(dev.url, &dev.env["KEYWARD_URL"]);
    let files = files(&directory);
    let expected = [
        "dev.env",
        "jwks.json",
        "keyring.json",
        "keyward.db",
        "keyward.db-shm",
    ];
    let expected = expected
        .into_iter()
        .chain(["keyward.db-wal", "signing-key.pk8"]);
    for name in expected {
        assert!(
            files.contains_key(name),
            "{name} is not among {:?}",
            files.keys()
        );
    }
    for name in files.keys() {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }

    let text = fs::read_to_string(directory.join("dev.env")).unwrap();
    let names: Vec<&str> = text
        .lines()
        .map(|line| line.split_once('=').unwrap().0)
        .collect();
    assert_eq!(names, DEV_VARIABLES);
    for (name, value) in &dev.env.0 {
        assert!(!value.is_empty(), "{name}");
    }
}

#[test]
fn printed_commands_work() {
    let directory = TempDir::new().unwrap();
    let dev = Dev::start(directory.path());
    check_the_tour(&dev.running.stdout.so_far());
    dev.running.terminate().expect(0);
}

#[test]
fn data_directory_may_have_any_name() {
    let parent = TempDir::new().unwrap();
    let directory = parent
        .path()
        .join(r#"it's 100%25 "odd"? #1 \n $HOME `x` & ä"#);
    for _ in 0..2 {
        let dev = Dev::start(&directory);
        assert!(directory.join("keyward.db").is_file());
        let printed = dev.running.stdout.so_far();
        let commands = printed_commands(&printed);
        let shell = Program::bash(&format!("{}\nprintf %s \"$KEYWARD_URL\"", commands[0]));
        assert_eq!(shell.run().expect(0), &dev.env["KEYWARD_URL"]);
        dev.running.terminate().expect(0);
    }
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn second_start_keeps_everything() {
    let directory = TempDir::new().unwrap();
    let first = Dev::start(directory.path());
    let (admin, workspace) = (&first.env["ADMIN_TOKEN"], &first.env["WORKSPACE_A"]);
    let rest = Rest::new(&first.env["KEYWARD_URL"]);
    rest.create(admin, workspace, "key", "the secret")
        .await
        .expect(201);
    let before = rest.list(admin, workspace).await;
    assert_eq!(before.len(), 1);
    first.running.terminate().expect(0);
    let files_before = files(directory.path());

    let second = Dev::start(directory.path());
    let rest = Rest::new(&second.env["KEYWARD_URL"]);
    for token in [admin, &second.env["ADMIN_TOKEN"]] {
        assert_eq!(rest.list(token, workspace).await, before);
    }
    let service = channel(&second.env["KEYWARD_URL"]).await;
    assert_eq!(
        resolve(&service, &second.env["SERVICE_TOKEN"], &before[0].0).await,
        "the secret"
    );
    rest.get("/keys", &first.env["MANAGEMENT_KEY"])
        .await
        .expect(200);
    for name in DEV_VARIABLES.into_iter().skip(5) {
        assert_eq!(first.env[name], second.env[name], "{name}");
    }
    second.running.terminate().expect(0);
    let files_after = files(directory.path());
    for name in ["keyring.json", "signing-key.pk8", "jwks.json"] {
        assert_eq!(files_before[name], files_after[name], "{name}");
    }
    let url = format!("sqlite://{}/keyward.db?mode=ro", directory.path().display());
    let database = sea_orm::Database::connect(url).await.unwrap();
    for (table, rows) in [
        ("organizations", 2),
        ("workspaces", 3),
        ("repos", 1),
        ("members", 3),
        ("provider_keys", 1),
        ("management_keys", 1),
    ] {
        assert_eq!(
            crate::durability::kill::count(&database, table).await,
            rows,
            "{table}"
        );
    }
}

#[test]
fn it_rejects_public_addresses_and_changes_nothing() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("data");
    let rejected = |address: &str| {
        let data = directory.to_str().unwrap();
        let program = Program::keyward(["dev", "--listen", address, "--data-dir", data]);
        let printed = program.run().expect(64);
        assert!(
            printed.contains("loopback") && printed.contains("keyward serve"),
            "{printed}"
        );
    };
    let public = [
        "0.0.0.0:0",
        "[::]:0",
        "192.0.2.1:0",
        "10.0.0.1:8080",
        "[2001:db8::1]:0",
    ];
    public.into_iter().for_each(rejected);
    assert!(!directory.exists());

    Dev::start(&directory).running.terminate().expect(0);
    let before = files(&directory);
    public.into_iter().for_each(rejected);
    assert_eq!(files(&directory), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_token_has_the_rights_of_its_name() {
    let directory = TempDir::new().unwrap();
    let dev = Dev::start(directory.path());
    let env = &dev.env;
    let rest = Rest::new(&env["KEYWARD_URL"]);
    let (a, b) = (&env["WORKSPACE_A"], &env["WORKSPACE_B"]);
    let all = async |token: &str| {
        let listed = rest.get("/apikeys", token).await.expect(200);
        listed["apiKeys"].as_array().unwrap().len()
    };

    let mut ids = Vec::new();
    for workspace in [a, b] {
        let created = rest
            .create(&env["ADMIN_TOKEN"], workspace, "key", "secret")
            .await
            .expect(201);
        ids.push(created["apiKeyId"].as_str().unwrap().to_owned());
        assert_eq!(rest.list(&env["ADMIN_TOKEN"], workspace).await.len(), 1);
    }
    assert_eq!(all(&env["ADMIN_TOKEN"]).await, 2);

    let reader = &env["READ_TOKEN"];
    assert_eq!(rest.list(reader, a).await.len(), 1);
    assert_eq!(all(reader).await, 1);
    rest.get(&format!("/apikeys?workspaceId={b}"), reader)
        .await
        .expect(403);
    rest.create(reader, a, "other", "secret").await.expect(403);
    let path = format!("/apikeys/{}", ids[0]);
    rest.send(Method::DELETE, &path, reader, &json!({}))
        .await
        .expect(403);

    let outsider = &env["OUTSIDER_TOKEN"];
    for workspace in [a, b] {
        rest.get(&format!("/apikeys?workspaceId={workspace}"), outsider)
            .await
            .expect(403);
        rest.create(outsider, workspace, "other", "secret")
            .await
            .expect(403);
    }
    assert_eq!(all(outsider).await, 0);

    let channel = channel(&env["KEYWARD_URL"]).await;
    assert_eq!(
        resolve(&channel, &env["SERVICE_TOKEN"], &ids[0]).await,
        "secret"
    );
    for token in ["ADMIN_TOKEN", "READ_TOKEN", "OUTSIDER_TOKEN"] {
        let request = called_by(
            &env[token],
            ResolveApiKeyRequest {
                uuid: ids[0].clone(),
            },
        );
        let rejected = ApiKeyServiceClient::new(channel.clone())
            .resolve_api_key(request)
            .await;
        assert_eq!(
            rejected.unwrap_err().code(),
            Code::PermissionDenied,
            "{token}"
        );
    }
}

#[test]
fn port_in_use_is_reported() {
    let directory = TempDir::new().unwrap();
    Dev::start(directory.path()).running.terminate().expect(0);
    let before = fs::read(directory.path().join("dev.env")).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = directory.path().to_str().unwrap();
    let printed = Program::keyward(["dev", "--listen", &address, "--data-dir", data])
        .run()
        .expect(71);
    assert!(
        printed.contains(&format!("cannot listen on {address}")),
        "{printed}"
    );
    assert!(printed.contains("in use"), "{printed}");
    assert_eq!(fs::read(directory.path().join("dev.env")).unwrap(), before);
}

#[test]
fn second_dev_on_a_data_directory_is_rejected() {
    let directory = TempDir::new().unwrap();
    let first = Dev::start(directory.path());
    let before = fs::read(directory.path().join("dev.env")).unwrap();
    let rejected = crate::support::deployment::dev_program(directory.path())
        .run()
        .expect(69);
    let pid = first.running.pid().as_raw_nonzero();
    assert!(
        rejected.contains(&format!("the SQLite file is in use by process {pid}")),
        "{rejected}"
    );
    assert_eq!(fs::read(directory.path().join("dev.env")).unwrap(), before);
    first.running.terminate().expect(0);
    Dev::start(directory.path()).running.terminate().expect(0);
}

/// A new keyring with old data would make all its secrets appear lost.
#[test]
fn lost_keyring_is_not_silently_replaced() {
    let directory = TempDir::new().unwrap();
    let dev = Dev::start(directory.path());
    dev.running.terminate().expect(0);
    let keyring = directory.path().join("keyring.json");
    fs::rename(&keyring, directory.path().join("elsewhere.json")).unwrap();
    let finished = crate::support::deployment::dev_program(directory.path()).run();
    finished.expect(78);
    assert!(
        finished.stderr.contains("keyring.json is gone"),
        "{}",
        finished.stderr
    );
    assert!(!keyring.exists());
    fs::rename(directory.path().join("elsewhere.json"), &keyring).unwrap();
    Dev::start(directory.path()).running.terminate().expect(0);
}

#[tokio::test]
async fn keyring_of_another_database_fails_the_start() {
    let directory = TempDir::new().unwrap();
    let dev = Dev::start(directory.path());
    let rest = Rest::new(&dev.env["KEYWARD_URL"]);
    let created = rest.create(&dev.env["ADMIN_TOKEN"], &dev.env["WORKSPACE_A"], "k", "s");
    created.await.expect(201);
    dev.running.terminate().expect(0);
    let keyring = directory.path().join("keyring.json");
    fs::remove_file(&keyring).unwrap();
    let keyring = keyring.to_str().unwrap();
    Program::keyward(["keyring", "create", keyring])
        .run()
        .expect(0);
    let finished = crate::support::deployment::dev_program(directory.path()).run();
    finished.expect(78);
    assert!(
        finished.stderr.contains("`vault.keyring_file`"),
        "{}",
        finished.stderr
    );
}
