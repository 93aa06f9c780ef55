//! Locks rows and reads the clock under the locks.

use keyward_core::clock::{Clock as _, Timestamp};
use sea_orm::sea_query::{Asterisk, Expr, LockBehavior, LockType, Query};
use sea_orm::{ConnectionTrait, EntityTrait, FromQueryResult, QuerySelect, QueryTrait, Select};

use crate::error::Failure;
use crate::instrumented::Txn;
use crate::time::{NOW, SERVER_NOW, StoreTime};

/// Locks rows until the transaction ends, and reads the clock after that. Rows that another transaction has locked are
/// left out if `skips_locked`, and are waited for otherwise.
///
/// Both are one statement: the inner query locks, and the outer one evaluates the clock for each locked row; the latest
/// time is after all locks. In a query that locks by itself, PostgreSQL evaluates the clock before the wait for the lock.
pub(crate) async fn lock_all_with_time<E>(
    txn: &Txn,
    time: &StoreTime,
    rows: Select<E>,
    skips_locked: bool,
) -> Result<(Vec<E::Model>, Timestamp), Failure>
where
    E: EntityTrait,
    E::Model: FromQueryResult,
{
    let locking = match skips_locked {
        true => rows.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked),
        false => rows.lock_exclusive(),
    };
    if !time.follows_server {
        let found = locking.all(txn).await?;
        return Ok((found, time.now()));
    }
    let select = Query::select()
        .column(Asterisk)
        .expr_as(Expr::cust(SERVER_NOW), NOW)
        .from_subquery(locking.into_query(), "locked")
        .to_owned();
    let mut models = Vec::new();
    let mut now = None;
    for row in txn.query_all(&select).await? {
        now = now.max(Some(row.try_get("", NOW)?));
        models.push(E::Model::from_query_result(&row, "")?);
    }
    let now = now.map_or_else(|| time.now(), Timestamp::from_unix_millis);
    Ok((models, now))
}
