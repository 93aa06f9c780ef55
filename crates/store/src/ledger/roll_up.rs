//! Deletes old rows of the ledger. The sums are in other tables and do not change, so no key is locked.

use keyward_core::clock::Timestamp;
use keyward_core::retention::Extent;
use sea_orm::sea_query::{CaseStatement, Condition, Expr, ExprTrait, Order, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::entity::{charge, reservation};
use crate::error::Failure;
use crate::instrumented::Txn;
use crate::retention::extent;

/// Returns the times of the oldest and the newest row of the ledger. For the oldest, a reservation counts from its end,
/// and only if it expired before the given time. All times are read from indexes, except the ends of those
/// reservations.
pub(super) async fn recorded<C: ConnectionTrait>(
    db: &C,
    expired_before: Timestamp,
) -> Result<Option<Extent>, Failure> {
    use reservation::Column;
    let charges = charge::Entity::find()
        .select_only()
        .column_as(charge::Column::RecordedAt.min(), "oldest")
        .column_as(charge::Column::RecordedAt.max(), "newest");
    let charges: Option<(Option<i64>, Option<i64>)> = charges.into_tuple().one(db).await?;
    let (oldest_charge, newest_charge) = charges.unwrap_or_default();
    // Ids are in the order of creation.
    let newest = reservation::Entity::find()
        .select_only()
        .column(Column::CreatedAt)
        .order_by_desc(Column::Id)
        .limit(1);
    let newest: Option<i64> = newest.into_tuple().one(db).await?;
    let end = CaseStatement::new()
        .case(
            Column::EndedAt
                .into_expr()
                .gt(Column::ExpiresAt.into_expr()),
            Column::EndedAt.into_expr(),
        )
        .finally(Column::ExpiresAt.into_expr());
    let oldest = reservation::Entity::find()
        .select_only()
        .column_as(Expr::expr(end).min(), "oldest")
        .filter(Column::ExpiresAt.lt(expired_before.unix_millis()));
    let oldest: Option<Option<i64>> = oldest.into_tuple().one(db).await?;
    let oldest = [oldest_charge, oldest.flatten()].into_iter().flatten();
    let newest = [newest_charge, newest].into_iter().flatten();
    Ok(extent(Some((oldest.min(), newest.max()))))
}

/// Deletes charges that were recorded before a given time, and returns their number.
pub(super) async fn charges(txn: &Txn, before: Timestamp, limit: u64) -> Result<u64, Failure> {
    use charge::{Column, Entity};
    let oldest = Query::select()
        .columns([Column::KeyId, Column::RequestId])
        .from(Entity)
        .and_where(Column::RecordedAt.lt(before.unix_millis()))
        .order_by(Column::RecordedAt, Order::Asc)
        .limit(limit)
        .to_owned();
    let id = Expr::tuple([Expr::col(Column::KeyId), Expr::col(Column::RequestId)]);
    let dropped = Entity::delete_many()
        .filter(id.in_subquery(oldest))
        .exec(txn)
        .await?;
    Ok(dropped.rows_affected)
}

/// Deletes reservations that expired before a given time and, if they were settled or released, also ended before it.
/// Returns their number. A reservation that became a charge thus stays as long as its charge.
pub(super) async fn reservations(txn: &Txn, before: Timestamp, limit: u64) -> Result<u64, Failure> {
    use reservation::{Column, Entity};
    let oldest = Query::select()
        .column(Column::Id)
        .from(Entity)
        .and_where(Column::ExpiresAt.lt(before.unix_millis()))
        .cond_where(
            Condition::any()
                .add(Column::EndedAt.is_null())
                .add(Column::EndedAt.lt(before.unix_millis())),
        )
        .order_by(Column::ExpiresAt, Order::Asc)
        .limit(limit)
        .to_owned();
    let dropped = Entity::delete_many()
        .filter(Column::Id.in_subquery(oldest))
        .exec(txn)
        .await?;
    Ok(dropped.rows_affected)
}
