//! Readiness check of the database, including writes.

use std::time::Duration;

use async_trait::async_trait;
use keyward_core::Error;
use keyward_core::ports::{NotReady, StoreHealth};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tokio::time::Instant;

use crate::{Engine, Store, deadline};

/// Maximum time for the database's response.
const LIMIT: Duration = Duration::from_millis(700);

#[async_trait]
impl StoreHealth for Store {
    /// Skips the check if a call within the last second showed that the database is usable, so that probes neither wait
    /// behind calls nor load the database.
    async fn ping(&self) -> Result<(), NotReady> {
        let asked = deadline::scope(Instant::now() + LIMIT, async {
            if let Some(failed) = self.pool.unwritable() {
                // The other checks need no space: only a write shows that writes succeed again.
                match self.engine {
                    Engine::Postgres => self.write_to_postgres().await?,
                    Engine::Sqlite => self.write_to_sqlite().await?,
                }
                self.pool.note_written(failed);
            }
            let shown = match self.engine {
                Engine::Postgres => self.pool.began_recently(),
                Engine::Sqlite => self.pool.committed_recently(),
            };
            match self.engine {
                _ if shown && deadline::remaining() > Some(Duration::ZERO) => {
                    if self.time.is_due()
                        && let Err(error) = self.ping_postgres().await
                    {
                        // Calls have shown that the server is usable: the pool is busy.
                        tracing::debug!(%error, "failed to compare the clocks");
                    }
                    Ok(())
                }
                // Beginning a transaction verifies that the server accepts writes.
                Engine::Postgres => self.ping_postgres().await,
                Engine::Sqlite => self.write_to_sqlite().await,
            }
        });
        asked.await?;
        match self.pool.unwritable().is_some() {
            true => Err(Error::unavailable("the database cannot be written").into()),
            false => self.time.check(),
        }
    }
}

impl Store {
    /// Writes a temporary table that needs new blocks, as the tables of calls do. Without the privilege for it, does
    /// nothing.
    async fn write_to_postgres(&self) -> Result<(), Error> {
        self.write("ping", |txn| async move {
            let sql = "SELECT has_database_privilege(current_database(), 'TEMPORARY') AS allowed";
            let asked = Statement::from_string(DbBackend::Postgres, sql);
            let row = txn.query_one_raw(asked).await?;
            let is_allowed = row.map(|row| row.try_get("", "allowed")).transpose()?;
            if is_allowed == Some(true) {
                let write = "CREATE TEMPORARY TABLE keyward_probe ON COMMIT DROP AS \
                     SELECT md5(n::text) AS filler FROM generate_series(1, 1000) AS n";
                txn.execute_unprepared(write).await?;
            }
            Ok(())
        })
        .await
    }

    /// Rewrites an existing value: only a write shows that the disk has space and that the file is not read-only.
    async fn write_to_sqlite(&self) -> Result<(), Error> {
        self.write("ping", |txn| async move {
            let read = Statement::from_string(DbBackend::Sqlite, "PRAGMA user_version");
            let row = txn.query_one_raw(read).await?;
            let version: i32 = match row {
                Some(row) => row.try_get_by_index(0)?,
                None => 0,
            };
            let write = format!("PRAGMA user_version = {version}");
            txn.execute_unprepared(&write).await?;
            Ok(())
        })
        .await
    }
}
