//! The audit trail.

use async_trait::async_trait;

use crate::audit::{AuditFilter, EventPlace, RecordedEvent};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::page::{Page, PageRequest};
use crate::policy::AuditGrant;
use crate::retention::Extent;

/// Reads the audit trail, which every other store writes, and drops what is old of it.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// The events that the filter lets through, newest first; [`Page::next`] is what
    /// [`AuditFilter::write_place`] makes of the last one's place.
    async fn events(
        &self,
        grant: &AuditGrant,
        filter: &AuditFilter,
        page: &PageRequest<EventPlace>,
    ) -> Result<Page<RecordedEvent>, Error>;

    /// When the oldest and the newest event occurred. Without a grant, since no caller asks for it.
    async fn extent(&self) -> Result<Option<Extent>, Error>;

    /// Drops at most `limit` events of before a moment, the oldest first, and says how many. It has
    /// neither grant nor event, since no caller asks for it.
    async fn expire(&self, before: Timestamp, limit: u64) -> Result<u64, Error>;
}
