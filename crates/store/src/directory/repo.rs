//! Repos.

use keyward_core::audit::EventScope;
use keyward_core::id::{OrganizationId, RepoId, WorkspaceId};
use keyward_core::page::{Page, PageRequest};
use keyward_core::tenancy::Repo;
use keyward_core::{Error, Noun};
use sea_orm::sea_query::{LockType, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};

use super::stored_id;
use crate::entity::repo::{ActiveModel, Column, Entity, Model};
use crate::entity::{repo_ai_key, workspace};
use crate::error::{DbErrorKind, Failure, classify};
use crate::instrumented::Txn;

pub(super) async fn find(db: &impl ConnectionTrait, id: &RepoId) -> Result<Option<Repo>, Failure> {
    Entity::find_by_id(id.as_str())
        .one(db)
        .await?
        .map(from_row)
        .transpose()
}

pub(super) async fn page(
    db: &impl ConnectionTrait,
    workspace: &WorkspaceId,
    page: &PageRequest,
) -> Result<Page<Repo>, Failure> {
    let mut query = Entity::find()
        .filter(Column::WorkspaceId.eq(workspace.as_str()))
        .order_by_asc(Column::Id)
        .limit(u64::from(page.limit) + 1);
    if let Some(after) = &page.after {
        query = query.filter(Column::Id.gt(after));
    }
    let items = query
        .all(db)
        .await?
        .into_iter()
        .map(from_row)
        .collect::<Result<_, _>>()?;
    Ok(Page::cut(items, page, |repo: &Repo| repo.id.to_string()))
}

/// Creates a repo or changes its name. Returns the organization of its workspace, and the earlier repo, if it existed.
pub(super) async fn upsert(
    txn: &Txn,
    repo: &Repo,
) -> Result<(OrganizationId, Option<Repo>), Failure> {
    let not_found = || Failure::from(Error::NotFound(Noun::Workspace));
    // Locked, because a workspace that is deleted and created again may belong to another organization.
    let workspace = workspace::Entity::find_by_id(repo.workspace.as_str())
        .lock(LockType::KeyShare)
        .one(txn)
        .await?;
    let organization = workspace.ok_or_else(not_found)?.organization_id;
    let organization = stored_id(OrganizationId::parse(organization))?;
    let row = ActiveModel {
        id: Set(repo.id.to_string()),
        workspace_id: Set(repo.workspace.to_string()),
        name: Set(repo.name.clone()),
    };
    // If another workspace creates the repo concurrently, this statement waits and then inserts nothing.
    let keep = OnConflict::column(Column::Id)
        .do_nothing_on([Column::Id])
        .to_owned();
    match Entity::insert(row)
        .on_conflict(keep)
        .exec_without_returning(txn)
        .await
    {
        Ok(0) => Ok((organization, Some(rename(txn, repo).await?))),
        Ok(_) => Ok((organization, None)),
        Err(error) if classify(&error) == DbErrorKind::ForeignKey => Err(not_found()),
        Err(error) => Err(error.into()),
    }
}

/// Changes a repo's name and returns the repo as it was before.
async fn rename(txn: &Txn, repo: &Repo) -> Result<Repo, Failure> {
    // The insert found it, so a missing row was deleted concurrently.
    let earlier = lock(txn, &repo.id).await?.ok_or(Failure::Conflict)?;
    if earlier.workspace_id != repo.workspace.as_str() {
        return Err(Error::Immovable {
            noun: Noun::Repo,
            parent: Noun::Workspace,
        }
        .into());
    }
    let renamed = ActiveModel {
        id: Set(earlier.id.clone()),
        name: Set(repo.name.clone()),
        ..Default::default()
    };
    Entity::update(renamed).exec_without_returning(txn).await?;
    from_row(earlier)
}

/// Deletes a repo and returns its scope.
pub(super) async fn delete(txn: &Txn, id: &RepoId) -> Result<EventScope, Failure> {
    let not_empty = || Error::NotEmpty {
        noun: Noun::Repo,
        held: "AI keys",
    };
    let found = lock(txn, id).await?.ok_or(Error::NotFound(Noun::Repo))?;
    let scope = scope_of(txn, found).await?;
    let keys = repo_ai_key::Entity::find()
        .filter(repo_ai_key::Column::LiveRepoId.eq(id.as_str()))
        .count(txn)
        .await?;
    if keys > 0 {
        return Err(not_empty().into());
    }
    match Entity::delete_by_id(id.as_str()).exec(txn).await {
        Ok(_) => Ok(scope),
        Err(error) if classify(&error) == DbErrorKind::ForeignKey => Err(not_empty().into()),
        Err(error) => Err(error.into()),
    }
}

/// Returns workspace and organization of a repo whose row is locked. The repo's row keeps the row of its workspace in
/// place.
async fn scope_of(txn: &Txn, repo: Model) -> Result<EventScope, Failure> {
    let found = workspace::Entity::find_by_id(&repo.workspace_id)
        .one(txn)
        .await?;
    let workspace = found.ok_or_else(|| Error::internal("a repo has no workspace"))?;
    Ok(EventScope::workspace(
        &stored_id(OrganizationId::parse(workspace.organization_id))?,
        &stored_id(WorkspaceId::parse(workspace.id))?,
    ))
}

/// Locks a repo's row until the transaction ends.
async fn lock(txn: &Txn, id: &RepoId) -> Result<Option<Model>, Failure> {
    Ok(Entity::find_by_id(id.as_str())
        .lock_exclusive()
        .one(txn)
        .await?)
}

fn from_row(row: Model) -> Result<Repo, Failure> {
    Ok(Repo {
        id: stored_id(RepoId::parse(row.id))?,
        workspace: stored_id(WorkspaceId::parse(row.workspace_id))?,
        name: row.name,
    })
}
