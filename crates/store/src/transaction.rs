//! Access of calls to the database. Reads are single statements and writes are transactions. Both are retried on
//! conflicts and given up at the deadline, by the caller and by the server.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use keyward_core::Error;
use keyward_crypto::KeyHash;
use sea_orm::{ConnectionTrait, DbErr};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::change_feed::Follower;
use crate::connect::STATEMENT_TIMEOUT;
use crate::connection::Begin;
use crate::error::{DbErrorKind, Failure, RetriesExhausted, cause, classify, translate};
use crate::instrumented::{Instrumented, Operation, Txn, instrumented};
use crate::metrics;
use crate::occupancy::unoccupied;
use crate::pool::PooledConnection;
use crate::subject::Subject;
use crate::{Store, deadline};

/// Maximum number of attempts of a transaction.
const MAX_ATTEMPTS: u32 = 5;
/// Maximum wait before the second attempt; it doubles for each further attempt.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
/// Maximum wait before any attempt.
const MAX_BACKOFF: Duration = Duration::from_millis(200);
/// Maximum time before the deadline at which the server stops, so that its response still arrives.
const MAX_HEAD_START: Duration = Duration::from_millis(50);
/// Maximum time for one statement of a call that has a deadline. A connection that goes silent during a statement is
/// replaced after this time and a few seconds.
const CALL_STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time that a transaction keeps a connection while it waits for a lock, in the first attempt.
const FIRST_LOCK_TIMEOUT: Duration = Duration::from_millis(100);
/// The same for further attempts, in which few transactions may wait at a time.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
/// Maximum time for which a transaction without a deadline is retried while it waits for locks.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(60);

/// A running transaction. The work must drop it before it ends.
pub(crate) type Transaction = Arc<Txn>;

/// Fair lock for one writer at a time.
type FairLock = Arc<Mutex<()>>;
/// The locks that a writer holds.
type Guards = Vec<OwnedMutexGuard<()>>;

/// Creates the span of an operation of the store. A macro, because a span's name must be a literal.
macro_rules! operation_span {
    ($name:literal, $operation:ident) => {
        tracing::info_span!(
            $name,
            operation = $operation,
            attempts = Empty,
            otel.status_code = Empty,
            error.type = Empty,
        )
    };
}

impl Store {
    /// Runs work that only reads: in separate statements on SQLite, in a transaction on PostgreSQL.
    pub(crate) async fn read<T, F, R>(&self, operation: &'static str, work: F) -> Result<T, Error>
    where
        F: Fn(Instrumented<PooledConnection>) -> R + Send + Sync,
        R: Future<Output = Result<T, Failure>> + Send,
    {
        // The transaction ends when the work drops it: the pool rolls it back, and the caller does not wait for that.
        let attempt = || before_deadline(async { work(self.begin(false, None).await?).await });
        retrying(operation, operation_span!("store.read", operation), attempt).await
    }

    /// Runs work in a transaction and commits it if the work succeeds. The work may run more than once; only the last
    /// run counts.
    ///
    /// The commit is not cancelled together with the caller, because its outcome would be unknown: it has its own task
    /// and time limit. A caller that stops polling before the commit has begun changes nothing.
    pub(crate) async fn write<T, F, R>(&self, operation: &'static str, work: F) -> Result<T, Error>
    where
        F: Fn(Transaction) -> R + Send + Sync,
        R: Future<Output = Result<T, Failure>> + Send,
        T: Send,
    {
        self.write_through(self.writer_lock.clone().as_slice(), operation, work)
            .await
    }

    /// Does the same with work that changes an issued key, after other such work for the key in this process. Where
    /// all writers share a lock, as on SQLite, only one of them per key waits for it. A key with many calls thus delays
    /// another key's call by one call and not by all.
    pub(crate) async fn write_key<T, F, R>(
        &self,
        key: &KeyHash,
        operation: &'static str,
        work: F,
    ) -> Result<T, Error>
    where
        F: Fn(Transaction) -> R + Send + Sync,
        R: Future<Output = Result<T, Failure>> + Send,
        T: Send,
    {
        let _waiter = self.key_queue.join(key)?;
        let locks: Vec<FairLock> = [self.key_queue.lock_of(key)]
            .into_iter()
            .chain(self.writer_lock.clone())
            .collect();
        self.write_through(&locks, operation, work).await
    }

    pub(crate) async fn write_through<T, F, R>(
        &self,
        locks: &[FairLock],
        operation: &'static str,
        work: F,
    ) -> Result<T, Error>
    where
        F: Fn(Transaction) -> R + Send + Sync,
        R: Future<Output = Result<T, Failure>> + Send,
        T: Send,
    {
        let attempt = || async {
            let run = self.run(locks, operation, &work);
            let (guards, txn, value) = before_deadline(run).await?;
            self.commit(guards, txn).await?;
            Ok(value)
        };
        retrying(
            operation,
            operation_span!("store.write", operation),
            attempt,
        )
        .await
    }

    /// Runs work in a transaction, which the caller commits if the work succeeds.
    ///
    /// Work that waits for a lock gives its connection back after a short time and is run again. Few transactions may
    /// wait longer at a time, so that locks held by others do not keep connections from other calls. The locks of
    /// this process are kept, so that the next caller does not wait for the same row.
    async fn run<T, F, R>(
        &self,
        locks: &[FairLock],
        operation: &'static str,
        work: &F,
    ) -> Result<(Guards, Txn, T), Failure>
    where
        F: Fn(Transaction) -> R + Send + Sync,
        R: Future<Output = Result<T, Failure>> + Send,
    {
        let mut guards = Guards::new();
        for lock in locks {
            guards.push(unoccupied(Arc::clone(lock).lock_owned()).await);
        }
        let started = Instant::now();
        let mut waits = 0;
        let mut may_wait = None;
        loop {
            let lock_timeout = match may_wait {
                None => FIRST_LOCK_TIMEOUT,
                Some(_) => LOCK_TIMEOUT,
            };
            match self.run_once(lock_timeout, work).await {
                Ok((txn, value)) => return Ok((guards, txn, value)),
                Err(Failure::Database(error))
                    if classify(&error) == DbErrorKind::Locked
                        && started.elapsed() < MAX_LOCK_WAIT =>
                {
                    waits += 1;
                    metrics::retry(operation);
                    drop(may_wait.take());
                    let waiting = async {
                        tokio::time::sleep(backoff(waits)).await;
                        self.lock_waits.acquire().await.ok()
                    };
                    may_wait = unoccupied(waiting).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn run_once<T, F, R>(&self, lock_timeout: Duration, work: &F) -> Result<(Txn, T), Failure>
    where
        F: Fn(Transaction) -> R + Send + Sync,
        R: Future<Output = Result<T, Failure>> + Send,
    {
        let txn = Arc::new(self.begin(true, Some(lock_timeout)).await?);
        let backend = txn.get_database_backend();
        let outcome = work(Arc::clone(&txn)).await;
        // Work that does not wait is not interrupted at the deadline, but it is not committed.
        let outcome = outcome.and_then(|value| in_time().map(|()| value));
        let txn = Arc::into_inner(txn)
            .ok_or_else(|| Error::internal("a transaction outlived its work"))?;
        match outcome {
            Ok(value) => Ok((txn, value)),
            Err(failure) => {
                // The locks are released before the caller gets the outcome, and before the next attempt.
                let rollback = txn.into_inner().rollback();
                if let Err(error) = instrumented(backend, Operation::ROLLBACK, rollback).await {
                    tracing::debug!(cause = %cause(&error), "failed to roll back");
                }
                Err(failure)
            }
        }
    }

    pub(crate) async fn begin(
        &self,
        writes: bool,
        lock_timeout: Option<Duration>,
    ) -> Result<Txn, DbErr> {
        let begin = Begin {
            writes,
            statement_timeout: statement_timeout(),
            lock_timeout,
        };
        let begun = self.pool.begin(&begin);
        let backend = self.engine.backend();
        let connection = match writes || backend == sea_orm::DbBackend::Postgres {
            true => instrumented(backend, Operation::BEGIN, begun).await?,
            false => begun.await?,
        };
        Ok(Instrumented::new(connection))
    }

    /// Commits in a separate task, which continues if the caller is cancelled. The locks of this process are kept until
    /// the transaction is over, or its outcome is given up as unknown. Entries of the caches are outdated before the
    /// caller gets the outcome, also if it is unknown: the commit may have succeeded.
    async fn commit(&self, guards: Guards, txn: Txn) -> Result<(), Failure> {
        let backend = txn.get_database_backend();
        let connection = txn.into_inner();
        let mut commit = Commit {
            follower: Arc::clone(&self.follower),
            changed: connection.take_changed(),
            has_succeeded: false,
        };
        let committing = async move {
            let outcome = instrumented(backend, Operation::COMMIT, connection.commit()).await;
            commit.has_succeeded = outcome.is_ok();
            drop(commit);
            drop(guards);
            outcome
        };
        match tokio::spawn(committing.in_current_span()).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(Error::unavailable("the commit was broken off").into()),
        }
    }
}

/// A commit in progress. Outdates what the transaction changed when it is over, even after a panic.
struct Commit {
    follower: Arc<Follower>,
    changed: Vec<Subject>,
    has_succeeded: bool,
}

impl Drop for Commit {
    fn drop(&mut self) {
        self.follower.note_commit(&self.changed, self.has_succeeded);
    }
}

/// Returns the statement timeout for PostgreSQL. Without it, the server would wait for a lock after the caller has
/// given up, and keep a connection from other calls.
///
/// Every statement gets the time that is left now, so a later statement of the same transaction may exceed the deadline
/// by the time that the earlier ones took.
fn statement_timeout() -> Duration {
    let Some(remaining) = deadline::remaining() else {
        return STATEMENT_TIMEOUT;
    };
    let head_start = (remaining / 4).min(MAX_HEAD_START);
    // Zero would mean no timeout.
    (remaining - head_start).clamp(Duration::from_millis(1), CALL_STATEMENT_TIMEOUT)
}

/// Cancels the work at the deadline, if one is in scope; does not start it after the deadline.
pub(crate) async fn before_deadline<T>(
    work: impl Future<Output = Result<T, Failure>> + Send,
) -> Result<T, Failure> {
    in_time()?;
    match deadline::current() {
        None => work.await,
        Some(at) => tokio::time::timeout_at(at, work)
            .await
            .unwrap_or_else(|_| Err(Error::DeadlineExceeded.into())),
    }
}

/// Fails if a deadline is in scope and has passed.
fn in_time() -> Result<(), Failure> {
    match deadline::remaining() {
        Some(Duration::ZERO) => Err(Error::DeadlineExceeded.into()),
        _ => Ok(()),
    }
}

/// Retries on conflicts, with at most [`MAX_ATTEMPTS`] attempts, and records the outcome in the span.
pub(crate) async fn retrying<T, A, R>(
    operation: &'static str,
    span: Span,
    attempt: A,
) -> Result<T, Error>
where
    A: Fn() -> R,
    R: Future<Output = Result<T, Failure>>,
{
    let mut attempts = 1;
    let outcome = attempting(operation, &mut attempts, attempt)
        .instrument(span.clone())
        .await;
    if attempts > 1 {
        span.record("attempts", i64::from(attempts));
    }
    // A rejection is a valid response and not a fault.
    let fault = match &outcome {
        Err(Error::Unavailable(_) | Error::DeadlineExceeded) => Some("unavailable"),
        Err(Error::Internal(_)) => Some("internal"),
        _ => None,
    };
    if let Some(fault) = fault {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", fault);
    }
    outcome
}

async fn attempting<T, A, R>(
    operation: &'static str,
    attempts: &mut u32,
    attempt: A,
) -> Result<T, Error>
where
    A: Fn() -> R,
    R: Future<Output = Result<T, Failure>>,
{
    loop {
        let (cause, answer) = match attempt().await {
            Ok(value) => return Ok(value),
            Err(Failure::Rejected(error)) => return Err(error),
            Err(Failure::Database(error)) if classify(&error) != DbErrorKind::Conflict => {
                return Err(translate(&error));
            }
            Err(Failure::Database(error)) => (cause(&error), translate(&error)),
            Err(Failure::Conflict) => (
                RetriesExhausted.into(),
                Error::unavailable(RetriesExhausted),
            ),
        };
        if *attempts == MAX_ATTEMPTS {
            return Err(answer);
        }
        tracing::debug!(operation, attempts, %cause, "retrying after a store conflict");
        let pause = async {
            tokio::time::sleep(backoff(*attempts)).await;
            Ok(())
        };
        if let Err(Failure::Rejected(error)) = unoccupied(before_deadline(pause)).await {
            return Err(error);
        }
        *attempts += 1;
        metrics::retry(operation);
    }
}

/// Returns a random wait below a bound that grows with the attempts, so that conflicting callers do not collide again.
fn backoff(attempts: u32) -> Duration {
    let bound = FIRST_BACKOFF
        .saturating_mul(1 << (attempts - 1).min(16))
        .min(MAX_BACKOFF);
    // The random keys of the standard library's hash maps are sufficient to spread callers.
    let random = RandomState::new().build_hasher().finish();
    let micros = bound.as_micros() as u64;
    Duration::from_micros(micros / 2 + random % (micros / 2 + 1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

    use std::sync::atomic::{AtomicU32, Ordering};

    use keyward_testkit::TestDatabase;
    use sea_orm::TransactionTrait;

    use super::*;
    use crate::test_options::options;

    async fn sqlite(database: &TestDatabase) -> Store {
        let mut options = options(database.secret_url());
        options.limits.busy_timeout = Duration::from_millis(20);
        Store::connect(&options).await.unwrap()
    }

    fn assert_deadline<T: std::fmt::Debug>(outcome: Result<T, Error>) {
        assert!(
            matches!(outcome, Err(Error::DeadlineExceeded)),
            "{outcome:?}"
        );
    }

    #[tokio::test]
    async fn work_does_not_begin_after_the_deadline() {
        let database = TestDatabase::sqlite();
        let (store, runs) = (sqlite(&database).await, AtomicU32::new(0));
        let run = || {
            runs.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        };
        deadline::scope(Instant::now(), async {
            assert_deadline(store.read("test", |_| run()).await);
            assert_deadline(store.write("test", |_| run()).await);
        })
        .await;
        assert_eq!(runs.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn work_that_ends_after_the_deadline_is_not_committed() {
        let database = TestDatabase::sqlite();
        let store = sqlite(&database).await;
        let at = Instant::now() + Duration::from_millis(200);
        let write = store.write("test", |txn| async move {
            txn.execute_unprepared("CREATE TABLE t (x)").await?;
            // A timer does not interrupt work that does not wait.
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            Ok(())
        });
        assert_deadline(deadline::scope(at, write).await);
        assert_eq!(database.count("sqlite_master").await, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn busy_timeout_is_waited_for_once() {
        let database = TestDatabase::sqlite();
        let (store, attempts) = (sqlite(&database).await, AtomicU32::new(0));
        let other = database.raw().await.begin().await.unwrap();
        other
            .execute_unprepared("CREATE TABLE t (x)")
            .await
            .unwrap();
        let span = Span::none();
        let rejected = retrying("test", span, || async {
            attempts.fetch_add(1, Ordering::SeqCst);
            Ok(store.begin(true, None).await.map(drop)?)
        });
        let rejected = rejected.await;
        assert!(
            matches!(rejected, Err(Error::Unavailable(_))),
            "{rejected:?}"
        );
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
    }

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
