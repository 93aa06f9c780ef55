//! The commands: help, exit codes, files.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::support::client::Rest;
use crate::support::deployment::{Deployment, Dev};
use crate::support::program::Program;

/// Every command with its arguments and options.
const COMMANDS: [(&[&str], &[&str]); 11] = [
    (
        &[],
        &[
            "serve",
            "dev",
            "migrate",
            "token",
            "keyring",
            "admin",
            "healthcheck",
            "-V, --version",
        ],
    ),
    (&["serve"], &["--config <FILE>"]),
    (&["dev"], &["--listen <ADDR>", "--data-dir <DIR>"]),
    (&["migrate"], &["--config <FILE>"]),
    (
        &["token"],
        &[
            "--signing-key <FILE>",
            "--user <ID>",
            "--organization <ID>",
            "--issuer <TEXT>",
            "--audience <TEXT>",
            "--ttl-seconds <SECONDS>",
        ],
    ),
    (&["keyring"], &["create"]),
    (&["keyring", "create"], &["<FILE>"]),
    (&["admin"], &["create-management-key", "bind-secrets"]),
    (&["admin", "bind-secrets"], &["--config <FILE>"]),
    (
        &["admin", "create-management-key"],
        &["--organization <ID>", "--name <TEXT>", "--config <FILE>"],
    ),
    (
        &["healthcheck"],
        &[
            "--url <URL>",
            "--config <FILE>",
            "--ca-file <FILE>",
            "--timeout-ms <MS>",
        ],
    ),
];

/// Returns every item of the help below its headings, and true if a text explains the item.
fn items(help: &str) -> Vec<(String, bool)> {
    let lines: Vec<&str> = help.lines().collect();
    let mut heading = false;
    let mut items = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if !line.starts_with(' ') {
            heading = ["Commands:", "Arguments:", "Options:"].contains(line)
                || line.is_empty() && heading;
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if heading && indent < 8 {
            let (item, text) = line.trim().split_once("  ").unwrap_or((line.trim(), ""));
            let below = lines
                .get(number + 1)
                .is_some_and(|next| next.starts_with("          "));
            items.push((item.to_owned(), !text.trim().is_empty() || below));
        }
    }
    items
}

#[test]
fn help_is_complete() {
    for (command, expected) in COMMANDS {
        let help = Program::keyward(command.iter().chain(&["--help"])).run();
        help.expect(0);
        assert_eq!(help.stderr, "");
        assert!(help.stdout.contains("Usage: keyward"), "{help:?}");
        let mut found = Vec::new();
        for (item, explained) in items(&help.stdout) {
            assert!(
                explained,
                "`{item}` of {command:?} is not explained:\n{}",
                help.stdout
            );
            if item != "help"
                && item != "-h, --help"
                && (item != "-V, --version" || command.is_empty())
            {
                found.push(item);
            }
        }
        assert_eq!(found, expected, "{command:?}:\n{}", help.stdout);
    }
}

#[test]
fn version_is_the_packages() {
    for option in ["--version", "-V"] {
        let printed = Program::keyward([option]).run().expect(0);
        assert_eq!(
            printed,
            concat!("keyward ", env!("CARGO_PKG_VERSION"), "\n")
        );
    }
}

#[test]
fn wrong_usage_exits_64() {
    let wrong: [&[&str]; 11] = [
        &[],
        &["--unknown"],
        &["unknown"],
        &["serve", "--unknown"],
        &["serve", "--config"],
        &["dev", "--listen", "nowhere"],
        &["token", "--user", "someone"],
        &["keyring"],
        &["admin"],
        &["admin", "create-management-key", "--name", "n"],
        &["healthcheck", "--timeout-ms", "soon"],
    ];
    for arguments in wrong {
        let finished = Program::keyward(arguments).run();
        finished.expect(64);
        assert_eq!(finished.stdout, "", "{arguments:?}");
        assert!(
            finished.stderr.contains("--help"),
            "{arguments:?}: {}",
            finished.stderr
        );
    }
}

/// A full disk, or a pipe whose reader has closed.
#[test]
fn output_that_cannot_be_written_is_an_error_and_not_a_panic() {
    let directory = TempDir::new().unwrap();
    let keyward = env!("CARGO_BIN_EXE_keyward");
    let script = format!("{keyward} keyring create keyring.json >/dev/full");
    let finished = Program::bash(&script).current_dir(directory.path()).run();
    finished.expect(74);
    assert!(
        finished
            .stderr
            .contains("standard output cannot be written"),
        "{}",
        finished.stderr
    );
}

#[test]
fn keyring_is_made_once_and_never_overwritten() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("keyring.json");
    let create = || Program::keyward(["keyring", "create", file.to_str().unwrap()]).run();
    let printed = create().expect(0);
    assert!(printed.contains("key version 1"), "{printed}");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let before = fs::read(&file).unwrap();
    let key = String::from_utf8(before.clone()).unwrap();
    let key = key.split('"').find(|part| part.len() == 64).unwrap();
    assert!(!printed.contains(key));
    let printed = create().expect(73);
    assert!(printed.contains("already exists"), "{printed}");
    assert_eq!(fs::read(&file).unwrap(), before);
    let nowhere = directory.path().join("missing").join("keyring.json");
    Program::keyward(["keyring", "create", nowhere.to_str().unwrap()])
        .run()
        .expect(73);
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_must_be_current_and_migrating_twice_is_fine() {
    let deployment = Deployment::sqlite().await;
    fs::remove_file(deployment.database.file()).unwrap();
    let printed = deployment.command("serve").run().expect(78);
    assert!(printed.contains("keyward migrate"), "{printed}");
    let printed = deployment.command("migrate").run().expect(0);
    assert!(
        !printed.starts_with("0 ") && printed.contains("current"),
        "{printed}"
    );
    let printed = deployment.command("migrate").run().expect(0);
    assert!(
        printed.starts_with("0 ") && printed.contains("current"),
        "{printed}"
    );
    deployment.start().running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keyring_that_others_can_read_is_rejected() {
    let deployment = Deployment::sqlite().await;
    let file = deployment.directory.path().join("keyring.json");
    for mode in [0o644, 0o640, 0o604, 0o660] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let printed = deployment.command("serve").run().expect(78);
        assert!(printed.contains("`vault.keyring_file`"), "{printed}");
        assert!(printed.contains(&format!("{mode:04o}")), "{printed}");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    deployment.start().running.terminate().expect(0);
}

#[test]
fn process_leaves_no_memory_to_dumps_or_tracers() {
    let directory = tempfile::TempDir::new().unwrap();
    let data = directory.path().to_str().unwrap();
    let arguments = format!("dev --listen 127.0.0.1:0 --data-dir '{data}'");
    let program = env!("CARGO_BIN_EXE_keyward");
    // Files in /proc of root's own processes belong to root in any case. Root therefore checks a process of
    // another user, which has no access to the program's path and gets it as an open file.
    let script = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(directory.path(), Some(65534), Some(65534)).unwrap();
        let user = "setpriv --reuid 65534 --regid 65534 --clear-groups";
        format!("exec 9<'{program}'; exec {user} /proc/self/fd/9 {arguments}")
    } else {
        format!("exec '{program}' {arguments}")
    };
    let running = Program::bash(&script).current_dir(directory.path()).start();
    running.stdout.wait_for("Keyward listens");
    let of = |name: &str| format!("/proc/{}/{name}", running.id());
    let limits = fs::read_to_string(of("limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let words: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{limits}");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(of("environ")).unwrap());
    assert_eq!(owner, 0);
    running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn database_that_cannot_be_reached_is_unavailable() {
    let deployment = Deployment::sqlite().await;
    // No process listens on a port that was just released.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let postgres = format!("postgres://keyward@127.0.0.1:{port}/keyward");
    let sqlite = format!(
        "sqlite://{}/missing/keyward.db",
        deployment.directory.path().display()
    );
    for url in [postgres, sqlite] {
        for command in ["serve", "migrate"] {
            let program = deployment
                .command(command)
                .env("KEYWARD_DATABASE__URL", &url);
            let program = program.env("KEYWARD_DATABASE__ACQUIRE_TIMEOUT_MS", "200");
            let printed = program.run().expect(69);
            assert!(printed.contains("the database cannot be used"), "{printed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn minted_token_works() {
    let directory = TempDir::new().unwrap();
    let dev = Dev::start(directory.path());
    let rest = Rest::new(&dev.env["KEYWARD_URL"]);
    let key = directory.path().join("signing-key.pk8");
    let mint = |arguments: &[&str]| {
        let key = [
            "token",
            "--signing-key",
            key.to_str().unwrap(),
            "--organization",
            "demo",
        ];
        let finished = Program::keyward(key.iter().chain(arguments)).run();
        finished.expect(0);
        assert_eq!(finished.stderr, "");
        let token = finished.stdout.strip_suffix('\n').unwrap().to_owned();
        assert!(!token.contains(char::is_whitespace));
        token
    };
    let workspace = &dev.env["WORKSPACE_A"];
    let token = mint(&["--user", "demo-admin"]);
    rest.create(&token, workspace, "key", "secret")
        .await
        .expect(201);
    assert_eq!(rest.list(&token, workspace).await.len(), 1);
    for rejected in [
        mint(&["--user", "nobody"]),
        mint(&["--user", "demo-admin", "--issuer", "another"]),
        mint(&["--user", "demo-admin", "--audience", "another"]),
    ] {
        rest.get("/apikeys", &rejected).await.expect(401);
    }
    let program = [
        "token",
        "--user",
        "u",
        "--organization",
        "o",
        "--signing-key",
    ];
    for file in ["missing", "keyring.json"] {
        let file = directory.path().join(file);
        let printed = Program::keyward(program.iter().copied().chain(file.to_str()))
            .run()
            .expect(78);
        assert!(printed.contains("key"), "{printed}");
    }
}

#[test]
fn healthcheck_reports_by_its_exit_code() {
    let directory = TempDir::new().unwrap();
    let dev = Dev::start(directory.path());
    let url = dev.env["KEYWARD_URL"].to_owned();
    assert_eq!(
        Program::keyward(["healthcheck", "--url", &url])
            .run()
            .expect(0),
        ""
    );
    let slash = format!("{url}/");
    assert_eq!(
        Program::keyward(["healthcheck"])
            .env("KEYWARD_URL", &slash)
            .run()
            .expect(0),
        ""
    );
    // A probe of the local container uses no proxy.
    let proxied =
        Program::keyward(["healthcheck", "--url", &url]).env("http_proxy", "http://127.0.0.1:1");
    assert_eq!(proxied.run().expect(0), "");
    dev.running.terminate().expect(0);
    let printed = Program::keyward(["healthcheck", "--url", &url])
        .run()
        .expect(69);
    assert!(printed.contains("not ready"), "{printed}");

    // A process listens, but does not respond in time.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let program = Program::keyward(["healthcheck", "--timeout-ms", "50", "--url", &url]);
    let printed = program.run().expect(69);
    assert!(printed.contains("not ready"), "{printed}");
}
