//! Locks a row and reads the clock under the lock.

use keyward_core::clock::{Clock as _, Timestamp};
use sea_orm::sea_query::{Asterisk, Expr, Query};
use sea_orm::{ConnectionTrait, EntityTrait, FromQueryResult, QuerySelect, QueryTrait, Select};

use crate::error::Failure;
use crate::instrumented::Txn;
use crate::time::{NOW, SERVER_NOW, StoreTime};

/// Locks a row until the transaction ends and reads the clock after that.
///
/// Both are one statement: the inner query locks, and the outer one evaluates the clock for the locked row. In a query
/// that locks by itself, PostgreSQL evaluates the clock before the wait for the lock.
pub(crate) async fn lock_with_time<E>(
    txn: &Txn,
    time: &StoreTime,
    rows: Select<E>,
) -> Result<Option<(E::Model, Timestamp)>, Failure>
where
    E: EntityTrait,
    E::Model: FromQueryResult,
{
    let locking = rows.lock_exclusive();
    if !time.follows_server {
        let found = locking.one(txn).await?;
        return Ok(found.map(|model| (model, time.now())));
    }
    let select = Query::select()
        .column(Asterisk)
        .expr_as(Expr::cust(SERVER_NOW), NOW)
        .from_subquery(locking.into_query(), "locked")
        .to_owned();
    let Some(row) = txn.query_one(&select).await? else {
        return Ok(None);
    };
    let now = Timestamp::from_unix_millis(row.try_get("", NOW)?);
    Ok(Some((E::Model::from_query_result(&row, "")?, now)))
}
