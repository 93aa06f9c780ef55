//! Keeps workspaces' wrapped data keys.

use async_trait::async_trait;
use keyward_core::Error;
use keyward_core::clock::Timestamp;
use keyward_core::id::WorkspaceId;
use keyward_core::policy::WorkspaceScope;
use keyward_core::store::DataKeyStore;
use keyward_core::vault::{DataKeyPurpose, WrappedDataKey};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
};

use crate::Store;
use crate::entity::data_key::{Column, Entity, Model};
use crate::error::{Failure, Meaning, meaning};

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

    async fn any_data_key(&self) -> Result<Option<(WorkspaceId, WrappedDataKey)>, Error> {
        let row = self
            .read("any_data_key", |db| async move {
                // In the order of the primary key, which costs nothing.
                Ok(Entity::find()
                    .order_by_asc(Column::WorkspaceId)
                    .order_by_asc(Column::Purpose)
                    .order_by_asc(Column::Version)
                    .one(&db)
                    .await?)
            })
            .await?;
        let Some(row) = row else { return Ok(None) };
        let workspace = WorkspaceId::parse(row.workspace_id.as_str()).map_err(Error::internal)?;
        Ok(Some((workspace, from_row(row)?)))
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
            let rows = keys
                .iter()
                .map(|key| to_row(scope, key).into_active_model().reset_all());
            let key = [Column::WorkspaceId, Column::Purpose, Column::Version];
            let keep = OnConflict::columns(key).do_nothing_on(key).to_owned();
            let inserted = Entity::insert_many(rows)
                .on_conflict(keep)
                .exec_without_returning(&*txn)
                .await;
            match inserted {
                Ok(_) => Ok(()),
                // The workspace went away after the grant was made.
                Err(error) if meaning(&error) == Meaning::ForeignKey => Err(Error::Denied.into()),
                Err(error) => Err(Failure::from(error)),
            }
        })
        .await
    }
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
