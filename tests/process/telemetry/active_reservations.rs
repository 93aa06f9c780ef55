//! Number of active reservations, which is the same on every replica.

use std::time::{Duration, Instant};

use keyward::proto::v1::ReserveSpendRequest;

use crate::support::deployment::Deployment;
use crate::support::spending::Meter;
use crate::telemetry::metrics::Measured;

/// Name of the series.
const HELD: &str = "keyward_reservations_held";

/// A process without reservations of its own reports those of another process, which PostgreSQL lets run
/// beside it.
async fn what_is_held_is_read(deployment: Deployment, together: bool) {
    let first = deployment.start_patient();
    let meter = Meter::new(&first.url, &deployment.env).await;
    let hash = meter.issue(None).await;
    for number in 0..3 {
        let hold = ReserveSpendRequest {
            hash: hash.clone(),
            request_id: format!("r{number}"),
            amount_nanos: 1,
            ..Default::default()
        };
        let held = meter.reserve(hold).await.unwrap();
        if number == 0 {
            meter.release(&held.reservation_id).await.unwrap();
        }
    }
    let mut first = Some(first);
    if !together {
        let first = first.take().unwrap();
        first.running.terminate().expect(0);
    }
    let second = deployment.start_patient();
    let patience = Instant::now() + Duration::from_secs(60);
    while Measured::at(&second.url).await.find(HELD) != Some(2.0) {
        assert!(Instant::now() < patience, "it is not found");
    }
    for served in first.into_iter().chain([second]) {
        served.running.terminate().expect(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn active_reservations_are_read_from_the_store() {
    what_is_held_is_read(Deployment::sqlite().await, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn active_reservations_are_equal_on_each_replica() {
    if let Some(deployment) = Deployment::postgres().await {
        what_is_held_is_read(deployment, true).await;
    }
}
