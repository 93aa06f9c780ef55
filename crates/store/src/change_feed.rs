//! The feed of changes: what a replica must know of the changes that others made.
//!
//! Every transaction that changes something that replicas cache appends a row to the table `changes`, in the same
//! transaction. Each replica follows the feed ([`follower`]). On SQLite, which has one process, the rows have no
//! follower.
//!
//! **No row is missed.** On PostgreSQL a transaction may commit after one with a higher number, so a position in the
//! feed cannot be a number. It is a snapshot: the next read returns the rows whose transactions that snapshot does not
//! show, and it returns them as soon as they are committed, however long an earlier transaction stays open. A read and
//! the snapshot that it stores are of one statement.
//!
//! **Rows are deleted** when they are old (`trim.rs`). The deletion appends a row itself: a replica that finds it, and
//! whose snapshot is from before the deleted rows, may have missed one, and empties its caches. This needs no clock.

mod follower;
mod position;
mod trim;

use keyward_core::id::OrganizationId;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ConnectionTrait, DbBackend};

use crate::entity::change::{Column, Entity};
use crate::error::Failure;
use crate::instrumented::Txn;
use crate::subject::Subject;
use crate::time::SERVER_NOW;

pub(crate) use follower::Follower;

/// Expression for the number of the current transaction.
const TRANSACTION: &str = "CAST(CAST(pg_current_xact_id() AS text) AS bigint)";
/// Expression for SQLite's clock, in milliseconds since 1970.
const SQLITE_NOW: &str = "CAST(unixepoch('subsec') * 1000 AS integer)";

/// Appends changes of subjects to the feed, in the transaction that makes them. Changes of accounts are appended on
/// PostgreSQL only.
pub(crate) async fn append(
    txn: &Txn,
    organization: &OrganizationId,
    subjects: &[Subject],
) -> Result<(), Failure> {
    let rows = subjects
        .iter()
        .map(|subject| (Some(organization.as_str()), subject));
    append_rows(txn, rows.collect()).await?;
    txn.inner().note_changed(subjects);
    Ok(())
}

/// Appends changes of accounts, each with the key's organization.
pub(crate) async fn append_accounts(
    txn: &Txn,
    accounts: &[(String, Subject)],
) -> Result<(), Failure> {
    if txn.get_database_backend() == DbBackend::Postgres {
        let rows = accounts
            .iter()
            .map(|(organization, subject)| (Some(organization.as_str()), subject));
        append_rows(txn, rows.collect()).await?;
    }
    let subjects: Vec<Subject> = accounts
        .iter()
        .map(|(_, subject)| subject.clone())
        .collect();
    txn.inner().note_changed(&subjects);
    Ok(())
}

async fn append_rows(txn: &Txn, rows: Vec<(Option<&str>, &Subject)>) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let (transaction, now) = match txn.get_database_backend() {
        DbBackend::Postgres => (TRANSACTION, SERVER_NOW),
        _ => ("0", SQLITE_NOW),
    };
    let mut insert = Query::insert()
        .into_table(Entity)
        .columns([
            Column::TransactionId,
            Column::RecordedAt,
            Column::Kind,
            Column::OrganizationId,
            Column::ResourceId,
        ])
        .to_owned();
    for (organization, subject) in rows {
        let (kind, resource) = subject.to_columns();
        insert.values_panic([
            Expr::cust(transaction),
            Expr::cust(now),
            Expr::value(kind),
            Expr::value(organization),
            Expr::value(resource),
        ]);
    }
    txn.execute(&insert).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
