//! Stores issued keys.
//!
//! A change of a key, or of its account, locks the key's row until the commit. A deleted key keeps its row, for charges
//! that exist or may still be recorded, but no longer refers to its workspace by a foreign key.

mod account;
mod locate;
mod row;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use keyward_core::account::MeteredKey;
use keyward_core::audit::AuditEvent;
use keyward_core::clock::{Clock as _, Timestamp};
use keyward_core::id::IssuedKeyId;
use keyward_core::issued_key::IssuedKey;
use keyward_core::page::{Page, PageRequest, Position};
use keyward_core::policy::{Grant, Manage, WorkspaceScope};
use keyward_core::ports::{IssuedKeyStore, KeyChange};
use keyward_core::tenancy::Workspace;
use keyward_core::window::Day;
use keyward_core::{Error, Noun};
use keyward_crypto::KeyHash;
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::sea_query::LockType;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use uuid::Uuid;

use crate::cache::ExpiringKey;
use crate::change_feed;
use crate::directory::hold_workspace;
use crate::entity::issued_key::{ActiveModel, Column, Entity, Model};
use crate::error::{DbErrorKind, Failure, classify};
use crate::instrumented::Txn;
use crate::page::older_than;
use crate::subject::Subject;
use crate::{Store, audit};

pub(crate) use locate::{workspace_and_hash_of, workspace_of};
pub(crate) use row::nanos;

#[async_trait]
impl IssuedKeyStore for Store {
    async fn find_by_hash(&self, hash: &KeyHash) -> Result<Option<IssuedKey>, Error> {
        if self.caches.issued_keys.is_fresh() {
            let found = self.expiring_key(hash, self.time.now()).await?;
            return Ok(found.map(|found| self.with_last_use(found.metered.key.clone())));
        }
        self.read("find_by_hash", |db| async move {
            let found = live(hash).one(&db).await?;
            Ok(found.map(row::key).transpose()?)
        })
        .await
    }

    async fn find_metered(
        &self,
        hash: &KeyHash,
        now: Timestamp,
    ) -> Result<Option<MeteredKey>, Error> {
        let found = self.expiring_key(hash, now).await?;
        Ok(found.map(|found| {
            let MeteredKey { key, account } = found.metered.clone();
            let key = self.with_last_use(key);
            MeteredKey { key, account }
        }))
    }

    async fn locate(&self, hash: &KeyHash) -> Result<Option<Workspace>, Error> {
        self.read(
            "locate",
            |db| async move { workspace_of(&db, live(hash)).await },
        )
        .await
    }

    async fn list(
        &self,
        grant: &Grant<Manage>,
        include_disabled: bool,
        offset: u64,
        page: &PageRequest<Position>,
        now: Timestamp,
    ) -> Result<Page<MeteredKey>, Error> {
        self.read("list", |db| async move {
            let keys = newest(grant, include_disabled, page)
                .offset(offset.min(i64::MAX.unsigned_abs()))
                .limit(u64::from(page.limit) + 1);
            Ok(Page::cut(
                account::all(&db, keys, now).await?,
                page,
                sort_key,
            ))
        })
        .await
    }

    async fn get(
        &self,
        grant: &Grant<Manage>,
        hash: &KeyHash,
        now: Timestamp,
    ) -> Result<MeteredKey, Error> {
        self.read("get", |db| async move {
            let found = account::one(&db, live_in(grant, hash), now).await?;
            found.ok_or_else(not_found)
        })
        .await
    }

    async fn insert(
        &self,
        grant: &Grant<Manage>,
        key: &IssuedKey,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        check_place(grant, key)?;
        self.write("insert", |txn| async move {
            hold_workspace(&txn, grant, LockType::KeyShare).await?;
            Entity::insert(row::insertion(key))
                .exec_without_returning(&*txn)
                .await
                .map_err(reject_without_workspace)?;
            let subject = Subject::IssuedKey(key.hash);
            change_feed::append(&txn, grant.organization(), &[subject]).await?;
            let event = event.with_changes(None, key);
            audit::insert(&txn, &grant.event_scope(), &event).await
        })
        .await
    }

    async fn modify(
        &self,
        grant: &Grant<Manage>,
        hash: &KeyHash,
        now: Timestamp,
        change: &KeyChange<'_>,
        event: &AuditEvent,
    ) -> Result<MeteredKey, Error> {
        self.write_key(hash, "modify", |txn| async move {
            let stored = row::key(lock(&txn, live_in(grant, hash)).await?)?;
            let next = change(&stored);
            check_place(grant, &next)?;
            if (next.id, next.hash) != (stored.id, stored.hash) {
                return Err(Error::internal("a change gave an issued key another name").into());
            }
            Entity::update(row::replacement(&next))
                .exec_without_returning(&*txn)
                .await?;
            let subject = Subject::IssuedKey(*hash);
            change_feed::append(&txn, grant.organization(), &[subject]).await?;
            let event = event.with_changes(Some(&stored), &next);
            audit::insert(&txn, &grant.event_scope(), &event).await?;
            metered(&txn, stored.id.as_uuid(), now).await
        })
        .await
    }

    async fn delete(
        &self,
        grant: &Grant<Manage>,
        hash: &KeyHash,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write_key(hash, "delete", |txn| async move {
            let stored = lock(&txn, live_in(grant, hash)).await?;
            let deletion = ActiveModel {
                id: Unchanged(stored.id),
                live_workspace_id: Set(None),
                deleted_at: Set(Some(now.unix_millis())),
                ..Default::default()
            };
            Entity::update(deletion)
                .exec_without_returning(&*txn)
                .await?;
            let subject = Subject::IssuedKey(*hash);
            change_feed::append(&txn, grant.organization(), &[subject]).await?;
            audit::insert(&txn, &grant.event_scope(), event).await
        })
        .await
    }

    async fn record_use(&self, id: IssuedKeyId, used_at: Timestamp) {
        let id = id.as_uuid();
        let row = Entity::update_many().filter(Column::Id.eq(id));
        self.write_last_use(id, row, Column::LastUsedAt, used_at)
            .await;
    }
}

impl Store {
    /// Returns a live key and its account, from the cache if it is there.
    async fn expiring_key(
        &self,
        hash: &KeyHash,
        now: Timestamp,
    ) -> Result<Option<Arc<ExpiringKey>>, Error> {
        let cache = &self.caches.issued_keys;
        let key = (*hash.as_bytes(), Day::of(now).number());
        let subjects = [Subject::IssuedKey(*hash)];
        let read = self.clone().read_expiring(*hash, now);
        let found = cache.get_or_read(key, &subjects, read).await?;
        let until = found.as_ref().and_then(|found| found.until);
        if until.is_some_and(|until| until <= now) {
            cache.remove(key, &subjects).await;
            return self.clone().read_expiring(*hash, now).await;
        }
        Ok(found)
    }

    async fn read_expiring(
        self,
        hash: KeyHash,
        now: Timestamp,
    ) -> Result<Option<Arc<ExpiringKey>>, Error> {
        let hash = &hash;
        let found = self.read("find_metered", |db| async move {
            account::expiring(&db, live(hash), now).await
        });
        Ok(found.await?.map(Arc::new))
    }

    /// Returns the key with the last use that this process has recorded since the key was read.
    fn with_last_use(&self, mut key: IssuedKey) -> IssuedKey {
        let recorded = self.caches.recorded_uses.get(&key.id.as_uuid());
        key.last_used_at = key.last_used_at.max(recorded);
        key
    }
}

/// Selects the keys of a list after the position of the page.
fn newest(
    grant: &Grant<Manage>,
    include_disabled: bool,
    page: &PageRequest<Position>,
) -> Select<Entity> {
    let mut keys = Entity::find()
        .filter(Column::LiveWorkspaceId.eq(grant.workspace().as_str()))
        .filter(Column::OrganizationId.eq(grant.organization().as_str()))
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id);
    if !include_disabled {
        keys = keys.filter(Column::Disabled.eq(false));
    }
    match page.after {
        Some(after) => keys.filter(older_than(Column::CreatedAt, Column::Id, after)),
        None => keys,
    }
}

fn sort_key(metered: &MeteredKey) -> String {
    let (created_at, id) = (metered.key.created_at, metered.key.id.as_uuid());
    Position { created_at, id }.sort_key()
}

/// Selects the key with this hash, live or deleted.
pub(crate) fn with_hash(hash: &KeyHash) -> Select<Entity> {
    Entity::find().filter(Column::Hash.eq(hash.to_string()))
}

/// Selects the key with this hash, unless it is deleted.
fn live(hash: &KeyHash) -> Select<Entity> {
    with_hash(hash).filter(Column::LiveWorkspaceId.is_not_null())
}

/// Selects the live key with this hash if the granted workspace has it. A grant covers no other workspace, and no
/// workspace with the same id that another organization created since.
fn live_in(grant: &Grant<Manage>, hash: &KeyHash) -> Select<Entity> {
    with_hash(hash)
        .filter(Column::LiveWorkspaceId.eq(grant.workspace().as_str()))
        .filter(Column::OrganizationId.eq(grant.organization().as_str()))
}

/// Locks the key's row until the transaction ends; other transactions can neither change nor charge the key.
async fn lock(txn: &Txn, key: Select<Entity>) -> Result<Model, Failure> {
    let found = key.lock_exclusive().one(txn).await?;
    found.ok_or_else(not_found)
}

/// Returns an existing key with its account.
async fn metered(txn: &Txn, id: Uuid, now: Timestamp) -> Result<MeteredKey, Failure> {
    let found = account::one(txn, Entity::find_by_id(id), now).await?;
    Ok(found.ok_or_else(|| Error::internal("an issued key that was held is gone"))?)
}

/// Returns keys with their accounts.
pub(crate) async fn metered_by_id(
    txn: &Txn,
    ids: Vec<Uuid>,
    now: Timestamp,
) -> Result<Vec<MeteredKey>, Failure> {
    account::all(txn, Entity::find().filter(Column::Id.is_in(ids)), now).await
}

fn not_found() -> Failure {
    Error::NotFound(Noun::IssuedKey).into()
}

/// Checks that the key is stored in the scope of the grant.
fn check_place(grant: &Grant<Manage>, key: &IssuedKey) -> Result<(), Error> {
    if (&key.workspace, &key.organization) == (grant.workspace(), grant.organization()) {
        Ok(())
    } else {
        Err(Error::internal(
            "an issued key was to be stored outside its grant",
        ))
    }
}

fn reject_without_workspace(error: DbErr) -> Failure {
    match classify(&error) {
        // The workspace was deleted after the grant was made: rejected like one that does not exist.
        DbErrorKind::ForeignKey => Error::Denied.into(),
        _ => error.into(),
    }
}
