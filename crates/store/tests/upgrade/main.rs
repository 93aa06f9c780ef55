//! Upgrades: a filled database of every earlier migration comes to the newest with its rows as they
//! were, and the code of today reads and writes them; and every migration only expands, so that the
//! program of before goes on working beside it. `docs/adding-a-migration.md` has the rules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may"
)]

mod fill;
mod reading;
mod tables;

use std::collections::BTreeSet;
use std::time::Duration;

use keyward_store::{SchemaState, Store, StoreOptions};
use keyward_testkit::TestDatabase;
use sea_orm::DbBackend;

use crate::tables::Tables;

async fn connect(database: &TestDatabase) -> Store {
    let mut options = StoreOptions::new(database.secret_url());
    // The machine of a test run may be busy with others.
    (options.acquire_timeout, options.busy_timeout) =
        (Duration::from_secs(60), Duration::from_secs(60));
    Store::connect(&options).await.unwrap()
}

async fn backend(database: &TestDatabase) -> DbBackend {
    database.raw().await.get_database_backend()
}

/// Fills the tables that the first so many migrations made.
async fn fill(database: &TestDatabase, migrations: usize) {
    let backend = backend(database).await;
    for name in Store::migrations().iter().take(migrations) {
        for statement in fill::statements(name) {
            database.execute(&fill::sql(backend, statement)).await;
        }
    }
}

/// Each step, from an empty database of its own.
async fn upgrades(database: TestDatabase, step: usize) {
    let store = connect(&database).await;
    store.migrate_to(step).await.unwrap();
    let names = Store::migrations();
    let lacks = names.len() - step;
    match store.schema().await.unwrap() {
        SchemaState::Older { lacks: told, .. } => assert_eq!(told, lacks),
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

/// A migration that narrows would break the program of before, which runs beside it for a while.
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

    // Whoever adds a table fills it, or no test would see what becomes of its rows.
    fill(&database, usize::MAX).await;
    let tables = Tables::read(&database).await;
    assert_eq!(
        tables.empty(),
        BTreeSet::new(),
        "give these rows in fill.rs"
    );
}

/// The code of today works on what a migration of tomorrow makes of its tables: it names its columns.
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
async fn the_code_bears_expansion_on_sqlite() {
    bears_expansion(TestDatabase::sqlite()).await;
}

#[tokio::test]
async fn the_code_bears_expansion_on_postgres() {
    if let Some(database) = TestDatabase::postgres().await {
        bears_expansion(database).await;
    }
}
