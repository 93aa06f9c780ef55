//! The cutoff of retention, which all replicas advance together.

use keyward_core::clock::{Clock as _, Timestamp};
use keyward_core::retention::{Extent, LastRun, Retention};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel};

use crate::entity::retention_run::{Column, Entity, Model};
use crate::error::Failure;
use crate::instrumented::Txn;
use crate::locked_row::lock_all_with_time;
use crate::time::StoreTime;

/// Kind of rows that have a retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    AuditEvents,
    /// Charges and reservations.
    Ledger,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::AuditEvents => "audit_events",
            Self::Ledger => "ledger",
        }
    }
}

/// Returns the minimum and maximum time of a table; `None` for an empty one.
pub(crate) fn extent(ends: Option<(Option<i64>, Option<i64>)>) -> Option<Extent> {
    let (Some(oldest), Some(newest)) = ends? else {
        return None;
    };
    Some(Extent {
        oldest: Timestamp::from_unix_millis(oldest),
        newest: Timestamp::from_unix_millis(newest),
    })
}

/// Advances the cutoff of these rows and returns the time before which they are to be deleted. Locks the last run, so
/// that replicas advance it in turn.
///
/// # Errors
/// Unavailable if the machine's clock and the database's differ too much, because one of them is wrong.
pub(crate) async fn advance(
    txn: &Txn,
    time: &StoreTime,
    kind: Kind,
    retention: Retention,
    rows: Extent,
) -> Result<Timestamp, Failure> {
    time.check().map_err(keyward_core::Error::unavailable)?;
    let first = Model {
        kind: kind.name().to_owned(),
        cutoff_at: rows.oldest.unix_millis(),
        ran_at: time.now().unix_millis(),
    };
    let keep = OnConflict::column(Column::Kind)
        .do_nothing_on([Column::Kind])
        .to_owned();
    Entity::insert(first.into_active_model().reset_all())
        .on_conflict(keep)
        .exec_without_returning(txn)
        .await?;
    let run = Entity::find_by_id(kind.name());
    let (mut stored, now) = lock_all_with_time(txn, time, run, false).await?;
    let stored = stored.pop();
    let stored = stored.ok_or_else(|| keyward_core::Error::internal(RunLost))?;
    let last = LastRun {
        cutoff: Timestamp::from_unix_millis(stored.cutoff_at),
        at: Timestamp::from_unix_millis(stored.ran_at),
    };
    let (before, run) = retention.advance(last, rows, now);
    let run = Model {
        cutoff_at: run.cutoff.unix_millis(),
        ran_at: run.at.unix_millis(),
        ..stored
    };
    Entity::update(run.into_active_model().reset_all())
        .exec(txn)
        .await?;
    Ok(before)
}

/// The row of the last run is missing although it was just inserted.
#[derive(Debug, thiserror::Error)]
#[error("the last run of retention cannot be read")]
struct RunLost;
