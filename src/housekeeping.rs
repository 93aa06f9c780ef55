//! What a running Keyward does without being asked: it rolls up old charges.

use std::time::Duration;

use keyward_core::ledger::{Ledger, RolledUp};
use tokio::time::MissedTickBehavior;

use crate::error;

/// How long to wait between two roll-ups. Replicas may all do it: what is gone is gone once.
const ROLL_UP_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Does it now and then every hour, for as long as it is polled. A failure is logged, and the next
/// turn makes up for it.
pub async fn run(ledger: Ledger) {
    let mut turns = tokio::time::interval(ROLL_UP_INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
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
            Err(failure) => {
                let cause = error::chain(&failure);
                tracing::warn!(%failure, cause, "old charges could not be rolled up");
            }
        }
    }
}
