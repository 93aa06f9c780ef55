//! Stores management keys. A revoked key's row stays, but no longer refers to the organization by a foreign key.

use std::sync::Arc;

use async_trait::async_trait;
use keyward_core::audit::{AuditEvent, EventScope};
use keyward_core::clock::Timestamp;
use keyward_core::id::{ManagementKeyId, OrganizationId};
use keyward_core::management_key::ManagementKey;
use keyward_core::page::{Page, PageRequest};
use keyward_core::policy::OrganizationGrant;
use keyward_core::ports::ManagementKeyStore;
use keyward_core::{Error, Noun};
use keyward_crypto::KeyHash;
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect,
};

use crate::change_feed;
use crate::directory::hold_organization;
use crate::entity::management_key::{ActiveModel, Column, Entity, Model};
use crate::error::{DbErrorKind, Failure, classify};
use crate::key_hash;
use crate::subject::Subject;
use crate::{Store, audit, creator};

#[async_trait]
impl ManagementKeyStore for Store {
    async fn find_by_hash(&self, hash: &KeyHash) -> Result<Option<ManagementKey>, Error> {
        let (store, stored_hash) = (self.clone(), hash.to_string());
        let read = async move {
            let hash = &stored_hash;
            let found = store.read("find_management_key", |db| async move {
                let found = Entity::find()
                    .filter(Column::Hash.eq(hash))
                    .filter(Column::LiveOrganizationId.is_not_null())
                    .one(&db)
                    .await?;
                Ok(found.map(from_row).transpose()?.map(Arc::new))
            });
            found.await
        };
        let subjects = [Subject::ManagementKey(*hash)];
        let cache = &self.caches.management_keys;
        let found = cache.get_or_read(*hash.as_bytes(), &subjects, read).await?;
        Ok(found.map(|found| {
            let mut key = Arc::unwrap_or_clone(found);
            let recorded = self.caches.recorded_uses.get(&key.id.as_uuid());
            key.last_used_at = key.last_used_at.max(recorded);
            key
        }))
    }

    async fn insert(
        &self,
        grant: &OrganizationGrant,
        key: &ManagementKey,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        if key.organization != *grant.organization() {
            let message = "a management key was to be stored outside its grant";
            return Err(Error::internal(message));
        }
        self.write("insert_management_key", |txn| async move {
            hold_organization(&txn, grant).await?;
            let row = to_row(key).into_active_model().reset_all();
            Entity::insert(row)
                .exec_without_returning(&*txn)
                .await
                .map_err(reject)?;
            let subject = Subject::ManagementKey(key.hash);
            change_feed::append(&txn, grant.organization(), &[subject]).await?;
            let scope = EventScope::organization(grant.organization());
            audit::insert(&txn, &scope, &event.with_changes(None, key)).await
        })
        .await
    }

    async fn list(
        &self,
        grant: &OrganizationGrant,
        page: &PageRequest<ManagementKeyId>,
    ) -> Result<Page<ManagementKey>, Error> {
        self.read("list_management_keys", |db| async move {
            let mut query = Entity::find()
                .filter(Column::LiveOrganizationId.eq(grant.organization().as_str()))
                .order_by_desc(Column::Id)
                .limit(u64::from(page.limit) + 1);
            if let Some(after) = page.after {
                query = query.filter(Column::Id.lt(after.as_uuid()));
            }
            let rows = query.all(&db).await?;
            let items: Result<_, Error> = rows.into_iter().map(from_row).collect();
            Ok(Page::cut(items?, page, |key: &ManagementKey| {
                key.id.to_string()
            }))
        })
        .await
    }

    async fn revoke(
        &self,
        grant: &OrganizationGrant,
        hash: &KeyHash,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write("revoke_management_key", |txn| async move {
            let revoked = ActiveModel {
                live_organization_id: Set(None),
                revoked_at: Set(Some(now.unix_millis())),
                ..Default::default()
            };
            let updated = Entity::update_many()
                .set(revoked)
                .filter(Column::Hash.eq(hash.to_string()))
                .filter(Column::LiveOrganizationId.eq(grant.organization().as_str()))
                .exec(&*txn)
                .await?;
            if updated.rows_affected == 0 {
                return Err(Error::NotFound(Noun::ManagementKey).into());
            }
            let subject = Subject::ManagementKey(*hash);
            change_feed::append(&txn, grant.organization(), &[subject]).await?;
            let scope = EventScope::organization(grant.organization());
            audit::insert(&txn, &scope, event).await
        })
        .await
    }

    async fn record_use(&self, id: ManagementKeyId, used_at: Timestamp) {
        let id = id.as_uuid();
        let row = Entity::update_many()
            .filter(Column::Id.eq(id))
            .filter(Column::LiveOrganizationId.is_not_null());
        self.write_last_use(id, row, Column::LastUsedAt, used_at)
            .await;
    }
}

fn reject(error: DbErr) -> Failure {
    match classify(&error) {
        DbErrorKind::ForeignKey => Error::NotFound(Noun::Organization).into(),
        _ => error.into(),
    }
}

fn to_row(key: &ManagementKey) -> Model {
    let (created_by_kind, created_by_id) = creator::to_columns(key.created_by.as_ref());
    Model {
        id: key.id.as_uuid(),
        hash: key.hash.to_string(),
        label: key.label.clone(),
        organization_id: key.organization.to_string(),
        live_organization_id: Some(key.organization.to_string()),
        name: key.name.clone(),
        created_at: key.created_at.unix_millis(),
        created_by_kind,
        created_by_id,
        last_used_at: key.last_used_at.map(Timestamp::unix_millis),
        revoked_at: None,
    }
}

fn from_row(row: Model) -> Result<ManagementKey, Error> {
    Ok(ManagementKey {
        id: ManagementKeyId::from_uuid(row.id),
        hash: key_hash::parse(&row.hash)?,
        label: row.label,
        organization: OrganizationId::parse(row.organization_id).map_err(Error::internal)?,
        name: row.name,
        created_at: Timestamp::from_unix_millis(row.created_at),
        created_by: creator::from_columns(row.created_by_kind, row.created_by_id),
        last_used_at: row.last_used_at.map(Timestamp::from_unix_millis),
    })
}
