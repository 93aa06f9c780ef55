//! SQLite file: one server process at a time, and backups that only their owner may read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::deployment::{Deployment, Dev, dev_program};
use crate::support::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn second_server_on_a_file_is_rejected_with_the_first_pid() {
    let deployment = Deployment::sqlite().await;
    let first = deployment.start();
    let pid = first.running.pid().as_raw_nonzero();
    let second = deployment.command("serve").run();
    let said = second.expect(69);
    assert!(said.contains(&format!("in use by process {pid}")), "{said}");
    // Commands share the file with the server.
    deployment.command("migrate").run().expect(0);
    // A link leads to the same file, and thus to the same lock.
    let link = deployment.directory.path().join("link.db");
    std::os::unix::fs::symlink(deployment.database.file(), &link).unwrap();
    let url = format!("sqlite:{}", link.display());
    let serve = deployment
        .command("serve")
        .env("KEYWARD_DATABASE__URL", url);
    serve.run().expect(69);
    // A killed server leaves no lock behind.
    first.running.kill();
    drop(deployment.start().running.terminate().expect(0));
}

#[test]
fn second_dev_on_a_directory_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let first = Dev::start(directory.path());
    let said = dev_program(directory.path()).run().expect(69);
    let pid = first.running.pid().as_raw_nonzero();
    assert!(said.contains(&format!("in use by process {pid}")), "{said}");
}

/// Returns the shell commands of `docs/operations.md` after this comment.
fn documented(name: &str) -> String {
    let text = include_str!("../../../docs/operations.md");
    let (_, after) = text.split_once(&format!("<!-- test: {name} -->")).unwrap();
    let (_, after) = after.split_once("```sh\n").unwrap();
    let (commands, _) = after.split_once("```").unwrap();
    let indent = commands.len() - commands.trim_start().len();
    let lines = commands
        .lines()
        .map(|line| line.get(indent..).unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs documented commands in a directory; returns true if the required program is installed.
fn back_up(name: &str, program: &str, directory: &Path, url: &str) -> bool {
    if Program::other("which", [program]).run().code() != Some(0) {
        assert!(
            std::env::var_os("CI").is_none(),
            "{program} is not installed"
        );
        println!("skipped: {program} is not installed");
        return false;
    }
    // A usual umask, with which other users may read.
    let script = format!("umask 022\n{}", documented(name));
    let backup = Program::bash(&script).current_dir(directory);
    backup.env("DATABASE_URL", url).run().expect(0);
    true
}

fn assert_private(file: &Path) {
    let metadata = std::fs::metadata(file).unwrap();
    assert!(metadata.len() > 0);
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn documented_backup_of_sqlite_is_private() {
    let deployment = Deployment::sqlite().await;
    let served = deployment.start();
    let directory = deployment.database.file().parent().unwrap().to_owned();
    if back_up(
        "back up SQLite",
        "sqlite3",
        &directory,
        deployment.database.url(),
    ) {
        assert_private(&directory.join("backup.db"));
    }
    drop(served.running.terminate().expect(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn documented_backup_of_postgres_is_private() {
    let Some(deployment) = Deployment::postgres().await else {
        return;
    };
    let directory = deployment.directory.path();
    if back_up(
        "back up PostgreSQL",
        "pg_dump",
        directory,
        deployment.database.url(),
    ) {
        assert_private(&directory.join("keyward.dump"));
    }
}
