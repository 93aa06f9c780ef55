//! Opens the pool of connections.
//!
//! The pools are made here and handed to SeaORM, whose own connector writes the URL, and with it
//! the password, into a span.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use keyward_core::Error;
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{ConnectOptions as _, Connection as _};
use sea_orm::sqlx::{Postgres, Sqlite};
use sea_orm::{DatabaseConnection, SqlxPostgresConnector, SqlxSqliteConnector};

use crate::error::translate_connecting;
use crate::{Engine, StoreOptions};

/// The field that a bad URL is a fault of.
const URL_FIELD: &str = "database.url";
/// After this time PostgreSQL stops a statement that no deadline has stopped.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) async fn connect(options: &StoreOptions) -> Result<(DatabaseConnection, Engine), Error> {
    let url = options.url.expose();
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok((sqlite(url, options).await?, Engine::Sqlite)),
        Some("postgres" | "postgresql") => Ok((postgres(url, options).await?, Engine::Postgres)),
        _ => Err(Error::invalid(
            URL_FIELD,
            "the database URL must begin with sqlite:, postgres: or postgresql:",
        )),
    }
}

async fn sqlite(url: &str, options: &StoreOptions) -> Result<DatabaseConnection, Error> {
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
    let connect = connect
        .journal_mode(SqliteJournalMode::Wal)
        // With NORMAL, a loss of power may take back a commit that was acknowledged.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(options.busy_timeout)
        // What is deleted is overwritten.
        .pragma("secure_delete", "ON")
        .disable_statement_logging();
    let pool = PoolOptions::<Sqlite>::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        // A connection to a file does not go stale.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(connect)
        .await
        .map_err(|error| translate_connecting(&error))?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
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

async fn postgres(url: &str, options: &StoreOptions) -> Result<DatabaseConnection, Error> {
    let mut connect = PgConnectOptions::from_str(url)
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
    if connect.get_application_name().is_none() {
        connect = connect.application_name("keyward");
    }
    // Before the pool, which would try a server that refuses again and again, and then say only
    // that no connection became free.
    let first = tokio::time::timeout(options.acquire_timeout, connect.connect())
        .await
        .map_err(|_| Error::unavailable("the server does not answer in time"))?
        .map_err(|error| translate_connecting(&error))?;
    if first.close().await.is_err() {
        tracing::debug!("closing the first connection failed");
    }
    let pool = PoolOptions::<Postgres>::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.acquire_timeout)
        // A round trip for each call, so that a server that was restarted is not noticed by callers.
        .test_before_acquire(true)
        .connect_lazy_with(connect);
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]

    use keyward_testkit::TestDatabase;
    use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

    use super::*;

    async fn open(database: &TestDatabase) -> DatabaseConnection {
        connect(&StoreOptions::new(database.secret_url()))
            .await
            .unwrap()
            .0
    }

    async fn value<T: sea_orm::TryGetable>(db: &DatabaseConnection, sql: &str) -> T {
        let statement = Statement::from_string(db.get_database_backend(), sql);
        db.query_one_raw(statement)
            .await
            .unwrap()
            .unwrap()
            .try_get_by_index(0)
            .unwrap()
    }

    #[tokio::test]
    async fn sqlite_is_durable_and_strict() {
        let database = TestDatabase::sqlite();
        let db = open(&database).await;
        assert_eq!(value::<String>(&db, "PRAGMA journal_mode").await, "wal");
        for (pragma, wanted) in [
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("secure_delete", 1),
            ("busy_timeout", 5000),
        ] {
            let found: i32 = value(&db, &format!("PRAGMA {pragma}")).await;
            assert_eq!(found, wanted, "{pragma}");
        }
    }

    #[tokio::test]
    async fn postgres_statements_end() {
        let Some(database) = TestDatabase::postgres().await else {
            return;
        };
        let db = open(&database).await;
        for (setting, wanted) in [
            ("statement_timeout", "1min"),
            ("transaction_isolation", "read committed"),
            ("idle_in_transaction_session_timeout", "15s"),
            ("tcp_keepalives_idle", "10"),
            ("application_name", "keyward"),
        ] {
            assert_eq!(
                value::<String>(&db, &format!("SHOW {setting}")).await,
                wanted
            );
        }
    }
}
