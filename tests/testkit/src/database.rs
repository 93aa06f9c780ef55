//! Databases for a single test each.

use std::sync::atomic::{AtomicU64, Ordering};

use keyward_crypto::Secret;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, QueryResult,
    Statement,
};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// Environment variable with the URL of the PostgreSQL server on which tests create databases, as a superuser.
pub const POSTGRES_URL_VARIABLE: &str = "KEYWARD_TEST_POSTGRES_URL";

/// An empty database that is deleted when this is dropped.
pub struct TestDatabase {
    url: String,
    raw: OnceCell<DatabaseConnection>,
    keeper: Keeper,
}

enum Keeper {
    Directory(TempDir),
    Server { url: String, database: String },
    Caller,
}

/// An audit event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Time of the change.
    pub occurred_at: i64,
    /// Kind of the principal.
    pub actor_kind: String,
    /// Id of the principal.
    pub actor_id: String,
    /// Name of the action.
    pub action: String,
    /// Organization of the resource.
    pub organization_id: Option<String>,
    /// Workspace of the resource.
    pub workspace_id: Option<String>,
    /// Kind of the resource.
    pub resource_kind: String,
    /// Id of the resource.
    pub resource_id: String,
    /// Id of the request.
    pub request_id: String,
    /// Address that the request came from.
    pub source: Option<String>,
    /// Details as JSON.
    pub details: String,
}

impl TestDatabase {
    /// Returns a SQLite file that does not exist yet, in its own directory.
    #[must_use]
    pub fn sqlite() -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("keyward.db");
        let url = format!("sqlite:{}", file.display());
        Self {
            url,
            raw: OnceCell::new(),
            keeper: Keeper::Directory(directory),
        }
    }

    /// Creates a database on the PostgreSQL server that [`POSTGRES_URL_VARIABLE`] names.
    ///
    /// Returns `None` and prints a notice if the variable is not set. If `CI` is set, this panics, so that CI does not
    /// skip tests silently.
    pub async fn postgres() -> Option<Self> {
        let Ok(server) = std::env::var(POSTGRES_URL_VARIABLE) else {
            assert!(
                std::env::var_os("CI").is_none(),
                "{POSTGRES_URL_VARIABLE} is not set"
            );
            println!("skipped: {POSTGRES_URL_VARIABLE} is not set (see tests/with-postgres)");
            return None;
        };
        Some(Self::on_server(server, "template0").await)
    }

    /// Returns a database that the caller created and keeps.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            raw: OnceCell::new(),
            keeper: Keeper::Caller,
        }
    }

    /// Creates a database with the same content. This one must have no open connections.
    pub async fn copy(&self) -> Self {
        match &self.keeper {
            Keeper::Directory(_) => {
                let copy = Self::sqlite();
                std::fs::copy(self.file(), copy.file()).unwrap();
                copy
            }
            Keeper::Server { url, database } => Self::on_server(url.clone(), database).await,
            Keeper::Caller => panic!("the caller's database is not copied"),
        }
    }

    async fn on_server(server: String, template: &str) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut random = [0; 6];
        getrandom::fill(&mut random).unwrap();
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let database = format!("keyward_test_{random}_{number}");

        let admin = connect(&server).await;
        let create = format!("CREATE DATABASE {database} TEMPLATE {template}");
        admin.execute_unprepared(&create).await.unwrap();
        admin.close().await.unwrap();

        let (base, _) = server.rsplit_once('/').expect("a URL with a database");
        let url = format!("{base}/{database}");
        let keeper = Keeper::Server {
            url: server,
            database,
        };
        Self {
            url,
            raw: OnceCell::new(),
            keeper,
        }
    }

    /// Returns the URL of the database, for a store or a server process.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the URL as the store's options expect it.
    #[must_use]
    pub fn secret_url(&self) -> Secret<String> {
        Secret::new(self.url.clone())
    }

    /// Returns the path of the SQLite file.
    ///
    /// # Panics
    /// The database is PostgreSQL.
    #[must_use]
    pub fn file(&self) -> std::path::PathBuf {
        match &self.keeper {
            Keeper::Directory(directory) => directory.path().join("keyward.db"),
            Keeper::Server { .. } | Keeper::Caller => panic!("a PostgreSQL database is not a file"),
        }
    }

    /// Returns a connection to the database, independent of the store.
    pub async fn raw(&self) -> &DatabaseConnection {
        self.raw.get_or_init(|| connect(&self.url)).await
    }

    /// Runs SQL without the store.
    pub async fn execute(&self, sql: &str) {
        self.raw().await.execute_unprepared(sql).await.unwrap();
    }

    /// Reads rows without the store.
    pub async fn query(&self, sql: &str) -> Vec<QueryResult> {
        let raw = self.raw().await;
        let statement = Statement::from_string(raw.get_database_backend(), sql);
        raw.query_all_raw(statement).await.unwrap()
    }

    /// Counts the rows of `SELECT … FROM` this, which may have a condition.
    pub async fn count(&self, from: &str) -> i64 {
        let rows = self
            .query(&format!("SELECT COUNT(*) AS n FROM {from}"))
            .await;
        rows[0].try_get("", "n").unwrap()
    }

    /// Returns every audit event in chronological order.
    pub async fn events(&self) -> Vec<StoredEvent> {
        let rows = self
            .query("SELECT * FROM audit_events ORDER BY occurred_at, action")
            .await;
        rows.iter().map(stored_event).collect()
    }
}

fn stored_event(row: &QueryResult) -> StoredEvent {
    let text = |column: &str| row.try_get::<String>("", column).unwrap();
    let optional = |column: &str| row.try_get::<Option<String>>("", column).unwrap();
    StoredEvent {
        occurred_at: row.try_get("", "occurred_at").unwrap(),
        actor_kind: text("actor_kind"),
        actor_id: text("actor_id"),
        action: text("action"),
        organization_id: optional("organization_id"),
        workspace_id: optional("workspace_id"),
        resource_kind: text("resource_kind"),
        resource_id: text("resource_id"),
        request_id: text("request_id"),
        source: optional("source"),
        details: text("details"),
    }
}

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(4).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Keeper::Server { url, database } = &self.keeper else {
            return;
        };
        let (url, drop) = (
            url.clone(),
            format!("DROP DATABASE {database} WITH (FORCE)"),
        );
        // `drop` cannot be async, so a thread with its own runtime does this.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let admin = Database::connect(&url)
                    .await
                    .map_err(std::io::Error::other)?;
                debug_assert_eq!(admin.get_database_backend(), DbBackend::Postgres);
                admin
                    .execute_unprepared(&drop)
                    .await
                    .map_err(std::io::Error::other)?;
                admin.close().await.map_err(std::io::Error::other)
            })
        });
        if !matches!(dropping.join(), Ok(Ok(()))) {
            println!("failed to drop a test database");
        }
    }
}
