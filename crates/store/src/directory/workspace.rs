//! Workspaces.

use keyward_core::id::{OrganizationId, WorkspaceId};
use keyward_core::page::{Page, PageRequest};
use keyward_core::policy::WorkspaceScope;
use keyward_core::tenancy::Workspace;
use keyward_core::{Error, Noun};
use sea_orm::sea_query::{Expr, ExprTrait, LockType, OnConflict, Query, SelectStatement};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect,
};

use super::{organization, stored_id};
use crate::entity::workspace::{ActiveModel, Column, Entity, Model};
use crate::entity::{self, issued_key, provider_key, repo};
use crate::error::{DbErrorKind, Failure, classify};
use crate::instrumented::Txn;

pub(super) async fn find(
    db: &impl ConnectionTrait,
    id: &WorkspaceId,
) -> Result<Option<Workspace>, Failure> {
    let found = Entity::find_by_id(id.as_str())
        .find_also_related(entity::organization::Entity)
        .one(db)
        .await?;
    found.map(with_organization).transpose()
}

pub(super) async fn all(
    db: &impl ConnectionTrait,
    organization: &OrganizationId,
) -> Result<Vec<Workspace>, Failure> {
    let rows = Entity::find()
        .find_also_related(entity::organization::Entity)
        .filter(Column::OrganizationId.eq(organization.as_str()))
        .order_by_asc(Column::Id)
        .all(db)
        .await?;
    rows.into_iter().map(with_organization).collect()
}

pub(super) async fn default(
    db: &impl ConnectionTrait,
    organization: &OrganizationId,
) -> Result<Option<Workspace>, Failure> {
    let default = Expr::col((
        entity::organization::Entity,
        entity::organization::Column::DefaultWorkspaceId,
    ));
    let found = Entity::find()
        .find_also_related(entity::organization::Entity)
        .filter(Column::OrganizationId.eq(organization.as_str()))
        .filter(default.equals((Entity, Column::Id)))
        .one(db)
        .await?;
    found.map(with_organization).transpose()
}

pub(super) async fn page(
    db: &impl ConnectionTrait,
    organization: &OrganizationId,
    page: &PageRequest,
) -> Result<Page<Workspace>, Failure> {
    let mut query = Entity::find()
        .find_also_related(entity::organization::Entity)
        .filter(Column::OrganizationId.eq(organization.as_str()))
        .order_by_asc(Column::Id)
        .limit(u64::from(page.limit) + 1);
    if let Some(after) = &page.after {
        query = query.filter(Column::Id.gt(after));
    }
    let rows = query.all(db).await?;
    let items = rows
        .into_iter()
        .map(with_organization)
        .collect::<Result<_, _>>()?;
    Ok(Page::cut(items, page, |workspace: &Workspace| {
        workspace.id.to_string()
    }))
}

/// Creates a workspace or changes its name. Makes it the default if the request says so or if the organization has no
/// default. Returns the earlier workspace, if it existed, and the current one.
pub(super) async fn upsert(
    txn: &Txn,
    workspace: &Workspace,
) -> Result<(Option<Workspace>, Workspace), Failure> {
    let organization = organization::lock(txn, &workspace.organization).await?;
    let row = ActiveModel {
        id: Set(workspace.id.to_string()),
        organization_id: Set(workspace.organization.to_string()),
        name: Set(workspace.name.clone()),
    };
    // If another organization creates the workspace concurrently, this statement waits and then inserts nothing.
    let keep = OnConflict::column(Column::Id)
        .do_nothing_on([Column::Id])
        .to_owned();
    let inserted = Entity::insert(row)
        .on_conflict(keep)
        .exec_without_returning(txn)
        .await?;
    let mut earlier_name = None;
    if inserted == 0 {
        // The insert found it, so a missing row was deleted concurrently.
        let earlier = lock(txn, &workspace.id).await?.ok_or(Failure::Conflict)?;
        if earlier.organization_id != workspace.organization.as_str() {
            let (noun, parent) = (Noun::Workspace, Noun::Organization);
            return Err(Error::Immovable { noun, parent }.into());
        }
        let renamed = ActiveModel {
            id: Set(earlier.id),
            name: Set(workspace.name.clone()),
            ..Default::default()
        };
        Entity::update(renamed).exec_without_returning(txn).await?;
        earlier_name = Some(earlier.name);
    }

    let default = organization.default_workspace_id.as_deref();
    let was_default = default == Some(workspace.id.as_str());
    let becomes_default = !was_default && (workspace.is_default || default.is_none());
    if becomes_default {
        set_default(txn, organization.id, Some(&workspace.id)).await?;
    }
    let earlier = earlier_name.map(|name| Workspace {
        name,
        is_default: was_default,
        ..workspace.clone()
    });
    let stored = Workspace {
        is_default: was_default || becomes_default,
        ..workspace.clone()
    };
    Ok((earlier, stored))
}

/// Deletes a workspace and returns its organization.
pub(super) async fn delete(txn: &Txn, id: &WorkspaceId) -> Result<OrganizationId, Failure> {
    let not_empty = |held| Error::NotEmpty {
        noun: Noun::Workspace,
        held,
    };
    let found = Entity::find_by_id(id.as_str()).one(txn).await?;
    let found = found.ok_or(Error::NotFound(Noun::Workspace))?;
    let organization_id = stored_id(OrganizationId::parse(found.organization_id))?;
    let organization = organization::lock(txn, &organization_id).await?;
    lock(txn, id)
        .await?
        .ok_or(Error::NotFound(Noun::Workspace))?;
    let repos = repo::Entity::find()
        .filter(repo::Column::WorkspaceId.eq(id.as_str()))
        .count(txn)
        .await?;
    if repos > 0 {
        return Err(not_empty("repos").into());
    }
    let keys = provider_key::Entity::find()
        .filter(provider_key::Column::WorkspaceId.eq(id.as_str()))
        .count(txn)
        .await?;
    if keys > 0 {
        return Err(not_empty("API keys").into());
    }
    let issued = issued_key::Entity::find()
        .filter(issued_key::Column::LiveWorkspaceId.eq(id.as_str()))
        .count(txn)
        .await?;
    if issued > 0 {
        return Err(not_empty("issued keys").into());
    }
    match Entity::delete_by_id(id.as_str()).exec(txn).await {
        Ok(_) => {}
        Err(error) if classify(&error) == DbErrorKind::ForeignKey => {
            return Err(not_empty("repos, API keys or issued keys").into());
        }
        Err(error) => return Err(error.into()),
    }
    if organization.default_workspace_id.as_deref() == Some(id.as_str()) {
        set_default(txn, organization.id, None).await?;
    }
    Ok(organization_id)
}

/// Keeps the workspace in the granted organization until the transaction ends. A workspace that was deleted after the
/// grant is denied like one that does not exist, even if another organization now has a workspace with this id.
pub(crate) async fn hold(
    txn: &Txn,
    scope: &dyn WorkspaceScope,
    lock: LockType,
) -> Result<(), Failure> {
    let found = Entity::find_by_id(scope.workspace().as_str())
        .filter(Column::OrganizationId.eq(scope.organization().as_str()))
        .lock(lock)
        .one(txn)
        .await?;
    found.map(|_| ()).ok_or_else(|| Error::Denied.into())
}

/// Selects the ids of the workspaces that belong to the organization now.
pub(crate) fn in_organization<'a>(
    organization: &OrganizationId,
    workspaces: impl IntoIterator<Item = &'a WorkspaceId>,
) -> SelectStatement {
    Query::select()
        .column(Column::Id)
        .from(Entity)
        .and_where(Column::OrganizationId.eq(organization.as_str()))
        .and_where(Column::Id.is_in(workspaces.into_iter().map(WorkspaceId::as_str)))
        .to_owned()
}

/// Matches rows of the workspace, if it belongs to the organization now. The equality makes a list in this workspace a
/// range of an index.
pub(crate) fn of_workspace<C: ColumnTrait>(
    column: C,
    organization: &OrganizationId,
    workspace: &WorkspaceId,
) -> Condition {
    Condition::all()
        .add(column.eq(workspace.as_str()))
        .add(Expr::exists(in_organization(organization, [workspace])))
}

/// Locks a workspace's row until the transaction ends.
async fn lock(txn: &Txn, id: &WorkspaceId) -> Result<Option<Model>, Failure> {
    Ok(Entity::find_by_id(id.as_str())
        .lock_exclusive()
        .one(txn)
        .await?)
}

async fn set_default(
    txn: &Txn,
    organization: String,
    workspace: Option<&WorkspaceId>,
) -> Result<(), Failure> {
    let change = entity::organization::ActiveModel {
        id: Set(organization),
        default_workspace_id: Set(workspace.map(ToString::to_string)),
        ..Default::default()
    };
    entity::organization::Entity::update(change)
        .exec_without_returning(txn)
        .await?;
    Ok(())
}

/// Converts a row to a workspace; its organization's row says if it is the default.
pub(crate) fn with_organization(
    (workspace, organization): (Model, Option<entity::organization::Model>),
) -> Result<Workspace, Failure> {
    let default = organization.and_then(|organization| organization.default_workspace_id);
    Ok(Workspace {
        is_default: default.as_deref() == Some(workspace.id.as_str()),
        id: stored_id(WorkspaceId::parse(workspace.id))?,
        organization: stored_id(OrganizationId::parse(workspace.organization_id))?,
        name: workspace.name,
    })
}
