//! Drops what is old of the ledger. The sums are elsewhere and stay as they are, so that no key need
//! be held.

use keyward_core::clock::Timestamp;
use keyward_core::retention::Extent;
use sea_orm::sea_query::{CaseStatement, Condition, Expr, ExprTrait, Order, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::entity::{charge, reservation};
use crate::error::Failure;
use crate::observed::Txn;

/// Times of the newest charge or reservation and of the oldest, of which a reservation counts from its end
/// and only if it expired before a moment. Each is read from an index; the ends, from those reservations.
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
    // The order of the ids is the order of creation.
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

/// Reads the least and the greatest time of a table, of which an empty one has none.
pub(crate) fn extent(ends: Option<(Option<i64>, Option<i64>)>) -> Option<Extent> {
    let (Some(oldest), Some(newest)) = ends? else {
        return None;
    };
    Some(Extent {
        oldest: Timestamp::from_unix_millis(oldest),
        newest: Timestamp::from_unix_millis(newest),
    })
}

/// Drops charges that were recorded before a moment, and says how many.
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

/// Drops reservations that both expired and, if they were settled or released, ended before a
/// moment, and says how many. So one that became a charge stays for as long as its charge.
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
