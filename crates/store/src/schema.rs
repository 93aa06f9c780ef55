//! The schema: whether it is the one that this program knows, and how it becomes that.
//!
//! Migrating is one transaction under a lock. Processes that do it at once take turns, the later ones
//! find nothing left to do, and one that is killed on the way leaves what was there before.

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
use crate::session::retrying;

/// Names the lock under which PostgreSQL lets one process migrate at a time.
const MIGRATION_LOCK: i64 = 0x6b65_7977_6172_6400;
/// Where the migrations that were applied are recorded.
const RECORDS: &str = "seaql_migrations";
/// How long migrating waits for a table on PostgreSQL. Every later call on that table waits behind it,
/// so it is shorter than calls wait.
const TABLE_PATIENCE: Duration = Duration::from_secs(2);
/// How often migrating tries to get at tables that others hold.
const TABLE_ATTEMPTS: u32 = 30;
/// Maximum time for connecting to migrate.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long those who wait behind it have the tables between two attempts.
const TABLE_PAUSE: Duration = Duration::from_secs(1);

/// How a database's schema stands to the one that this program knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaState {
    /// It is that one.
    Current,
    /// It lacks migrations.
    Older {
        /// How many it lacks.
        lacks: usize,
        /// The newest migration that it lacks.
        wanted: String,
    },
    /// It has migrations that this program does not know.
    Newer(SchemaTooNew),
}

/// The database was migrated by a newer program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the database's schema is at `{found}`, and `{known}` is the newest that this program knows"
)]
pub struct SchemaTooNew {
    /// The newest migration that the database has.
    pub found: String,
    /// The newest migration that this program knows.
    pub known: String,
}

/// Others hold the tables that are to be changed.
#[derive(Debug, thiserror::Error)]
#[error("the tables are in use by a long transaction, such as a backup")]
struct TablesInUse;

impl Store {
    /// How the database's schema stands to the one that this program knows. It changes nothing.
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

    /// Brings the schema up to date, all or nothing, and says how many migrations it lacked.
    /// Processes that do so at once take turns.
    ///
    /// # Errors
    /// [`Error::Internal`] of [`SchemaTooNew`]; the database cannot be reached, or its tables are held
    /// by others for long.
    pub async fn migrate(&self) -> Result<usize, Error> {
        self.migrate_to(usize::MAX).await
    }

    /// Brings the schema to what it was after so many migrations, for tests of upgrades.
    ///
    /// # Errors
    /// As of [`Self::migrate`].
    #[doc(hidden)]
    pub async fn migrate_to(&self, migrations: usize) -> Result<usize, Error> {
        let mut attempts = 1;
        loop {
            let span = tracing::info_span!("store.write", operation = "migrate");
            let attempt = || self.migrate_once(migrations);
            let outcome = retrying("migrate", span, attempt).await;
            match outcome {
                Err(Error::Unavailable(cause))
                    if cause.is::<TablesInUse>() && attempts < TABLE_ATTEMPTS =>
                {
                    tracing::warn!(attempts, %cause, "migrating waits");
                    tokio::time::sleep(TABLE_PAUSE).await;
                    attempts += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Migrates on a connection of its own: a statement may take longer there than calls may.
    async fn migrate_once(&self, migrations: usize) -> Result<usize, Failure> {
        let turn = match &self.gate {
            Some(gate) => Some(gate.lock().await),
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
            match up(&txn, migrations).await {
                Ok(applied) => {
                    txn.commit().await?;
                    Ok(applied)
                }
                Err(failure) => {
                    if let Err(error) = txn.rollback().await {
                        tracing::debug!(cause = %cause(&error), "a rollback failed");
                    }
                    Err(failure)
                }
            }
        };
        let migrated = migrated.await;
        if let Err(error) = db.close().await {
            tracing::debug!(cause = %cause(&error), "failed to close the migration's connection");
        }
        drop(turn);
        migrated
    }

    /// The names of all migrations, in order.
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

/// Applies what is missing of the first so many migrations.
async fn up(txn: &DatabaseTransaction, migrations: usize) -> Result<usize, Failure> {
    if txn.get_database_backend() == DbBackend::Postgres {
        // Waiting for another process's migration may take longer than a statement should, and so
        // may making an index.
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
        return Err(Error::internal(newer).into());
    }
    let missing = known.iter().take(migrations);
    let missing = missing.filter(|name| !applied.contains(*name)).count();
    let steps = u32::try_from(missing).map_err(Error::internal)?;
    if steps > 0 {
        Migrator::up(txn, Some(steps)).await.map_err(in_use)?;
    }
    Ok(missing)
}

/// The names of the migrations that were applied; none where nothing ever was.
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

fn in_use(error: DbErr) -> Failure {
    if is_lock_timeout(&error) {
        Error::unavailable(TablesInUse).into()
    } else {
        error.into()
    }
}
