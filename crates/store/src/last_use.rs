//! Notes when keys were last used, beside the calls that use them: a row that someone holds, or a
//! database that only reads, must not keep a good key waiting.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keyward_core::Error;
use keyward_core::clock::Timestamp;
use keyward_core::issued_key::LastUse;
use sea_orm::{ColumnTrait, Condition};
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use crate::{Store, deadline};

/// How long a call waits for its note at most, which commonly is there long before. Of those who use
/// one key at once, one waits.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a note may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The condition on which a use is noted in that column, as [`LastUse::notes`] has it.
pub(crate) fn is_noted_by(column: impl ColumnTrait, used_at: Timestamp) -> Condition {
    let (from, to) = LastUse::window(used_at);
    Condition::any()
        .add(column.is_null())
        .add(column.lt(from.unix_millis()))
        .add(column.gt(to.unix_millis()))
}

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
    /// Has a use of a key noted by a task, one at a time for each key, and waits for it a moment.
    pub(crate) async fn note_use<F, R>(&self, key: Uuid, note: F)
    where
        F: FnOnce(Self) -> R,
        R: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let Some(turn) = Turn::take(&self.noting, key) else {
            return;
        };
        let note = note(self.clone());
        let task = async move {
            let _turn = turn;
            if let Err(error) = deadline::scope(Instant::now() + LIMIT, note).await {
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
