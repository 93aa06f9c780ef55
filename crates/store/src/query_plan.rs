//! Query plans of lists, for tests.
#![allow(clippy::unwrap_used, reason = "tests may")]

use keyward_core::page::Position;
use keyward_testkit::TestDatabase;
use keyward_testkit::fixtures::{NOON, World};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait, QuerySelect, QueryTrait, Select,
    Statement,
};
use uuid::Uuid;

use crate::Store;
use crate::test_options::options;

/// Returns the engine's query plan for a statement, in the engine's own words.
pub(crate) async fn plan(db: &DatabaseConnection, mut statement: Statement) -> String {
    let (explain, column) = match db.get_database_backend() {
        DbBackend::Postgres => ("EXPLAIN ", "QUERY PLAN"),
        _ => ("EXPLAIN QUERY PLAN ", "detail"),
    };
    statement.sql.insert_str(0, explain);
    let rows = db.query_all_raw(statement).await.unwrap();
    let lines = rows
        .iter()
        .map(|row| row.try_get::<String>("", column).unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// Fills tables of a new database. In the statements, `NUMBERS` stands for a table `n (i)` of 20,000 numbers, `UUID()`
/// for a random id, `TEXT(i)` for the number as a text and `TIME` for a time of creation.
pub(crate) async fn filled(database: &TestDatabase, statements: &[&str]) -> World {
    let store = Store::connect(&options(database.secret_url()))
        .await
        .unwrap();
    store.migrate().await.unwrap();
    let world = World::create(&store).await;
    let (id, text) = match store.engine().backend() {
        DbBackend::Postgres => ("gen_random_uuid()", "i::text"),
        _ => ("randomblob(16)", "CAST(i AS TEXT)"),
    };
    let time = format!("{} + i / 3", NOON.unix_millis());
    let numbers =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)";
    for statement in statements {
        let statement = statement
            .replace("NUMBERS", numbers)
            .replace("UUID()", id)
            .replace("TEXT(i)", text)
            .replace("TIME", &time);
        database.execute(&statement).await;
    }
    database.execute("ANALYZE").await;
    world
}

/// Checks that a page after a position is a range of an index, in the order of the list: the cost of a page depends on
/// the size of the page and not on the length of the list.
pub(crate) async fn assert_range<E: EntityTrait>(
    database: &TestDatabase,
    index: &str,
    query: impl Fn(Option<Position>) -> Select<E>,
) {
    let db = database.raw().await;
    let position = Position {
        created_at: NOON,
        id: Uuid::max(),
    };
    for after in [None, Some(position)] {
        let query = query(after).limit(101);
        let plan = plan(db, query.build(db.get_database_backend())).await;
        assert!(plan.contains(index), "{plan}");
        // PostgreSQL's word for sorting, and SQLite's.
        assert!(!plan.contains("Sort") && !plan.contains("B-TREE"), "{plan}");
        // The range: PostgreSQL's words, and SQLite's.
        let is_range =
            plan.contains("ROW(created_at, id) <") || plan.contains("(created_at,id)<(?,?)");
        assert_eq!(is_range, after.is_some(), "{plan}");
    }
}
