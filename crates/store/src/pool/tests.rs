//! Tests of connections that the database or a transaction has left in an unusual state.

#![allow(clippy::unwrap_used, reason = "tests may")]

use keyward_testkit::TestDatabase;
use sea_orm::ConnectionTrait;
use sea_orm::sqlx::ConnectOptions;

use super::*;
use crate::Store;
use crate::connection::Raw;
use crate::test_options::options;

async fn store(database: &TestDatabase) -> Store {
    Store::connect(&options(database.secret_url()))
        .await
        .unwrap()
}

async fn create_table(store: &Store, name: &'static str) -> Result<(), Error> {
    let work = |txn: crate::transaction::Transaction| async move {
        let sql = format!("CREATE TABLE {name} (x int)");
        txn.execute_unprepared(&sql).await?;
        Ok(())
    };
    store.write("test", work).await
}

#[tokio::test]
async fn connections_opened_read_only_do_not_stay() {
    let database = TestDatabase::sqlite();
    let store = store(&database).await;
    let Connector::Sqlite { options, .. } = store.pool.connector() else {
        return;
    };
    // Adds connections as SQLite opens them while the file is not writable.
    for _ in 0..4 {
        let raw = (**options).clone().read_only(true).connect().await.unwrap();
        store
            .pool
            .put_idle(Connection::new(Raw::Sqlite(raw), Duration::ZERO));
    }
    create_table(&store, "first").await.unwrap();
    assert_eq!(store.pool.idle().len(), 1);
    create_table(&store, "second").await.unwrap();
}

#[tokio::test]
async fn transaction_that_the_database_ended_is_not_committed() {
    let database = TestDatabase::sqlite();
    let store = store(&database).await;
    let work = |txn: crate::transaction::Transaction| async move {
        // SQLite does this on its own when a disk is full.
        txn.execute_unprepared("ROLLBACK").await?;
        Ok(())
    };
    assert!(store.write("test", work).await.is_err());
    assert_eq!(store.pool.idle().len(), 0);
    create_table(&store, "kept").await.unwrap();
    assert_eq!(database.count("sqlite_master").await, 1);
}

#[tokio::test]
async fn transaction_never_begins_inside_another() {
    let mut databases = vec![TestDatabase::sqlite()];
    databases.extend(TestDatabase::postgres().await);
    for database in databases {
        let store = store(&database).await;
        let mut connection = store.pool.take_idle().unwrap();
        connection.execute_unprepared("BEGIN").await.unwrap();
        // A connection with a wrong count of its transactions.
        assert_eq!(connection.condition(), Condition::Clean);
        store.pool.put_idle(connection);
        create_table(&store, "kept").await.unwrap();
        let raw = database.raw().await;
        raw.execute_unprepared("DROP TABLE kept").await.unwrap();
    }
}

#[tokio::test]
async fn failed_statement_is_never_committed_on_postgres() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let store = store(&database).await;
    let work = |txn: crate::transaction::Transaction| async move {
        txn.execute_unprepared("CREATE TABLE lost (x int)").await?;
        let _ = txn.execute_unprepared("SELECT 1 / 0").await;
        Ok(())
    };
    // PostgreSQL responds to COMMIT with success here, and rolls back.
    assert!(store.write("test", work).await.is_err());
    create_table(&store, "lost").await.unwrap();
}
