//! Background work: follows the changes of other replicas, rolls up old charges, deletes old audit events, and records the metrics that no call
//! records.

use std::time::Duration;

use keyward_core::Error;
use keyward_core::ledger::RolledUp;
use keyward_core::services::{AuditTrail, Ledger};
use keyward_store::Store;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::http::readiness::Health;
use crate::telemetry::{causes, metrics};

/// Interval between cleanups. Replicas may all run them: the store advances one cutoff for all.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Interval between measurements. Each is a single cheap query.
const MEASURE_INTERVAL: Duration = Duration::from_secs(15);
/// Timeout of a measurement.
const MEASURE_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs for as long as it is polled.
pub(crate) async fn run(store: Store, ledger: Ledger, audit: AuditTrail, health: Health) {
    tokio::join!(
        store.follow_changes(),
        clean(&ledger, &audit),
        measure(&ledger, &health)
    );
}

/// Measures at once and then every [`MEASURE_INTERVAL`]. Reservations are read from the store, since other
/// replicas change them too. A failed read is recorded as unknown.
async fn measure(ledger: &Ledger, health: &Health) {
    let mut turns = tokio::time::interval(MEASURE_INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        // Records the readiness itself.
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

/// Cleans up at once and then every [`INTERVAL`], for as long as it is polled. A failure is logged, and later runs
/// catch up.
async fn clean(ledger: &Ledger, audit: &AuditTrail) {
    let mut turns = Turns::begin();
    loop {
        let passed = turns.next().await;
        roll_up(ledger, passed).await;
        expire(audit, passed).await;
    }
}

/// Turns of the cleanup.
struct Turns {
    interval: Interval,
    last: Option<Instant>,
}

impl Turns {
    fn begin() -> Self {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let last = None;
        Self { interval, last }
    }

    /// Waits for the next turn, and returns the time since the last one, zero for the first. Restarts thus delete
    /// nothing, however many there are.
    async fn next(&mut self) -> Duration {
        self.interval.tick().await;
        let now = Instant::now();
        let last = self.last.replace(now);
        last.map_or(Duration::ZERO, |last| now - last)
    }
}

async fn roll_up(ledger: &Ledger, passed: Duration) {
    match ledger.roll_up(passed).await {
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
        Err(failure) => warn(&failure, "failed to roll up old charges"),
    }
}

async fn expire(audit: &AuditTrail, passed: Duration) {
    match audit.expire(passed).await {
        Ok(0) => {}
        Ok(events) => tracing::info!(events, "audit events past their retention deleted"),
        Err(failure) => warn(&failure, "failed to delete old audit events"),
    }
}

fn warn(failure: &Error, what: &'static str) {
    let cause = std::error::Error::source(failure).map(|_| causes(failure));
    tracing::warn!(%failure, cause, "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turn_counts_the_time_since_the_last_one() {
        let mut turns = Turns::begin();
        assert_eq!(turns.next().await, Duration::ZERO);
        assert_eq!(turns.next().await, INTERVAL);
        // A turn that takes long delays the next one.
        tokio::time::advance(3 * INTERVAL).await;
        assert_eq!(turns.next().await, 3 * INTERVAL);
        assert_eq!(turns.next().await, INTERVAL);
    }
}
