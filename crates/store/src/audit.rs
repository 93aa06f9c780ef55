//! Stores audit events, always in the transaction of what they tell of.

use keyward_core::Error;
use keyward_core::audit::AuditEvent;
use sea_orm::{ActiveModelTrait, DatabaseTransaction, EntityTrait, IntoActiveModel};

use crate::entity::audit_event;
use crate::error::Failure;

/// Stores an event.
pub(crate) async fn insert(txn: &DatabaseTransaction, event: &AuditEvent) -> Result<(), Failure> {
    let row = audit_event::Model {
        id: event.id.as_uuid(),
        occurred_at: event.occurred_at.unix_millis(),
        actor_kind: event.actor.kind.to_owned(),
        actor_id: event.actor.id.clone(),
        action: event.action.to_owned(),
        organization_id: event.organization.as_ref().map(ToString::to_string),
        workspace_id: event.workspace.as_ref().map(ToString::to_string),
        resource_kind: event.resource_kind.to_owned(),
        resource_id: event.resource_id.clone(),
        request_id: event.request_id.clone(),
        source: event.source.map(|address| address.to_string()),
        details: serde_json::to_string(&event.details).map_err(Error::internal)?,
    };
    let row = row.into_active_model().reset_all();
    audit_event::Entity::insert(row)
        .exec_without_returning(txn)
        .await?;
    Ok(())
}
