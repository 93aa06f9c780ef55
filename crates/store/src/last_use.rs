//! Records the last use of keys, outside the calls that use them: a locked row or a read-only database must not delay
//! the verification of a valid key.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keyward_core::clock::Timestamp;
use keyward_core::last_use;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, UpdateMany};
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use crate::{Store, deadline};

/// Maximum time that a call waits for the record; usually it is written long before. Of concurrent calls with the same
/// key, only one waits.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Maximum time to record one use, including waits and retries.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Keys whose use is being recorded.
pub(crate) type PendingUses = Arc<Mutex<HashSet<Uuid>>>;

/// A use that is being recorded, until this is dropped.
struct PendingUse(PendingUses, Uuid);

impl PendingUse {
    /// Returns `None` if the use of the key is already being recorded.
    fn take(pending: &PendingUses, key: Uuid) -> Option<Self> {
        let mut keys = pending.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key).then(|| Self(Arc::clone(pending), key))
    }
}

impl Drop for PendingUse {
    fn drop(&mut self) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(&self.1);
    }
}

impl Store {
    /// Records a use of a key in a column of its row, in a task, with at most one task per key. Waits briefly for the
    /// task.
    pub(crate) async fn write_last_use<E: EntityTrait>(
        &self,
        key: Uuid,
        row: UpdateMany<E>,
        column: E::Column,
        used_at: Timestamp,
    ) {
        let recorded = self.caches.recorded_uses.get(&key);
        if recorded.is_some() && !last_use::must_record(recorded, used_at) {
            return;
        }
        let Some(pending) = PendingUse::take(&self.pending_uses, key) else {
            return;
        };
        let (from, to) = last_use::window(used_at);
        let differs = Condition::any()
            .add(column.is_null())
            .add(column.lt(from.unix_millis()))
            .add(column.gt(to.unix_millis()));
        // One statement, so that of concurrent uses only one is recorded.
        let update = row
            .col_expr(column, Expr::value(used_at.unix_millis()))
            .filter(differs);
        let store = self.clone();
        let task = async move {
            let _pending = pending;
            let recorded = store.write("note_use", |txn| {
                let update = update.clone();
                async move {
                    update.exec(&*txn).await?;
                    Ok(())
                }
            });
            let outcome = deadline::scope(Instant::now() + TIME_LIMIT, recorded).await;
            if outcome.is_ok() {
                store.caches.recorded_uses.insert(key, used_at);
            }
            if let Err(error) = outcome {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "failed to record the last use of a key");
            }
        };
        let recorded = tokio::spawn(task.in_current_span());
        // Waits for at most a part of the time that the call has left. The task continues after that.
        let wait = deadline::remaining().map_or(MAX_WAIT, |left| MAX_WAIT.min(left / 4));
        let _ = tokio::time::timeout(wait, recorded).await;
    }
}
