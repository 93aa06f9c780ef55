//! Use cases of the audit trail: list events and delete old events.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::model::audit::RecordedEvent;
use crate::model::audit_filter::AuditFilter;
use crate::model::page::{Page, PageRequest};
use crate::model::principal::Caller;
use crate::model::retention::Retention;
use crate::policy;
use crate::ports::AuditStore;

/// Number of events that a transaction deletes: few enough that concurrent writers hardly wait.
const EXPIRY_BATCH: u64 = 500;

/// Settings for the audit trail.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuditSettings {
    /// Time for which events are kept; `None` keeps them forever.
    pub retention: Option<Duration>,
}

/// Use cases of the audit trail.
#[derive(Clone)]
pub struct AuditTrail {
    store: Arc<dyn AuditStore>,
    settings: AuditSettings,
}

impl AuditTrail {
    /// Returns the use cases on a store.
    #[must_use]
    pub fn new(store: Arc<dyn AuditStore>, settings: AuditSettings) -> Self {
        Self { store, settings }
    }

    /// Lists the events that match a filter, newest first.
    ///
    /// # Errors
    /// Denied for all callers but services; the filter is invalid; the page token does not belong to this
    /// list.
    pub async fn list(
        &self,
        caller: &Caller,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<RecordedEvent>, Error> {
        let grant = policy::authorize_audit(&caller.principal)?;
        filter.check()?;
        let page = page.read(|text| filter.read_cursor(text))?;
        self.store.events(&grant, filter, &page).await
    }

    /// Deletes the events that are past their retention and returns their number. Works in batches, between
    /// which other transactions write. `passed` is the time since this process's last run, by a monotonic clock:
    /// [`Retention::advance`] deletes in proportion to it.
    ///
    /// # Errors
    /// The store cannot be reached; events that were deleted until then stay deleted.
    pub async fn expire(&self, passed: Duration) -> Result<u64, Error> {
        let Some(kept_for) = self.settings.retention else {
            return Ok(0);
        };
        let retention = Retention { kept_for, passed };
        let Some(before) = self.store.advance_audit_cutoff(retention).await? else {
            return Ok(0);
        };
        let mut dropped = 0;
        loop {
            let batch = self.store.expire(before, EXPIRY_BATCH).await?;
            dropped += batch;
            if batch < EXPIRY_BATCH {
                return Ok(dropped);
            }
        }
    }
}
