//! What a running Keyward does without being asked: it rolls up old charges, and lets go of old audit
//! events.

use std::time::Duration;

use keyward_core::Error;
use keyward_core::audit::AuditTrail;
use keyward_core::ledger::{Ledger, RolledUp};
use tokio::time::MissedTickBehavior;

use crate::error;

/// How long to wait between two turns. Replicas may all do it: what is gone is gone once.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Does it now and then every hour, for as long as it is polled. A failure is logged, and the next
/// turn makes up for it.
pub async fn run(ledger: Ledger, audit: AuditTrail) {
    let mut turns = tokio::time::interval(INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        roll_up(&ledger).await;
        expire(&audit).await;
    }
}

async fn roll_up(ledger: &Ledger) {
    match ledger.roll_up().await {
        Ok(RolledUp {
            charges: 0,
            reservations: 0,
        }) => {}
        Ok(RolledUp {
            charges,
            reservations,
        }) => tracing::info!(
            charges,
            reservations,
            "old charges rolled up into daily sums"
        ),
        Err(failure) => warn(&failure, "old charges could not be rolled up"),
    }
}

async fn expire(audit: &AuditTrail) {
    match audit.expire().await {
        Ok(0) => {}
        Ok(events) => tracing::info!(events, "audit events past their retention deleted"),
        Err(failure) => warn(&failure, "old audit events could not be deleted"),
    }
}

fn warn(failure: &Error, what: &'static str) {
    let cause = error::chain(failure);
    tracing::warn!(%failure, cause, "{what}");
}
