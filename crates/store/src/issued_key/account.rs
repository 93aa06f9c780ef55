//! Reads keys with their accounts in one statement, so that a verdict is based on one snapshot of the ledger. Only sums
//! and open reservations are read, so the cost does not grow with the number of charges.

use std::ops::Range;

use keyward_core::account::{Account, MeteredKey, Usage};
use keyward_core::clock::Timestamp;
use keyward_core::window::{Day, Windows};
use sea_orm::sea_query::{Expr, ExprTrait, Func, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, ConnectionTrait, FromQueryResult, QuerySelect, Select, SelectModel, Selector,
};

use super::row::{self, nanos};
use crate::cache::ExpiringKey;
use crate::entity::issued_key::{Column, Entity, Model};
use crate::entity::reservation::HELD;
use crate::entity::{daily_usage, reservation};
use crate::error::Failure;

#[derive(FromQueryResult)]
struct Row {
    #[sea_orm(nested)]
    key: Model,
    daily: i64,
    weekly: i64,
    monthly: i64,
    byok_daily: i64,
    byok_weekly: i64,
    byok_monthly: i64,
    held: i64,
    byok_held: i64,
}

#[derive(FromQueryResult)]
struct ExpiringRow {
    #[sea_orm(nested)]
    row: Row,
    held_until: Option<i64>,
}

/// Returns a key with its account, and the earliest expiry of a reservation that the account holds.
pub(super) async fn expiring(
    db: &impl ConnectionTrait,
    keys: Select<Entity>,
    now: Timestamp,
) -> Result<Option<ExpiringKey>, Failure> {
    let found = select_account(keys, now)
        .expr_as(held_until(now), "held_until")
        .into_model::<ExpiringRow>()
        .one(db)
        .await?;
    let Some(found) = found else {
        return Ok(None);
    };
    Ok(Some(ExpiringKey {
        metered: from_row(found.row)?,
        until: found.held_until.map(Timestamp::from_unix_millis),
    }))
}

pub(super) async fn one(
    db: &impl ConnectionTrait,
    keys: Select<Entity>,
    now: Timestamp,
) -> Result<Option<MeteredKey>, Failure> {
    let found = with_account(keys, now).one(db).await?;
    found.map(from_row).transpose()
}

pub(super) async fn all(
    db: &impl ConnectionTrait,
    keys: Select<Entity>,
    now: Timestamp,
) -> Result<Vec<MeteredKey>, Failure> {
    let rows = with_account(keys, now).all(db).await?;
    rows.into_iter().map(from_row).collect()
}

fn with_account(keys: Select<Entity>, now: Timestamp) -> Selector<SelectModel<Row>> {
    select_account(keys, now).into_model()
}

fn select_account(keys: Select<Entity>, now: Timestamp) -> Select<Entity> {
    use daily_usage::Column::{ByokUsageNanos, UsageNanos};
    let windows = Windows::at(now);
    keys.expr_as(spent_in(&windows.daily, UsageNanos), "daily")
        .expr_as(spent_in(&windows.weekly, UsageNanos), "weekly")
        .expr_as(spent_in(&windows.monthly, UsageNanos), "monthly")
        .expr_as(spent_in(&windows.daily, ByokUsageNanos), "byok_daily")
        .expr_as(spent_in(&windows.weekly, ByokUsageNanos), "byok_weekly")
        .expr_as(spent_in(&windows.monthly, ByokUsageNanos), "byok_monthly")
        .expr_as(held_at(now, false), "held")
        .expr_as(held_at(now, true), "byok_held")
}

/// Amount that the key spent on these days.
fn spent_in(days: &Range<Day>, column: daily_usage::Column) -> Expr {
    use daily_usage::Column::{Day, KeyId};
    let sum = Query::select()
        .expr(whole(column.sum()))
        .from(daily_usage::Entity)
        .and_where(Expr::col((daily_usage::Entity, KeyId)).equals((Entity, Column::Id)))
        .and_where(Day.gte(days.start.number()))
        .and_where(Day.lt(days.end.number()))
        .to_owned();
    scalar(sum)
}

/// Amount of the key's limit that is reserved by reservations that have neither ended nor expired.
fn held_at(now: Timestamp, byok: bool) -> Expr {
    use reservation::Column::{AmountNanos, Byok};
    let sum = open_at(now)
        .expr(whole(AmountNanos.sum()))
        .and_where(Byok.eq(byok))
        .to_owned();
    scalar(sum)
}

/// Earliest expiry of these reservations.
fn held_until(now: Timestamp) -> Expr {
    let earliest = open_at(now)
        .expr(reservation::Column::ExpiresAt.min())
        .to_owned();
    scalar(earliest)
}

/// Selects from the key's reservations that have neither ended nor expired.
fn open_at(now: Timestamp) -> SelectStatement {
    use reservation::Column::{ExpiresAt, KeyId, State};
    Query::select()
        .from(reservation::Entity)
        .and_where(Expr::col((reservation::Entity, KeyId)).equals((Entity, Column::Id)))
        .and_where(State.eq(HELD))
        .and_where(ExpiresAt.gt(now.unix_millis()))
        .to_owned()
}

/// Casts a sum to an integer: 0 if there are no rows, and not a decimal on PostgreSQL.
fn whole(sum: Expr) -> Expr {
    Expr::from(Func::coalesce([sum, Expr::value(0)])).cast_as("bigint")
}

fn scalar(query: SelectStatement) -> Expr {
    Expr::SubQuery(None, Box::new(query.into()))
}

fn from_row(row: Row) -> Result<MeteredKey, Failure> {
    let account = Account {
        usage: Usage {
            total: nanos(row.key.usage_nanos)?,
            daily: nanos(row.daily)?,
            weekly: nanos(row.weekly)?,
            monthly: nanos(row.monthly)?,
        },
        byok_usage: Usage {
            total: nanos(row.key.byok_usage_nanos)?,
            daily: nanos(row.byok_daily)?,
            weekly: nanos(row.byok_weekly)?,
            monthly: nanos(row.byok_monthly)?,
        },
        held: nanos(row.held)?,
        byok_held: nanos(row.byok_held)?,
    };
    let key = row::key(row.key)?;
    Ok(MeteredKey { key, account })
}
