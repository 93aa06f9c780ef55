//! Opens connections.
//!
//! The driver is used directly because SeaORM's own connector writes the URL, and with it the password, to a span.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use keyward_core::Error;
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{ConnectOptions as _, Executor as _, Postgres, Sqlite};
use sea_orm::{DatabaseConnection, SqlxError, SqlxPostgresConnector, SqlxSqliteConnector};

use crate::connection::{Connection, Raw};
use crate::error::translate_connecting;
use crate::{Engine, StoreOptions};

/// Name of the option that an invalid URL is reported for.
const URL_FIELD: &str = "database.url";
/// Time after which PostgreSQL cancels a statement that has no deadline.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// Makes an acknowledged commit durable on this server, and on its synchronous standbys if it has any. A stronger
/// setting is kept.
const SYNCHRONOUS_COMMIT: &str = "SELECT set_config('synchronous_commit', 'on', false) \
     WHERE current_setting('synchronous_commit') <> 'remote_apply'";

/// Opens connections to one database.
pub(crate) enum Connector {
    /// A SQLite file.
    Sqlite {
        options: Box<SqliteConnectOptions>,
        /// Time that a connection waits for another process's lock.
        busy_timeout: Duration,
    },
    /// A PostgreSQL server.
    Postgres(Box<PgConnectOptions>),
}

impl Connector {
    /// Reads the URL, and creates the SQLite file if it is missing.
    ///
    /// # Errors
    /// The URL names no supported database, or the file cannot be created.
    pub(crate) fn new(options: &StoreOptions) -> Result<Self, Error> {
        let url = options.url.expose();
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => sqlite(url, options.limits.busy_timeout),
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
    pub(crate) async fn open(&self) -> Result<Connection, SqlxError> {
        match self {
            Self::Sqlite {
                options,
                busy_timeout,
            } => {
                let raw = options.connect().await?;
                Ok(Connection::new(Raw::Sqlite(raw), *busy_timeout))
            }
            Self::Postgres(options) => {
                let mut raw = options.connect().await?;
                raw.execute(SYNCHRONOUS_COMMIT).await?;
                Ok(Connection::new(Raw::Postgres(raw), Duration::ZERO))
            }
        }
    }

    /// Opens a connection for migrations, without the client-side time limits of [`Connection`]; `up` lifts the statement
    /// timeout.
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
    // The driver's error text may quote the URL.
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
        // With NORMAL, a power loss may undo an acknowledged commit.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(busy_timeout)
        // Overwrites deleted content.
        .pragma("secure_delete", "ON")
        .disable_statement_logging();
    Ok(Connector::Sqlite {
        options: Box::new(options),
        busy_timeout,
    })
}

/// Creates the file before SQLite does, because SQLite would make it world-readable. The files beside it (`-wal`,
/// `-shm`) get the same mode.
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
            // Maximum time that a process keeps its locks after its machine or network fails.
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
    use crate::test_options::options;

    async fn open(database: &TestDatabase) -> Connection {
        let connector = Connector::new(&options(database.secret_url())).unwrap();
        connector.open().await.unwrap()
    }

    async fn value<T: sea_orm::TryGetable>(db: &mut Connection, sql: &str) -> T {
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
            // The test server has this setting off.
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
        let with_setting = |setting: &str| {
            let and = if database.url().contains('?') {
                '&'
            } else {
                '?'
            };
            let url = format!(
                "{}{and}options=-c%20synchronous_commit%3D{setting}",
                database.url()
            );
            options(keyward_crypto::Secret::new(url))
        };
        for (setting, wanted) in [
            ("off", "on"),
            ("local", "on"),
            ("remote_write", "on"),
            ("on", "on"),
            ("remote_apply", "remote_apply"),
        ] {
            let connector = Connector::new(&with_setting(setting)).unwrap();
            let mut db = connector.open().await.unwrap();
            let found = value::<String>(&mut db, "SHOW synchronous_commit").await;
            assert_eq!(found, wanted, "{setting}");
        }
    }
}
