//! Lists provider keys with the number of their links, and without their sealed secrets.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use keyward_core::clock::Timestamp;
use keyward_core::data_key::BOUND;
use keyward_core::id::{OrganizationId, ProviderKeyId, WorkspaceId};
use keyward_core::page::{Page, PageRequest, Position};
use keyward_core::policy::{Grant, Read};
use keyward_core::provider::Provider;
use keyward_core::provider_key::{ListedProviderKey, ProviderKey, ResourceKind};
use sea_orm::sea_query::{Expr, ExprTrait, Func, Query, SelectStatement, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect, Select,
};
use uuid::Uuid;

use super::row::from_column;
use crate::creator;
use crate::directory::{in_organization, of_workspace};
use crate::entity::provider_key::{Column, Entity};
use crate::entity::provider_key_link as link;
use crate::error::Failure;
use crate::page::{fitting, older_than};

/// SQL expression for the size of a row's texts, in bytes.
const TEXT_BYTES: &str = r#"cast(octet_length("key") + coalesce(octet_length("endpoint"), 0) + coalesce(octet_length("region"), 0)
    + coalesce(octet_length("tenant_id"), 0) + coalesce(octet_length("subscription_id"), 0)
    + coalesce(octet_length("description"), 0) as bigint)"#;
/// Maximum number of workspaces in one statement; every engine supports far more values.
const MAX_WORKSPACES: usize = 500;

/// A row of the list.
#[derive(FromQueryResult)]
struct Listed {
    bytes: i64,
    id: Uuid,
    workspace_id: String,
    provider: String,
    key: String,
    endpoint: Option<String>,
    region: Option<String>,
    tenant_id: Option<String>,
    subscription_id: Option<String>,
    description: Option<String>,
    created_at: i64,
    created_by_kind: Option<String>,
    created_by_id: Option<String>,
    version: i64,
    buckets: i64,
    ai_models: i64,
}

/// Matches the keys of the granted workspaces that still belong to their organization: another organization may now
/// have a workspace with the same id.
fn granted(grants: &[Grant<Read>]) -> Condition {
    if let [grant] = grants {
        return of_workspace(Column::WorkspaceId, grant.organization(), grant.workspace());
    }
    let mut by_organization: BTreeMap<&OrganizationId, Vec<&WorkspaceId>> = BTreeMap::new();
    for grant in grants {
        let workspaces = by_organization.entry(grant.organization()).or_default();
        workspaces.push(grant.workspace());
    }
    let each = by_organization
        .into_iter()
        .map(|(organization, workspaces)| {
            Column::WorkspaceId.in_subquery(in_organization(organization, workspaces))
        });
    each.fold(Condition::any(), Condition::add)
}

pub(super) async fn newest_first(
    db: &impl ConnectionTrait,
    grants: &[Grant<Read>],
    providers: Option<&[Provider]>,
    page: &PageRequest<Position>,
) -> Result<Page<ListedProviderKey>, Failure> {
    if providers.is_some_and(<[Provider]>::is_empty) {
        return Ok(Page::cut(Vec::new(), page, sort_key));
    }
    let mut rows = Vec::new();
    for grants in grants.chunks(MAX_WORKSPACES) {
        rows.extend(rows_of(db, grants, providers, page).await?);
    }
    if grants.len() > MAX_WORKSPACES {
        rows.sort_by_key(|row| Reverse((row.created_at, row.id)));
    }
    let fitting = fitting(rows.iter().map(|row| row.bytes));
    let page = PageRequest {
        limit: Ord::min(page.limit, fitting),
        after: page.after,
    };
    let keys: Result<_, _> = rows.into_iter().map(listed).collect();
    Ok(Page::cut(keys?, &page, sort_key))
}

/// Reads keys of some workspaces, one more than fits in the page.
async fn rows_of(
    db: &impl ConnectionTrait,
    grants: &[Grant<Read>],
    providers: Option<&[Provider]>,
    page: &PageRequest<Position>,
) -> Result<Vec<Listed>, Failure> {
    let sizes = newest(grants, providers, page).limit(u64::from(page.limit));
    let sizes: Vec<i64> = sizes.into_tuple().all(db).await?;
    let rows = newest(grants, providers, page)
        .columns([
            Column::Id,
            Column::WorkspaceId,
            Column::Provider,
            Column::Key,
            Column::Endpoint,
            Column::Region,
            Column::TenantId,
            Column::SubscriptionId,
            Column::Description,
            Column::CreatedAt,
            Column::CreatedByKind,
            Column::CreatedById,
            Column::Version,
        ])
        .expr_as(links_of(ResourceKind::Bucket), "buckets")
        .expr_as(links_of(ResourceKind::AiModel), "ai_models")
        .limit(u64::from(fitting(sizes)) + 1);
    Ok(rows.into_model().all(db).await?)
}

/// Selects the size of the texts of some workspaces' keys, in the order of the list.
fn newest(
    grants: &[Grant<Read>],
    providers: Option<&[Provider]>,
    page: &PageRequest<Position>,
) -> Select<Entity> {
    let mut query = Entity::find()
        .select_only()
        .expr_as(Expr::cust(TEXT_BYTES), "bytes")
        .filter(granted(grants))
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id);
    if let Some(after) = page.after {
        query = query.filter(older_than(Column::CreatedAt, Column::Id, after));
    }
    if let Some(providers) = providers {
        query = query.filter(Column::Provider.is_in(providers.iter().map(Provider::as_str)));
    }
    query
}

fn sort_key(listed: &ListedProviderKey) -> String {
    let (created_at, id) = (listed.key.created_at, listed.key.id.as_uuid());
    Position { created_at, id }.sort_key()
}

/// Counts a key's links in the same statement, so that key and count are from the same snapshot.
fn links_of(kind: ResourceKind) -> SimpleExpr {
    let count: SelectStatement = Query::select()
        .expr(link::Column::ResourceId.count())
        .from(link::Entity)
        .and_where(
            Expr::col((link::Entity, link::Column::ProviderKeyId)).equals((Entity, Column::Id)),
        )
        .and_where(link::Column::ResourceKind.eq(kind.name()))
        .to_owned();
    SimpleExpr::SubQuery(None, Box::new(count.into()))
}

fn listed(row: Listed) -> Result<ListedProviderKey, Failure> {
    Ok(ListedProviderKey {
        key: ProviderKey {
            id: ProviderKeyId::from_uuid(row.id),
            workspace: WorkspaceId::parse(row.workspace_id)
                .map_err(keyward_core::Error::internal)?,
            provider: Provider::from_stored(row.provider),
            key: row.key,
            endpoint: row.endpoint,
            region: row.region,
            tenant_id: row.tenant_id,
            subscription_id: row.subscription_id,
            description: row.description,
            created_at: Timestamp::from_unix_millis(row.created_at),
            created_by: creator::from_columns(row.created_by_kind, row.created_by_id),
            version: from_column(row.version)?,
        },
        buckets: from_column(row.buckets)?,
        ai_models: from_column(row.ai_models)?,
    })
}

/// Reads the keys after this one, by id, whose sealed secret lacks the prefix of a bound secret.
pub(super) async fn unbound(
    db: &impl ConnectionTrait,
    after: Option<ProviderKeyId>,
    limit: u32,
) -> Result<Vec<ProviderKeyId>, Failure> {
    let form = Func::cust("substr").args([
        Expr::col((Entity, Column::SealedSecret)),
        Expr::value(1),
        Expr::value(1),
    ]);
    let mut query = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Expr::from(form).ne(vec![BOUND]))
        .order_by_asc(Column::Id)
        .limit(u64::from(limit));
    if let Some(after) = after {
        query = query.filter(Column::Id.gt(after.as_uuid()));
    }
    let ids: Vec<Uuid> = query.into_tuple().all(db).await?;
    Ok(ids.into_iter().map(ProviderKeyId::from_uuid).collect())
}

#[cfg(test)]
mod tests;
