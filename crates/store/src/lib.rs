//! Keeps what Keyward knows in SQLite or PostgreSQL, chosen by URL at run time.
//!
//! [`Store`] implements the traits of [`keyward_core::store`]. Every change is one transaction with
//! its audit event in it; no transaction escapes, and no driver's text reaches a caller.

mod audit;
mod connect;
mod data_key;
pub mod deadline;
mod directory;
#[allow(
    unreachable_pub,
    reason = "the derives make public items, and the module is private"
)]
mod entity;
mod error;
mod issued_key;
mod last_use;
mod ledger;
mod management_key;
pub mod metrics;
mod migration;
mod observed;
mod provider_key;
mod repo_ai_key;
mod schema;
mod session;
mod turns;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keyward_core::Error;
use keyward_core::store::StoreHealth;
use keyward_crypto::Secret;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use tokio::sync::Mutex;

use crate::last_use::Noting;
use crate::turns::Turns;

pub use schema::{SchemaState, SchemaTooNew};

/// How many connections a store has at most, unless told otherwise.
const DEFAULT_MAX_CONNECTIONS: u32 = 16;
/// How long a call waits for a connection, unless told otherwise.
const DEFAULT_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a write waits for another process's lock on SQLite, unless told otherwise.
const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

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
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("busy_timeout", &self.busy_timeout)
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

/// A database that holds everything; clones share their connections.
#[derive(Clone)]
pub struct Store {
    db: DatabaseConnection,
    engine: Engine,
    /// Lets one writer of this process at a time into SQLite, which has one write lock: writers
    /// wait here in order, where SQLite would let them poll for it.
    gate: Option<Arc<Mutex<()>>>,
    /// Where there is no such gate, callers who change one key wait here.
    turns: Arc<Turns>,
    /// The keys whose use is being noted.
    noting: Noting,
}

impl Store {
    /// Connects to the database that the URL names. A SQLite file that is missing is created with
    /// mode 0600, in a directory that must exist.
    ///
    /// # Errors
    /// The URL is none of a supported database; the database cannot be reached.
    pub async fn connect(options: &StoreOptions) -> Result<Self, Error> {
        let (db, engine) = connect::connect(options).await?;
        let gate = (engine == Engine::Sqlite).then(Arc::default);
        Ok(Self {
            db,
            engine,
            gate,
            turns: Arc::default(),
            noting: Noting::default(),
        })
    }

    /// Closes every connection, after commits that are under way; later calls fail as unavailable.
    pub async fn close(&self) {
        if let Err(error) = self.db.close_by_ref().await {
            tracing::debug!(error = %error::cause(&error), "closing the store failed");
        }
    }

    /// The database behind the store.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }
}

#[async_trait]
impl StoreHealth for Store {
    async fn ping(&self) -> Result<(), Error> {
        self.read("ping", |db| async move {
            db.execute_unprepared("SELECT 1").await?;
            Ok(())
        })
        .await
    }
}
