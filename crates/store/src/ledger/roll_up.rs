//! Drops what is old of the ledger. The sums are elsewhere and stay as they are, so that no key need
//! be held.

use keyward_core::clock::Timestamp;
use keyward_core::retention::Extent;
use sea_orm::sea_query::{Condition, Expr, ExprTrait, Order, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::entity::{charge, reservation};
use crate::error::Failure;
use crate::observed::Txn;

/// When the oldest and the newest charge were recorded: two reads of an index.
pub(super) async fn recorded<C: ConnectionTrait>(db: &C) -> Result<Option<Extent>, Failure> {
    use charge::{Column, Entity};
    let ends = Entity::find()
        .select_only()
        .column_as(Column::RecordedAt.min(), "oldest")
        .column_as(Column::RecordedAt.max(), "newest");
    let ends: Option<(Option<i64>, Option<i64>)> = ends.into_tuple().one(db).await?;
    Ok(extent(ends))
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
