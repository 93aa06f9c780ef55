//! Charges and their sums.

use std::collections::BTreeMap;

use keyward_core::Error;
use keyward_core::clock::Timestamp;
use keyward_core::last_use;
use keyward_core::ledger::Charge;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, OnConflict};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter};
use uuid::Uuid;

use super::rows::{self, CHUNK, Requests, by_id};
use crate::entity::charge::{Column, Entity, Model};
use crate::entity::{daily_usage, issued_key};
use crate::error::Failure;
use crate::instrumented::Txn;
use crate::issued_key::nanos;

/// Returns the charges under these request ids.
pub(super) async fn find_all(txn: &Txn, requests: &Requests) -> Result<Vec<Model>, Failure> {
    let mut found = Vec::new();
    for named in rows::named(requests, Column::KeyId, Column::RequestId) {
        found.extend(Entity::find().filter(named).all(txn).await?);
    }
    Ok(found)
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

/// Returns the row of a charge.
pub(super) fn row(key_id: Uuid, charge: &Charge) -> Model {
    Model {
        key_id,
        request_id: charge.request_id.to_string(),
        amount_nanos: charge.amount.get(),
        byok: charge.byok,
        occurred_at: charge.occurred_at.unix_millis(),
        recorded_at: charge.recorded_at.unix_millis(),
        recorded_by: charge.recorded_by.clone(),
    }
}

/// Adds a charge to the sums of its key's row.
pub(super) fn add_to_key(key: &mut issued_key::Model, charge: &Charge) -> Result<(), Error> {
    let sum = if charge.byok {
        &mut key.byok_usage_nanos
    } else {
        &mut key.usage_nanos
    };
    let total = nanos(*sum)?.checked_add(charge.amount).ok_or_else(|| {
        let message = "Cost is more than can be added to what the key has spent";
        Error::invalid("costNanos", message)
    })?;
    *sum = total.get();
    // The key was used when the money was spent, which may be long ago.
    let used_at = charge.occurred_at.min(charge.recorded_at);
    let recorded = key.last_used_at.map(Timestamp::from_unix_millis);
    if recorded.is_none_or(|recorded| recorded < used_at)
        && last_use::must_record(recorded, used_at)
    {
        key.last_used_at = Some(used_at.unix_millis());
    }
    Ok(())
}

/// Writes the sums of locked keys, and the times of their last use.
pub(super) async fn write_sums(txn: &Txn, keys: &[&issued_key::Model]) -> Result<(), Failure> {
    use issued_key::Column;
    for keys in keys.chunks(CHUNK) {
        let own = keys.iter().map(|key| (key.id, Some(key.usage_nanos)));
        let byok = keys.iter().map(|key| (key.id, Some(key.byok_usage_nanos)));
        let used = keys.iter().map(|key| (key.id, key.last_used_at));
        issued_key::Entity::update_many()
            .col_expr(
                Column::UsageNanos,
                by_id(Column::Id, Column::UsageNanos, own),
            )
            .col_expr(
                Column::ByokUsageNanos,
                by_id(Column::Id, Column::ByokUsageNanos, byok),
            )
            .col_expr(
                Column::LastUsedAt,
                by_id(Column::Id, Column::LastUsedAt, used),
            )
            .filter(Column::Id.is_in(keys.iter().map(|key| key.id)))
            .exec(txn)
            .await?;
    }
    Ok(())
}

/// Adds amounts, own and BYOK, to the sums of days.
pub(super) async fn add_to_days(
    txn: &Txn,
    days: BTreeMap<(Uuid, i64), (i64, i64)>,
) -> Result<(), Failure> {
    use daily_usage::{Column, Entity, Model};
    if days.is_empty() {
        return Ok(());
    }
    let rows = days.into_iter().map(|((key_id, day), (own, byok))| {
        let row = Model {
            key_id,
            day,
            usage_nanos: own,
            byok_usage_nanos: byok,
        };
        row.into_active_model().reset_all()
    });
    let plus = |column: Column| {
        let added = Expr::col((Alias::new("excluded"), column));
        (column, Expr::col((Entity, column)).add(added))
    };
    let add = OnConflict::columns([Column::KeyId, Column::Day])
        .values([plus(Column::UsageNanos), plus(Column::ByokUsageNanos)])
        .to_owned();
    Entity::insert_many(rows)
        .on_conflict(add)
        .exec_without_returning(txn)
        .await?;
    Ok(())
}
