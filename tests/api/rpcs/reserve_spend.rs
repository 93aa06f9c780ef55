//! ReserveSpend: reserved amounts, admission and retry delays.

use std::sync::Arc;
use std::time::Duration;

use keyward::proto::v1::{KeyVerdict, ReserveSpendRequest};
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::{
    CENT, DOLLAR, Issued, KEY_NOT_FOUND, ORGANIZATION, TestServer, byok_charge, byok_hold, charge,
    hold, hold_for, refused, sha256_hex,
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
    refused(server.reserve(hold).await)
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

async fn hold_that_fits_exactly_is_let_in_and_no_more(server: TestServer) {
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

async fn without_a_limit_everything_is_let_in(server: TestServer) {
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

async fn more_than_can_be_held_is_refused(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    server
        .reserve(hold(&issued.hash, "1", DOLLAR))
        .await
        .unwrap();
    let most = format!("UPDATE reservations SET amount_nanos = {}", i64::MAX - 5);
    server.database.execute(&most).await;
    server.reserve(hold(&issued.hash, "2", 5)).await.unwrap();
    let message = "Amount is more than can be held beside what is held already";
    refused(server.reserve(hold(&issued.hash, "3", 1)).await)
        .is(Code::InvalidArgument, "FIELD_INVALID", message)
        .fields(&[("amountNanos", message)]);
    server
        .reserve(byok_hold(&issued.hash, "4", DOLLAR))
        .await
        .unwrap();
    let body = json!({ "limit": 1, "include_byok_in_limit": true });
    let key = server.change_key(&token, &issued.hash, body).await;
    assert_eq!(key["limit_remaining"], 1);
}

async fn refusal_says_when_it_may_end(server: TestServer) {
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

async fn same_hold_is_the_first_one(server: TestServer) {
    let (_, issued) = keys(&server).await;
    let first = server
        .reserve(hold(&issued.hash, "r", 30 * CENT))
        .await
        .unwrap();
    server.advance_seconds(60);
    let longer = hold_for(DAY, hold(&issued.hash, "r", 30 * CENT));
    for again in [hold(&issued.hash, "r", 30 * CENT), longer] {
        assert_eq!(server.reserve(again).await.unwrap(), first);
    }
    exceeds(
        &server,
        hold(&issued.hash, "71", 71 * CENT),
        Some(Duration::from_secs(1)),
    )
    .await;
    // Even when it would not fit a second time.
    let all = server
        .reserve(hold(&issued.hash, "all", 70 * CENT))
        .await
        .unwrap();
    assert_eq!(
        server
            .reserve(hold(&issued.hash, "all", 70 * CENT))
            .await
            .unwrap(),
        all
    );
    assert_eq!(server.database.count("reservations").await, 2);
}

async fn another_hold_under_the_same_id_is_a_conflict(server: TestServer) {
    let (token, issued) = keys(&server).await;
    server
        .reserve(hold(&issued.hash, "own", 30 * CENT))
        .await
        .unwrap();
    server
        .reserve(byok_hold(&issued.hash, "byok", 30 * CENT))
        .await
        .unwrap();
    server
        .record(charge(&issued.hash, "charge", 30 * CENT))
        .await
        .unwrap();
    for (conflict, earlier) in [
        (
            hold(&issued.hash, "own", 31 * CENT),
            "a reservation of another amount",
        ),
        (
            byok_hold(&issued.hash, "own", 30 * CENT),
            "a reservation that was not BYOK",
        ),
        (hold(&issued.hash, "byok", 30 * CENT), "a BYOK reservation"),
        (hold(&issued.hash, "charge", 30 * CENT), "a charge"),
    ] {
        let message = format!("Request ID was already used for {earlier}");
        refused(server.reserve(conflict).await)
            .is(Code::AlreadyExists, "REQUEST_ID_CONFLICT", &message)
            .alone();
    }
    // Another key has its own ids.
    let other = server.issued_key(&token, json!({ "limit": 1 })).await;
    server
        .reserve(hold(&other.hash, "own", DOLLAR))
        .await
        .unwrap();
}

async fn disabled_expired_or_unknown_key_holds_nothing(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let expired = json!({ "limit": 1, "expires_at": "2026-08-01T12:00:01Z" });
    let expired = server.issued_key(&token, expired).await;
    server.advance_seconds(1);
    for amount in [0, CENT, 2 * DOLLAR] {
        refused(server.reserve(hold(&expired.hash, "r", amount)).await)
            .is(
                Code::FailedPrecondition,
                "KEY_EXPIRED",
                "API key has expired",
            )
            .alone();
    }
    for hash in [&issued.hash, &expired.hash] {
        server
            .change_key(&token, hash, json!({ "disabled": true }))
            .await;
        refused(server.reserve(hold(hash, "r", CENT)).await)
            .is(
                Code::FailedPrecondition,
                "KEY_DISABLED",
                "API key is disabled",
            )
            .alone();
        refused(server.reserve(byok_hold(hash, "r", CENT)).await).is(
            Code::FailedPrecondition,
            "KEY_DISABLED",
            "API key is disabled",
        );
    }
    for hash in ["", "none", &sha256_hex("none"), &sha256_hex(&token)] {
        refused(server.reserve(hold(hash, "r", CENT)).await)
            .is(Code::NotFound, "API_KEY_NOT_FOUND", KEY_NOT_FOUND)
            .alone();
    }
    assert_eq!(server.database.count("reservations").await, 0);
}

async fn hold_lasts_as_long_as_it_says_and_ten_minutes_else(server: TestServer) {
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

async fn time_to_hold_that_does_not_fit_is_refused(server: TestServer) {
    let (_, issued) = keys(&server).await;
    let bounds = "TTL must be from 1 to 86400000 milliseconds";
    for (seconds, nanos, message) in [
        (0, 0, bounds),
        (0, 999_999, bounds),
        (24 * 3600, 1_000_000, bounds),
        (i64::MAX, 0, bounds),
        (-1, 0, "TTL must not be negative"),
        (0, -1, "TTL must not be negative"),
        (i64::MIN, 0, "TTL must not be negative"),
    ] {
        let ttl = Some(prost_types::Duration { seconds, nanos });
        let request = ReserveSpendRequest {
            ttl,
            ..hold(&issued.hash, "r", CENT)
        };
        refused(server.reserve(request).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", message)
            .fields(&[("ttl", message)]);
    }
    assert_eq!(server.database.count("reservations").await, 0);
}

async fn unfit_field_is_named(server: TestServer) {
    let (_, issued) = keys(&server).await;
    let most = "Amount must be at most 1000000000000000 nano-dollars";
    for (amount, message) in [
        (-1, "Amount must not be negative"),
        (1_000_000 * DOLLAR + 1, most),
        (i64::MAX, most),
    ] {
        refused(server.reserve(hold(&issued.hash, "r", amount)).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", message)
            .fields(&[("amountNanos", message)]);
    }
    refused(server.reserve(hold(&issued.hash, "", CENT)).await)
        .is(
            Code::InvalidArgument,
            "FIELD_REQUIRED",
            "Request ID is required",
        )
        .fields(&[("requestId", "Request ID is required")]);
    let long = "Request ID must have at most 255 bytes";
    refused(
        server
            .reserve(hold(&issued.hash, &"r".repeat(256), CENT))
            .await,
    )
    .is(Code::InvalidArgument, "FIELD_INVALID", long)
    .fields(&[("requestId", long)]);
}

async fn concurrent_holds_are_admitted_up_to_the_limit(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let (server, barrier) = (Arc::new(server), Arc::new(Barrier::new(32)));
    let mut holders = JoinSet::new();
    for number in 0..32 {
        let (server, barrier) = (Arc::clone(&server), Arc::clone(&barrier));
        let request = hold(&issued.hash, &number.to_string(), 10 * CENT);
        holders.spawn(async move {
            barrier.wait().await;
            server.reserve(request).await
        });
    }
    let mut lefts = Vec::new();
    for result in holders.join_all().await {
        match result {
            Ok(reserved) => lefts.push(reserved.available_nanos.unwrap() / CENT),
            Err(status) => {
                refused(Err::<(), _>(status))
                    .is(Code::ResourceExhausted, "LIMIT_EXCEEDED", EXCEEDED)
                    .retries_after(Some(Duration::from_secs(1)));
            }
        }
    }
    lefts.sort_unstable();
    assert_eq!(lefts, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    assert_eq!(server.key(&token, &issued.hash).await["limit_remaining"], 1);
}

async fn concurrent_identical_holds_are_one(server: TestServer) {
    let (_, issued) = keys(&server).await;
    let (server, barrier) = (Arc::new(server), Arc::new(Barrier::new(32)));
    let mut holders = JoinSet::new();
    for _ in 0..32 {
        let (server, barrier) = (Arc::clone(&server), Arc::clone(&barrier));
        let request = hold(&issued.hash, "r", 60 * CENT);
        holders.spawn(async move {
            barrier.wait().await;
            server.reserve(request).await.unwrap()
        });
    }
    let mut reserved = holders.join_all().await;
    reserved.dedup();
    assert_eq!(reserved.len(), 1);
    assert_eq!(reserved[0].available_nanos, Some(40 * CENT));
}

each_engine! {
    hold_takes_from_what_is_available_and_is_no_usage
    hold_that_fits_exactly_is_let_in_and_no_more
    without_a_limit_everything_is_let_in
    more_than_can_be_held_is_refused
    refusal_says_when_it_may_end
    time_until_a_reset_is_exact
    byok_holds_count_when_byok_counts
    same_hold_is_the_first_one
    another_hold_under_the_same_id_is_a_conflict
    disabled_expired_or_unknown_key_holds_nothing
    hold_lasts_as_long_as_it_says_and_ten_minutes_else
    time_to_hold_that_does_not_fit_is_refused
    unfit_field_is_named
    concurrent_holds_are_admitted_up_to_the_limit
    concurrent_identical_holds_are_one
}
