//! Members and their access.

use std::collections::BTreeMap;

use keyward_core::id::{OrganizationId, UserId, WorkspaceId};
use keyward_core::page::{Page, PageRequest};
use keyward_core::tenancy::{Access, Member, OrganizationRole};
use keyward_core::{Error, Noun};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect,
};

use super::stored_id;
use crate::entity::member::{Column, Entity, Model};
use crate::entity::{organization, workspace, workspace_access};
use crate::error::{DbErrorKind, Failure, classify};
use crate::instrumented::Txn;
use crate::page::fitting;

/// SQL expression for the size of a member's access, in bytes: the ids of the workspaces, and their encoding.
const ACCESS_BYTES: &str = r#"cast(sum(octet_length("workspace_id") + 16) as bigint)"#;
/// Maximum number of values of a list in a statement; every engine supports far more.
const MAX_LIST_VALUES: usize = 500;

pub(super) async fn find(
    db: &impl ConnectionTrait,
    organization: &OrganizationId,
    user: &UserId,
) -> Result<Option<Member>, Failure> {
    // One statement, so that role and access are from the same snapshot.
    let found = Entity::find_by_id((organization.to_string(), user.to_string()))
        .find_with_related(workspace_access::Entity)
        .all(db)
        .await?;
    found.into_iter().next().map(from_rows).transpose()
}

/// Finds a member, whose role and access stay the same until the transaction ends.
pub(super) async fn hold(
    txn: &Txn,
    organization: &OrganizationId,
    user: &UserId,
) -> Result<Option<Member>, Failure> {
    let row = Entity::find_by_id((organization.to_string(), user.to_string()));
    if row.lock_shared().one(txn).await?.is_none() {
        return Ok(None);
    }
    find(txn, organization, user).await
}

pub(super) async fn page(
    db: &impl ConnectionTrait,
    organization: &OrganizationId,
    page: &PageRequest,
) -> Result<Page<Member>, Failure> {
    let mut query = Entity::find()
        .select_only()
        .column(Column::UserId)
        .filter(Column::OrganizationId.eq(organization.as_str()))
        .order_by_asc(Column::UserId)
        .limit(u64::from(page.limit) + 1);
    if let Some(after) = &page.after {
        query = query.filter(Column::UserId.gt(after));
    }
    let users: Vec<String> = query.into_tuple().all(db).await?;
    // The page is cut before the members are read, because some of them may be deleted in between.
    let fitting = fitting(access_sizes(db, organization, &users).await?);
    let cut = PageRequest {
        limit: Ord::min(page.limit, fitting),
        after: page.after.clone(),
    };
    let users = Page::cut(users, &cut, String::clone);
    let mut items = Vec::with_capacity(users.items.len());
    for users in users.items.chunks(MAX_LIST_VALUES) {
        let rows = Entity::find()
            .find_with_related(workspace_access::Entity)
            .filter(Column::OrganizationId.eq(organization.as_str()))
            .filter(Column::UserId.is_in(users))
            .order_by_asc(Column::UserId)
            .all(db)
            .await?;
        for rows in rows {
            items.push(from_rows(rows)?);
        }
    }
    Ok(Page {
        items,
        next: users.next,
    })
}

/// Returns the size of each member's access in bytes, in the order of the users.
async fn access_sizes(
    db: &impl ConnectionTrait,
    organization: &OrganizationId,
    users: &[String],
) -> Result<Vec<i64>, Failure> {
    use workspace_access::Column::{OrganizationId, UserId};
    let mut sizes = BTreeMap::new();
    for users in users.chunks(MAX_LIST_VALUES) {
        let rows: Vec<(String, i64)> = workspace_access::Entity::find()
            .select_only()
            .column(UserId)
            .expr_as(Expr::cust(ACCESS_BYTES), "bytes")
            .filter(OrganizationId.eq(organization.as_str()))
            .filter(UserId.is_in(users))
            .group_by(UserId)
            .into_tuple()
            .all(db)
            .await?;
        sizes.extend(rows);
    }
    let size = |user| sizes.get(user).copied().unwrap_or_default();
    Ok(users.iter().map(size).collect())
}

/// Creates a member or replaces its role and access. Returns the earlier member, if it existed.
pub(super) async fn upsert(txn: &Txn, member: &Member) -> Result<Option<Member>, Failure> {
    check_parents(txn, member).await?;
    let row = Model {
        organization_id: member.organization.to_string(),
        user_id: member.user.to_string(),
        role: member.role.name().to_owned(),
        validated: member.validated,
    };
    let keep = OnConflict::columns([Column::OrganizationId, Column::UserId])
        .do_nothing_on([Column::OrganizationId, Column::UserId])
        .to_owned();
    let row = row.into_active_model().reset_all();
    let inserted = Entity::insert(row.clone())
        .on_conflict(keep)
        .exec_without_returning(txn)
        .await
        .map_err(|error| gone(error, Noun::Organization))?;
    let mut earlier = None;
    if inserted == 0 {
        earlier = Some(lock(txn, member).await?);
        Entity::update(row).exec_without_returning(txn).await?;
    }

    workspace_access::Entity::delete_many()
        .filter(workspace_access::Column::OrganizationId.eq(member.organization.as_str()))
        .filter(workspace_access::Column::UserId.eq(member.user.as_str()))
        .exec(txn)
        .await?;
    let rows: Vec<_> = member
        .access
        .iter()
        .map(|(workspace, access)| workspace_access::Model {
            organization_id: member.organization.to_string(),
            user_id: member.user.to_string(),
            workspace_id: workspace.to_string(),
            access: access.name().to_owned(),
        })
        .map(|row| row.into_active_model().reset_all())
        .collect();
    for rows in rows.chunks(MAX_LIST_VALUES) {
        workspace_access::Entity::insert_many(rows.iter().cloned())
            .exec_without_returning(txn)
            .await
            .map_err(|error| gone(error, Noun::Workspace))?;
    }
    Ok(earlier)
}

/// Locks the row of an existing member until the transaction ends, so that concurrent replacements do not mix. Returns
/// the member as it is stored now.
async fn lock(txn: &Txn, member: &Member) -> Result<Member, Failure> {
    let id = (member.organization.to_string(), member.user.to_string());
    let held = Entity::find_by_id(id).lock_exclusive().one(txn).await?;
    held.ok_or(Failure::Conflict)?;
    let found = find(txn, &member.organization, &member.user).await?;
    found.ok_or(Failure::Conflict)
}

pub(super) async fn delete(
    txn: &Txn,
    organization: &OrganizationId,
    user: &UserId,
) -> Result<(), Failure> {
    let id = (organization.to_string(), user.to_string());
    match Entity::delete_by_id(id).exec(txn).await?.rows_affected {
        0 => Err(Error::NotFound(Noun::Member).into()),
        _ => Ok(()),
    }
}

/// Checks that the organization exists and that every workspace belongs to it.
async fn check_parents(txn: &Txn, member: &Member) -> Result<(), Failure> {
    let organizations = organization::Entity::find_by_id(member.organization.as_str())
        .count(txn)
        .await?;
    if organizations == 0 {
        return Err(Error::NotFound(Noun::Organization).into());
    }
    let wanted: Vec<&str> = member.access.keys().map(WorkspaceId::as_str).collect();
    for wanted in wanted.chunks(MAX_LIST_VALUES) {
        let found = workspace::Entity::find()
            .filter(workspace::Column::OrganizationId.eq(member.organization.as_str()))
            .filter(workspace::Column::Id.is_in(wanted.iter().copied()))
            .count(txn)
            .await?;
        if usize::try_from(found) != Ok(wanted.len()) {
            return Err(Error::NotFound(Noun::Workspace).into());
        }
    }
    Ok(())
}

/// Maps a parent that was deleted after the check to "not found".
fn gone(error: sea_orm::DbErr, noun: Noun) -> Failure {
    match classify(&error) {
        DbErrorKind::ForeignKey => Error::NotFound(noun).into(),
        _ => error.into(),
    }
}

fn from_rows((member, rows): (Model, Vec<workspace_access::Model>)) -> Result<Member, Failure> {
    let mut access = BTreeMap::new();
    for row in rows {
        let level = Access::from_name(&row.access)
            .ok_or_else(|| Error::internal("a stored access has an unknown name"))?;
        access.insert(stored_id(WorkspaceId::parse(row.workspace_id))?, level);
    }
    Ok(Member {
        organization: stored_id(OrganizationId::parse(member.organization_id))?,
        user: stored_id(UserId::parse(member.user_id))?,
        role: OrganizationRole::from_name(&member.role)
            .ok_or_else(|| Error::internal("a stored member has an unknown role"))?,
        validated: member.validated,
        access,
    })
}
