//! Lists provider keys with the number of their links, and without their sealed secrets.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use keyward_core::clock::Timestamp;
use keyward_core::id::{OrganizationId, ProviderKeyId, WorkspaceId};
use keyward_core::page::{Page, PageRequest, Position};
use keyward_core::policy::{Grant, Read};
use keyward_core::provider::Provider;
use keyward_core::provider_key::{ListedProviderKey, ProviderKey, ResourceKind};
use keyward_core::vault::BOUND;
use sea_orm::sea_query::{Expr, ExprTrait, Func, Query, SelectStatement, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect, Select,
};
use uuid::Uuid;

use super::row::from_column;
use crate::creator;
use crate::directory::in_organization;
use crate::entity::provider_key::{Column, Entity};
use crate::entity::provider_key_link as link;
use crate::error::Failure;
use crate::page::older_than;

/// Maximum size of the texts of a page with more than one key, in bytes. A page is read, converted and encoded without
/// a pause, and delays other calls.
const MAX_PAGE_BYTES: usize = 256 * 1024;
/// SQL expression for the size of a row's texts in bytes, as [`text_bytes`] returns it.
const TEXT_BYTES: &str = r#"cast(octet_length("key") + coalesce(octet_length("endpoint"), 0) + coalesce(octet_length("region"), 0)
    + coalesce(octet_length("tenant_id"), 0) + coalesce(octet_length("subscription_id"), 0)
    + coalesce(octet_length("description"), 0) as bigint)"#;
/// Maximum number of workspaces in one statement; every engine supports far more values.
const MAX_WORKSPACES: usize = 500;

/// A row of the list.
#[derive(FromQueryResult)]
struct Listed {
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
    let mut keys = Vec::new();
    for grants in grants.chunks(MAX_WORKSPACES) {
        keys.extend(keys_of(db, grants, providers, page).await?);
    }
    if grants.len() > MAX_WORKSPACES {
        keys.sort_by_key(|listed| Reverse((listed.key.created_at, listed.key.id)));
    }
    let lengths = keys.iter().map(|listed| text_bytes(&listed.key));
    let page = PageRequest {
        limit: Ord::min(page.limit, fitting(lengths)),
        after: page.after,
    };
    Ok(Page::cut(keys, &page, sort_key))
}

/// Reads keys of some workspaces, one more than fits in the page.
async fn keys_of(
    db: &impl ConnectionTrait,
    grants: &[Grant<Read>],
    providers: Option<&[Provider]>,
    page: &PageRequest<Position>,
) -> Result<Vec<ListedProviderKey>, Failure> {
    let lengths = newest(grants, providers, page).expr_as(Expr::cust(TEXT_BYTES), "bytes");
    let lengths = lengths.limit(u64::from(page.limit));
    let lengths: Vec<i64> = lengths.into_tuple().all(db).await?;
    let lengths = lengths
        .into_iter()
        .map(|it| usize::try_from(it).unwrap_or(0));
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
        .limit(u64::from(fitting(lengths)) + 1);
    let rows = rows.into_model::<Listed>().all(db).await?;
    rows.into_iter().map(listed).collect()
}

/// Selects keys of some workspaces in the order of the list, without columns.
fn newest(
    grants: &[Grant<Read>],
    providers: Option<&[Provider]>,
    page: &PageRequest<Position>,
) -> Select<Entity> {
    let mut query = Entity::find()
        .select_only()
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

/// Returns the number of items that fit in a page, at least one, by the size of their texts.
fn fitting(lengths: impl Iterator<Item = usize>) -> u32 {
    let mut bytes = 0;
    let fitting = lengths.take_while(|length| {
        bytes += length;
        bytes <= MAX_PAGE_BYTES
    });
    let count = u32::try_from(fitting.count()).unwrap_or(u32::MAX);
    Ord::max(count, 1)
}

/// Returns the size of a key's texts, in bytes.
fn text_bytes(key: &ProviderKey) -> usize {
    let optional = [
        &key.endpoint,
        &key.region,
        &key.tenant_id,
        &key.subscription_id,
        &key.description,
    ];
    let optional = optional.into_iter().flatten().map(String::len);
    key.key.len() + optional.sum::<usize>()
}

fn position(listed: &ListedProviderKey) -> Position {
    let (created_at, id) = (listed.key.created_at, listed.key.id.as_uuid());
    Position { created_at, id }
}

fn sort_key(listed: &ListedProviderKey) -> String {
    position(listed).sort_key()
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
