//! Stores audit events in the transaction of the change that they record, lists them, and deletes old ones. Rows are
//! never updated.

use async_trait::async_trait;
use keyward_core::Error;
use keyward_core::audit::{AuditCursor, AuditEvent, EventScope, RecordedEvent};
use keyward_core::audit_filter::AuditFilter;
use keyward_core::clock::Timestamp;
use keyward_core::id::AuditEventId;
use keyward_core::page::{Page, PageRequest, Position};
use keyward_core::policy::AuditGrant;
use keyward_core::ports::AuditStore;
use keyward_core::retention::Retention;
use sea_orm::sea_query::{LockBehavior, LockType, Order, Query, SelectStatement};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, Select,
};

use crate::Store;
use crate::entity::audit_event::{Column, Entity, Model};
use crate::error::Failure;
use crate::instrumented::Txn;
use crate::page::older_than;
use crate::retention::{Kind, advance, extent};

#[async_trait]
impl AuditStore for Store {
    async fn events(
        &self,
        _grant: &AuditGrant,
        filter: &AuditFilter,
        page: &PageRequest<AuditCursor>,
    ) -> Result<Page<RecordedEvent>, Error> {
        self.read("list_audit_events", |db| async move {
            let rows = listed(filter, page).all(&db).await?;
            let events: Result<_, Error> = rows.into_iter().map(from_row).collect();
            let cursor = |event: &RecordedEvent| filter.write_cursor(event.cursor);
            Ok(Page::cut(events?, page, cursor))
        })
        .await
    }

    async fn advance_audit_cutoff(&self, retention: Retention) -> Result<Option<Timestamp>, Error> {
        self.write("advance_audit_cutoff", |txn| async move {
            let ends = Entity::find()
                .select_only()
                .column_as(Column::OccurredAt.min(), "oldest")
                .column_as(Column::OccurredAt.max(), "newest");
            let Some(rows) = extent(ends.into_tuple().one(&*txn).await?) else {
                return Ok(None);
            };
            let before = advance(&txn, &self.time, Kind::AuditEvents, retention, rows).await?;
            Ok(Some(before))
        })
        .await
    }

    async fn expire(&self, before: Timestamp, limit: u64) -> Result<u64, Error> {
        self.write("expire_audit_events", |txn| async move {
            let deleted = Entity::delete_many()
                .filter(Column::Id.in_subquery(oldest(before, limit)))
                .exec(&*txn)
                .await?;
            Ok(deleted.rows_affected)
        })
        .await
    }
}

/// Stores an event of a scope that the transaction has locked or that its grant names.
pub(crate) async fn insert(
    txn: &Txn,
    scope: &EventScope,
    event: &AuditEvent,
) -> Result<(), Failure> {
    let row = Model {
        id: event.id.as_uuid(),
        occurred_at: event.occurred_at.unix_millis(),
        actor_kind: event.actor.kind.to_owned(),
        actor_id: event.actor.id.clone(),
        action: event.action.to_owned(),
        organization_id: Some(scope.organization.to_string()),
        workspace_id: scope.workspace.as_ref().map(ToString::to_string),
        resource_kind: event.resource_kind.to_owned(),
        resource_id: event.resource_id.clone(),
        request_id: event.request_id.clone(),
        source: event.source.map(|address| address.to_string()),
        details: serde_json::to_string(&event.details).map_err(Error::internal)?,
    };
    let row = row.into_active_model().reset_all();
    Entity::insert(row).exec_without_returning(txn).await?;
    Ok(())
}

/// Selects the rows of a page, plus one.
fn listed(filter: &AuditFilter, page: &PageRequest<AuditCursor>) -> Select<Entity> {
    let mut query = Entity::find()
        .order_by_desc(Column::OccurredAt)
        .order_by_desc(Column::Id)
        .limit(u64::from(page.limit) + 1);
    for (column, wanted) in [
        (Column::OrganizationId, &filter.organization),
        (Column::WorkspaceId, &filter.workspace),
        (Column::ResourceKind, &filter.resource_kind),
        (Column::ResourceId, &filter.resource_id),
        (Column::Action, &filter.action),
        (Column::ActorKind, &filter.actor_kind),
        (Column::ActorId, &filter.actor_id),
        (Column::RequestId, &filter.request_id),
    ] {
        if let Some(wanted) = wanted {
            query = query.filter(column.eq(wanted));
        }
    }
    if let Some(start) = filter.start {
        query = query.filter(Column::OccurredAt.gte(start.unix_millis()));
    }
    if let Some(end) = filter.end {
        query = query.filter(Column::OccurredAt.lt(end.unix_millis()));
    }
    match page.after {
        Some(AuditCursor { occurred_at, id }) => {
            let after = Position {
                created_at: occurred_at,
                id: id.as_uuid(),
            };
            query.filter(older_than(Column::OccurredAt, Column::Id, after))
        }
        None => query,
    }
}

/// Selects the events to delete next. Replicas that delete concurrently select different events and do not wait for
/// each other.
fn oldest(before: Timestamp, limit: u64) -> SelectStatement {
    Query::select()
        .column(Column::Id)
        .from(Entity)
        .and_where(Column::OccurredAt.lt(before.unix_millis()))
        .order_by(Column::OccurredAt, Order::Asc)
        .limit(limit)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .to_owned()
}

fn from_row(row: Model) -> Result<RecordedEvent, Error> {
    let details = serde_json::from_str(&row.details)
        .map_err(|_| Error::internal("a stored audit event has unreadable details"))?;
    Ok(RecordedEvent {
        cursor: AuditCursor {
            occurred_at: Timestamp::from_unix_millis(row.occurred_at),
            id: AuditEventId::from_uuid(row.id),
        },
        actor_kind: row.actor_kind,
        actor_id: row.actor_id,
        action: row.action,
        organization: row.organization_id,
        workspace: row.workspace_id,
        resource_kind: row.resource_kind,
        resource_id: row.resource_id,
        request_id: row.request_id,
        source: row.source,
        details,
    })
}

#[cfg(test)]
mod tests;
