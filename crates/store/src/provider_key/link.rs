//! Links from resources to the provider key that they use.

use keyward_core::Error;
use keyward_core::clock::Timestamp;
use keyward_core::id::{ProviderKeyId, ResourceId};
use keyward_core::page::{Page, PageRequest};
use keyward_core::provider_key::{Link, Resource, ResourceKind};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, EntityTrait, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect,
};

use super::not_found;
use super::row::from_column;
use crate::entity::provider_key_link::{Column, Entity, Model};
use crate::error::{DbErrorKind, Failure, classify};
use crate::instrumented::Txn;

/// Returns the number of buckets and of AI models that use a key.
pub(super) async fn count(
    db: &impl ConnectionTrait,
    key: ProviderKeyId,
) -> Result<(u64, u64), Failure> {
    let counts: Vec<(String, i64)> = Entity::find()
        .select_only()
        .column(Column::ResourceKind)
        .column_as(Column::ResourceId.count(), "links")
        .filter(Column::ProviderKeyId.eq(key.as_uuid()))
        .group_by(Column::ResourceKind)
        .into_tuple()
        .all(db)
        .await?;
    let (mut buckets, mut ai_models) = (0, 0);
    for (kind, links) in counts {
        match parse_kind(&kind)? {
            ResourceKind::Bucket => buckets = from_column(links)?,
            ResourceKind::AiModel => ai_models = from_column(links)?,
        }
    }
    Ok((buckets, ai_models))
}

pub(super) async fn find(
    db: &impl ConnectionTrait,
    key: ProviderKeyId,
    resource: &Resource,
) -> Result<Option<Link>, Failure> {
    Entity::find_by_id(id(key, resource))
        .one(db)
        .await?
        .map(from_row)
        .transpose()
}

pub(super) async fn insert(txn: &Txn, link: &Link) -> Result<(), Failure> {
    let row = Model {
        provider_key_id: link.key.as_uuid(),
        resource_kind: link.resource.kind.name().to_owned(),
        resource_id: link.resource.id.to_string(),
        created_at: link.created_at.unix_millis(),
    };
    let row = row.into_active_model().reset_all();
    match Entity::insert(row).exec_without_returning(txn).await {
        Ok(_) => Ok(()),
        Err(error) if classify(&error) == DbErrorKind::ForeignKey => Err(not_found()),
        // Created by a transaction that did not lock the key; the next attempt finds it.
        Err(error) if classify(&error) == DbErrorKind::Unique => Err(Failure::Conflict),
        Err(error) => Err(error.into()),
    }
}

/// Deletes a link. Returns true if it existed.
pub(super) async fn delete(
    txn: &Txn,
    key: ProviderKeyId,
    resource: &Resource,
) -> Result<bool, Failure> {
    Ok(Entity::delete_by_id(id(key, resource))
        .exec(txn)
        .await?
        .rows_affected
        > 0)
}

pub(super) async fn page(
    db: &impl ConnectionTrait,
    key: ProviderKeyId,
    page: &PageRequest<Resource>,
) -> Result<Page<Link>, Failure> {
    let mut query = Entity::find()
        .filter(Column::ProviderKeyId.eq(key.as_uuid()))
        .order_by_asc(Column::ResourceKind)
        .order_by_asc(Column::ResourceId)
        .limit(u64::from(page.limit) + 1);
    if let Some(after) = &page.after {
        query = query.filter(behind(after));
    }
    let rows = query.all(db).await?;
    let items = rows.into_iter().map(from_row).collect::<Result<_, _>>()?;
    Ok(Page::cut(items, page, |link: &Link| {
        link.resource.sort_key()
    }))
}

/// Matches the links after a resource's link: those of the same kind with a greater id, or of a greater kind.
fn behind(resource: &Resource) -> Condition {
    let (kind, id) = (resource.kind.name(), resource.id.as_str());
    Condition::any().add(Column::ResourceKind.gt(kind)).add(
        Condition::all()
            .add(Column::ResourceKind.eq(kind))
            .add(Column::ResourceId.gt(id)),
    )
}

fn id(key: ProviderKeyId, resource: &Resource) -> (uuid::Uuid, String, String) {
    (
        key.as_uuid(),
        resource.kind.name().to_owned(),
        resource.id.to_string(),
    )
}

fn parse_kind(name: &str) -> Result<ResourceKind, Error> {
    ResourceKind::from_name(name)
        .ok_or_else(|| Error::internal("a stored link has an unknown resource kind"))
}

fn from_row(row: Model) -> Result<Link, Failure> {
    Ok(Link {
        key: ProviderKeyId::from_uuid(row.provider_key_id),
        resource: Resource {
            kind: parse_kind(&row.resource_kind)?,
            id: ResourceId::parse(row.resource_id).map_err(Error::internal)?,
        },
        created_at: Timestamp::from_unix_millis(row.created_at),
    })
}
