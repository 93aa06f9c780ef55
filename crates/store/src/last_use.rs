//! Notes when keys were last used, beside the calls that use them: a row that someone holds, or a
//! database that only reads, must not keep a good key waiting.

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

/// How long a call waits for its note at most, which commonly is there long before. Of those who use
/// one key at once, one waits.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a note may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The keys whose use is being noted.
pub(crate) type Noting = Arc<Mutex<HashSet<Uuid>>>;

/// A key whose use is being noted, until it is dropped.
struct Turn(Noting, Uuid);

impl Turn {
    /// None where someone has it.
    fn take(noting: &Noting, key: Uuid) -> Option<Self> {
        let mut keys = noting.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key).then(|| Self(Arc::clone(noting), key))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(&self.1);
    }
}

impl Store {
    /// Has a use of a key noted in a column of its row by a task, one at a time for each key, and
    /// waits for it a moment.
    pub(crate) async fn note_use<E: EntityTrait>(
        &self,
        key: Uuid,
        row: UpdateMany<E>,
        column: E::Column,
        used_at: Timestamp,
    ) {
        let Some(turn) = Turn::take(&self.noting, key) else {
            return;
        };
        let (from, to) = last_use::window(used_at);
        let differs = Condition::any()
            .add(column.is_null())
            .add(column.lt(from.unix_millis()))
            .add(column.gt(to.unix_millis()));
        // In one statement, so that of many uses at once one is noted.
        let note = row
            .col_expr(column, Expr::value(used_at.unix_millis()))
            .filter(differs);
        let store = self.clone();
        let task = async move {
            let _turn = turn;
            let noted = store.write("note_use", |txn| {
                let note = note.clone();
                async move {
                    note.exec(&*txn).await?;
                    Ok(())
                }
            });
            if let Err(error) = deadline::scope(Instant::now() + LIMIT, noted).await {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the last use of a key could not be noted");
            }
        };
        let noted = tokio::spawn(task.in_current_span());
        // No more than a part of what the call has left. What is not done by then goes on.
        let patience = deadline::remaining().map_or(PATIENCE, |left| PATIENCE.min(left / 4));
        let _ = tokio::time::timeout(patience, noted).await;
    }
}
