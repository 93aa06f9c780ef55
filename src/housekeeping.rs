//! What a running Keyward does without being asked: it rolls up old charges, lets go of old audit events,
//! and looks after those measurements that nobody's call makes.

use std::time::Duration;

use keyward_core::Error;
use keyward_core::audit::AuditTrail;
use keyward_core::ledger::{Ledger, RolledUp};
use tokio::time::MissedTickBehavior;

use crate::error;
use crate::health::Health;
use crate::metrics;

/// How long to wait between two turns. Replicas may all do it: what is gone is gone once.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How long to wait between two measurements. Each is a single cheap query.
const MEASURE_INTERVAL: Duration = Duration::from_secs(15);
/// How long a measurement may take.
const MEASURE_TIMEOUT: Duration = Duration::from_secs(5);

/// Does it for as long as it is polled.
pub async fn run(ledger: Ledger, audit: AuditTrail, health: Health) {
    tokio::join!(clean(&ledger, &audit), measure(&ledger, &health));
}

/// Measures now and then every [`MEASURE_INTERVAL`]. What is held is read from the store, since other
/// replicas hold and release too. What cannot be read is not known.
async fn measure(ledger: &Ledger, health: &Health) {
    let mut turns = tokio::time::interval(MEASURE_INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        // It notes for itself whether we are.
        let ready = health.is_ready().await;
        let held = match ready {
            true => tokio::time::timeout(MEASURE_TIMEOUT, ledger.held()).await,
            false => Ok(Ok(0)),
        };
        match held {
            Ok(Ok(held)) if ready => metrics::reservations_held(Some(held)),
            _ => metrics::reservations_held(None),
        }
    }
}

/// Does it now and then every hour, for as long as it is polled. A failure is logged, and the next
/// turn makes up for it.
async fn clean(ledger: &Ledger, audit: &AuditTrail) {
    let mut turns = tokio::time::interval(INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        roll_up(ledger).await;
        expire(audit).await;
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
