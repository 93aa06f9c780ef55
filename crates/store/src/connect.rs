//! Opens connections.
//!
//! The driver is used directly, since SeaORM's own connector writes the URL, and with it the password,
//! into a span.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use keyward_core::Error;
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{ConnectOptions as _, Executor as _, Postgres, Sqlite};
use sea_orm::{DatabaseConnection, SqlxError, SqlxPostgresConnector, SqlxSqliteConnector};

use crate::error::translate_connecting;
use crate::pool::{Link, Raw};
use crate::{Engine, StoreOptions};

/// The field that a bad URL is a fault of.
const URL_FIELD: &str = "database.url";
/// After this time PostgreSQL stops a statement that no deadline has stopped.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// Makes an acknowledged commit a durable one: on this server, and on its synchronous standbys if it has
/// any. The stronger setting stays.
const SYNCHRONOUS_COMMIT: &str = "SELECT set_config('synchronous_commit', 'on', false) \
     WHERE current_setting('synchronous_commit') <> 'remote_apply'";

/// Opens connections to one database.
pub(crate) enum Connector {
    /// To a SQLite file.
    Sqlite {
        options: Box<SqliteConnectOptions>,
        /// Time that a connection waits for another process's lock.
        busy_timeout: Duration,
    },
    /// To a PostgreSQL server.
    Postgres(Box<PgConnectOptions>),
}

impl Connector {
    /// Reads the URL, and creates a SQLite file that is missing.
    ///
    /// # Errors
    /// The URL names no supported database; the file cannot be created.
    pub(crate) fn new(options: &StoreOptions) -> Result<Self, Error> {
        let url = options.url.expose();
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => sqlite(url, options.busy_timeout),
            Some("postgres" | "postgresql") => postgres(url, options.allow_unverified_tls),
            _ => Err(Error::invalid(
                URL_FIELD,
                "the database URL must begin with sqlite:, postgres: or postgresql:",
            )),
        }
    }

    /// Returns the database behind the connections.
    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite { .. } => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// Returns the SQLite file.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Sqlite { options, .. } => Some(options.get_filename().to_owned()),
            Self::Postgres(_) => None,
        }
    }

    /// Opens a connection.
    pub(crate) async fn open(&self) -> Result<Link, SqlxError> {
        match self {
            Self::Sqlite {
                options,
                busy_timeout,
            } => {
                let raw = options.connect().await?;
                Ok(Link::new(Raw::Sqlite(raw), *busy_timeout))
            }
            Self::Postgres(options) => {
                let mut raw = options.connect().await?;
                raw.execute(SYNCHRONOUS_COMMIT).await?;
                Ok(Link::new(Raw::Postgres(raw), Duration::ZERO))
            }
        }
    }

    /// Opens a connection as migrations need it, which waits for as long as it takes.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub(crate) async fn open_for_migrations(
        &self,
        patience: Duration,
    ) -> Result<DatabaseConnection, Error> {
        let db = match self {
            Self::Sqlite { options, .. } => {
                let pool = PoolOptions::<Sqlite>::new().max_connections(1);
                let pool = pool
                    .acquire_timeout(patience)
                    .connect_with(*options.clone());
                pool.await.map(SqlxSqliteConnector::from_sqlx_sqlite_pool)
            }
            Self::Postgres(options) => {
                let pool = PoolOptions::<Postgres>::new().max_connections(1);
                let pool = pool.after_connect(|raw, _| {
                    Box::pin(async move { raw.execute(SYNCHRONOUS_COMMIT).await.map(drop) })
                });
                let pool = pool
                    .acquire_timeout(patience)
                    .connect_with((**options).clone());
                pool.await
                    .map(SqlxPostgresConnector::from_sqlx_postgres_pool)
            }
        };
        db.map_err(|error| translate_connecting(&error))
    }
}

fn sqlite(url: &str, busy_timeout: Duration) -> Result<Connector, Error> {
    // The driver's own text may quote the URL.
    let connect = SqliteConnectOptions::from_str(url)
        .map_err(|_| Error::invalid(URL_FIELD, "the SQLite URL cannot be read"))?;
    let file = connect.get_filename().to_owned();
    if url.contains(":memory:") || url.contains("mode=memory") || file.as_os_str().is_empty() {
        return Err(Error::invalid(URL_FIELD, "the SQLite URL must name a file"));
    }
    create_private_file(&file).map_err(|error| {
        let text = format!("the SQLite file cannot be created: {}", error.kind());
        Error::unavailable(text)
    })?;
    let options = connect
        .journal_mode(SqliteJournalMode::Wal)
        // With NORMAL, a loss of power may take back a commit that was acknowledged.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(busy_timeout)
        // What is deleted is overwritten.
        .pragma("secure_delete", "ON")
        .disable_statement_logging();
    Ok(Connector::Sqlite {
        options: Box::new(options),
        busy_timeout,
    })
}

/// Creates the file before SQLite does, since SQLite would let everyone read it. The files beside
/// it (`-wal`, `-shm`) get its mode.
fn create_private_file(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn postgres(url: &str, allow_unverified_tls: bool) -> Result<Connector, Error> {
    let mut options = PgConnectOptions::from_str(url)
        .map_err(|_| Error::invalid(URL_FIELD, "the PostgreSQL URL cannot be read"))?
        .options([
            (
                "statement_timeout",
                STATEMENT_TIMEOUT.as_millis().to_string(),
            ),
            ("default_transaction_isolation", "read committed".to_owned()),
            // A process whose machine or network is gone keeps its locks no longer than this.
            ("idle_in_transaction_session_timeout", "15s".to_owned()),
            ("tcp_keepalives_idle", "10".to_owned()),
            ("tcp_keepalives_interval", "5".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
        ])
        .disable_statement_logging();
    if options.get_application_name().is_none() {
        options = options.application_name("keyward");
    }
    if !allow_unverified_tls {
        crate::exposure::check(&options)?;
    }
    Ok(Connector::Postgres(Box::new(options)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]

    use keyward_testkit::TestDatabase;
    use sea_orm::Statement;

    use super::*;

    async fn open(database: &TestDatabase) -> Link {
        let connector = Connector::new(&StoreOptions::new(database.secret_url())).unwrap();
        connector.open().await.unwrap()
    }

    async fn value<T: sea_orm::TryGetable>(db: &mut Link, sql: &str) -> T {
        let statement = Statement::from_string(db.backend(), sql);
        db.query_one(statement)
            .await
            .unwrap()
            .unwrap()
            .try_get_by_index(0)
            .unwrap()
    }

    #[tokio::test]
    async fn sqlite_is_durable_and_strict() {
        let database = TestDatabase::sqlite();
        let mut db = open(&database).await;
        assert_eq!(value::<String>(&mut db, "PRAGMA journal_mode").await, "wal");
        for (pragma, wanted) in [
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("secure_delete", 1),
            ("busy_timeout", 5000),
        ] {
            let found: i32 = value(&mut db, &format!("PRAGMA {pragma}")).await;
            assert_eq!(found, wanted, "{pragma}");
        }
    }

    #[tokio::test]
    async fn postgres_statements_end() {
        let Some(database) = TestDatabase::postgres().await else {
            return;
        };
        let mut db = open(&database).await;
        for (setting, wanted) in [
            ("statement_timeout", "1min"),
            ("transaction_isolation", "read committed"),
            ("idle_in_transaction_session_timeout", "15s"),
            ("tcp_keepalives_idle", "10"),
            ("application_name", "keyward"),
            // The test server's own setting is off.
            ("synchronous_commit", "on"),
        ] {
            assert_eq!(
                value::<String>(&mut db, &format!("SHOW {setting}")).await,
                wanted
            );
        }
    }

    #[tokio::test]
    async fn stronger_commits_of_the_operator_stay() {
        let Some(database) = TestDatabase::postgres().await else {
            return;
        };
        let options = |setting: &str| {
            let and = if database.url().contains('?') {
                '&'
            } else {
                '?'
            };
            let url = format!(
                "{}{and}options=-c%20synchronous_commit%3D{setting}",
                database.url()
            );
            StoreOptions::new(keyward_crypto::Secret::new(url))
        };
        for (setting, wanted) in [
            ("off", "on"),
            ("local", "on"),
            ("remote_write", "on"),
            ("on", "on"),
            ("remote_apply", "remote_apply"),
        ] {
            let connector = Connector::new(&options(setting)).unwrap();
            let mut db = connector.open().await.unwrap();
            let found = value::<String>(&mut db, "SHOW synchronous_commit").await;
            assert_eq!(found, wanted, "{setting}");
        }
    }
}
