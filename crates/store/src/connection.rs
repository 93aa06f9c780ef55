//! A connection to the database with a time limit for every operation.
//!
//! A connection tracks its own condition: clean, inside a transaction, waiting for a response, or given up. Only a
//! clean connection returns to the pool. The state is not read from the driver, which counts a transaction as open
//! after SQLite has ended it on its own.

use std::time::Duration;

use sea_orm::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection, Row, SqliteConnection};
use sea_orm::{
    DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, SqlxError, Statement, Values,
};
use sea_query_sqlx::SqlxValues;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{self, DiscardReason};

/// Maximum time for a response that needs no work and waits for no lock.
const ROUND_TRIP: Duration = Duration::from_secs(3);
/// Maximum time for a commit. After it, the outcome is unknown.
const COMMIT_LIMIT: Duration = Duration::from_secs(10);
/// Maximum time that a response may take beyond the server's own time limit for a statement.
const GRACE: Duration = Duration::from_secs(2);
/// Maximum time for a statement on SQLite, in addition to the time that it waits for locks.
const SQLITE_LIMIT: Duration = Duration::from_secs(60);

/// A connection of the driver.
pub(crate) enum Raw {
    /// A connection to a SQLite file, which has its own thread.
    Sqlite(SqliteConnection),
    /// A connection to a PostgreSQL server.
    Postgres(PgConnection),
}

/// Settings for a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begin {
    /// True if the transaction may write.
    pub(crate) writes: bool,
    /// Maximum time for each statement on PostgreSQL.
    pub(crate) statement_timeout: Duration,
    /// Maximum time for each lock on PostgreSQL; `None` for the statement timeout.
    pub(crate) lock_timeout: Option<Duration>,
}

/// Condition of a connection after use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Outside any transaction, with no operation in progress.
    Clean,
    /// Inside a transaction, or a statement is in progress.
    Dirty,
    /// Not usable again.
    GivenUp(DiscardReason),
}

/// A connection and its condition.
pub(crate) struct Connection {
    raw: Raw,
    /// Time at which the connection was established.
    pub(crate) opened: Instant,
    /// Time of the last response.
    pub(crate) last_response: Instant,
    /// Time that SQLite waits for locks.
    busy_timeout: Duration,
    /// Maximum time for a statement.
    limit: Duration,
    in_transaction: bool,
    /// True if a statement of this transaction failed. PostgreSQL then rolls the transaction back even on COMMIT.
    has_failed: bool,
    /// Time by which the response to the statement in progress is due.
    due: Option<Instant>,
    discard: Option<DiscardReason>,
}

impl Connection {
    /// Wraps a new connection.
    pub(crate) fn new(raw: Raw, busy_timeout: Duration) -> Self {
        let now = Instant::now();
        let limit = SQLITE_LIMIT + busy_timeout;
        Self {
            raw,
            opened: now,
            last_response: now,
            busy_timeout,
            limit,
            in_transaction: false,
            has_failed: false,
            due: None,
            discard: None,
        }
    }

    /// Returns the condition.
    pub(crate) fn condition(&self) -> Condition {
        match self.discard {
            Some(reason) => Condition::GivenUp(reason),
            None if self.in_transaction || self.due.is_some() => Condition::Dirty,
            None => Condition::Clean,
        }
    }

    /// Returns the database behind the connection.
    pub(crate) fn backend(&self) -> DbBackend {
        match self.raw {
            Raw::Sqlite(_) => DbBackend::Sqlite,
            Raw::Postgres(_) => DbBackend::Postgres,
        }
    }

    /// Begins a transaction, and verifies that it is not nested and that the server accepts writes. A read on SQLite
    /// needs no transaction.
    pub(crate) async fn begin(&mut self, begin: &Begin) -> Result<(), DbErr> {
        match self.raw {
            Raw::Sqlite(_) if !begin.writes => Ok(()),
            Raw::Sqlite(_) => {
                self.in_transaction = true;
                let limit = self.busy_timeout + ROUND_TRIP;
                // Inside another transaction this is an error. A deferred transaction that reads and then writes fails
                // under contention.
                let begun = self.run(limit, "BEGIN IMMEDIATE").await;
                if let Err(error) = &begun {
                    match error::is_busy(error) {
                        true => self.in_transaction = false,
                        false => self.give_up(DiscardReason::Connection),
                    }
                }
                begun.map(drop)
            }
            Raw::Postgres(_) => self.begin_on_postgres(begin).await,
        }
    }

    async fn begin_on_postgres(&mut self, begin: &Begin) -> Result<(), DbErr> {
        self.in_transaction = true;
        self.has_failed = false;
        let mut sql = format!(
            "BEGIN; SET LOCAL statement_timeout = {}; ",
            begin.statement_timeout.as_millis()
        );
        if let Some(lock_timeout) = begin.lock_timeout {
            sql.push_str(&format!(
                "SET LOCAL lock_timeout = {}; ",
                lock_timeout.as_millis()
            ));
        }
        // The transaction's time equals the statement's, unless the transaction began earlier.
        sql.push_str(
            "SELECT CASE WHEN now() <> statement_timestamp() THEN 'open' \
             ELSE current_setting('transaction_read_only') END",
        );
        if !begin.writes {
            sql.push_str("; SET TRANSACTION READ ONLY");
        }
        let state = self.run(ROUND_TRIP, &sql).await?;
        let problem = match state.as_deref() {
            Some("off") => {
                self.limit = begin.statement_timeout + GRACE;
                return Ok(());
            }
            Some("on") => {
                self.give_up(DiscardReason::ReadOnly);
                "the server is read-only: a standby, or `default_transaction_read_only` is on"
            }
            _ => {
                self.give_up(DiscardReason::Connection);
                "the connection was inside a transaction"
            }
        };
        Err(unavailable(problem))
    }

    /// Commits. A connection whose commit fails is given up.
    pub(crate) async fn commit(&mut self) -> Result<(), DbErr> {
        if self.has_failed && matches!(self.raw, Raw::Postgres(_)) {
            self.give_up(DiscardReason::Connection);
            return Err(DbErr::Custom(
                "a transaction in which a statement failed cannot be committed".to_owned(),
            ));
        }
        // On SQLite, this is an error if SQLite has ended the transaction on its own.
        self.end("COMMIT", COMMIT_LIMIT).await
    }

    /// Rolls back. A connection whose rollback fails is given up.
    pub(crate) async fn rollback(&mut self) -> Result<(), DbErr> {
        self.end("ROLLBACK", ROUND_TRIP).await
    }

    async fn end(&mut self, sql: &str, limit: Duration) -> Result<(), DbErr> {
        let ended = self.run(limit, sql).await;
        match &ended {
            Ok(_) => self.in_transaction = false,
            Err(_) => self.give_up(DiscardReason::Connection),
        }
        ended.map(drop)
    }

    /// Ends the operation that a caller left in progress: waits until the statement is due, then rolls back.
    pub(crate) async fn recover(&mut self) {
        let now = Instant::now();
        let at = self.due.map_or(now, |due| due.max(now)) + ROUND_TRIP;
        let sql = if self.in_transaction {
            "ROLLBACK"
        } else {
            "SELECT 1"
        };
        // The driver first reads the rest of the cancelled statement.
        match timeout_at(at, self.raw.run(sql)).await {
            Ok(Ok(_)) => {
                self.in_transaction = false;
                self.due = None;
                self.last_response = Instant::now();
            }
            Ok(Err(error)) => {
                self.give_up(error::discard_reason(&error).unwrap_or(DiscardReason::Connection))
            }
            Err(_) => self.give_up(DiscardReason::Silent),
        }
    }

    /// Executes a statement.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let limit = self.start(self.limit)?;
        let outcome = timeout(limit, self.raw.execute(statement)).await;
        self.finish(outcome, DbErr::Exec)
    }

    /// Executes statements without preparing them.
    pub(crate) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        let limit = self.start(self.limit)?;
        let outcome = timeout(limit, self.raw.execute_unprepared(sql)).await;
        self.finish(outcome, DbErr::Exec)
    }

    /// Returns the first row.
    pub(crate) async fn query_one(
        &mut self,
        statement: Statement,
    ) -> Result<Option<QueryResult>, DbErr> {
        let limit = self.start(self.limit)?;
        let outcome = timeout(limit, self.raw.query_one(statement)).await;
        self.finish(outcome, DbErr::Query)
    }

    /// Returns all rows.
    pub(crate) async fn query_all(
        &mut self,
        statement: Statement,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let limit = self.start(self.limit)?;
        let outcome = timeout(limit, self.raw.query_all(statement)).await;
        self.finish(outcome, DbErr::Query)
    }

    async fn run(&mut self, limit: Duration, sql: &str) -> Result<Option<String>, DbErr> {
        let limit = self.start(limit)?;
        let outcome = timeout(limit, self.raw.run(sql)).await;
        self.finish(outcome, DbErr::Query)
    }

    /// Records that a statement is in progress, and returns its time limit.
    fn start(&mut self, limit: Duration) -> Result<Duration, DbErr> {
        // After SQLite has ended the transaction, a statement would be committed at once.
        if self.discard.is_some() {
            return Err(unavailable("the connection was given up"));
        }
        self.due = Some(Instant::now() + limit);
        Ok(limit)
    }

    /// Records the outcome of a statement.
    fn finish<T>(
        &mut self,
        outcome: Result<Result<T, SqlxError>, tokio::time::error::Elapsed>,
        kind: fn(RuntimeErr) -> DbErr,
    ) -> Result<T, DbErr> {
        match outcome {
            Ok(Ok(value)) => {
                self.due = None;
                self.last_response = Instant::now();
                Ok(value)
            }
            Ok(Err(error)) => {
                self.due = None;
                self.has_failed = true;
                match error::discard_reason(&error) {
                    Some(reason) => self.give_up(reason),
                    None => self.last_response = Instant::now(),
                }
                Err(kind(RuntimeErr::SqlxError(error.into())))
            }
            Err(_) => {
                self.give_up(DiscardReason::Silent);
                Err(unavailable("the database does not answer in time"))
            }
        }
    }

    /// Marks the connection as not reusable. The first reason is kept.
    fn give_up(&mut self, reason: DiscardReason) {
        self.discard.get_or_insert(reason);
    }

    /// Closes the connection gracefully, within a time limit.
    pub(crate) async fn close(self) {
        let closing = async {
            match self.raw {
                Raw::Sqlite(raw) => raw.close().await,
                Raw::Postgres(raw) => raw.close().await,
            }
        };
        if !matches!(timeout(ROUND_TRIP, closing).await, Ok(Ok(()))) {
            tracing::debug!("failed to close a database connection in order");
        }
    }
}

/// Creates an error that a retry may not meet.
pub(crate) fn unavailable(text: &str) -> DbErr {
    DbErr::Conn(RuntimeErr::Internal(text.to_owned()))
}

impl Raw {
    /// Runs statements as one message, and returns the first value of the first row as text.
    async fn run(&mut self, sql: &str) -> Result<Option<String>, SqlxError> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Sqlite(raw) => query.execute(raw).await.map(|_| None),
            Self::Postgres(raw) => {
                let rows = query.fetch_all(raw).await?;
                rows.first().map(|row| row.try_get(0)).transpose()
            }
        }
    }

    async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, SqlxError> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Sqlite(raw) => query.execute(raw).await.map(Into::into),
            Self::Postgres(raw) => query.execute(raw).await.map(Into::into),
        }
    }

    async fn execute(&mut self, statement: Statement) -> Result<ExecResult, SqlxError> {
        let (sql, values) = parts(statement);
        match self {
            Self::Sqlite(raw) => sqlx::query_with(sql, values)
                .execute(raw)
                .await
                .map(Into::into),
            Self::Postgres(raw) => sqlx::query_with(sql, values)
                .execute(raw)
                .await
                .map(Into::into),
        }
    }

    async fn query_one(&mut self, statement: Statement) -> Result<Option<QueryResult>, SqlxError> {
        let (sql, values) = parts(statement);
        match self {
            Self::Sqlite(raw) => {
                let row = sqlx::query_with(sql, values).fetch_optional(raw).await?;
                Ok(row.map(Into::into))
            }
            Self::Postgres(raw) => {
                let row = sqlx::query_with(sql, values).fetch_optional(raw).await?;
                Ok(row.map(Into::into))
            }
        }
    }

    async fn query_all(&mut self, statement: Statement) -> Result<Vec<QueryResult>, SqlxError> {
        let (sql, values) = parts(statement);
        match self {
            Self::Sqlite(raw) => {
                let rows = sqlx::query_with(sql, values).fetch_all(raw).await?;
                Ok(rows.into_iter().map(Into::into).collect())
            }
            Self::Postgres(raw) => {
                let rows = sqlx::query_with(sql, values).fetch_all(raw).await?;
                Ok(rows.into_iter().map(Into::into).collect())
            }
        }
    }
}

fn parts(statement: Statement) -> (AssertSqlSafe<String>, SqlxValues) {
    let values = statement.values.unwrap_or(Values(Vec::new()));
    (AssertSqlSafe(statement.sql), SqlxValues(values))
}
