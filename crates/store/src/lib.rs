//! Stores Keyward's data in SQLite or PostgreSQL, chosen by URL at run time.
//!
//! [`Store`] implements the traits of [`keyward_core::ports`]. Every change is one transaction that contains its audit
//! event. Neither transactions nor driver error texts leave this crate.

mod audit;
mod cache;
mod change_feed;
mod connect;
mod connection;
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
mod instrumented;
mod issued_key;
mod key_hash;
mod last_use;
mod ledger;
mod locked_row;
mod management_key;
pub mod metrics;
mod migration;
pub mod occupancy;
mod page;
mod per_key_queue;
mod pool;
mod probe;
mod provider_key;
#[cfg(test)]
mod query_plan;
mod repo_ai_key;
mod retention;
mod schema;
mod subject;
#[cfg(test)]
#[path = "../tests/common/options.rs"]
mod test_options;
mod time;
mod transaction;

// The options of tests are shared with the integration tests, for which this crate has its own name.
#[cfg(test)]
extern crate self as keyward_store;

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use keyward_core::Error;
use keyward_core::clock::Clock;
use keyward_crypto::Secret;
use sea_orm::DbBackend;
use tokio::sync::{Mutex, Semaphore};

use crate::cache::{CacheState, Caches};
use crate::change_feed::Follower;
use crate::connect::Connector;
use crate::file_lock::FileLock;
use crate::last_use::PendingUses;
use crate::ledger::LedgerQueue;
use crate::per_key_queue::PerKeyQueue;
use crate::pool::Pool;
use crate::time::StoreTime;

pub use cache::CacheSettings;
pub use file_lock::InUse;
pub use schema::{MigrateError, SchemaState, SchemaTooNew};
pub use time::TimeSource;

/// Maximum number of batches of the ledger that run at once.
const MAX_LANES: usize = 4;

/// Maximum numbers of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyBounds {
    /// Maximum number of provider keys in a workspace.
    pub provider_keys_per_workspace: u32,
    /// Maximum number of live AI keys in a repo.
    pub ai_keys_per_repo: u32,
}

/// Limits of a [`Store`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Maximum number of connections.
    pub max_connections: u32,
    /// Maximum time that a call waits for a connection.
    pub acquire_timeout: Duration,
    /// Maximum total time that a write waits for another process's lock on SQLite.
    pub busy_timeout: Duration,
    /// Maximum difference between the machine's clock and PostgreSQL's clock with which the store is ready.
    pub max_clock_difference: Duration,
    /// Maximum numbers of keys.
    pub bounds: KeyBounds,
    /// Caches.
    pub cache: CacheSettings,
}

/// Settings for [`Store`].
#[derive(Clone)]
pub struct StoreOptions {
    /// `sqlite:PATH`, `postgres://…` or `postgresql://…`; it may contain a password.
    pub url: Secret<String>,
    /// Limits on connections, waits and rows.
    pub limits: StoreLimits,
    /// Allows connections to PostgreSQL beyond loopback without a verified certificate.
    pub allow_unverified_tls: bool,
    /// The machine's clock.
    pub machine_clock: Arc<dyn Clock>,
    /// Clock that the store uses on PostgreSQL.
    pub time_source: TimeSource,
}

impl StoreOptions {
    /// Returns the settings for a URL, with the machine's real clock, and verified TLS and the server's clock on
    /// PostgreSQL.
    #[must_use]
    pub fn new(url: Secret<String>, limits: StoreLimits) -> Self {
        Self {
            url,
            limits,
            allow_unverified_tls: false,
            machine_clock: StoreTime::system(),
            time_source: TimeSource::Server,
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("limits", &self.limits)
            .field("time_source", &self.time_source)
            .finish_non_exhaustive()
    }
}

/// Database engine of a store.
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

/// A database that holds all data; clones share their connections.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    engine: Engine,
    bounds: KeyBounds,
    /// Serializes the writers of this process on SQLite, which has one write lock. Writers wait here in order; SQLite
    /// would make them poll for the lock.
    writer_lock: Option<Arc<Mutex<()>>>,
    /// Queue for calls that change the same key.
    key_queue: Arc<PerKeyQueue>,
    /// Changes of accounts that wait for their batch.
    ledger_queue: Arc<LedgerQueue>,
    /// Permits for transactions that wait longer for a lock.
    lock_waits: Arc<Semaphore>,
    /// Keys whose last use is being recorded.
    pending_uses: PendingUses,
    /// Caches of rows.
    caches: Arc<Caches>,
    /// Follows the changes of other replicas, and notifies them of this process's.
    follower: Arc<Follower>,
    /// Lock of a SQLite file.
    claim: Arc<std::sync::Mutex<Option<FileLock>>>,
    /// Time source of the store.
    time: Arc<StoreTime>,
}

impl Store {
    /// Connects to the database that the URL names. A missing SQLite file is created with mode 0600, in a directory
    /// that must exist.
    ///
    /// # Errors
    /// The URL names no supported database, or the database cannot be reached.
    pub async fn connect(options: &StoreOptions) -> Result<Self, Error> {
        let connector = Connector::new(options)?;
        let engine = connector.engine();
        let follows_server =
            engine == Engine::Postgres && options.time_source == TimeSource::Server;
        let machine = Arc::clone(&options.machine_clock);
        let limits = &options.limits;
        let time = StoreTime::new(machine, limits.max_clock_difference, follows_server);
        let max_connections = limits.max_connections.max(1);
        let pool = Pool::new(connector, max_connections, limits.acquire_timeout);
        // A store opens even if the clocks differ too much, but it is not ready.
        pool.connect_first(&time).await?;
        let state = Arc::new(CacheState::new(&limits.cache));
        let lock_waits = (max_connections as usize / 4).max(1);
        Ok(Self {
            pool,
            engine,
            bounds: limits.bounds,
            writer_lock: (engine == Engine::Sqlite).then(Arc::default),
            key_queue: Arc::default(),
            ledger_queue: Arc::new(LedgerQueue::new(lanes(engine, max_connections))),
            lock_waits: Arc::new(Semaphore::new(lock_waits)),
            pending_uses: PendingUses::default(),
            caches: Arc::new(Caches::new(&state, &limits.cache)),
            follower: Arc::new(Follower::new(
                &state,
                &limits.cache,
                engine == Engine::Sqlite,
            )),
            claim: Arc::default(),
            time: Arc::new(time),
        })
    }

    /// Locks a SQLite file for this process, until the process ends or the last clone of the store is dropped. Does
    /// nothing on PostgreSQL, which replicas share.
    ///
    /// # Errors
    /// [`Error::Unavailable`] of [`InUse`] when another process has locked the file; the file's directory cannot be
    /// written.
    pub fn claim(&self) -> Result<(), Error> {
        if let Some(file) = self.pool.connector().file() {
            let lock = FileLock::take(&file)?;
            *self.claim.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
        }
        Ok(())
    }

    /// Returns true if the store has locked its SQLite file.
    fn is_claimed(&self) -> bool {
        let claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        claim.is_some()
    }

    /// Closes every connection after commits in progress; later calls fail as unavailable.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Returns the store's database engine.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }
}

/// Returns the number of batches of the ledger that run at once: one on SQLite, which has one write lock.
fn lanes(engine: Engine, max_connections: u32) -> usize {
    match engine {
        Engine::Sqlite => 1,
        Engine::Postgres => (max_connections as usize / 4).clamp(1, MAX_LANES),
    }
}
