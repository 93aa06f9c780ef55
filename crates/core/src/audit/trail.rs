//! What can be done with the trail: read it, and let go of what is old.

use std::sync::Arc;
use std::time::Duration;

use super::{AuditFilter, RecordedEvent};
use crate::clock::Clock;
use crate::error::Error;
use crate::page::{Page, PageRequest};
use crate::policy;
use crate::principal::Caller;
use crate::store::AuditStore;

/// How many events are dropped in one transaction: few enough that whoever writes meanwhile hardly
/// waits.
const EXPIRY_BATCH: u64 = 500;

/// How the trail is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuditSettings {
    /// For how long events are kept; for good when not set.
    pub retention: Option<Duration>,
}

/// The audit trail's use cases.
#[derive(Clone)]
pub struct AuditTrail {
    store: Arc<dyn AuditStore>,
    settings: AuditSettings,
    clock: Arc<dyn Clock>,
}

impl AuditTrail {
    /// The trail that a store keeps.
    #[must_use]
    pub fn new(store: Arc<dyn AuditStore>, settings: AuditSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            settings,
            clock,
        }
    }

    /// Lists the events that a filter lets through, newest first.
    ///
    /// # Errors
    /// Denied to all but services; the filter does not fit; the page is none of this list.
    pub async fn list(
        &self,
        caller: &Caller,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<RecordedEvent>, Error> {
        let grant = policy::authorize_audit(&caller.principal)?;
        filter.check()?;
        let page = page.read(|text| filter.read_place(text))?;
        self.store.events(&grant, filter, &page).await
    }

    /// Drops the events that are past their retention, in batches between which others write, and
    /// says how many: in one turn no more than [`MAX_STEP`](crate::retention::MAX_STEP) of the trail, and
    /// never by a clock that is ahead of the newest event.
    ///
    /// # Errors
    /// The store cannot be reached; what was dropped until then is gone.
    pub async fn expire(&self) -> Result<u64, Error> {
        let Some(retention) = self.settings.retention else {
            return Ok(0);
        };
        let Some(extent) = self.store.extent().await? else {
            return Ok(0);
        };
        let before = extent.cutoff(self.clock.now(), retention);
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
