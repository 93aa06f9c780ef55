//! Organizations.

use keyward_core::id::{OrganizationId, WorkspaceId};
use keyward_core::page::{Page, PageRequest};
use keyward_core::policy::OrganizationGrant;
use keyward_core::tenancy::Organization;
use keyward_core::{Error, Noun};
use sea_orm::sea_query::{LockType, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};

use super::{member as members, stored_id};
use crate::entity::organization::{ActiveModel, Column, Entity, Model};
use crate::entity::{management_key, member, workspace};
use crate::error::{DbErrorKind, Failure, classify};
use crate::instrumented::Txn;

pub(super) async fn find(
    db: &impl ConnectionTrait,
    id: &OrganizationId,
) -> Result<Option<Organization>, Failure> {
    Entity::find_by_id(id.as_str())
        .one(db)
        .await?
        .map(from_row)
        .transpose()
}

pub(super) async fn page(
    db: &impl ConnectionTrait,
    page: &PageRequest,
) -> Result<Page<Organization>, Failure> {
    let mut query = Entity::find()
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
    Ok(Page::cut(items, page, |organization: &Organization| {
        organization.id.to_string()
    }))
}

/// Creates an organization or changes its name. Returns the earlier organization, if it existed, and the current one.
pub(super) async fn upsert(
    txn: &Txn,
    organization: &Organization,
) -> Result<(Option<Organization>, Organization), Failure> {
    let row = ActiveModel {
        id: Set(organization.id.to_string()),
        name: Set(organization.name.clone()),
        default_workspace_id: Set(None),
    };
    let keep = OnConflict::column(Column::Id)
        .do_nothing_on([Column::Id])
        .to_owned();
    let inserted = Entity::insert(row)
        .on_conflict(keep)
        .exec_without_returning(txn)
        .await?;
    if inserted > 0 {
        let created = Organization {
            default_workspace: None,
            ..organization.clone()
        };
        return Ok((None, created));
    }
    let found = Entity::find_by_id(organization.id.as_str())
        .lock_exclusive()
        .one(txn)
        .await?;
    // The insert found it, so a missing row was deleted concurrently.
    let earlier = from_row(found.ok_or(Failure::Conflict)?)?;
    let renamed = ActiveModel {
        id: Set(organization.id.to_string()),
        name: Set(organization.name.clone()),
        ..Default::default()
    };
    Entity::update(renamed).exec_without_returning(txn).await?;
    let stored = Organization {
        name: organization.name.clone(),
        ..earlier.clone()
    };
    Ok((Some(earlier), stored))
}

pub(super) async fn delete(txn: &Txn, id: &OrganizationId) -> Result<(), Failure> {
    let not_empty = |held| Error::NotEmpty {
        noun: Noun::Organization,
        held,
    };
    lock(txn, id).await?;
    let workspaces = workspace::Entity::find()
        .filter(workspace::Column::OrganizationId.eq(id.as_str()))
        .count(txn)
        .await?;
    if workspaces > 0 {
        return Err(not_empty("workspaces").into());
    }
    let members = member::Entity::find()
        .filter(member::Column::OrganizationId.eq(id.as_str()))
        .count(txn)
        .await?;
    if members > 0 {
        return Err(not_empty("members").into());
    }
    let management_keys = management_key::Entity::find()
        .filter(management_key::Column::LiveOrganizationId.eq(id.as_str()))
        .count(txn)
        .await?;
    if management_keys > 0 {
        return Err(not_empty("management keys").into());
    }
    match Entity::delete_by_id(id.as_str()).exec(txn).await {
        Ok(_) => Ok(()),
        Err(error) if classify(&error) == DbErrorKind::ForeignKey => {
            Err(not_empty("workspaces, members or management keys").into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Keeps the granted organization and, if the grant is a user's, that member's rights until the transaction ends.
pub(crate) async fn hold(txn: &Txn, grant: &OrganizationGrant) -> Result<(), Failure> {
    let organization = grant.organization();
    Entity::find_by_id(organization.as_str())
        .lock(LockType::KeyShare)
        .one(txn)
        .await?
        .ok_or(Error::NotFound(Noun::Organization))?;
    let Some(user) = grant.user() else {
        return Ok(());
    };
    match members::hold(txn, organization, user).await? {
        Some(member) if grant.allows(&member) => Ok(()),
        _ => Err(Error::Denied.into()),
    }
}

/// Locks an organization's row until the transaction ends.
pub(super) async fn lock(txn: &Txn, id: &OrganizationId) -> Result<Model, Failure> {
    let found = Entity::find_by_id(id.as_str())
        .lock_exclusive()
        .one(txn)
        .await?;
    found.ok_or_else(|| Error::NotFound(Noun::Organization).into())
}

fn from_row(row: Model) -> Result<Organization, Failure> {
    Ok(Organization {
        id: stored_id(OrganizationId::parse(row.id))?,
        name: row.name,
        default_workspace: row
            .default_workspace_id
            .map(|id| stored_id(WorkspaceId::parse(id)))
            .transpose()?,
    })
}
