//! Connection pool of the database.
//!
//! Keyward has its own pool because the driver's pool tests connections on release without a time limit, retries a
//! server that rejects connections for as long as a call may wait, and cannot mark other connections as suspect after a
//! fault of one.

mod pooled_connection;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyward_core::Error;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;

use crate::connect::Connector;
use crate::connection::{Begin, Condition, Connection, unavailable};
use crate::error::{self, DiscardReason};
use crate::metrics;
use crate::time::StoreTime;

pub(crate) use pooled_connection::PooledConnection;

/// Maximum time for which a connection stays idle.
const MAX_IDLE: Duration = Duration::from_secs(10 * 60);
/// Maximum age of a connection to PostgreSQL, to bound the memory that it uses on the server.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// Time after a rejected connection in which the pool opens no other.
const COOL_DOWN: Duration = Duration::from_millis(250);
/// Time between two attempts to connect to a server that has no free connection slot.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// Time after a successful call for which the database counts as usable.
const RECENT: Duration = Duration::from_secs(1);
/// Time after a write that the database could not accept (no space, read-only, I/O error, corrupt file) for which it
/// counts as not writable.
const UNWRITABLE: Duration = Duration::from_secs(2);
/// Minimum time between two log lines about lost connections.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The connections of a store; clones share them.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    connector: Connector,
    /// A permit for every connection that may be open.
    slots: Arc<Semaphore>,
    max_connections: u32,
    acquire_timeout: Duration,
    is_closed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Idle connections, the most recently used last.
    idle: Vec<Connection>,
    /// Connections opened before this time are not used again: the server was replaced or its schema changed.
    stale: Option<Instant>,
    /// Connections without a response since this time are not used again: the network may have lost them.
    suspect: Option<Instant>,
    /// Last rejection by the server.
    rejection: Option<(Instant, String)>,
    /// Time at which a transaction last began on a server that accepts writes.
    began: Option<Instant>,
    /// Time at which a transaction was last committed.
    committed: Option<Instant>,
    /// Time at which a write last failed because the database accepts no writes.
    unwritable: Option<Instant>,
    /// Time of the last log line about lost connections.
    logged: Option<Instant>,
}

impl Pool {
    /// Creates a pool that opens connections on demand.
    pub(crate) fn new(
        connector: Connector,
        max_connections: u32,
        acquire_timeout: Duration,
    ) -> Self {
        let max_connections = max_connections.max(1);
        Self(Arc::new(Inner {
            connector,
            slots: Arc::new(Semaphore::new(max_connections as usize)),
            max_connections,
            acquire_timeout,
            is_closed: AtomicBool::new(false),
            state: Mutex::default(),
        }))
    }

    /// Returns the connector.
    pub(crate) fn connector(&self) -> &Connector {
        &self.0.connector
    }

    /// Opens the first connection, so that an unusable server is detected at the start, and compares the clocks on it.
    ///
    /// # Errors
    /// The server cannot be reached or rejects the connection; the file cannot be opened.
    pub(crate) async fn connect_first(&self, time: &StoreTime) -> Result<(), Error> {
        let opening = timeout_at(
            Instant::now() + self.0.acquire_timeout,
            self.0.connector.open(),
        );
        let mut connection = opening
            .await
            .map_err(|_| Error::unavailable("the server does not answer in time"))?
            .map_err(|error| error::translate_connecting(&error))?;
        let compared = time.compare_on(&mut connection).await;
        compared.map_err(|error| Error::unavailable(error::cause(&error).to_string()))?;
        self.put_idle(connection);
        Ok(())
    }

    /// Returns a connection, an idle one if there is any.
    ///
    /// # Errors
    /// No connection became free in time; the server rejects connections.
    async fn acquire(&self) -> Result<PooledConnection, DbErr> {
        let at = Instant::now() + self.0.acquire_timeout;
        let slot = timeout_at(at, Arc::clone(&self.0.slots).acquire_owned())
            .await
            .map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))?
            .map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))?;
        self.check_open()?;
        if let Some(connection) = self.take_idle() {
            return Ok(PooledConnection::new(self.clone(), connection, slot, false));
        }
        self.recently_rejected()?;
        // Connecting continues if the caller is cancelled. Otherwise callers with short deadlines would never get a
        // connection.
        let pool = self.clone();
        let connecting = async move { pool.connect(slot, at).await };
        tokio::spawn(connecting.in_current_span())
            .await
            .unwrap_or_else(|_| Err(unavailable("connecting was broken off")))
    }

    /// Fails once the pool is closed.
    pub(crate) fn check_open(&self) -> Result<(), DbErr> {
        match self.0.is_closed.load(Ordering::Acquire) {
            true => Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)),
            false => Ok(()),
        }
    }

    /// Returns a connection on which a transaction has begun. If it cannot begin, the connection is discarded and
    /// another one is tried, because no change was made yet.
    pub(crate) async fn begin(&self, begin: &Begin) -> Result<PooledConnection, DbErr> {
        loop {
            let connection = self.acquire().await?;
            match connection.begin(begin).await {
                Ok(()) => {
                    self.state().began = Some(Instant::now());
                    return Ok(connection);
                }
                Err(error) if connection.is_usable().await => return Err(error),
                Err(error) if connection.is_new() => {
                    // A file accepts reads while it rejects writes.
                    if matches!(self.0.connector, Connector::Postgres(_)) {
                        self.rejected(&error);
                    }
                    return Err(error);
                }
                // After all idle connections were tried, the next one is new.
                Err(error) => {
                    tracing::debug!(cause = %error::cause(&error), "failed to begin a transaction, reconnecting");
                }
            }
        }
    }

    async fn connect(
        &self,
        slot: OwnedSemaphorePermit,
        at: Instant,
    ) -> Result<PooledConnection, DbErr> {
        loop {
            let error = match timeout_at(at, self.0.connector.open()).await {
                Ok(Ok(connection)) => {
                    self.state().rejection = None;
                    return Ok(PooledConnection::new(self.clone(), connection, slot, true));
                }
                Ok(Err(error)) => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
                Err(_) => unavailable("the server does not answer in time"),
            };
            // Another connection of this pool may become free before the server has a slot for a new one.
            let has_others = self.0.slots.available_permits() + 1 < self.0.max_connections as usize;
            if !error::is_server_full(&error) || !has_others || Instant::now() + FULL_PAUSE >= at {
                self.rejected(&error);
                return Err(error);
            }
            sleep(FULL_PAUSE).await;
            if let Some(connection) = self.take_idle() {
                return Ok(PooledConnection::new(self.clone(), connection, slot, false));
            }
        }
    }

    /// Returns the most recently used of the idle connections that are still usable.
    fn take_idle(&self) -> Option<Connection> {
        let mut dropped = Vec::new();
        let mut state = self.state();
        let found = loop {
            match state.idle.pop() {
                Some(connection) if state.allows(&connection) => break Some(connection),
                Some(connection) => dropped.push(connection),
                None => break None,
            }
        };
        drop(state);
        for _ in &dropped {
            metrics::connection_discarded("doubtful");
        }
        found
    }

    /// Takes a connection back after use. The slot is released once it is decided whether the connection is kept or
    /// dropped.
    fn put_back(&self, mut connection: Connection, slot: OwnedSemaphorePermit) {
        match connection.condition() {
            Condition::Clean => self.put_idle(connection),
            Condition::GivenUp(reason) => {
                metrics::connection_discarded(reason.name());
                self.note(reason);
            }
            Condition::Dirty => {
                let Ok(runtime) = tokio::runtime::Handle::try_current() else {
                    return;
                };
                let pool = self.clone();
                runtime.spawn(async move {
                    connection.recover().await;
                    match connection.condition() {
                        Condition::Clean => pool.put_idle(connection),
                        Condition::GivenUp(reason) => {
                            metrics::connection_discarded(reason.name());
                            pool.note(reason);
                        }
                        Condition::Dirty => {}
                    }
                    drop(slot);
                });
            }
        }
    }

    fn put_idle(&self, connection: Connection) {
        let mut state = self.state();
        let is_closed = self.0.is_closed.load(Ordering::Acquire);
        if !is_closed && state.allows(&connection) && connection.opened.elapsed() < self.max_age() {
            state.idle.push(connection);
        }
        // The most recently used connection is used first, so surplus connections age at the front.
        let oldest = state.idle.first();
        let outdated = oldest.is_some_and(|oldest| oldest.last_response.elapsed() > MAX_IDLE);
        let outdated = (outdated && self.max_age() < Duration::MAX).then(|| state.idle.remove(0));
        drop(state);
        drop(outdated);
    }

    /// Returns the maximum age; connections to a file have none.
    fn max_age(&self) -> Duration {
        match &self.0.connector {
            Connector::Sqlite { .. } => Duration::MAX,
            Connector::Postgres(_) => MAX_AGE,
        }
    }

    /// Records the effect of a discarded connection on the others.
    fn note(&self, reason: DiscardReason) {
        let now = Instant::now();
        let mut state = self.state();
        match reason {
            DiscardReason::Connection => return,
            DiscardReason::Silent => state.suspect = Some(now),
            DiscardReason::Server | DiscardReason::ReadOnly => state.stale = Some(now),
        }
        let is_quiet = state.logged.is_some_and(|at| at.elapsed() < LOG_INTERVAL);
        if !is_quiet {
            state.logged = Some(now);
        }
        drop(state);
        if !is_quiet {
            tracing::warn!(
                reason = reason.name(),
                "lost a database connection, replacing older ones"
            );
        }
    }

    /// Records the outcome of a commit.
    fn note_commit(&self, outcome: &Result<(), DbErr>) {
        match outcome {
            Ok(()) => self.state().committed = Some(Instant::now()),
            Err(error) => self.note_failure(error),
        }
    }

    /// Records an error that shows that the database accepts no writes.
    fn note_failure(&self, error: &DbErr) {
        if error::is_unwritable(error) {
            self.state().unwritable = Some(Instant::now());
        }
    }

    /// Records that the server rejects connections.
    fn rejected(&self, error: &DbErr) {
        let text = error::cause(error).to_string();
        self.state().rejection = Some((Instant::now(), text));
    }

    /// Fails with the server's last rejection if it is recent.
    fn recently_rejected(&self) -> Result<(), DbErr> {
        match &self.state().rejection {
            Some((at, text)) if at.elapsed() < COOL_DOWN => Err(unavailable(text)),
            _ => Ok(()),
        }
    }

    /// Returns true if a transaction began recently on a server that accepts writes.
    pub(crate) fn began_recently(&self) -> bool {
        self.is_recent(self.state().began)
    }

    /// Returns true if a transaction was committed recently.
    pub(crate) fn committed_recently(&self) -> bool {
        self.is_recent(self.state().committed)
    }

    fn is_recent(&self, success: Option<Instant>) -> bool {
        self.check_open().is_ok() && success.is_some_and(|at| at.elapsed() < RECENT)
    }

    /// Returns true if a write failed recently because the database accepts no writes.
    pub(crate) fn is_unwritable(&self) -> bool {
        self.state()
            .unwritable
            .is_some_and(|at| at.elapsed() < UNWRITABLE)
    }

    /// Closes every connection after its use. Later calls fail.
    pub(crate) async fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        let all = self.0.slots.acquire_many(self.0.max_connections).await;
        self.0.slots.close();
        drop(all);
        let idle = std::mem::take(&mut self.state().idle);
        for connection in idle {
            connection.close().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns true if a connection may be used in spite of faults of other connections.
    fn allows(&self, connection: &Connection) -> bool {
        self.stale.is_none_or(|at| connection.opened > at)
            && self.suspect.is_none_or(|at| connection.last_response > at)
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(store.pool.state().idle.len(), 1);
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
        assert_eq!(store.pool.state().idle.len(), 0);
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
}
