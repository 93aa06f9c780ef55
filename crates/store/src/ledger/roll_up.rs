//! Drops what is old of the ledger. The sums are elsewhere and stay as they are, so that no key need
//! be held.

use keyward_core::clock::Timestamp;
use sea_orm::sea_query::{Condition, Expr, ExprTrait, Order, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::entity::{charge, reservation};
use crate::error::Failure;
use crate::observed::Txn;

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
