//! Audit events and their filters.

use std::collections::HashMap;

use keyward_core::Error;
use keyward_core::audit::RecordedEvent;
use keyward_core::audit_filter::AuditFilter;
use keyward_core::clock::Timestamp;

use super::{timestamp_from_proto, timestamp_to_proto};
use crate::api::proto::v1;

/// Converts a filter. Empty texts match all events.
pub(crate) fn filter_from_proto(message: v1::ListAuditEventsRequest) -> Result<AuditFilter, Error> {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(AuditFilter {
        organization: given(message.organization_id),
        workspace: given(message.workspace_id),
        resource_kind: given(message.resource_kind),
        resource_id: given(message.resource_id),
        action: given(message.action),
        actor_kind: given(message.actor_kind),
        actor_id: given(message.actor_id),
        request_id: given(message.request_id),
        start: bound_from_proto("startTime", "Start time", message.start_time)?,
        end: bound_from_proto("endTime", "End time", message.end_time)?,
    })
}

/// Parses a bound of a range, and rounds it up to a millisecond. Events have whole milliseconds, so as either
/// bound it matches the same events as the exact time.
fn bound_from_proto(
    field: &'static str,
    label: &str,
    at: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Error> {
    let Some(at) = at else { return Ok(None) };
    let is_between = at.nanos % 1_000_000 != 0;
    let millis = timestamp_from_proto(field, label, at)?.unix_millis();
    let rounded = Timestamp::from_unix_millis(millis + i64::from(is_between));
    Ok(Some(rounded))
}

/// Converts an event to its message.
pub(crate) fn event_to_proto(event: RecordedEvent) -> v1::AuditEvent {
    v1::AuditEvent {
        id: event.cursor.id.to_string(),
        occurred_at: Some(timestamp_to_proto(event.cursor.occurred_at)),
        actor_kind: event.actor_kind,
        actor_id: event.actor_id,
        action: event.action,
        organization_id: event.organization.unwrap_or_default(),
        workspace_id: event.workspace.unwrap_or_default(),
        resource_kind: event.resource_kind,
        resource_id: event.resource_id,
        request_id: event.request_id,
        source_address: event.source.unwrap_or_default(),
        details: HashMap::from_iter(event.details),
    }
}
