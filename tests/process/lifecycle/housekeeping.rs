//! Background tasks of a server.

use keyward::proto::v1::RecordUsageRequest;

use crate::support::deployment::{Deployment, Served};
use crate::support::spending::Meter;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

async fn charge(meter: &Meter, hash: &str, request_id: &str, cost_nanos: i64) -> bool {
    let charge = RecordUsageRequest {
        hash: hash.to_owned(),
        request_id: request_id.to_owned(),
        cost_nanos,
        ..Default::default()
    };
    meter.record(charge).await.unwrap().duplicate
}

/// Charges older than the retention are rolled up when the server starts: sums remain, and newer charges
/// remain unchanged.
async fn old_charges_are_rolled_up(deployment: Deployment) {
    let served = deployment.start();
    let meter = Meter::new(&served.url, &deployment.env).await;
    let hash = meter.issue(Some(1_000_000)).await;
    for (request_id, cost) in [("old-1", 100), ("old-2", 20), ("young", 3)] {
        assert!(!charge(&meter, &hash, request_id, cost).await);
    }
    let before = meter.key(&hash).await;
    assert_eq!(before.usage_nanos, 123);
    served.running.terminate().expect(0);
    let age = format!(
        "UPDATE charges SET recorded_at = recorded_at - {} WHERE request_id <> 'young'",
        DAY_MILLIS + 1000
    );
    deployment.database.execute(&age).await;

    // Without a retention nothing is deleted.
    deployment.start().running.terminate().expect(0);
    assert_eq!(deployment.database.count("charges").await, 3);

    let serve = deployment.command("serve");
    let served = Served::of(serve.env("KEYWARD_LEDGER__CHARGE_RETENTION_DAYS", "1"));
    let stderr = &served.running.stderr;
    stderr.wait_for("old charges rolled up into daily sums");
    let printed = stderr.so_far();
    let line = printed.lines().find(|line| line.contains("rolled up"));
    assert!(
        line.is_some_and(|line| line.contains("charges=2 reservations=0")),
        "{printed}"
    );
    assert_eq!(deployment.database.count("charges").await, 1);
    assert_eq!(
        deployment
            .database
            .count("charges WHERE request_id = 'young'")
            .await,
        1
    );

    let meter = Meter::new(&served.url, &deployment.env).await;
    let after = meter.key(&hash).await;
    assert_eq!(after.limit_remaining_nanos, Some(1_000_000 - 123));
    assert_eq!(after, before);
    assert!(charge(&meter, &hash, "young", 3).await);
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_rolls_up_old_charges_at_start_on_sqlite() {
    old_charges_are_rolled_up(Deployment::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_rolls_up_old_charges_at_start_on_postgres() {
    if let Some(deployment) = Deployment::postgres().await {
        old_charges_are_rolled_up(deployment).await;
    }
}

/// Audit events past their retention are deleted when the server starts, and newer events remain.
async fn old_audit_events_are_deleted(deployment: Deployment) {
    let all = deployment.database.count("audit_events").await;
    let age = format!(
        "UPDATE audit_events SET occurred_at = occurred_at - {} WHERE resource_kind = 'workspace'",
        DAY_MILLIS + 1000
    );
    deployment.database.execute(&age).await;
    let old = deployment
        .database
        .count("audit_events WHERE resource_kind = 'workspace'")
        .await;
    assert!(old > 0 && old < all, "{old} of {all}");

    // Without a retention nothing is deleted.
    deployment.start().running.terminate().expect(0);
    assert_eq!(deployment.database.count("audit_events").await, all);

    let serve = deployment.command("serve");
    let served = Served::of(serve.env("KEYWARD_AUDIT__RETENTION_DAYS", "1"));
    let stderr = &served.running.stderr;
    stderr.wait_for("audit events past their retention deleted");
    let printed = stderr.so_far();
    assert!(printed.contains(&format!("events={old}")), "{printed}");
    assert_eq!(deployment.database.count("audit_events").await, all - old);
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_deletes_old_audit_events_at_start_on_sqlite() {
    old_audit_events_are_deleted(Deployment::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_deletes_old_audit_events_at_start_on_postgres() {
    if let Some(deployment) = Deployment::postgres().await {
        old_audit_events_are_deleted(deployment).await;
    }
}

/// A server whose clock is 400 days ahead of everything stored: rows that are past the retention by the
/// newest rows are deleted, nothing else is, and a repeated charge is found.
async fn clock_that_is_ahead_deletes_nothing(deployment: Deployment) {
    let served = deployment.start();
    let meter = Meter::new(&served.url, &deployment.env).await;
    let hash = meter.issue(None).await;
    for request_id in ["0", "1", "2", "3"] {
        assert!(!charge(&meter, &hash, request_id, 1).await);
    }
    served.running.terminate().expect(0);
    let (age, retention) = (400 * DAY_MILLIS, 91 * DAY_MILLIS);
    for (table, column, oldest) in [
        ("charges", "recorded_at", "request_id = '0'"),
        (
            "audit_events",
            "occurred_at",
            "id = (SELECT id FROM audit_events ORDER BY id LIMIT 1)",
        ),
    ] {
        let older = format!("UPDATE {table} SET {column} = {column} - {age}");
        deployment.database.execute(&older).await;
        let oldest = format!("UPDATE {table} SET {column} = {column} - {retention} WHERE {oldest}");
        deployment.database.execute(&oldest).await;
    }
    let events = deployment.database.count("audit_events").await;
    assert!(events > 1);

    let serve = deployment
        .command("serve")
        .env("KEYWARD_LEDGER__CHARGE_RETENTION_DAYS", "90")
        .env("KEYWARD_AUDIT__RETENTION_DAYS", "90");
    let served = Served::of(serve);
    let stderr = &served.running.stderr;
    stderr.wait_for("old charges rolled up into daily sums");
    stderr.wait_for("audit events past their retention deleted");
    assert_eq!(deployment.database.count("charges").await, 3);
    assert_eq!(deployment.database.count("audit_events").await, events - 1);
    let meter = Meter::new(&served.url, &deployment.env).await;
    for request_id in ["1", "2", "3"] {
        assert!(charge(&meter, &hash, request_id, 1).await, "{request_id}");
    }
    assert_eq!(meter.key(&hash).await.usage_nanos, 4);
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_that_is_ahead_deletes_nothing_on_sqlite() {
    clock_that_is_ahead_deletes_nothing(Deployment::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_that_is_ahead_deletes_nothing_on_postgres() {
    if let Some(deployment) = Deployment::postgres().await {
        clock_that_is_ahead_deletes_nothing(deployment).await;
    }
}
