//! Charges and their sums.

use keyward_core::Error;
use keyward_core::clock::Timestamp;
use keyward_core::id::RequestId;
use keyward_core::last_use;
use keyward_core::ledger::Charge;
use keyward_core::window::Day;
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ActiveModelTrait, DbErr, EntityTrait, IntoActiveModel};
use uuid::Uuid;

use crate::entity::charge::{Entity, Model};
use crate::entity::{daily_usage, issued_key};
use crate::error::{DbErrorKind, Failure, classify};
use crate::instrumented::Txn;
use crate::issued_key::nanos;

pub(super) async fn find(
    txn: &Txn,
    key: Uuid,
    request_id: &RequestId,
) -> Result<Option<Model>, Failure> {
    let id = (key, request_id.to_string());
    Ok(Entity::find_by_id(id).one(txn).await?)
}

/// Checks that the charge under the same request id is the same. The time of spending may differ, because a client that
/// retries may omit it.
pub(super) fn check_same(earlier: &Model, charge: &Charge) -> Result<(), Error> {
    if earlier.amount_nanos != charge.amount.get() {
        return Err(of_another_cost());
    }
    if earlier.byok == charge.byok {
        return Ok(());
    }
    let earlier = if earlier.byok {
        "a BYOK charge"
    } else {
        "a charge that was not BYOK"
    };
    Err(Error::RequestIdConflict { earlier })
}

pub(super) fn of_another_cost() -> Error {
    let earlier = "a charge of another cost";
    Error::RequestIdConflict { earlier }
}

/// Stores a charge of a locked key and adds it to the key's sums.
pub(super) async fn append(
    txn: &Txn,
    key: issued_key::Model,
    charge: &Charge,
) -> Result<(), Failure> {
    let key_id = key.id;
    // First, because it rejects a sum that would overflow; no sum per day is greater.
    let key = charged(key, charge)?;
    let row = Model {
        key_id,
        request_id: charge.request_id.to_string(),
        amount_nanos: charge.amount.get(),
        byok: charge.byok,
        occurred_at: charge.occurred_at.unix_millis(),
        recorded_at: charge.recorded_at.unix_millis(),
        recorded_by: charge.recorded_by.clone(),
    };
    Entity::insert(row.into_active_model().reset_all())
        .exec_without_returning(txn)
        .await
        .map_err(conflict)?;
    add_to_day(txn, key_id, charge).await?;
    issued_key::Entity::update(key)
        .exec_without_returning(txn)
        .await?;
    Ok(())
}

/// Returns the columns of the key that a charge changes.
fn charged(key: issued_key::Model, charge: &Charge) -> Result<issued_key::ActiveModel, Error> {
    let total = if charge.byok {
        key.byok_usage_nanos
    } else {
        key.usage_nanos
    };
    let total = nanos(total)?.checked_add(charge.amount).ok_or_else(|| {
        let message = "Cost is more than can be added to what the key has spent";
        Error::invalid("costNanos", message)
    })?;
    let mut next = issued_key::ActiveModel {
        id: Unchanged(key.id),
        ..Default::default()
    };
    if charge.byok {
        next.byok_usage_nanos = Set(total.get());
    } else {
        next.usage_nanos = Set(total.get());
    }
    // The key was used when the money was spent, which may be long ago.
    let used_at = charge.occurred_at.min(charge.recorded_at);
    let recorded = key.last_used_at.map(Timestamp::from_unix_millis);
    if recorded.is_none_or(|recorded| recorded < used_at)
        && last_use::must_record(recorded, used_at)
    {
        next.last_used_at = Set(Some(used_at.unix_millis()));
    }
    Ok(next)
}

async fn add_to_day(txn: &Txn, key_id: Uuid, charge: &Charge) -> Result<(), Failure> {
    use daily_usage::{Column, Entity, Model};
    let amount = charge.amount.get();
    let (own, byok) = if charge.byok {
        (0, amount)
    } else {
        (amount, 0)
    };
    let row = Model {
        key_id,
        day: Day::of(charge.occurred_at).number(),
        usage_nanos: own,
        byok_usage_nanos: byok,
    };
    let plus = |column, amount: i64| (column, Expr::col((Entity, column)).add(amount));
    let add = OnConflict::columns([Column::KeyId, Column::Day])
        .values([
            plus(Column::UsageNanos, own),
            plus(Column::ByokUsageNanos, byok),
        ])
        .to_owned();
    Entity::insert(row.into_active_model().reset_all())
        .on_conflict(add)
        .exec_without_returning(txn)
        .await?;
    Ok(())
}

/// Maps a conflict with a transaction that did not lock the key; the next attempt finds its row.
pub(super) fn conflict(error: DbErr) -> Failure {
    match classify(&error) {
        DbErrorKind::Unique => Failure::Conflict,
        _ => error.into(),
    }
}
