//! Keeps what Keyward knows in SQLite or PostgreSQL, chosen by URL at run time.
//!
//! [`Store`] implements the traits of [`keyward_core::store`]. Every change is one transaction with
//! its audit event in it; no transaction escapes, and no driver's text reaches a caller.

mod audit;
mod connect;
mod creator;
mod data_key;
pub mod deadline;
mod directory;
#[allow(
    unreachable_pub,
    reason = "the derives make public items, and the module is private"
)]
mod entity;
mod error;
mod exposure;
mod file_lock;
mod issued_key;
mod last_use;
mod ledger;
mod management_key;
pub mod metrics;
mod migration;
mod observed;
pub mod occupancy;
mod page;
mod pool;
mod probe;
mod provider_key;
mod repo_ai_key;
mod schema;
mod session;
mod time;
pub mod turns;

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use keyward_core::Error;
use keyward_core::clock::Clock;
use keyward_crypto::Secret;
use sea_orm::DbBackend;
use tokio::sync::{Mutex, Semaphore};

use crate::connect::Connector;
use crate::file_lock::FileLock;
use crate::last_use::Noting;
use crate::pool::Pool;
use crate::time::StoreTime;
use crate::turns::Turns;

pub use file_lock::InUse;
pub use schema::{SchemaState, SchemaTooNew};
pub use time::{ClockDiffers, TimeSource};

/// How many connections a store has at most, unless told otherwise.
const DEFAULT_MAX_CONNECTIONS: u32 = 16;
/// How long a call waits for a connection, unless told otherwise.
const DEFAULT_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a write waits for another process's lock on SQLite, unless told otherwise.
const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum difference of the clocks with which a store is ready, by default.
const DEFAULT_MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(5);

/// Maximum numbers of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyBounds {
    /// Provider keys that one workspace may have.
    pub provider_keys_per_workspace: u32,
    /// Live AI keys that one repo may have.
    pub ai_keys_per_repo: u32,
}

impl Default for KeyBounds {
    fn default() -> Self {
        Self {
            provider_keys_per_workspace: 10_000,
            ai_keys_per_repo: 10_000,
        }
    }
}

/// Where the store is and how to reach it.
#[derive(Clone)]
pub struct StoreOptions {
    /// `sqlite:PATH`, `postgres://…` or `postgresql://…`; it may hold a password.
    pub url: Secret<String>,
    /// How many connections the store opens at most.
    pub max_connections: u32,
    /// How long a call waits for a connection.
    pub acquire_timeout: Duration,
    /// How long a write waits for another process's lock on SQLite, all in all.
    pub busy_timeout: Duration,
    /// Maximum numbers of keys.
    pub bounds: KeyBounds,
    /// Permission to reach PostgreSQL beyond loopback without a verified certificate.
    pub allow_unverified_tls: bool,
    /// Maximum difference between the machine's clock and PostgreSQL's with which the store is ready.
    pub max_clock_difference: Duration,
    /// The machine's clock.
    pub machine_clock: Arc<dyn Clock>,
    /// Clock that decides on PostgreSQL.
    pub time_source: TimeSource,
}

impl StoreOptions {
    /// The default options for a URL.
    #[must_use]
    pub fn new(url: Secret<String>) -> Self {
        Self {
            url,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            acquire_timeout: DEFAULT_ACQUIRE_TIMEOUT,
            busy_timeout: DEFAULT_BUSY_TIMEOUT,
            bounds: KeyBounds::default(),
            allow_unverified_tls: false,
            max_clock_difference: DEFAULT_MAX_CLOCK_DIFFERENCE,
            machine_clock: StoreTime::system(),
            time_source: TimeSource::Server,
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("busy_timeout", &self.busy_timeout)
            .field("max_clock_difference", &self.max_clock_difference)
            .field("time_source", &self.time_source)
            .finish_non_exhaustive()
    }
}

/// The database behind a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// SQLite, embedded.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Engine {
    fn backend(self) -> DbBackend {
        match self {
            Self::Sqlite => DbBackend::Sqlite,
            Self::Postgres => DbBackend::Postgres,
        }
    }
}

/// A database that holds everything; clones share their connections.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    engine: Engine,
    bounds: KeyBounds,
    /// Lets one writer of this process at a time into SQLite, which has one write lock: writers
    /// wait here in order, where SQLite would let them poll for it.
    gate: Option<Arc<Mutex<()>>>,
    /// Where there is no such gate, callers who change one key wait here.
    turns: Arc<Turns>,
    /// A permit for every transaction that may wait for another's lock for longer than a moment.
    lock_waits: Arc<Semaphore>,
    /// The keys whose use is being noted.
    noting: Noting,
    /// The claim of a SQLite file.
    claim: Arc<std::sync::Mutex<Option<FileLock>>>,
    /// Time by which it decides.
    time: Arc<StoreTime>,
}

impl Store {
    /// Connects to the database that the URL names. A SQLite file that is missing is created with
    /// mode 0600, in a directory that must exist.
    ///
    /// # Errors
    /// The URL is none of a supported database; the database cannot be reached.
    pub async fn connect(options: &StoreOptions) -> Result<Self, Error> {
        let connector = Connector::new(options)?;
        let engine = connector.engine();
        let follows_server =
            engine == Engine::Postgres && options.time_source == TimeSource::Server;
        let machine = Arc::clone(&options.machine_clock);
        let time = StoreTime::new(machine, options.max_clock_difference, follows_server);
        let max_connections = options.max_connections.max(1);
        let pool = Pool::new(connector, max_connections, options.acquire_timeout);
        // Clocks that differ too much keep the store from being ready, not from being opened.
        pool.connect_first(&time).await?;
        let lock_waits = (max_connections as usize / 4).max(1);
        Ok(Self {
            pool,
            engine,
            bounds: options.bounds,
            gate: (engine == Engine::Sqlite).then(Arc::default),
            turns: Arc::default(),
            lock_waits: Arc::new(Semaphore::new(lock_waits)),
            noting: Noting::default(),
            claim: Arc::default(),
            time: Arc::new(time),
        })
    }

    /// Claims a SQLite file for this process, until it ends or the last clone of the store is dropped.
    /// Does nothing on PostgreSQL, which replicas share.
    ///
    /// # Errors
    /// [`Error::Unavailable`] of [`InUse`] when another process has claimed the file; the file's
    /// directory cannot be written.
    pub fn claim(&self) -> Result<(), Error> {
        if let Some(file) = self.pool.connector().file() {
            let lock = FileLock::take(&file)?;
            *self.claim.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        }
        Ok(())
    }

    /// Closes every connection, after commits that are under way; later calls fail as unavailable.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The database behind the store.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }
}
