//! Connection pool of the database.
//!
//! Keyward has its own pool because the driver's pool tests connections on release without a time limit, retries a
//! server that rejects connections for as long as a call may wait, and cannot mark other connections as suspect after a
//! fault of one.

mod pooled_connection;
mod server_state;

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
use crate::time::StoreTime;
use crate::{error, metrics};

pub(crate) use pooled_connection::PooledConnection;
use server_state::ServerState;

/// Maximum time for which a connection stays idle.
const MAX_IDLE: Duration = Duration::from_secs(10 * 60);
/// Maximum age of a connection to PostgreSQL, to bound the memory that it uses on the server.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// Time between two attempts to connect to a server that has no free connection slot.
const FULL_PAUSE: Duration = Duration::from_millis(100);

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
    /// Idle connections, the most recently used last.
    idle: Mutex<Vec<Connection>>,
    /// State of the server, as the connections show it.
    server: ServerState,
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
            idle: Mutex::default(),
            server: ServerState::default(),
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
        self.0.server.recently_rejected()?;
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
                    self.0.server.note_begun();
                    return Ok(connection);
                }
                Err(error) if connection.is_usable().await => return Err(error),
                Err(error) if connection.is_new() => {
                    // A file accepts reads while it rejects writes.
                    if matches!(self.0.connector, Connector::Postgres(_)) {
                        self.0.server.note_rejection(&error);
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
                    self.0.server.note_accepted();
                    return Ok(PooledConnection::new(self.clone(), connection, slot, true));
                }
                Ok(Err(error)) => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
                Err(_) => unavailable("the server does not answer in time"),
            };
            // Another connection of this pool may become free before the server has a slot for a new one.
            let has_others = self.0.slots.available_permits() + 1 < self.0.max_connections as usize;
            if !error::is_server_full(&error) || !has_others || Instant::now() + FULL_PAUSE >= at {
                self.0.server.note_rejection(&error);
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
        let mut idle = self.idle();
        let found = loop {
            match idle.pop() {
                Some(connection) if self.0.server.allows(&connection) => break Some(connection),
                Some(connection) => dropped.push(connection),
                None => break None,
            }
        };
        drop(idle);
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
                self.0.server.note_discarded(reason);
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
                            pool.0.server.note_discarded(reason);
                        }
                        Condition::Dirty => {}
                    }
                    drop(slot);
                });
            }
        }
    }

    fn put_idle(&self, connection: Connection) {
        let mut idle = self.idle();
        let is_closed = self.0.is_closed.load(Ordering::Acquire);
        let is_allowed = self.0.server.allows(&connection);
        if !is_closed && is_allowed && connection.opened.elapsed() < self.max_age() {
            idle.push(connection);
        }
        // The most recently used connection is used first, so surplus connections age at the front.
        let oldest = idle.first();
        let outdated = oldest.is_some_and(|oldest| oldest.last_response.elapsed() > MAX_IDLE);
        let outdated = (outdated && self.max_age() < Duration::MAX).then(|| idle.remove(0));
        drop(idle);
        drop(outdated);
    }

    /// Returns the maximum age; connections to a file have none.
    fn max_age(&self) -> Duration {
        match &self.0.connector {
            Connector::Sqlite { .. } => Duration::MAX,
            Connector::Postgres(_) => MAX_AGE,
        }
    }

    /// Returns true if a transaction began recently on a server that accepts writes.
    pub(crate) fn began_recently(&self) -> bool {
        self.check_open().is_ok() && self.0.server.began_recently()
    }

    /// Returns true if a transaction was committed recently.
    pub(crate) fn committed_recently(&self) -> bool {
        self.check_open().is_ok() && self.0.server.committed_recently()
    }

    /// Returns the time at which a write last failed because the database accepts no writes, unless a probe has
    /// written since.
    pub(crate) fn unwritable(&self) -> Option<Instant> {
        self.0.server.unwritable()
    }

    /// Records that a probe has written after the failure at this time.
    pub(crate) fn note_written(&self, failed: Instant) {
        self.0.server.note_written(failed);
    }

    /// Closes every connection after its use. Later calls fail.
    pub(crate) async fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        let all = self.0.slots.acquire_many(self.0.max_connections).await;
        self.0.slots.close();
        drop(all);
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            connection.close().await;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
