//! Deletes old rows of the feed.

use std::time::Duration;

use keyward_core::Error;
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, Order, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::{SQLITE_NOW, append_rows};
use crate::entity::change::{Column, Entity};
use crate::subject::{ACCOUNT, Subject};
use crate::time::SERVER_NOW;
use crate::{Engine, Store};

/// Time for which changes of accounts are kept. There may be thousands in a second.
const ACCOUNTS_KEPT: Duration = Duration::from_secs(5 * 60);
/// Time for which all other changes are kept.
const OTHERS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Maximum number of rows that a transaction deletes.
const BATCH: u64 = 5000;

impl Store {
    /// Deletes old rows until few are left. Replicas may do this concurrently.
    pub(super) async fn trim_changes(&self) -> Result<(), Error> {
        for (is_account, kept) in [(true, ACCOUNTS_KEPT), (false, OTHERS_KEPT)] {
            while self.trim_once(is_account, kept, BATCH).await? == BATCH {}
        }
        Ok(())
    }

    /// Deletes rows in one transaction, and returns their number.
    pub(super) async fn trim_once(
        &self,
        is_account: bool,
        kept: Duration,
        limit: u64,
    ) -> Result<u64, Error> {
        let now = match self.engine {
            Engine::Postgres => SERVER_NOW,
            Engine::Sqlite => SQLITE_NOW,
        };
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        self.write("trim_changes", |txn| async move {
            let kind = Expr::col(Column::Kind);
            let old = Query::select()
                .column(Column::Id)
                .from(Entity)
                .and_where(match is_account {
                    true => kind.eq(ACCOUNT),
                    false => kind.ne(ACCOUNT),
                })
                .and_where(Expr::col(Column::RecordedAt).lt(Expr::cust(now).sub(kept)))
                .order_by(Column::RecordedAt, Order::Asc)
                .limit(limit)
                .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
                .to_owned();
            let rows: Vec<(i64, i64)> = Entity::find()
                .select_only()
                .columns([Column::Id, Column::TransactionId])
                .filter(Column::Id.in_subquery(old))
                .into_tuple()
                .all(&*txn)
                .await?;
            let Some(last) = rows.iter().map(|(_, transaction)| *transaction).max() else {
                return Ok(0);
            };
            // SQLite has a limit for the number of values.
            for rows in rows.chunks(1000) {
                Entity::delete_many()
                    .filter(Column::Id.is_in(rows.iter().map(|(id, _)| *id)))
                    .exec(&*txn)
                    .await?;
            }
            if self.engine == Engine::Postgres {
                append_rows(&txn, vec![(None, &Subject::Trimmed(last))]).await?;
            }
            Ok(rows.len() as u64)
        })
        .await
    }
}
