//! A connection that is in use.

use std::sync::PoisonError;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};
use tokio::sync::{Mutex, MutexGuard, OwnedSemaphorePermit};

use super::Pool;
use crate::connection::{Begin, Condition, Connection, unavailable};
use crate::subject::Subject;

/// A connection that returns to its pool when it is dropped, if it is reusable.
pub(crate) struct PooledConnection {
    pool: Pool,
    backend: DbBackend,
    is_new: bool,
    /// Subjects that the transaction in progress changes.
    changed: std::sync::Mutex<Vec<Subject>>,
    /// Taken when this is dropped.
    held: Mutex<Option<(Connection, OwnedSemaphorePermit)>>,
}

/// A connection in use by the current operation.
struct Used<'a>(MutexGuard<'a, Option<(Connection, OwnedSemaphorePermit)>>);

impl Used<'_> {
    fn connection(&mut self) -> Result<&mut Connection, DbErr> {
        match &mut *self.0 {
            Some((connection, _)) => Ok(connection),
            None => Err(unavailable("the connection is gone")),
        }
    }
}

impl PooledConnection {
    pub(super) fn new(
        pool: Pool,
        connection: Connection,
        slot: OwnedSemaphorePermit,
        is_new: bool,
    ) -> Self {
        Self {
            pool,
            backend: connection.backend(),
            is_new,
            changed: std::sync::Mutex::default(),
            held: Mutex::new(Some((connection, slot))),
        }
    }

    /// Returns true if the connection was opened for this use.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns true if the connection has not been given up.
    pub(super) async fn is_usable(&self) -> bool {
        let mut used = self.used().await;
        let condition = used.connection().map(|connection| connection.condition());
        !matches!(condition, Err(_) | Ok(Condition::GivenUp(_)))
    }

    pub(super) async fn begin(&self, begin: &Begin) -> Result<(), DbErr> {
        let begun = self.used().await.connection()?.begin(begin).await;
        begun.inspect_err(|error| self.pool.0.server.note_failure(error))
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// The transaction was not committed, or its outcome is unknown.
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        let outcome = self.used().await.connection()?.commit().await;
        self.pool.0.server.note_commit(&outcome);
        outcome
    }

    /// Rolls the transaction back.
    ///
    /// # Errors
    /// The connection was given up; the database rolls back on its own.
    pub(crate) async fn rollback(self) -> Result<(), DbErr> {
        self.used().await.connection()?.rollback().await
    }

    /// Notes that the transaction changes these subjects.
    pub(crate) fn note_changed(&self, subjects: &[Subject]) {
        self.changed().extend_from_slice(subjects);
    }

    /// Returns the subjects that the transaction changes.
    pub(crate) fn take_changed(&self) -> Vec<Subject> {
        std::mem::take(&mut *self.changed())
    }

    fn changed(&self) -> std::sync::MutexGuard<'_, Vec<Subject>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn used(&self) -> Used<'_> {
        Used(self.held.lock().await)
    }

    fn noting<T>(&self, outcome: Result<T, DbErr>) -> Result<T, DbErr> {
        outcome.inspect_err(|error| self.pool.0.server.note_failure(error))
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if let Some((connection, slot)) = self.held.get_mut().take() {
            self.pool.put_back(connection, slot);
        }
    }
}

#[async_trait]
impl ConnectionTrait for PooledConnection {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let outcome = self.used().await.connection()?.execute(statement).await;
        self.noting(outcome)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let outcome = self
            .used()
            .await
            .connection()?
            .execute_unprepared(sql)
            .await;
        self.noting(outcome)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let outcome = self.used().await.connection()?.query_one(statement).await;
        self.noting(outcome)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let outcome = self.used().await.connection()?.query_all(statement).await;
        self.noting(outcome)
    }
}
