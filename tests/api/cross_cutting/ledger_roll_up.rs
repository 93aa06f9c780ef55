//! Old charges and reservations are deleted; their sums remain.

use std::time::Duration;

use serde_json::json;
use tonic::Code;

use crate::support::{
    CENT, DOLLAR, ORGANIZATION, Setup, TestServer, byok_charge, charge, charge_at, hold, rejected,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn keeping_charges_for(setup: Setup, retention: Option<Duration>) -> TestServer {
    Setup {
        charge_retention: retention,
        ..setup
    }
    .start()
    .await
}

async fn charges_past_their_retention_are_dropped_and_their_sums_kept(setup: Setup) {
    let server = keeping_charges_for(setup, Some(30 * DAY)).await;
    let token = server.management_key(ORGANIZATION).await;
    let body = json!({ "limit": 100, "limit_reset": "monthly", "include_byok_in_limit": true });
    let issued = server.issued_key(&token, body).await;
    for (now, own, byok) in [
        ("2026-08-01T00:00:00Z", "own 0", "byok 0"),
        ("2026-08-01T12:00:00Z", "own 1", "byok 1"),
        ("2026-08-20T12:00:00Z", "own 2", "byok 2"),
    ] {
        server.set_clock(now);
        server
            .record(charge(&issued.hash, own, DOLLAR))
            .await
            .unwrap();
        server
            .record(byok_charge(&issued.hash, byok, CENT))
            .await
            .unwrap();
    }
    // Spent long ago and recorded now: the time of spending counts.
    let late = charge_at("2026-01-01T00:00:00Z", charge(&issued.hash, "late", DOLLAR));
    server.record(late).await.unwrap();
    assert_eq!(server.roll_up_for(3).await.charges, 0);
    assert_eq!(server.database.count("charges").await, 7);

    server.set_clock("2026-08-31T12:00:00Z");
    // Without a newer charge the clock alone deletes nothing.
    assert_eq!(server.roll_up_for(3).await.charges, 0);
    server
        .record(charge(&issued.hash, "newest", DOLLAR))
        .await
        .unwrap();
    let before = server.key(&token, &issued.hash).await;
    // A charge that is exactly thirty days old, to the millisecond, is not past the retention.
    assert_eq!(server.roll_up_for(3).await.charges, 2);
    assert_eq!(server.database.count("charges").await, 6);
    server.advance_seconds(1);
    server
        .record(charge(&issued.hash, "newer", 0))
        .await
        .unwrap();
    assert_eq!(server.roll_up_for(3).await.charges, 2);
    assert_eq!(server.roll_up_for(3).await.charges, 0);
    assert_eq!(server.database.count("charges").await, 5);
    assert_eq!(server.key(&token, &issued.hash).await, before);
    assert_eq!(
        (&before["usage"], &before["usage_monthly"]),
        (&json!(5), &json!(4))
    );
    assert_eq!(before["byok_usage"], 0.03);
    assert_eq!(before["limit_remaining"], 95.97);
    // Charges that remain are still known.
    assert!(
        server
            .record(charge(&issued.hash, "own 2", DOLLAR))
            .await
            .unwrap()
            .duplicate
    );
}

async fn all_is_dropped_in_one_go_however_much_it_is(setup: Setup) {
    let server = keeping_charges_for(setup, Some(DAY)).await;
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    server
        .record(charge(&issued.hash, "r", CENT))
        .await
        .unwrap();
    // Many more, which no test creates one at a time.
    let copies = "INSERT INTO charges \
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
        SELECT c.key_id, c.request_id || ' ' || n.i, c.amount_nanos, c.byok, c.occurred_at, \
        c.recorded_at, c.recorded_by FROM charges AS c, n";
    server.database.execute(copies).await;
    assert_eq!(server.database.count("charges").await, 2501);
    server.clock.advance(DAY + Duration::from_millis(1));
    server
        .record(charge(&issued.hash, "newest", CENT))
        .await
        .unwrap();
    assert_eq!(server.roll_up_for(3).await.charges, 2501);
    assert_eq!(server.database.count("charges").await, 1);
    assert_eq!(server.key(&token, &issued.hash).await["usage"], 0.02);
}

async fn reservations_go_when_they_ended_as_long_ago(setup: Setup) {
    let server = keeping_charges_for(setup, Some(DAY)).await;
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({ "limit": 1 })).await;
    let settled = server
        .reserved(hold(&issued.hash, "settled", 10 * CENT))
        .await;
    server.settle(&settled, 10 * CENT).await.unwrap();
    let released = server
        .reserved(hold(&issued.hash, "released", 10 * CENT))
        .await;
    server.release(&released).await.unwrap();
    let expired = server
        .reserved(hold(&issued.hash, "expired", 10 * CENT))
        .await;
    server.clock.advance(DAY);
    let open = server.reserved(hold(&issued.hash, "open", 10 * CENT)).await;
    server.roll_up_for(3).await;
    assert_eq!(server.database.count("reservations").await, 4);
    server.advance_seconds(600 + 1);
    server
        .record(charge(&issued.hash, "newest", 0))
        .await
        .unwrap();
    server.roll_up_for(3).await;
    assert_eq!(server.database.count("reservations").await, 1);
    for id in [&settled, &released, &expired] {
        rejected(server.settle(id, 10 * CENT).await).is(
            Code::NotFound,
            "RESERVATION_NOT_FOUND",
            "Reservation not found",
        );
    }
    server.settle(&open, 10 * CENT).await.unwrap();
    let key = server.key(&token, &issued.hash).await;
    assert_eq!(
        (&key["usage"], &key["limit_remaining"]),
        (&json!(0.2), &json!(0.8))
    );
}

async fn without_a_retention_everything_stays(setup: Setup) {
    let server = keeping_charges_for(setup, None).await;
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    server
        .record(charge(&issued.hash, "r", CENT))
        .await
        .unwrap();
    server.reserve(hold(&issued.hash, "h", CENT)).await.unwrap();
    server.clock.advance(4000 * DAY);
    assert_eq!(server.roll_up_for(3).await.charges, 0);
    assert_eq!(server.database.count("charges").await, 1);
    assert_eq!(server.database.count("reservations").await, 1);
    assert!(
        server
            .record(charge(&issued.hash, "r", CENT))
            .await
            .unwrap()
            .duplicate
    );
}

each_engine! {
    charges_past_their_retention_are_dropped_and_their_sums_kept
    all_is_dropped_in_one_go_however_much_it_is
    reservations_go_when_they_ended_as_long_ago
    without_a_retention_everything_stays
}
