//! Stores the wrapped data keys of workspaces.

use std::collections::BTreeSet;

use async_trait::async_trait;
use keyward_core::Error;
use keyward_core::clock::Timestamp;
use keyward_core::data_key::{DataKeyPurpose, DataKeysLost, UsedDataKeys, WrappedDataKey};
use keyward_core::id::WorkspaceId;
use keyward_core::policy::WorkspaceScope;
use keyward_core::ports::DataKeyStore;
use keyward_crypto::{ENVELOPE_HEAD_BYTES, MAX_KEYRING_KEYS};
use sea_orm::sea_query::{Expr, ExprTrait, Func, LockType, OnConflict, Order, Query, SimpleExpr};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect, Select,
};

use crate::Store;
use crate::directory::hold_workspace;
use crate::entity::data_key::{Column, Entity, Model};
use crate::entity::{provider_key, repo_ai_key};
use crate::error::Failure;
use crate::instrumented::Txn;

#[async_trait]
impl DataKeyStore for Store {
    async fn data_keys(&self, scope: &dyn WorkspaceScope) -> Result<Vec<WrappedDataKey>, Error> {
        let rows = self
            .read("data_keys", |db| async move {
                Ok(Entity::find()
                    .filter(Column::WorkspaceId.eq(scope.workspace().as_str()))
                    .order_by_asc(Column::Purpose)
                    .order_by_asc(Column::Version)
                    .all(&db)
                    .await?)
            })
            .await?;
        rows.into_iter().map(from_row).collect()
    }

    async fn sample_data_keys(
        &self,
        each: u32,
    ) -> Result<Vec<(WorkspaceId, WrappedDataKey)>, Error> {
        let rows = self
            .read("sample_data_keys", |db| async move {
                // One scan per start, over a table with two short rows per workspace.
                let heads = Query::select()
                    .distinct()
                    .expr_as(head(), "head")
                    .from(Entity)
                    .order_by("head", Order::Asc)
                    .limit(MAX_KEYRING_KEYS as u64 + 1)
                    .to_owned();
                let mut rows = Vec::new();
                for found in db.query_all(&heads).await? {
                    let wanted: Vec<u8> = found.try_get("", "head")?;
                    let sample = Entity::find()
                        .filter(head().eq(wanted))
                        .order_by_asc(Column::WorkspaceId)
                        .order_by_asc(Column::Purpose)
                        .order_by_asc(Column::Version)
                        .limit(u64::from(each));
                    rows.extend(sample.all(&db).await?);
                }
                Ok(rows)
            })
            .await?;
        let with_workspace = |row: Model| {
            let workspace = WorkspaceId::parse(row.workspace_id.as_str());
            Ok((workspace.map_err(Error::internal)?, from_row(row)?))
        };
        rows.into_iter().map(with_workspace).collect()
    }

    async fn insert_missing_data_keys(
        &self,
        scope: &dyn WorkspaceScope,
        keys: &[WrappedDataKey],
    ) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        self.write("insert_missing_data_keys", |txn| async move {
            // Of two concurrent calls, the later one sees the key that the earlier one stored, and every secret sealed
            // with it.
            hold_workspace(&txn, scope, LockType::NoKeyUpdate).await?;
            let stored = of(scope.workspace()).all(&*txn).await?;
            let lacks =
                |purpose: DataKeyPurpose| !stored.iter().any(|row| row.purpose == purpose.name());
            let purposes: BTreeSet<_> = keys.iter().map(|key| key.purpose).collect();
            let missing: Vec<_> = purposes.into_iter().filter(|it| lacks(*it)).collect();
            if !missing.is_empty() && holds_sealed(&txn, scope.workspace()).await? {
                let workspace = scope.workspace().clone();
                return Err(Error::internal(DataKeysLost { workspace, missing }).into());
            }
            let rows = keys
                .iter()
                .map(|key| to_row(scope, key).into_active_model().reset_all());
            let key = [Column::WorkspaceId, Column::Purpose, Column::Version];
            let keep = OnConflict::columns(key).do_nothing_on(key).to_owned();
            Entity::insert_many(rows)
                .on_conflict(keep)
                .exec_without_returning(&*txn)
                .await?;
            Ok(())
        })
        .await
    }
}

/// Selects a workspace's data keys.
fn of(workspace: &WorkspaceId) -> Select<Entity> {
    Entity::find().filter(Column::WorkspaceId.eq(workspace.as_str()))
}

/// Returns true if the workspace has a sealed secret.
async fn holds_sealed(txn: &Txn, workspace: &WorkspaceId) -> Result<bool, Failure> {
    let provider_keys = provider_key::Entity::find()
        .filter(provider_key::Column::WorkspaceId.eq(workspace.as_str()))
        .select_only()
        .column(provider_key::Column::Version);
    let found: Option<i64> = provider_keys.into_tuple().one(txn).await?;
    if found.is_some() {
        return Ok(true);
    }
    let repo_ai_keys = repo_ai_key::Entity::find()
        .filter(repo_ai_key::Column::WorkspaceId.eq(workspace.as_str()))
        .filter(repo_ai_key::Column::SealedSecret.is_not_null())
        .select_only()
        .column(repo_ai_key::Column::CreatedAt);
    let found: Option<i64> = repo_ai_keys.into_tuple().one(txn).await?;
    Ok(found.is_some())
}

/// Rejects a secret that was sealed with data keys that the workspace no longer has. The transaction must have locked
/// the workspace.
///
/// # Errors
/// Unavailable: a retry of the call seals with the current keys.
pub(crate) async fn check_used(
    txn: &Txn,
    workspace: &WorkspaceId,
    used: &UsedDataKeys,
) -> Result<(), Failure> {
    let stored: Vec<_> = of(workspace).all(txn).await?;
    let stored = stored.into_iter().map(from_row);
    let stored: Vec<_> = stored.collect::<Result<_, _>>()?;
    if used.as_slice().iter().all(|key| stored.contains(key)) {
        return Ok(());
    }
    Err(Error::unavailable("the workspace's data keys changed during the call").into())
}

/// Expression for the prefix of a wrapped key: the version of the key that wrapped it.
fn head() -> SimpleExpr {
    let (from, bytes) = (Expr::value(1), Expr::value(ENVELOPE_HEAD_BYTES as i32));
    Func::cust("substr")
        .args([Expr::col(Column::Wrapped), from, bytes])
        .into()
}

fn to_row(scope: &dyn WorkspaceScope, key: &WrappedDataKey) -> Model {
    Model {
        workspace_id: scope.workspace().to_string(),
        purpose: key.purpose.name().to_owned(),
        version: i64::from(key.version),
        wrapped: key.wrapped.clone(),
        created_at: key.created_at.unix_millis(),
    }
}

fn from_row(row: Model) -> Result<WrappedDataKey, Error> {
    Ok(WrappedDataKey {
        purpose: DataKeyPurpose::from_name(&row.purpose)
            .ok_or_else(|| Error::internal("a stored data key has an unknown purpose"))?,
        version: u32::try_from(row.version)
            .map_err(|_| Error::internal("a stored data key has an impossible version"))?,
        wrapped: row.wrapped,
        created_at: Timestamp::from_unix_millis(row.created_at),
    })
}
