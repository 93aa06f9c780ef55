//! A database server whose clock differs from the machine's.

use std::time::{Duration, Instant};

use http::Method;

use crate::support::client::{Answer, Rest};
use crate::support::deployment::{Deployment, Served};
use crate::telemetry::metrics::Measured;

const DIFFERENCE: &str = "keyward_database_clock_difference_seconds";

/// Makes the database's clock differ from the machine's for every later connection, or for the connections
/// that have already seen a difference.
async fn move_clock(deployment: &Deployment, seconds: i64) {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql AS \
         $$ SELECT pg_catalog.clock_timestamp() + interval '{seconds} s' $$;
         DO $$ BEGIN EXECUTE format( \
         'ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$"
    );
    deployment.database.execute(&sql).await;
}

async fn readiness(served: &Served) -> (u16, String) {
    let answer = Answer::of(Rest::new(&served.url).request(Method::GET, "/readyz")).await;
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    (answer.status, body)
}

/// Polls until the replica has compared the clocks and has this readiness.
async fn until_ready(served: &Served, status: u16) -> String {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let (found, body) = readiness(served).await;
        if found == status {
            return body;
        }
        assert!(Instant::now() < patience, "{found} {body}");
    }
}

/// Expects this measured difference, which falls short of the real one by at most a round trip.
async fn assert_difference(served: &Served, seconds: f64) {
    let measured = Measured::at(&served.url).await.value(DIFFERENCE);
    assert!((measured - seconds).abs() < 0.5, "{measured}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_difference_is_logged_measured_and_ends_readiness() {
    let Some(deployment) = Deployment::postgres().await else {
        return;
    };
    move_clock(&deployment, 40).await;
    let served = deployment.start();
    let stderr = &served.running.stderr;
    stderr.wait_for("differs from the database's by more than database.max_clock_difference_ms");
    let body = until_ready(&served, 503).await;
    assert!(
        body.contains("database.max_clock_difference_ms: the machine's clock differs"),
        "{body}"
    );
    assert_difference(&served, -40.0).await;

    move_clock(&deployment, -3).await;
    let body = until_ready(&served, 200).await;
    assert_eq!(body, r#"{"status":"ok"}"#);
    stderr.wait_for("the machine's clock differs from the database's difference_ms=");
    assert_difference(&served, 3.0).await;

    move_clock(&deployment, 0).await;
    stderr.wait_for("the machine's clock agrees with the database's");
    assert_difference(&served, 0.0).await;
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_difference_above_the_setting_alone_ends_readiness() {
    let Some(deployment) = Deployment::postgres().await else {
        return;
    };
    move_clock(&deployment, 40).await;
    let serve = deployment.command("serve");
    let served = Served::of(serve.env("KEYWARD_DATABASE__MAX_CLOCK_DIFFERENCE_MS", "60000"));
    until_ready(&served, 200).await;
    assert_difference(&served, -40.0).await;
    served.running.terminate().expect(0);
}
