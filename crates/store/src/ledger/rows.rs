//! Statements that read or write rows of many keys.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, DbErr, EntityTrait, IntoActiveModel, ModelTrait,
};
use uuid::Uuid;

use crate::error::{DbErrorKind, Failure, classify};
use crate::instrumented::Txn;

/// Number of keys in one statement that names each of them.
pub(super) const CHUNK: usize = 32;

/// Request ids by key.
pub(super) type Requests = BTreeMap<Uuid, BTreeSet<String>>;

/// Returns the conditions for the rows with these request ids, each for some of the keys.
pub(super) fn named<C: ColumnTrait>(requests: &Requests, key: C, request_id: C) -> Vec<Condition> {
    let requests: Vec<_> = requests.iter().collect();
    let condition = |requests: &[(&Uuid, &BTreeSet<String>)]| {
        let of_key = |(id, names): &(&Uuid, &BTreeSet<String>)| {
            key.eq(**id)
                .and(request_id.is_in(names.iter().map(String::as_str)))
        };
        requests
            .iter()
            .map(of_key)
            .fold(Condition::any(), Condition::add)
    };
    requests.chunks(CHUNK).map(condition).collect()
}

/// Stores new rows.
pub(super) async fn insert<M, A>(txn: &Txn, rows: Vec<M>) -> Result<(), Failure>
where
    M: ModelTrait + IntoActiveModel<A>,
    A: ActiveModelTrait<Entity = M::Entity> + Send,
{
    if rows.is_empty() {
        return Ok(());
    }
    let rows = rows
        .into_iter()
        .map(|row| row.into_active_model().reset_all());
    M::Entity::insert_many(rows)
        .exec_without_returning(txn)
        .await
        .map_err(conflict)?;
    Ok(())
}

/// Returns an expression for the value of each row by its id. The column itself, which is the value of other rows,
/// gives the expression its type.
pub(super) fn by_id<C: ColumnTrait>(
    id: C,
    column: C,
    values: impl Iterator<Item = (Uuid, Option<i64>)>,
) -> Expr {
    let mut case = CaseStatement::new();
    for (row, value) in values {
        case = case.case(id.eq(row), Expr::value(value));
    }
    case.finally(column.into_expr()).into()
}

/// Maps a conflict with a transaction that did not lock the key; the next attempt finds its row.
fn conflict(error: DbErr) -> Failure {
    match classify(&error) {
        DbErrorKind::Unique => Failure::Conflict,
        _ => error.into(),
    }
}
