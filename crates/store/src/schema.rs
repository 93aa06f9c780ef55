//! Compares the database's schema with the one that this program supports, and migrates it.
//!
//! A migration is one transaction under a lock. Concurrent processes migrate in turn, and the later ones find no
//! migrations left to apply. A process that is killed during a migration leaves the earlier schema.

use std::collections::BTreeSet;
use std::time::Duration;

use keyward_core::Error;
use sea_orm::sea_query::Query;
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};
use sea_orm_migration::MigratorTrait;

use crate::Store;
use crate::error::{Failure, cause, is_lock_timeout};
use crate::migration::Migrator;
use crate::transaction::retrying;

/// Advisory lock under which PostgreSQL lets one process migrate at a time.
const MIGRATION_LOCK: i64 = 0x6b65_7977_6172_6400;
/// Table of the applied migrations.
const RECORDS: &str = "seaql_migrations";
/// Maximum time that a migration waits for a table on PostgreSQL. Every later call on that table waits behind it, so it
/// is shorter than the time that calls wait.
const TABLE_PATIENCE: Duration = Duration::from_secs(2);
/// Maximum number of attempts to lock tables that other transactions use.
const TABLE_ATTEMPTS: u32 = 30;
/// Maximum time for connecting to migrate.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two attempts in which waiting calls can use the tables.
const TABLE_PAUSE: Duration = Duration::from_secs(1);

/// State of a database's schema compared with the one that this program supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaState {
    /// The schema is current.
    Current,
    /// The schema lacks migrations.
    Older {
        /// Number of missing migrations.
        lacks: usize,
        /// Newest missing migration.
        wanted: String,
    },
    /// The schema has migrations that this program does not support.
    Newer(SchemaTooNew),
}

/// The database was migrated by a newer program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the database's schema is at `{found}`, and `{known}` is the newest that this program knows"
)]
pub struct SchemaTooNew {
    /// Newest migration that the database has.
    pub found: String,
    /// Newest migration that this program supports.
    pub known: String,
}

/// Failure of a migration.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database was migrated by a newer program.
    #[error(transparent)]
    TooNew(#[from] SchemaTooNew),
    /// The database cannot be reached, or other transactions use its tables for too long.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Outcome of an attempt to migrate. Only the first one has changed the database.
enum Attempt {
    /// The migrations were applied; their number.
    Applied(usize),
    /// Other transactions use the tables to be changed.
    TablesInUse,
    /// The database was migrated by a newer program.
    TooNew(SchemaTooNew),
}

/// Cause of the failure if the last attempt finds the tables in use.
const TABLES_IN_USE: &str = "the tables are in use by a long transaction, such as a backup";

impl Store {
    /// Compares the database's schema with the one that this program supports. Changes nothing.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn schema(&self) -> Result<SchemaState, Error> {
        self.read("schema", |db| async move {
            let applied = applied(&db).await?;
            Ok(state(&applied, &Self::migrations()))
        })
        .await
    }

    /// Applies all missing migrations in one transaction, and returns their number. Concurrent processes migrate in
    /// turn.
    ///
    /// # Errors
    /// A newer program has migrated the database; it cannot be reached; other transactions use its tables for too
    /// long.
    pub async fn migrate(&self) -> Result<usize, MigrateError> {
        self.migrate_to(usize::MAX).await
    }

    /// Applies only the first `migrations` migrations, for tests of upgrades.
    ///
    /// # Errors
    /// Same as [`Self::migrate`].
    #[doc(hidden)]
    pub async fn migrate_to(&self, migrations: usize) -> Result<usize, MigrateError> {
        let mut attempts = 1;
        loop {
            let span = tracing::info_span!("store.write", operation = "migrate");
            let attempt = || self.migrate_once(migrations);
            match retrying("migrate", span, attempt).await? {
                Attempt::Applied(migrations) => return Ok(migrations),
                Attempt::TooNew(newer) => return Err(newer.into()),
                Attempt::TablesInUse if attempts < TABLE_ATTEMPTS => {
                    tracing::warn!(attempts, cause = TABLES_IN_USE, "waiting to migrate");
                    tokio::time::sleep(TABLE_PAUSE).await;
                    attempts += 1;
                }
                Attempt::TablesInUse => return Err(Error::unavailable(TABLES_IN_USE).into()),
            }
        }
    }

    /// Migrates on a separate connection, where a statement may take longer than in a call.
    async fn migrate_once(&self, migrations: usize) -> Result<Attempt, Failure> {
        let guard = match &self.writer_lock {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        self.pool.check_open()?;
        let db = self
            .pool
            .connector()
            .open_for_migrations(CONNECT_TIMEOUT)
            .await?;
        let migrated = async {
            let options = TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..TransactionOptions::default()
            };
            let txn = db.begin_with_options(options).await?;
            let outcome = up(&txn, migrations).await;
            if let Ok(Attempt::Applied(_)) = outcome {
                txn.commit().await?;
            } else if let Err(error) = txn.rollback().await {
                tracing::debug!(cause = %cause(&error), "failed to roll back");
            }
            outcome
        };
        let migrated = migrated.await;
        if let Err(error) = db.close().await {
            tracing::debug!(cause = %cause(&error), "failed to close the migration's connection");
        }
        drop(guard);
        migrated
    }

    /// Returns the names of all migrations, in order.
    #[must_use]
    #[doc(hidden)]
    pub fn migrations() -> Vec<String> {
        let migrations = Migrator::migrations();
        migrations
            .iter()
            .map(|migration| migration.name().to_owned())
            .collect()
    }
}

/// Applies those of the first `migrations` migrations that are missing.
async fn up(txn: &DatabaseTransaction, migrations: usize) -> Result<Attempt, Failure> {
    if txn.get_database_backend() == DbBackend::Postgres {
        // The wait for another process's migration, and the creation of an index, may take longer than the usual
        // statement timeout.
        let lock = format!(
            "SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({MIGRATION_LOCK}); \
             SET LOCAL lock_timeout = {}",
            TABLE_PATIENCE.as_millis()
        );
        txn.execute_unprepared(&lock).await?;
    }
    let known = Store::migrations();
    let applied = applied(txn).await?;
    if let SchemaState::Newer(newer) = state(&applied, &known) {
        return Ok(Attempt::TooNew(newer));
    }
    let missing = known.iter().take(migrations);
    let missing = missing.filter(|name| !applied.contains(*name)).count();
    let steps = u32::try_from(missing).map_err(Error::internal)?;
    if steps > 0 {
        match Migrator::up(txn, Some(steps)).await {
            Err(error) if is_lock_timeout(&error) => return Ok(Attempt::TablesInUse),
            outcome => outcome?,
        }
    }
    Ok(Attempt::Applied(missing))
}

/// Returns the names of the applied migrations; empty for a new database.
async fn applied(db: &impl ConnectionTrait) -> Result<BTreeSet<String>, DbErr> {
    let backend = db.get_database_backend();
    let sql = match backend {
        DbBackend::Postgres => format!("SELECT to_regclass('{RECORDS}') IS NOT NULL AS found"),
        _ => format!("SELECT COUNT(*) > 0 AS found FROM sqlite_master WHERE name = '{RECORDS}'"),
    };
    let row = db
        .query_one_raw(Statement::from_string(backend, sql))
        .await?;
    if !row.is_some_and(|row| row.try_get("", "found") == Ok(true)) {
        return Ok(BTreeSet::new());
    }
    let query = Query::select().column("version").from(RECORDS).to_owned();
    let rows = db.query_all(&query).await?;
    rows.iter().map(|row| row.try_get("", "version")).collect()
}

fn state(applied: &BTreeSet<String>, known: &[String]) -> SchemaState {
    let newest = known.last().cloned().unwrap_or_default();
    let unknown = applied.iter().rev().find(|name| !known.contains(name));
    if let Some(found) = unknown {
        return SchemaState::Newer(SchemaTooNew {
            found: found.clone(),
            known: newest,
        });
    }
    let lacks: Vec<_> = known
        .iter()
        .filter(|name| !applied.contains(*name))
        .collect();
    match lacks.last() {
        None => SchemaState::Current,
        Some(wanted) => SchemaState::Older {
            lacks: lacks.len(),
            wanted: (*wanted).clone(),
        },
    }
}
