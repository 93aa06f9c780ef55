//! The audit trail.

use async_trait::async_trait;

use crate::error::Error;
use crate::model::audit::{AuditCursor, RecordedEvent};
use crate::model::audit_filter::AuditFilter;
use crate::model::clock::Timestamp;
use crate::model::page::{Page, PageRequest};
use crate::model::retention::Retention;
use crate::policy::AuditGrant;

/// Reads the audit trail, which all other stores write, and deletes old events.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Returns the events that the filter matches, newest first. [`Page::next`] is the result of
    /// [`AuditFilter::write_cursor`] for the position of the last event.
    async fn events(
        &self,
        grant: &AuditGrant,
        filter: &AuditFilter,
        page: &PageRequest<AuditCursor>,
    ) -> Result<Page<RecordedEvent>, Error>;

    /// Advances the cutoff of the audit trail with [`Retention::advance`] and returns the time before which
    /// events are to be deleted; `None` if there are no events. The store's first run only stores the cutoff.
    /// Takes no grant, since it does not serve a caller.
    async fn advance_audit_cutoff(&self, retention: Retention) -> Result<Option<Timestamp>, Error>;

    /// Deletes at most `limit` events from before a time, the oldest first, and returns their number. Takes
    /// neither grant nor event, since it does not serve a caller.
    async fn expire(&self, before: Timestamp, limit: u64) -> Result<u64, Error>;
}
