//! Concurrent and killed `keyward migrate`, and the response of `keyward serve` to another version's schema.

use keyward_testkit::TestDatabase;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, TransactionTrait};

use crate::support::deployment::Deployment;
use crate::support::program::Running;

/// Number of concurrent migrating processes.
const AT_ONCE: usize = 4;
/// Number of events, large enough that building their indexes takes a while.
const EVENTS: u32 = 60_000;

/// Reverts the last four migrations. The first statement makes SQLite read the schema that other processes
/// made, which `DROP COLUMN` does not.
const AT_SIX: &str = "DELETE FROM seaql_migrations WHERE version > 'm0006_issued_keys'; \
    ALTER TABLE provider_keys DROP COLUMN created_by_kind; \
    ALTER TABLE provider_keys DROP COLUMN created_by_id; \
    ALTER TABLE repo_ai_keys DROP COLUMN created_by_kind; \
    ALTER TABLE repo_ai_keys DROP COLUMN created_by_id; \
    ALTER TABLE issued_keys DROP COLUMN created_by_kind; \
    ALTER TABLE issued_keys DROP COLUMN created_by_id; \
    ALTER TABLE management_keys DROP COLUMN created_by_kind; \
    ALTER TABLE management_keys DROP COLUMN created_by_id; \
    DROP INDEX ix_audit_events_occurred; DROP INDEX ix_audit_events_resource; \
    DROP INDEX ix_audit_events_kind; DROP INDEX ix_audit_events_action; \
    DROP INDEX ix_audit_events_actor; DROP INDEX ix_audit_events_request; \
    DROP INDEX ix_provider_keys_newest; \
    CREATE INDEX ix_provider_keys_created ON provider_keys (workspace_id, created_at); \
    DROP TABLE retention_runs; DROP TABLE changes;";
/// Reverts the migration before them too.
const AT_FIVE: &str = "DROP TABLE reservations; DROP TABLE daily_usage; DROP TABLE charges; \
    DROP TABLE issued_keys; DELETE FROM seaql_migrations WHERE version > 'm0006'";

/// Returns the number of recorded migrations.
async fn applied(database: &TestDatabase) -> i64 {
    database.count("seaql_migrations").await
}

fn start_all(deployment: &Deployment) -> Vec<Running> {
    (0..AT_ONCE)
        .map(|_| deployment.command("migrate").start())
        .collect()
}

/// Of several concurrent processes, one migrates, and no process fails.
async fn one_of_those_at_once_migrates(deployment: Deployment) {
    let all = applied(&deployment.database).await;
    for undone in [None, Some(5), Some(6)] {
        let lacks = match undone {
            // From scratch, on a database without a file or a table.
            None => all,
            Some(steps) => {
                deployment.database.execute(AT_SIX).await;
                if steps == 6 {
                    deployment.database.execute(AT_FIVE).await;
                }
                steps
            }
        };
        let fresh = match undone {
            None => Some(deployment.another_database().await),
            Some(_) => None,
        };
        let running = match &fresh {
            None => start_all(&deployment),
            Some(fresh) => (0..AT_ONCE)
                .map(|_| {
                    deployment
                        .command("migrate")
                        .env("KEYWARD_DATABASE__URL", fresh.url())
                        .start()
                })
                .collect(),
        };
        let printed: Vec<_> = running
            .into_iter()
            .map(|one| one.wait().expect(0))
            .collect();
        let did = |count: i64| {
            // The whole line: "10 migrations" ends with "0 migrations".
            let expected = format!("{count} migrations applied; the schema is current\n");
            printed
                .iter()
                .filter(|printed| **printed == expected)
                .count()
        };
        assert_eq!((did(lacks), did(0)), (1, AT_ONCE - 1), "{printed:#?}");
        let database = fresh.as_ref().unwrap_or(&deployment.database);
        assert_eq!(applied(database).await, all);
    }
    deployment.start().running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_those_at_once_migrates_on_sqlite() {
    one_of_those_at_once_migrates(Deployment::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_those_at_once_migrates_on_postgres() {
    if let Some(deployment) = Deployment::postgres().await {
        one_of_those_at_once_migrates(deployment).await;
    }
}

/// Waits until a process waits for a table that it wants to index.
async fn until_an_index_waits(database: &TestDatabase) {
    let waits = "pg_stat_activity WHERE datname = current_database() \
        AND wait_event_type = 'Lock' AND query LIKE 'CREATE INDEX%'";
    while database.count(waits).await == 0 {
        tokio::task::yield_now().await;
    }
}

/// After a kill, the schema is unchanged, and the next process migrates.
async fn killed_and_done_again(deployment: &Deployment, running: Running, all: i64) {
    running.kill();
    assert_eq!(applied(&deployment.database).await, all - 6);
    let printed = deployment.command("serve").run().expect(78);
    assert!(printed.contains("lacks 6 schema migrations"), "{printed}");
    let printed = deployment.command("migrate").run().expect(0);
    assert!(printed.contains("6 migrations applied"), "{printed}");
    assert_eq!(applied(&deployment.database).await, all);
    deployment.start().running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn migration_that_is_killed_leaves_what_was_on_postgres() {
    let Some(deployment) = Deployment::postgres().await else {
        return;
    };
    let all = applied(&deployment.database).await;
    deployment.database.execute(AT_SIX).await;
    deployment.database.execute(AT_FIVE).await;
    // The first of three migrations is done, and the second waits for this transaction.
    let other = deployment.database.raw().await.begin().await.unwrap();
    let lock = "LOCK TABLE audit_events IN SHARE ROW EXCLUSIVE MODE";
    other.execute_unprepared(lock).await.unwrap();
    let running = deployment.command("migrate").start();
    until_an_index_waits(&deployment.database).await;
    running.signal(rustix::process::Signal::STOP);
    other.rollback().await.unwrap();
    killed_and_done_again(&deployment, running, all).await;
}

/// Returns true if another process writes to the file at this moment.
async fn is_written(connection: &DatabaseConnection) -> bool {
    match connection.execute_unprepared("BEGIN IMMEDIATE").await {
        Ok(_) => {
            connection.execute_unprepared("ROLLBACK").await.unwrap();
            false
        }
        Err(_) => true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migration_that_is_killed_leaves_what_was_on_sqlite() {
    let deployment = Deployment::sqlite().await;
    let all = applied(&deployment.database).await;
    deployment.database.execute(AT_SIX).await;
    deployment.database.execute(AT_FIVE).await;
    let many = format!(
        "INSERT INTO audit_events (id, occurred_at, actor_kind, actor_id, action, resource_kind, \
         resource_id, request_id, details) \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {EVENTS}) \
         SELECT randomblob(16), i, 'user', 'u' || i, 'a' || i, 'k', 'r' || i, 'q' || i, '{{}}' FROM n"
    );
    deployment.database.execute(&many).await;
    let mut options = ConnectOptions::new(deployment.database.url());
    options.max_connections(1).sqlx_logging(false);
    let connection = Database::connect(options).await.unwrap();
    let no_patience = "PRAGMA busy_timeout = 0";
    connection.execute_unprepared(no_patience).await.unwrap();
    let running = deployment.command("migrate").start();
    while !is_written(&connection).await {
        tokio::task::yield_now().await;
    }
    connection.close().await.unwrap();
    killed_and_done_again(&deployment, running, all).await;
    let events = deployment
        .database
        .count("audit_events WHERE resource_kind = 'k'")
        .await;
    assert_eq!(events, i64::from(EVENTS));
}

#[tokio::test(flavor = "multi_thread")]
async fn table_in_use_is_waited_for_and_given_back_between() {
    let Some(deployment) = Deployment::postgres().await else {
        return;
    };
    deployment.database.execute(AT_SIX).await;
    // Simulates a backup: a long read, during which other transactions must be able to write.
    let backup = deployment.database.raw().await.begin().await.unwrap();
    let lock = "LOCK TABLE audit_events IN ROW EXCLUSIVE MODE";
    backup.execute_unprepared(lock).await.unwrap();
    let running = deployment.command("migrate").start();
    until_an_index_waits(&deployment.database).await;
    // The migration yields its lock request: later writes do not queue behind it until the backup ends.
    let write = "UPDATE audit_events SET details = details";
    deployment.database.execute(write).await;
    backup.commit().await.unwrap();
    let printed = running.wait().expect(0);
    assert!(printed.contains("5 migrations applied"), "{printed}");
}

/// A schema that is newer than the program, from a later version.
async fn a_newer_schema_is_rejected(deployment: Deployment) {
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 0)";
    deployment.database.execute(newer).await;
    for command in ["serve", "migrate"] {
        let printed = deployment.command(command).run().expect(78);
        for words in [
            "the database's schema is at `m9999_future`",
            "the newest that this program knows",
            "run the version that migrated it, or a later one",
        ] {
            assert!(printed.contains(words), "{command}: {printed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_schema_is_rejected_on_sqlite() {
    a_newer_schema_is_rejected(Deployment::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_schema_is_rejected_on_postgres() {
    if let Some(deployment) = Deployment::postgres().await {
        a_newer_schema_is_rejected(deployment).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_schema_is_rejected_with_what_to_do() {
    let deployment = Deployment::sqlite().await;
    deployment.database.execute(AT_SIX).await;
    let printed = deployment.command("serve").run().expect(78);
    for words in [
        "lacks 5 schema migrations, up to `m0011_changes`",
        "run `keyward migrate` first",
    ] {
        assert!(printed.contains(words), "{printed}");
    }
}
