//! ReserveSpend: reserved amounts, admission and retry delays.

mod idempotency;
mod rejections;

use std::time::Duration;

use keyward::proto::v1::{KeyVerdict, ReserveSpendRequest};
use serde_json::json;
use tonic::Code;

use crate::support::{
    CENT, DOLLAR, Issued, ORGANIZATION, TestServer, byok_charge, byok_hold, charge, hold, hold_for,
    rejected,
};

const EXCEEDED: &str = "API key's limit is exceeded";

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Returns a management key and a key with a limit of a dollar.
async fn keys(server: &TestServer) -> (String, Issued) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({ "limit": 1 })).await;
    (token, issued)
}

/// Returns the remaining amount of the key, in nano-dollars.
async fn left(server: &TestServer, issued: &Issued) -> i64 {
    server
        .verify(&issued.key)
        .await
        .limit_remaining_nanos
        .unwrap()
}

/// Expects that the reservation does not fit, with this retry delay.
async fn exceeds(server: &TestServer, hold: ReserveSpendRequest, retry_after: Option<Duration>) {
    rejected(server.reserve(hold).await)
        .is(Code::ResourceExhausted, "LIMIT_EXCEEDED", EXCEEDED)
        .retries_after(retry_after);
}

async fn hold_takes_from_what_is_available_and_is_no_usage(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let reserved = server
        .reserve(hold(&issued.hash, "r", 30 * CENT))
        .await
        .unwrap();
    assert_eq!(reserved.limit_remaining_nanos, Some(DOLLAR));
    assert_eq!(reserved.available_nanos, Some(70 * CENT));
    let id = uuid::Uuid::try_parse(&reserved.reservation_id).unwrap();
    assert_eq!(id.to_string(), reserved.reservation_id);
    let key = server.key(&token, &issued.hash).await;
    assert_eq!(
        (&key["limit_remaining"], &key["usage"]),
        (&json!(1), &json!(0))
    );
    let current = server.get("/key").bearer(&issued.key).send().await.json();
    assert_eq!(current["data"]["limit_remaining"], 1);
    assert_eq!(left(&server, &issued).await, DOLLAR);
    let recorded = server
        .record(charge(&issued.hash, "c", 50 * CENT))
        .await
        .unwrap();
    assert_eq!(recorded.limit_remaining_nanos, Some(50 * CENT));
    let reserved = server
        .reserve(hold(&issued.hash, "r2", 20 * CENT))
        .await
        .unwrap();
    assert_eq!(reserved.limit_remaining_nanos, Some(50 * CENT));
    assert_eq!(reserved.available_nanos, Some(0));
    // A reservation may end at any moment, so the key may still spend.
    assert_eq!(server.verdict(&issued.key).await, KeyVerdict::Valid);
    assert_eq!(server.database.count("charges").await, 1);
}

async fn hold_up_to_the_exact_remainder_is_admitted(server: TestServer) {
    let (_, issued) = keys(&server).await;
    exceeds(&server, hold(&issued.hash, "1", DOLLAR + 1), None).await;
    server
        .reserve(hold(&issued.hash, "2", DOLLAR - 1))
        .await
        .unwrap();
    exceeds(
        &server,
        hold(&issued.hash, "3", 2),
        Some(Duration::from_secs(1)),
    )
    .await;
    let reserved = server.reserve(hold(&issued.hash, "4", 1)).await.unwrap();
    assert_eq!(reserved.available_nanos, Some(0));
    exceeds(
        &server,
        hold(&issued.hash, "5", 1),
        Some(Duration::from_secs(1)),
    )
    .await;
    // A reservation of zero always fits.
    server.reserve(hold(&issued.hash, "6", 0)).await.unwrap();
    // A rejected reservation reserves nothing and takes no request id.
    assert_eq!(server.database.count("reservations").await, 3);
}

async fn hold_without_a_limit_is_admitted(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    for number in 0..3 {
        let most = hold(&issued.hash, &number.to_string(), 1_000_000 * DOLLAR);
        let reserved = server.reserve(most).await.unwrap();
        assert_eq!(
            (reserved.limit_remaining_nanos, reserved.available_nanos),
            (None, None)
        );
    }
}

async fn rejection_has_a_retry_delay(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let second = Some(Duration::from_secs(1));
    // A Saturday at noon.
    for (reset, until_reset) in [
        (json!("daily"), Some(12 * 3600)),
        (json!("weekly"), Some(36 * 3600)),
        (json!("monthly"), Some(12 * 3600 + 30 * 24 * 3600)),
        (json!(null), None),
    ] {
        let body = json!({ "limit": 1, "limit_reset": reset });
        let issued = server.issued_key(&token, body).await;
        let until_reset = until_reset.map(Duration::from_secs);
        // Only a reservation is in the way.
        let reservation = server.reserved(hold(&issued.hash, "held", 80 * CENT)).await;
        exceeds(&server, hold(&issued.hash, "r", 30 * CENT), second).await;
        exceeds(&server, hold(&issued.hash, "r", DOLLAR), second).await;
        // More than the limit never fits.
        exceeds(&server, hold(&issued.hash, "r", DOLLAR + 1), None).await;
        // The spent amount is in the way, with the reservation and without it.
        server
            .record(charge(&issued.hash, "spent", 80 * CENT))
            .await
            .unwrap();
        exceeds(&server, hold(&issued.hash, "r", 20 * CENT), second).await;
        exceeds(&server, hold(&issued.hash, "r", 30 * CENT), until_reset).await;
        server.release(&reservation).await.unwrap();
        exceeds(&server, hold(&issued.hash, "r", 30 * CENT), until_reset).await;
        server
            .reserve(hold(&issued.hash, "r", 20 * CENT))
            .await
            .unwrap();
    }
}

async fn time_until_a_reset_is_exact(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    server.set_clock("2028-02-29T23:59:58.750Z");
    for reset in ["daily", "monthly"] {
        let body = json!({ "limit": 1, "limit_reset": reset });
        let issued = server.issued_key(&token, body).await;
        server
            .record(charge(&issued.hash, "spent", DOLLAR))
            .await
            .unwrap();
        let after = Some(Duration::from_millis(1250));
        exceeds(&server, hold(&issued.hash, "r", 1), after).await;
    }
}

async fn byok_holds_count_when_byok_counts(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let apart = server.issued_key(&token, json!({ "limit": 1 })).await;
    let reserved = server
        .reserve(byok_hold(&apart.hash, "1", 5 * DOLLAR))
        .await
        .unwrap();
    assert_eq!(reserved.available_nanos, Some(DOLLAR));
    server
        .reserve(hold(&apart.hash, "2", DOLLAR))
        .await
        .unwrap();
    // The limit does not apply to it, even when it is used up.
    server
        .reserve(byok_hold(&apart.hash, "3", DOLLAR))
        .await
        .unwrap();

    let body = json!({ "limit": 1, "include_byok_in_limit": true });
    let together = server.issued_key(&token, body).await;
    let reserved = server
        .reserve(byok_hold(&together.hash, "1", 40 * CENT))
        .await
        .unwrap();
    assert_eq!(reserved.available_nanos, Some(60 * CENT));
    exceeds(
        &server,
        hold(&together.hash, "2", 61 * CENT),
        Some(Duration::from_secs(1)),
    )
    .await;
    let reserved = server
        .reserve(hold(&together.hash, "3", 50 * CENT))
        .await
        .unwrap();
    assert_eq!(reserved.available_nanos, Some(10 * CENT));
    let more = byok_hold(&together.hash, "4", 11 * CENT);
    exceeds(&server, more, Some(Duration::from_secs(1))).await;
    server
        .record(byok_charge(&together.hash, "5", 60 * CENT))
        .await
        .unwrap();
    exceeds(&server, byok_hold(&together.hash, "6", 41 * CENT), None).await;
    // A changed setting takes effect at once.
    server
        .change_key(
            &token,
            &together.hash,
            json!({ "include_byok_in_limit": false }),
        )
        .await;
    assert_eq!(left(&server, &together).await, DOLLAR);
    server
        .reserve(hold(&together.hash, "7", 50 * CENT))
        .await
        .unwrap();
    exceeds(
        &server,
        hold(&together.hash, "8", 1),
        Some(Duration::from_secs(1)),
    )
    .await;
}

async fn hold_lasts_its_duration_or_ten_minutes(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for (ttl, just_before, expires_at) in [
        (None, "2026-08-01T12:09:59.999Z", "2026-08-01T12:10:00Z"),
        (
            Some(Duration::from_millis(1)),
            "2026-08-01T12:00:00Z",
            "2026-08-01T12:00:00.001Z",
        ),
        (
            Some(Duration::from_secs(90)),
            "2026-08-01T12:01:29.999Z",
            "2026-08-01T12:01:30Z",
        ),
        (
            Some(DAY),
            "2026-08-02T11:59:59.999Z",
            "2026-08-02T12:00:00Z",
        ),
    ] {
        server.set_clock("2026-08-01T12:00:00Z");
        let issued = server.issued_key(&token, json!({ "limit": 1 })).await;
        let request = hold(&issued.hash, "r", DOLLAR);
        let request = ttl.map_or(request.clone(), |ttl| hold_for(ttl, request));
        let reserved = server.reserve(request).await.unwrap();
        assert_eq!(reserved.expires_at, Some(expires_at.parse().unwrap()));
        server.set_clock(just_before);
        let soon = Some(Duration::from_secs(1));
        exceeds(&server, hold(&issued.hash, "other", 1), soon).await;
        server.set_clock(expires_at);
        server
            .reserve(hold(&issued.hash, "other", DOLLAR))
            .await
            .unwrap();
    }
}

each_engine! {
    hold_takes_from_what_is_available_and_is_no_usage
    hold_up_to_the_exact_remainder_is_admitted
    hold_without_a_limit_is_admitted
    rejection_has_a_retry_delay
    time_until_a_reset_is_exact
    byok_holds_count_when_byok_counts
    hold_lasts_its_duration_or_ten_minutes
}
