//! Stores repo AI keys.
//!
//! A deleted key's row stays without its sealed secret, and no longer keeps its repo from deletion nor its name taken.
//! Each change is one statement that matches only a live key, so that of two concurrent changes the later one sees the
//! result of the earlier one.

mod row;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use keyward_core::audit::AuditEvent;
use keyward_core::clock::Timestamp;
use keyward_core::data_key::UsedDataKeys;
use keyward_core::id::{RepoAiKeyId, RepoId, WorkspaceId};
use keyward_core::page::{Page, PageRequest, Position};
use keyward_core::policy::{Grant, Read, WorkspaceScope, Write};
use keyward_core::ports::RepoAiKeyStore;
use keyward_core::repo_ai_key::{FoundRepoAiKey, RepoAiKey, StoredRepoAiKey};
use keyward_core::{Error, Noun};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::LockType;
use sea_orm::{
    ColumnTrait, Condition, DbErr, EntityTrait, JoinType, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, RelationTrait, Select,
};

use crate::change_feed;
use crate::directory::{hold_workspace, of_workspace};
use crate::entity::repo_ai_key::{ActiveModel, Column, Entity, Relation};
use crate::entity::{repo, workspace};
use crate::error::{DbErrorKind, Failure, classify, violates_unique};
use crate::instrumented::Txn;
use crate::page::older_than;
use crate::subject::Subject;
use crate::{Store, audit, data_key};

/// Unique index that detects duplicate names.
pub(crate) const NAME_INDEX: &str = "uq_repo_ai_keys_name";
/// Column of that index, for engines that name the columns.
const NAME_COLUMN: &str = "repo_ai_keys.name";

#[async_trait]
impl RepoAiKeyStore for Store {
    async fn find_by_key(&self, key: &str) -> Result<Option<FoundRepoAiKey>, Error> {
        let (store, public) = (self.clone(), key.to_owned());
        let read = async move {
            let key = &public;
            let found = store.read("find_repo_ai_key", |db| async move {
                let found = Entity::find()
                    .join(JoinType::InnerJoin, Relation::Workspace.def())
                    .join(JoinType::InnerJoin, workspace::Relation::Organization.def())
                    .filter(Column::Key.eq(key))
                    .filter(Column::LiveRepoId.is_not_null())
                    .into_partial_model::<row::Found>()
                    .one(&db)
                    .await?;
                found.map(row::found).transpose()
            });
            Ok(found.await?.map(Arc::new))
        };
        let subjects = [Subject::RepoAiKey(key.to_owned())];
        let cache = &self.caches.repo_ai_keys;
        let found = cache.get_or_read(key.to_owned(), &subjects, read).await?;
        Ok(found.map(Arc::unwrap_or_clone))
    }

    async fn list(
        &self,
        grant: &Grant<Read>,
        repo: &RepoId,
        page: &PageRequest<Position>,
    ) -> Result<Page<RepoAiKey>, Error> {
        self.read("list_repo_ai_keys", |db| async move {
            let query = newest(grant, repo, page).limit(u64::from(page.limit) + 1);
            let rows = query.into_partial_model::<row::Open>().all(&db).await?;
            let keys: Result<_, Error> = rows.into_iter().map(row::open).collect();
            Ok(Page::cut(keys?, page, |key: &RepoAiKey| {
                let (created_at, id) = (key.created_at, key.id.as_uuid());
                Position { created_at, id }.sort_key()
            }))
        })
        .await
    }

    async fn get(
        &self,
        grant: &Grant<Write>,
        repo: &RepoId,
        id: RepoAiKeyId,
    ) -> Result<RepoAiKey, Error> {
        self.read("get_repo_ai_key", |db| async move {
            let found = Entity::find()
                .filter(live(grant, repo, id))
                .into_partial_model::<row::Open>()
                .one(&db)
                .await?;
            Ok(row::open(found.ok_or_else(not_found)?)?)
        })
        .await
    }

    async fn insert(
        &self,
        grant: &Grant<Write>,
        key: &StoredRepoAiKey,
        used: &UsedDataKeys,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        if key.key.workspace != *grant.workspace() {
            let message = "a repo AI key was to be stored outside its grant";
            return Err(Error::internal(message));
        }
        self.write("insert_repo_ai_key", |txn| async move {
            hold_workspace(&txn, grant, LockType::KeyShare).await?;
            // Serializes inserts, so that each counts the earlier ones.
            hold_repo(&txn, grant.workspace(), &key.key.repo).await?;
            self.check_room_in_repo(&txn, &key.key.repo).await?;
            data_key::check_used(&txn, grant.workspace(), used).await?;
            Entity::insert(row::insertion(key))
                .exec_without_returning(&*txn)
                .await
                .map_err(reject)?;
            append_change(&txn, grant, &key.key).await?;
            let event = event.with_changes(None, &key.key);
            audit::insert(&txn, &grant.event_scope(), &event).await
        })
        .await
    }

    async fn rename(
        &self,
        grant: &Grant<Write>,
        repo: &RepoId,
        id: RepoAiKeyId,
        name: &str,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write("rename_repo_ai_key", |txn| async move {
            let earlier = lock(&txn, live(grant, repo, id)).await?;
            let renamed = ActiveModel {
                name: Set(name.to_owned()),
                ..Default::default()
            };
            update(&txn, live(grant, repo, id), renamed).await?;
            append_change(&txn, grant, &earlier).await?;
            let next = RepoAiKey {
                name: name.to_owned(),
                ..earlier.clone()
            };
            let event = event.with_changes(Some(&earlier), &next);
            audit::insert(&txn, &grant.event_scope(), &event).await
        })
        .await
    }

    async fn delete(
        &self,
        grant: &Grant<Write>,
        repo: &RepoId,
        id: RepoAiKeyId,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        self.write("delete_repo_ai_key", |txn| async move {
            let key = lock(&txn, live(grant, repo, id)).await?;
            append_change(&txn, grant, &key).await?;
            let deleted = ActiveModel {
                live_repo_id: Set(None),
                // Erased, so that the secret of a deleted key can never be opened.
                sealed_secret: Set(None),
                deleted_at: Set(Some(now.unix_millis())),
                ..Default::default()
            };
            update(&txn, live(grant, repo, id), deleted).await?;
            audit::insert(&txn, &grant.event_scope(), event).await
        })
        .await
    }
}

/// Appends a change of a key to the feed.
async fn append_change(
    txn: &Txn,
    scope: &dyn WorkspaceScope,
    key: &RepoAiKey,
) -> Result<(), Failure> {
    let subject = Subject::RepoAiKey(key.key.clone());
    change_feed::append(txn, scope.organization(), &[subject]).await
}

/// Matches the repo's live keys, if the repo belongs to the granted workspace and the workspace still to its
/// organization.
fn live_of(scope: &dyn WorkspaceScope, repo: &RepoId) -> Condition {
    of_workspace(Column::WorkspaceId, scope.organization(), scope.workspace())
        .add(Column::LiveRepoId.eq(repo.as_str()))
}

/// Selects the keys of a list after the position of the page.
fn newest(grant: &Grant<Read>, repo: &RepoId, page: &PageRequest<Position>) -> Select<Entity> {
    let keys = Entity::find()
        .filter(live_of(grant, repo))
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id);
    match page.after {
        Some(after) => keys.filter(older_than(Column::CreatedAt, Column::Id, after)),
        None => keys,
    }
}

/// Matches the live key with this id if the repo has it.
fn live(scope: &dyn WorkspaceScope, repo: &RepoId, id: RepoAiKeyId) -> Condition {
    live_of(scope, repo).add(Column::Id.eq(id.as_uuid()))
}

/// Locks one live key until the transaction ends.
async fn lock(txn: &Txn, live: Condition) -> Result<RepoAiKey, Failure> {
    let found = Entity::find()
        .filter(live)
        .lock_exclusive()
        .into_partial_model::<row::Open>()
        .one(txn)
        .await?;
    Ok(row::open(found.ok_or_else(not_found)?)?)
}

/// Updates one live key.
async fn update(txn: &Txn, live: Condition, change: ActiveModel) -> Result<(), Failure> {
    let updated = Entity::update_many()
        .set(change)
        .filter(live)
        .exec(txn)
        .await
        .map_err(reject)?;
    match updated.rows_affected {
        0 => Err(not_found()),
        _ => Ok(()),
    }
}

/// Locks the repo, which must exist in the granted workspace, until the transaction ends. A repo that was deleted after
/// the grant was made is rejected like one that does not exist, even if another workspace now has its id.
async fn hold_repo(txn: &Txn, workspace: &WorkspaceId, repo: &RepoId) -> Result<(), Failure> {
    let found = repo::Entity::find_by_id(repo.as_str())
        .filter(repo::Column::WorkspaceId.eq(workspace.as_str()))
        .lock(LockType::NoKeyUpdate)
        .one(txn)
        .await?;
    match found {
        Some(_) => Ok(()),
        None => Err(Error::Denied.into()),
    }
}

impl Store {
    /// Rejects a new key if the repo has the maximum number of live keys. The transaction must have locked the repo.
    async fn check_room_in_repo(&self, txn: &Txn, repo: &RepoId) -> Result<(), Failure> {
        let limit = self.bounds.ai_keys_per_repo;
        if count_in_repo(txn, repo).await? < u64::from(limit) {
            return Ok(());
        }
        let parent = Noun::Repo;
        Err(Error::TooManyKeys { parent, limit }.into())
    }
}

async fn count_in_repo(txn: &Txn, repo: &RepoId) -> Result<u64, Failure> {
    let live = Entity::find().filter(Column::LiveRepoId.eq(repo.as_str()));
    Ok(live.count(txn).await?)
}

fn not_found() -> Failure {
    Error::NotFound(Noun::RepoAiKey).into()
}

fn reject(error: DbErr) -> Failure {
    if violates_unique(&error, NAME_INDEX, NAME_COLUMN) {
        return Error::DuplicateName.into();
    }
    match classify(&error) {
        DbErrorKind::ForeignKey => Error::Denied.into(),
        _ => error.into(),
    }
}
