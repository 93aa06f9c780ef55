//! Stores provider keys and their links.
//!
//! A change of a key or of its links locks the key's row until the commit, so that of a concurrent link and deletion
//! the later one sees the result of the earlier one. The links' restricting foreign key would also reject the deletion.

mod link;
mod list;
mod row;

use async_trait::async_trait;
use keyward_core::audit::AuditEvent;
use keyward_core::data_key::UsedDataKeys;
use keyward_core::id::{ProviderKeyId, WorkspaceId};
use keyward_core::page::{Page, PageRequest, Position};
use keyward_core::policy::{Grant, Read, Serve, WorkspaceScope, Write};
use keyward_core::ports::{Change, ProviderKeyStore};
use keyward_core::provider::Provider;
use keyward_core::provider_key::{Link, ListedProviderKey, Resource, StoredProviderKey};
use keyward_core::tenancy::Workspace;
use keyward_core::{Error, Noun};
use sea_orm::sea_query::LockType;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, JoinType, PaginatorTrait, QueryFilter,
    QuerySelect, RelationTrait, Select,
};

use crate::directory::{hold_workspace, in_organization, workspace_from_rows};
use crate::entity::provider_key::{Column, Entity, FINGERPRINT_INDEX, Model};
use crate::entity::{organization, workspace};
use crate::error::{DbErrorKind, Failure, classify, violates_unique};
use crate::instrumented::Txn;
use crate::{Store, audit, data_key};

/// Column of that index, for engines that name the columns.
const FINGERPRINT_COLUMN: &str = "provider_keys.fingerprint";

#[async_trait]
impl ProviderKeyStore for Store {
    async fn locate(&self, id: ProviderKeyId) -> Result<Option<Workspace>, Error> {
        self.read("locate", |db| async move {
            let found = workspace::Entity::find()
                .find_also_related(organization::Entity)
                .join(JoinType::InnerJoin, workspace::Relation::ProviderKeys.def())
                .filter(Column::Id.eq(id.as_uuid()))
                .one(&db)
                .await?;
            found.map(workspace_from_rows).transpose()
        })
        .await
    }

    async fn list(
        &self,
        grants: &[Grant<Read>],
        providers: Option<&[Provider]>,
        page: &PageRequest<Position>,
    ) -> Result<Page<ListedProviderKey>, Error> {
        self.read("list", |db| async move {
            list::newest_first(&db, grants, providers, page).await
        })
        .await
    }

    async fn insert(
        &self,
        grant: &Grant<Write>,
        key: &StoredProviderKey,
        used: &UsedDataKeys,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        check_workspace(grant.workspace(), key)?;
        self.write("insert", |txn| async move {
            // Serializes inserts, so that each counts the earlier ones.
            hold_workspace(&txn, grant, LockType::NoKeyUpdate).await?;
            self.check_room_in_workspace(&txn, grant.workspace())
                .await?;
            data_key::check_used(&txn, grant.workspace(), used).await?;
            let row = row::insertion(key)?;
            Entity::insert(row)
                .exec_without_returning(&*txn)
                .await
                .map_err(reject_duplicate)?;
            let event = event.with_changes(None, &key.key);
            audit::insert(&txn, &grant.event_scope(), &event).await
        })
        .await
    }

    async fn modify(
        &self,
        grant: &Grant<Write>,
        id: ProviderKeyId,
        change: &Change<'_>,
        used: &UsedDataKeys,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write("modify", |txn| async move {
            replace(&txn, grant, id, change, used, event).await
        })
        .await
    }

    async fn unbound(
        &self,
        after: Option<ProviderKeyId>,
        limit: u32,
    ) -> Result<Vec<ProviderKeyId>, Error> {
        self.read("unbound", |db| async move {
            list::unbound(&db, after, limit).await
        })
        .await
    }

    async fn reseal(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        change: &Change<'_>,
        used: &UsedDataKeys,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write("reseal", |txn| async move {
            replace(&txn, grant, id, change, used, event).await
        })
        .await
    }

    async fn delete(
        &self,
        grant: &Grant<Write>,
        id: ProviderKeyId,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write("delete", |txn| async move {
            lock(&txn, grant, id).await?;
            let (buckets, ai_models) = link::count(&*txn, id).await?;
            if buckets > 0 || ai_models > 0 {
                return Err(Error::ProviderKeyInUse { buckets, ai_models }.into());
            }
            match Entity::delete_by_id(id.as_uuid()).exec(&*txn).await {
                Ok(_) => audit::insert(&txn, &grant.event_scope(), event).await,
                // The link was created by a transaction without the lock; the next attempt counts it.
                Err(error) if classify(&error) == DbErrorKind::ForeignKey => Err(Failure::Conflict),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    async fn release(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        event: &AuditEvent,
    ) -> Result<StoredProviderKey, Error> {
        self.write("release", |txn| async move {
            let found = in_grant(grant, id).one(&*txn).await?;
            let stored = row::stored(found.ok_or_else(not_found)?)?;
            audit::insert(&txn, &grant.event_scope(), event).await?;
            Ok(stored)
        })
        .await
    }

    async fn link(
        &self,
        grant: &Grant<Serve>,
        link: &Link,
        event: &AuditEvent,
    ) -> Result<Link, Error> {
        self.write("link", |txn| async move {
            lock(&txn, grant, link.key).await?;
            if let Some(earlier) = link::find(&*txn, link.key, &link.resource).await? {
                return Ok(earlier);
            }
            link::insert(&txn, link).await?;
            audit::insert(&txn, &grant.event_scope(), event).await?;
            Ok(link.clone())
        })
        .await
    }

    async fn unlink(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        resource: &Resource,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write("unlink", |txn| async move {
            lock(&txn, grant, id).await?;
            if link::delete(&txn, id, resource).await? {
                audit::insert(&txn, &grant.event_scope(), event).await?;
            }
            Ok(())
        })
        .await
    }

    async fn links(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        page: &PageRequest<Resource>,
    ) -> Result<Page<Link>, Error> {
        self.read("links", |db| async move {
            check_exists(&db, grant, id).await?;
            link::page(&db, id, page).await
        })
        .await
    }
}

impl Store {
    /// Rejects a new key if the workspace has the maximum number. The transaction must have locked the workspace.
    async fn check_room_in_workspace(
        &self,
        txn: &Txn,
        workspace: &WorkspaceId,
    ) -> Result<(), Failure> {
        let limit = self.bounds.provider_keys_per_workspace;
        let keys = Entity::find().filter(Column::WorkspaceId.eq(workspace.as_str()));
        if keys.count(txn).await? < u64::from(limit) {
            return Ok(());
        }
        let parent = Noun::Workspace;
        Err(Error::TooManyKeys { parent, limit }.into())
    }
}

/// Replaces a key with its new version.
async fn replace(
    txn: &Txn,
    scope: &dyn WorkspaceScope,
    id: ProviderKeyId,
    change: &Change<'_>,
    used: &UsedDataKeys,
    event: &AuditEvent,
) -> Result<(), Failure> {
    let stored = row::stored(lock(txn, scope, id).await?)?;
    hold_workspace(txn, scope, LockType::KeyShare).await?;
    data_key::check_used(txn, scope.workspace(), used).await?;
    let next = change(&stored)?;
    check_workspace(scope.workspace(), &next)?;
    if next.key.id != id {
        return Err(Error::internal("a change gave a provider key another id").into());
    }
    Entity::update(row::replacement(&next)?)
        .exec_without_returning(txn)
        .await
        .map_err(reject_duplicate)?;
    let event = event.with_changes(Some(&stored.key), &next.key);
    audit::insert(txn, &scope.event_scope(), &event).await
}

/// Selects the key with this id if the granted workspace has it. A grant covers no other workspace, and no workspace
/// with the same id that another organization has created since.
fn in_grant(scope: &dyn WorkspaceScope, id: ProviderKeyId) -> Select<Entity> {
    let workspaces = in_organization(scope.organization(), [scope.workspace()]);
    Entity::find_by_id(id.as_uuid()).filter(Column::WorkspaceId.in_subquery(workspaces))
}

async fn check_exists(
    db: &impl ConnectionTrait,
    scope: &dyn WorkspaceScope,
    id: ProviderKeyId,
) -> Result<(), Failure> {
    let query = in_grant(scope, id).select_only().column(Column::Version);
    let found: Option<i64> = query.into_tuple().one(db).await?;
    found.map(|_| ()).ok_or_else(not_found)
}

/// Locks the key's row until the transaction ends; other transactions can neither change nor link the key.
async fn lock(txn: &Txn, scope: &dyn WorkspaceScope, id: ProviderKeyId) -> Result<Model, Failure> {
    let found = in_grant(scope, id).lock_exclusive().one(txn).await?;
    found.ok_or_else(not_found)
}

fn not_found() -> Failure {
    Error::NotFound(Noun::ProviderKey).into()
}

/// Checks that the key is stored in the scope of the grant.
fn check_workspace(workspace: &WorkspaceId, key: &StoredProviderKey) -> Result<(), Error> {
    if key.key.workspace == *workspace {
        Ok(())
    } else {
        Err(Error::internal(
            "a provider key was to be stored outside its grant",
        ))
    }
}

fn reject_duplicate(error: DbErr) -> Failure {
    if violates_unique(&error, FINGERPRINT_INDEX, FINGERPRINT_COLUMN) {
        return Error::DuplicateCredentials.into();
    }
    match classify(&error) {
        // The workspace was deleted after the grant was made: rejected like one that does not exist.
        DbErrorKind::ForeignKey => Error::Denied.into(),
        _ => error.into(),
    }
}
