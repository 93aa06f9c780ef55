//! Upgrades. A filled database of every earlier migration upgrades to the newest without changes to its rows, and the
//! current code reads and writes them. Every migration only expands, so that the previous program continues to work
//! beside it. `docs/adding-a-migration.md` has the rules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may"
)]

mod fill;
#[path = "../common/options.rs"]
mod options;
mod reading;
mod tables;

use std::collections::BTreeSet;
use std::time::Duration;

use keyward_store::{SchemaState, Store};
use keyward_testkit::TestDatabase;
use sea_orm::DbBackend;

use crate::tables::Tables;

async fn connect(database: &TestDatabase) -> Store {
    let mut options = options::options(database.secret_url());
    // The machine may be busy with other tests.
    (options.limits.acquire_timeout, options.limits.busy_timeout) =
        (Duration::from_secs(60), Duration::from_secs(60));
    Store::connect(&options).await.unwrap()
}

async fn backend(database: &TestDatabase) -> DbBackend {
    database.raw().await.get_database_backend()
}

/// Fills the tables that the first `migrations` migrations created.
async fn fill(database: &TestDatabase, migrations: usize) {
    let backend = backend(database).await;
    for name in Store::migrations().iter().take(migrations) {
        for statement in fill::statements(name) {
            database.execute(&fill::sql(backend, statement)).await;
        }
    }
}

/// Runs each step on its own empty database.
async fn upgrades(database: TestDatabase, step: usize) {
    let store = connect(&database).await;
    store.migrate_to(step).await.unwrap();
    let names = Store::migrations();
    let lacks = names.len() - step;
    match store.schema().await.unwrap() {
        SchemaState::Older { lacks: count, .. } => assert_eq!(count, lacks),
        state => panic!("{state:?} after {step} migrations"),
    }
    fill(&database, step).await;
    let before = Tables::read(&database).await;
    assert!(
        before.rows() > 0,
        "nothing was filled after {step} migrations"
    );

    assert_eq!(store.migrate().await.unwrap(), lacks);
    assert_eq!(store.schema().await.unwrap(), SchemaState::Current);
    Tables::read(&database).await.assert_holds(&before, step);
    reading::everything(&store, &names[..step]).await;
    reading::and_goes_on(&store).await;
}

/// A migration that narrows would break the previous program, which runs beside it for a while.
async fn expands(database: TestDatabase) {
    let store = connect(&database).await;
    let mut before = Tables::read(&database).await;
    for step in 1..=Store::migrations().len() {
        assert_eq!(store.migrate_to(step).await.unwrap(), 1);
        let after = Tables::read(&database).await;
        after.assert_expands(&before, &Store::migrations()[step - 1]);
        before = after;
    }
    assert_eq!(store.migrate().await.unwrap(), 0);

    // Every table must have rows here; without rows, the tests do not cover it.
    fill(&database, usize::MAX).await;
    let tables = Tables::read(&database).await;
    assert_eq!(
        tables.empty(),
        BTreeSet::new(),
        "give these rows in fill.rs"
    );
}

/// The current code works on a table that a future migration has expanded, because it names its columns.
async fn bears_expansion(database: TestDatabase) {
    let store = connect(&database).await;
    store.migrate().await.unwrap();
    fill(&database, usize::MAX).await;
    for table in Tables::read(&database).await.names() {
        for sql in [
            format!("ALTER TABLE {table} ADD COLUMN of_tomorrow BIGINT"),
            format!("ALTER TABLE {table} ADD COLUMN besides BIGINT NOT NULL DEFAULT 7"),
            format!("CREATE INDEX ix_{table}_of_tomorrow ON {table} (of_tomorrow)"),
        ] {
            database.execute(&sql).await;
        }
    }
    reading::everything(&store, &Store::migrations()).await;
    reading::and_goes_on(&store).await;
}

#[tokio::test]
async fn every_step_is_upgraded_on_sqlite() {
    for step in 1..Store::migrations().len() {
        upgrades(TestDatabase::sqlite(), step).await;
    }
}

#[tokio::test]
async fn every_step_is_upgraded_on_postgres() {
    for step in 1..Store::migrations().len() {
        let Some(database) = TestDatabase::postgres().await else {
            return;
        };
        upgrades(database, step).await;
    }
}

#[tokio::test]
async fn every_migration_only_expands_on_sqlite() {
    expands(TestDatabase::sqlite()).await;
}

#[tokio::test]
async fn every_migration_only_expands_on_postgres() {
    if let Some(database) = TestDatabase::postgres().await {
        expands(database).await;
    }
}

#[tokio::test]
async fn code_runs_on_an_expanded_schema_on_sqlite() {
    bears_expansion(TestDatabase::sqlite()).await;
}

#[tokio::test]
async fn code_runs_on_an_expanded_schema_on_postgres() {
    if let Some(database) = TestDatabase::postgres().await {
        bears_expansion(database).await;
    }
}
