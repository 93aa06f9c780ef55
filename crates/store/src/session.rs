//! How calls reach the database: reads as single statements, writes as transactions, both tried
//! again when they lose against others, and both given up at the deadline.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use keyward_core::Error;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};
use tokio::sync::MutexGuard;
use tracing::Instrument;

use crate::error::{
    DeadlinePassed, Failure, Meaning, OvertakenTooOften, cause, meaning, translate,
};
use crate::{Engine, Store, deadline};

/// How often a transaction is run at most.
const MAX_ATTEMPTS: u32 = 5;
/// How long to wait at most before the second attempt; each further wait may be twice as long.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
/// How long to wait at most before any attempt.
const MAX_BACKOFF: Duration = Duration::from_millis(200);

/// A running transaction; it must be given up when the work ends.
pub(crate) type Transaction = Arc<DatabaseTransaction>;

impl Store {
    /// Runs work that only reads, in statements of their own.
    pub(crate) async fn read<'a, T, F, R>(
        &'a self,
        operation: &'static str,
        work: F,
    ) -> Result<T, Error>
    where
        F: Fn(&'a DatabaseConnection) -> R + Send + Sync,
        R: Future<Output = Result<T, Failure>> + Send,
    {
        let attempt = || async { before_deadline(work(&self.db)).await };
        let span = tracing::debug_span!("store.read", operation);
        retrying(operation, attempt).instrument(span).await
    }

    /// Runs work in a transaction and commits it if the work succeeds. The work may run more than
    /// once; only the last run counts.
    ///
    /// The commit is never given up, since its outcome would be unknown. A caller who stops polling
    /// before the commit has begun changes nothing.
    pub(crate) async fn write<T, F, R>(&self, operation: &'static str, work: F) -> Result<T, Error>
    where
        F: Fn(Transaction) -> R + Send + Sync,
        R: Future<Output = Result<T, Failure>> + Send,
        T: Send,
    {
        let attempt = || async {
            // SQLite's turn is held until the transaction is over.
            let (_turn, txn, value) = before_deadline(self.run(&work)).await?;
            txn.commit().await?;
            Ok(value)
        };
        let span = tracing::debug_span!("store.write", operation);
        retrying(operation, attempt).instrument(span).await
    }

    /// Runs work in a transaction, which is left to be committed if the work succeeds.
    async fn run<T, F, R>(
        &self,
        work: &F,
    ) -> Result<(Option<MutexGuard<'_, ()>>, DatabaseTransaction, T), Failure>
    where
        F: Fn(Transaction) -> R + Send + Sync,
        R: Future<Output = Result<T, Failure>> + Send,
    {
        let turn = match &self.gate {
            Some(gate) => Some(gate.lock().await),
            None => None,
        };
        let txn = Arc::new(self.begin().await?);
        let outcome = work(Arc::clone(&txn)).await;
        let txn = Arc::into_inner(txn)
            .ok_or_else(|| Error::internal("a transaction outlived its work"))?;
        match outcome {
            Ok(value) => Ok((turn, txn, value)),
            Err(failure) => {
                // Its locks are gone before the caller hears of it, or before the next attempt.
                if let Err(error) = txn.rollback().await {
                    tracing::debug!(cause = %cause(&error), "a rollback failed");
                }
                Err(failure)
            }
        }
    }

    async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = TransactionOptions {
            // A deferred transaction that reads and then writes fails under contention.
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let txn = self.db.begin_with_options(options).await?;
        if self.engine == Engine::Postgres
            && let Some(remaining) = deadline::remaining()
        {
            // The server stops too: else it would go on waiting for a lock that no one wants.
            let millis = remaining.as_millis().clamp(1, i32::MAX as u128);
            txn.execute_unprepared(&format!("SET LOCAL statement_timeout = {millis}"))
                .await?;
        }
        Ok(txn)
    }
}

/// Gives the work up at the deadline, if one is in scope.
async fn before_deadline<T>(
    work: impl Future<Output = Result<T, Failure>> + Send,
) -> Result<T, Failure> {
    match deadline::current() {
        None => work.await,
        Some(at) => tokio::time::timeout_at(at, work)
            .await
            .unwrap_or_else(|_| Err(Error::unavailable(DeadlinePassed).into())),
    }
}

/// Makes attempts until one does not lose against others, but no more than [`MAX_ATTEMPTS`].
async fn retrying<T, A, R>(operation: &'static str, attempt: A) -> Result<T, Error>
where
    A: Fn() -> R,
    R: Future<Output = Result<T, Failure>>,
{
    let mut attempts = 1;
    loop {
        let (cause, answer) = match attempt().await {
            Ok(value) => return Ok(value),
            Err(Failure::Refused(error)) => return Err(error),
            Err(Failure::Database(error)) if meaning(&error) != Meaning::Conflict => {
                return Err(translate(&error));
            }
            Err(Failure::Database(error)) => (cause(&error), translate(&error)),
            Err(Failure::Overtaken) => (
                OvertakenTooOften.into(),
                Error::unavailable(OvertakenTooOften),
            ),
        };
        if attempts == MAX_ATTEMPTS {
            return Err(answer);
        }
        tracing::debug!(operation, attempts, %cause, "store conflict, trying again");
        let pause = async {
            tokio::time::sleep(backoff(attempts)).await;
            Ok(())
        };
        if let Err(Failure::Refused(error)) = before_deadline(pause).await {
            return Err(error);
        }
        attempts += 1;
    }
}

/// A random wait below a bound that grows with the attempts, so that those who met do not meet
/// again.
fn backoff(attempts: u32) -> Duration {
    let bound = FIRST_BACKOFF
        .saturating_mul(1 << (attempts - 1).min(16))
        .min(MAX_BACKOFF);
    // The standard library's keys for its hash maps are random enough to spread callers.
    let random = RandomState::new().build_hasher().finish();
    let micros = bound.as_micros() as u64;
    Duration::from_micros(micros / 2 + random % (micros / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_and_is_bounded() {
        for attempts in 1..=64 {
            let bound = FIRST_BACKOFF
                .saturating_mul(1 << (attempts - 1).min(16))
                .min(MAX_BACKOFF);
            let wait = backoff(attempts);
            assert!(
                wait >= bound / 2 && wait <= bound,
                "attempt {attempts} waits {wait:?}"
            );
        }
    }
}
