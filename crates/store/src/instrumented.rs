//! Records a span and metrics for every statement, by OpenTelemetry's semantic conventions for databases: the system,
//! the operation, the table, and the error type. Spans contain neither the statement's text nor values.
//!
//! SeaORM's own spans have older names and contain error texts, which may quote a value.

use std::future::Future;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};
use tokio::time::Instant;
use tracing::Instrument;
use tracing::field::Empty;

use crate::error::{error_type, status_code};
use crate::metrics;
use crate::pool::PooledConnection;

/// A connection or transaction with a span and metrics for every statement.
pub(crate) struct Instrumented<C>(C);

/// A transaction in progress.
pub(crate) type Txn = Instrumented<PooledConnection>;

/// Operation and table of a statement, for its span and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operation {
    name: &'static str,
    table: Option<&'static str>,
}

impl<C> Instrumented<C> {
    /// Wraps a connection or transaction.
    pub(crate) fn new(inner: C) -> Self {
        Self(inner)
    }

    /// Returns the wrapped connection or transaction.
    pub(crate) fn inner(&self) -> &C {
        &self.0
    }

    /// Returns the wrapped connection or transaction.
    pub(crate) fn into_inner(self) -> C {
        self.0
    }
}

#[async_trait]
impl<C: ConnectionTrait + Send> ConnectionTrait for Instrumented<C> {
    fn get_database_backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let operation = Operation::of(&statement.sql);
        let work = self.0.execute_raw(statement);
        instrumented(self.get_database_backend(), operation, work).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let operation = Operation::of(sql);
        let work = self.0.execute_unprepared(sql);
        instrumented(self.get_database_backend(), operation, work).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let operation = Operation::of(&statement.sql);
        let work = self.0.query_one_raw(statement);
        instrumented(self.get_database_backend(), operation, work).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let operation = Operation::of(&statement.sql);
        let work = self.0.query_all_raw(statement);
        instrumented(self.get_database_backend(), operation, work).await
    }

    fn support_returning(&self) -> bool {
        self.0.support_returning()
    }

    fn is_mock_connection(&self) -> bool {
        self.0.is_mock_connection()
    }
}

/// Runs one database operation in a span. If the operation is cancelled, its span ends then.
pub(crate) async fn instrumented<T>(
    backend: DbBackend,
    operation: Operation,
    work: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, DbErr> {
    let system = system(backend);
    let span = tracing::info_span!(
        "db",
        otel.name = Empty,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = system,
        db.operation.name = operation.name,
        db.collection.name = operation.table,
        db.response.status_code = Empty,
        error.type = Empty,
    );
    if !span.is_disabled() {
        match operation.table {
            Some(table) => span.record("otel.name", format!("{} {table}", operation.name)),
            None => span.record("otel.name", operation.name),
        };
    }
    let started = Instant::now();
    let outcome = work.instrument(span.clone()).await;
    let error = outcome.as_ref().err().map(|error| {
        let error_type = error_type(error);
        span.record("otel.status_code", "ERROR");
        span.record("error.type", error_type);
        if let Some(code) = status_code(error) {
            span.record("db.response.status_code", code);
        }
        error_type
    });
    metrics::statement(operation.name, system, error, started.elapsed());
    outcome
}

fn system(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Sqlite => "sqlite",
        DbBackend::Postgres => "postgresql",
        // A store uses no other engine.
        _ => "other_sql",
    }
}

/// Keywords that a statement may begin with.
const OPERATIONS: [&str; 9] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "SET", "CREATE", "ALTER", "DROP", "PRAGMA",
];
/// Tables that a statement may refer to.
const TABLES: [&str; 16] = [
    "audit_events",
    "changes",
    "charges",
    "daily_usage",
    "data_keys",
    "issued_keys",
    "management_keys",
    "members",
    "organizations",
    "provider_key_links",
    "provider_keys",
    "repo_ai_keys",
    "repos",
    "reservations",
    "workspace_access",
    "workspaces",
];

impl Operation {
    /// Begins a transaction.
    pub(crate) const BEGIN: Self = Self::plain("BEGIN");
    /// Ends a transaction and keeps its changes.
    pub(crate) const COMMIT: Self = Self::plain("COMMIT");
    /// Ends a transaction and discards its changes.
    pub(crate) const ROLLBACK: Self = Self::plain("ROLLBACK");

    const fn plain(name: &'static str) -> Self {
        Self { name, table: None }
    }

    /// Returns the operation and the first table of a statement; each is from a fixed set of words.
    fn of(sql: &str) -> Self {
        let first = sql.split_whitespace().next().unwrap_or_default();
        let known = OPERATIONS
            .into_iter()
            .find(|name| name.eq_ignore_ascii_case(first));
        let Some(name) = known else {
            return Self::plain("_OTHER");
        };
        let before = match name {
            "SELECT" | "DELETE" => " FROM \"",
            "INSERT" => "INTO \"",
            "UPDATE" => "UPDATE \"",
            _ => return Self::plain(name),
        };
        let after = sql.split_once(before).map(|(_, after)| after);
        let table = after.and_then(|after| after.split_once('"')).map(|it| it.0);
        Self {
            name,
            table: TABLES.into_iter().find(|known| Some(*known) == table),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(sql: &str, name: &str, table: Option<&str>) {
        let found = Operation::of(sql);
        assert_eq!((found.name, found.table), (name, table), "{sql}");
    }

    #[test]
    fn an_operation_is_read_off_its_first_words() {
        expect(
            r#"SELECT "repos"."id" FROM "repos" WHERE "repos"."id" = $1"#,
            "SELECT",
            Some("repos"),
        );
        expect(
            r#"INSERT INTO "audit_events" ("id") VALUES (?)"#,
            "INSERT",
            Some("audit_events"),
        );
        expect(
            r#"UPDATE "issued_keys" SET "name" = ?"#,
            "UPDATE",
            Some("issued_keys"),
        );
        expect(
            r#"DELETE FROM "charges" WHERE 1"#,
            "DELETE",
            Some("charges"),
        );
        expect("SELECT 1", "SELECT", None);
        expect("SET LOCAL statement_timeout = 7", "SET", None);
    }

    #[test]
    fn every_table_is_known() {
        use sea_orm::EntityName;

        use crate::entity::*;
        let tables = [
            audit_event::Entity.table_name(),
            change::Entity.table_name(),
            charge::Entity.table_name(),
            daily_usage::Entity.table_name(),
            data_key::Entity.table_name(),
            issued_key::Entity.table_name(),
            management_key::Entity.table_name(),
            member::Entity.table_name(),
            organization::Entity.table_name(),
            provider_key::Entity.table_name(),
            provider_key_link::Entity.table_name(),
            repo::Entity.table_name(),
            repo_ai_key::Entity.table_name(),
            reservation::Entity.table_name(),
            workspace::Entity.table_name(),
            workspace_access::Entity.table_name(),
        ];
        for table in tables {
            expect(&format!("SELECT 1 FROM \"{table}\""), "SELECT", Some(table));
        }
        assert_eq!(tables.len(), TABLES.len());
    }

    #[test]
    fn no_other_word_of_a_statement_is_recorded() {
        expect(r#"SELECT * FROM "sk-a-secret""#, "SELECT", None);
        expect("sk-a-secret", "_OTHER", None);
        expect("", "_OTHER", None);
    }
}
