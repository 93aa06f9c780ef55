//! Background tasks of a server. The hours of retention are tested in `tests/api/cross_cutting/retention.rs`.

use std::time::Duration;

use keyward::proto::v1::RecordUsageRequest;

use crate::support::deployment::{Deployment, Served};
use crate::support::spending::Meter;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// Time after which a test fails instead of waiting forever.
const PATIENCE: Duration = Duration::from_secs(120);

async fn is_duplicate(meter: &Meter, hash: &str, request_id: &str) -> bool {
    let charge = RecordUsageRequest {
        hash: hash.to_owned(),
        request_id: request_id.to_owned(),
        cost_nanos: 1,
        ..Default::default()
    };
    meter.record(charge).await.unwrap().duplicate
}

/// Starts a server with a retention of a day, and waits for the first run of its retention.
async fn served(deployment: &Deployment) -> Served {
    let earlier = "UPDATE retention_runs SET ran_at = 0";
    deployment.database.execute(earlier).await;
    let serve = deployment
        .command("serve")
        .env("KEYWARD_LEDGER__CHARGE_RETENTION_DAYS", "1")
        .env("KEYWARD_AUDIT__RETENTION_DAYS", "1");
    let served = Served::of(serve);
    let run = async {
        while deployment
            .database
            .count("retention_runs WHERE ran_at > 0")
            .await
            < 2
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, run).await.expect("no run");
    served
}

/// However old the rows are, a process that has just started deletes none.
async fn restarts_delete_nothing(deployment: Deployment) {
    let first = deployment.start();
    let meter = Meter::new(&first.url, &deployment.env).await;
    let hash = meter.issue(None).await;
    for request_id in ["0", "1", "2", "3"] {
        assert!(!is_duplicate(&meter, &hash, request_id).await);
    }
    first.running.terminate().expect(0);
    for (table, column, newest) in [
        ("charges", "recorded_at", "request_id = '3'"),
        (
            "audit_events",
            "occurred_at",
            "id = (SELECT id FROM audit_events ORDER BY id DESC LIMIT 1)",
        ),
    ] {
        let age = 400 * DAY_MILLIS;
        let older = format!("UPDATE {table} SET {column} = {column} - {age} WHERE NOT ({newest})");
        deployment.database.execute(&older).await;
    }
    let events = deployment.database.count("audit_events").await;
    assert!(events > 1);
    for _ in 0..5 {
        let served = served(&deployment).await;
        let meter = Meter::new(&served.url, &deployment.env).await;
        for request_id in ["0", "1", "2", "3"] {
            assert!(is_duplicate(&meter, &hash, request_id).await);
        }
        assert_eq!(meter.key(&hash).await.usage_nanos, 4);
        served.running.terminate().expect(0);
        assert_eq!(deployment.database.count("charges").await, 4);
        assert_eq!(deployment.database.count("audit_events").await, events);
    }
    // The cutoffs are at the oldest rows.
    for (table, column, kind) in [
        ("charges", "recorded_at", "ledger"),
        ("audit_events", "occurred_at", "audit_events"),
    ] {
        let cutoff = format!(
            "retention_runs WHERE kind = '{kind}' AND cutoff_at = (SELECT MIN({column}) FROM {table})"
        );
        assert_eq!(deployment.database.count(&cutoff).await, 1, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_delete_nothing_on_sqlite() {
    restarts_delete_nothing(Deployment::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_delete_nothing_on_postgres() {
    if let Some(deployment) = Deployment::postgres().await {
        restarts_delete_nothing(deployment).await;
    }
}
