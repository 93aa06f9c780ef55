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
        match self.pool.is_unwritable() {
            true => Err(Error::unavailable("the database cannot be written").into()),
            false => self.time.check(),
        }
    }
}

impl Store {
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
