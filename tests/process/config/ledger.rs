//! The `[ledger]` section of the configuration.

use keyward::proto::v1::ReserveSpendRequest;
use prost_types::Duration;
use tonic::Code;

use crate::support::deployment::{Deployment, Served};
use crate::support::spending::Meter;

const TTL: &str = "KEYWARD_LEDGER__RESERVATION_TTL_MS";
const MAX_TTL: &str = "KEYWARD_LEDGER__MAX_RESERVATION_TTL_MS";
const RETENTION: &str = "KEYWARD_LEDGER__CHARGE_RETENTION_DAYS";

fn hold(hash: &str, request_id: &str, ttl_millis: Option<i64>) -> ReserveSpendRequest {
    ReserveSpendRequest {
        hash: hash.to_owned(),
        request_id: request_id.to_owned(),
        amount_nanos: 1,
        byok: false,
        ttl: ttl_millis.map(|millis| Duration {
            seconds: millis / 1000,
            nanos: i32::try_from(millis % 1000).unwrap() * 1_000_000,
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_make_no_sense_are_rejected_by_name() {
    let deployment = Deployment::sqlite().await;
    for (variables, field) in [
        (vec![(TTL, "0")], "`ledger.reservation_ttl_ms`"),
        // More than the default maximum, and a maximum below the default.
        (vec![(TTL, "86400001")], "`ledger.reservation_ttl_ms`"),
        (vec![(MAX_TTL, "599999")], "`ledger.reservation_ttl_ms`"),
        (vec![(MAX_TTL, "0")], "`ledger.reservation_ttl_ms`"),
        (
            vec![(TTL, "0"), (MAX_TTL, "0")],
            "`ledger.reservation_ttl_ms`",
        ),
        (
            vec![(TTL, "6"), (MAX_TTL, "5")],
            "`ledger.reservation_ttl_ms`",
        ),
        (vec![(TTL, "-1")], "`ledger.reservation_ttl_ms`"),
        (vec![(MAX_TTL, "1.5")], "`ledger.max_reservation_ttl_ms`"),
        (vec![(RETENTION, "-1")], "`ledger.charge_retention_days`"),
        (
            vec![(RETENTION, "4294967296")],
            "`ledger.charge_retention_days`",
        ),
        (
            vec![(RETENTION, "Canary7QzX")],
            "`ledger.charge_retention_days`",
        ),
    ] {
        let serve = deployment.command("serve");
        let serve = variables
            .iter()
            .fold(serve, |serve, (name, value)| serve.env(name, value));
        let printed = serve.run().expect(78);
        assert!(printed.contains(field), "{variables:?}: {printed}");
        assert!(!printed.contains("Canary7QzX"), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_last_as_long_as_is_set() {
    let deployment = Deployment::sqlite().await;
    let serve = deployment
        .command("serve")
        .env(TTL, "1234")
        .env(MAX_TTL, "5000");
    let served = Served::of(serve);
    let meter = Meter::new(&served.url, &deployment.env).await;
    let hash = meter.issue(None).await;
    for (request_id, ttl, lasts) in [("default", None, 1234), ("longest", Some(5000), 5000)] {
        meter.reserve(hold(&hash, request_id, ttl)).await.unwrap();
        let row = format!(
            "reservations WHERE request_id = '{request_id}' AND expires_at - created_at = {lasts}"
        );
        assert_eq!(deployment.database.count(&row).await, 1, "{request_id}");
    }
    let rejected = meter.reserve(hold(&hash, "longer", Some(5001))).await;
    assert_eq!(rejected.unwrap_err().code(), Code::InvalidArgument);
    served.running.terminate().expect(0);

    // Both may be equal, and the environment takes precedence over the file.
    let section = "[ledger]\nreservation_ttl_ms = 7\nmax_reservation_ttl_ms = 7\n";
    let text = std::fs::read_to_string(deployment.config()).unwrap();
    std::fs::write(deployment.config(), text + section).unwrap();
    deployment.command("serve").env(TTL, "8").run().expect(78);
    let served = Served::of(deployment.command("serve"));
    let meter = Meter::new(&served.url, &deployment.env).await;
    meter
        .reserve(hold(&hash, "from the file", None))
        .await
        .unwrap();
    let row = "reservations WHERE request_id = 'from the file' AND expires_at - created_at = 7";
    assert_eq!(deployment.database.count(row).await, 1);
    served.running.terminate().expect(0);
}
