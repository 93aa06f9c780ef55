//! RecordUsage: charges that count, on which side of the account, and only once.

use std::sync::Arc;

use keyward::proto::v1::RecordUsageRequest;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::{
    CENT, DOLLAR, KEY_NOT_FOUND, ORGANIZATION, OTHER_ORGANIZATION, TestServer, byok_charge, charge,
    charge_at, rejected, sha256_hex,
};

/// The eight amounts of a key, its own first, each in the order ever, day, week, month.
fn figures(key: &Value) -> [&Value; 8] {
    [
        &key["usage"],
        &key["usage_daily"],
        &key["usage_weekly"],
        &key["usage_monthly"],
        &key["byok_usage"],
        &key["byok_usage_daily"],
        &key["byok_usage_weekly"],
        &key["byok_usage_monthly"],
    ]
}

/// Returns a management key and the hash of a key with a limit of 10 dollars.
async fn key(server: &TestServer) -> (String, String) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({ "limit": 10 })).await;
    (token, issued.hash)
}

/// Returns true if the row of the charge exists exactly once.
async fn is_charged(server: &TestServer, request_id: &str, nanos: i64) -> bool {
    let row = format!("charges WHERE request_id = '{request_id}' AND amount_nanos = {nanos}");
    server.database.count(&row).await == 1
}

async fn charge_counts_in_every_window_of_now(server: TestServer) {
    let (token, hash) = key(&server).await;
    let recorded = server.record(charge(&hash, "1", 150 * CENT)).await.unwrap();
    assert_eq!(
        (recorded.duplicate, recorded.limit_remaining_nanos),
        (false, Some(850 * CENT))
    );
    server.record(charge(&hash, "2", 1)).await.unwrap();
    let key = server.key(&token, &hash).await;
    let (own, none) = (json!(1.500_000_001), json!(0));
    assert_eq!(
        figures(&key),
        [&own, &own, &own, &own, &none, &none, &none, &none]
    );
    assert_eq!(key["limit_remaining"], 8.499_999_999);
    assert_eq!(key["updated_at"], json!(null));
    assert!(is_charged(&server, "1", 150 * CENT).await);
    let stored = "charges WHERE recorded_by = 'ai-gateway' AND recorded_at = occurred_at";
    assert_eq!(server.database.count(stored).await, 2);
}

async fn byok_is_separate_and_counts_in_the_limit_if_set(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for (include, remaining) in [(false, 9), (true, 7)] {
        let body = json!({ "limit": 10, "include_byok_in_limit": include });
        let hash = server.issued_key(&token, body).await.hash;
        server.record(charge(&hash, "own", DOLLAR)).await.unwrap();
        let recorded = server
            .record(byok_charge(&hash, "byok", 2 * DOLLAR))
            .await
            .unwrap();
        assert_eq!(recorded.limit_remaining_nanos, Some(remaining * DOLLAR));
        let key = server.key(&token, &hash).await;
        let (own, byok) = (json!(1), json!(2));
        assert_eq!(
            figures(&key),
            [&own, &own, &own, &own, &byok, &byok, &byok, &byok]
        );
        assert_eq!(key["limit_remaining"], remaining);
        // The reverse, from now on.
        let body = json!({ "include_byok_in_limit": !include });
        let key = server.change_key(&token, &hash, body).await;
        assert_eq!(key["limit_remaining"], 16 - remaining);
    }
}

async fn late_charge_counts_in_the_windows_of_its_own_time(server: TestServer) {
    let (token, hash) = key(&server).await;
    // A Wednesday; the week began on the 17th.
    server.set_clock("2026-08-19T10:00:00Z");
    for (moment, request_id, cost) in [
        ("2026-08-19T00:00:00Z", "today", 1),
        ("2026-08-18T23:59:59.999Z", "yesterday", 2),
        ("2026-08-17T00:00:00Z", "monday", 4),
        ("2026-08-16T23:59:59.999Z", "sunday before", 8),
        ("2026-08-01T00:00:00Z", "the first", 16),
        ("2026-07-31T23:59:59.999Z", "the month before", 32),
        ("2020-02-29T12:00:00Z", "long ago", 64),
    ] {
        let late = charge_at(moment, charge(&hash, request_id, cost * CENT));
        assert!(!server.record(late).await.unwrap().duplicate);
        let late = format!("{request_id}, byok");
        let late = charge_at(moment, byok_charge(&hash, &late, cost * DOLLAR));
        server.record(late).await.unwrap();
    }
    let key = server.key(&token, &hash).await;
    let expected = [1.27, 0.01, 0.07, 0.31].map(|dollars| json!(dollars));
    let byok = [127, 1, 7, 31].map(|dollars| json!(dollars));
    let expected: Vec<_> = expected.iter().chain(&byok).collect();
    assert_eq!(figures(&key).to_vec(), expected);
}

async fn same_charge_counts_once(server: TestServer) {
    let (token, hash) = key(&server).await;
    let first = charge(&hash, "r", DOLLAR);
    server.record(first.clone()).await.unwrap();
    let before = server.key(&token, &hash).await;
    server.advance_seconds(3600);
    for again in [first.clone(), charge_at("2026-07-01T00:00:00Z", first)] {
        let again = server.record(again).await.unwrap();
        assert_eq!(
            (again.duplicate, again.limit_remaining_nanos),
            (true, Some(9 * DOLLAR))
        );
    }
    assert_eq!(server.key(&token, &hash).await, before);
    assert_eq!(server.database.count("charges").await, 1);
}

async fn another_charge_under_the_same_id_is_a_conflict(server: TestServer) {
    let (token, hash) = key(&server).await;
    server.record(charge(&hash, "own", DOLLAR)).await.unwrap();
    server
        .record(byok_charge(&hash, "byok", DOLLAR))
        .await
        .unwrap();
    for (conflict, earlier) in [
        (charge(&hash, "own", DOLLAR + 1), "a charge of another cost"),
        (charge(&hash, "own", 0), "a charge of another cost"),
        (
            byok_charge(&hash, "own", DOLLAR),
            "a charge that was not BYOK",
        ),
        (charge(&hash, "byok", DOLLAR), "a BYOK charge"),
        (byok_charge(&hash, "byok", 1), "a charge of another cost"),
    ] {
        let message = format!("Request ID was already used for {earlier}");
        rejected(server.record(conflict).await)
            .is(Code::AlreadyExists, "REQUEST_ID_CONFLICT", &message)
            .alone();
    }
    let key = server.key(&token, &hash).await;
    assert_eq!((&key["usage"], &key["byok_usage"]), (&json!(1), &json!(1)));
}

async fn request_ids_are_the_keys_own(server: TestServer) {
    let (token, hash) = key(&server).await;
    let other = server.issued_key(&token, json!({})).await.hash;
    let foreign = server.management_key(OTHER_ORGANIZATION).await;
    let third = server.issued_key(&foreign, json!({})).await.hash;
    for (token, hash, cost) in [
        (&token, &hash, 1),
        (&token, &other, 2),
        (&foreign, &third, 3),
    ] {
        let recorded = server
            .record(charge(hash, "r", cost * DOLLAR))
            .await
            .unwrap();
        assert!(!recorded.duplicate);
        assert_eq!(server.key(token, hash).await["usage"], cost);
    }
}

async fn charge_is_recorded_for_every_state_of_the_key(server: TestServer) {
    let (token, hash) = key(&server).await;
    let recorded = server
        .record(charge(&hash, "above", 25 * DOLLAR))
        .await
        .unwrap();
    assert_eq!(recorded.limit_remaining_nanos, Some(0));
    server
        .change_key(&token, &hash, json!({ "disabled": true }))
        .await;
    server
        .record(charge(&hash, "disabled", DOLLAR))
        .await
        .unwrap();
    assert_eq!(server.key(&token, &hash).await["usage"], 26);
    let expired = json!({ "expires_at": "2026-08-01T12:00:01Z" });
    let expired = server.issued_key(&token, expired).await.hash;
    server.advance_seconds(1);
    let recorded = server
        .record(charge(&expired, "expired", DOLLAR))
        .await
        .unwrap();
    assert_eq!(recorded.limit_remaining_nanos, None);
    assert_eq!(server.key(&token, &expired).await["usage"], 1);
}

async fn cost_is_from_nothing_to_a_million_dollars(server: TestServer) {
    let (token, hash) = key(&server).await;
    let most = 1_000_000_000_000_000;
    server.record(charge(&hash, "nothing", 0)).await.unwrap();
    assert!(is_charged(&server, "nothing", 0).await);
    assert!(
        server
            .record(charge(&hash, "nothing", 0))
            .await
            .unwrap()
            .duplicate
    );
    server.record(charge(&hash, "most", most)).await.unwrap();
    assert_eq!(server.key(&token, &hash).await["usage"], 1_000_000);
    for (cost, message) in [
        (-1, "Cost must not be negative"),
        (i64::MIN, "Cost must not be negative"),
        (
            most + 1,
            "Cost must be at most 1000000000000000 nano-dollars",
        ),
        (
            i64::MAX,
            "Cost must be at most 1000000000000000 nano-dollars",
        ),
    ] {
        rejected(server.record(charge(&hash, "wrong", cost)).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", message)
            .fields(&[("costNanos", message)]);
    }
    assert_eq!(server.database.count("charges").await, 2);
}

async fn sum_that_would_not_fit_is_rejected(server: TestServer) {
    let (token, hash) = key(&server).await;
    let most = i64::MAX - 5;
    server
        .database
        .execute(&format!("UPDATE issued_keys SET usage_nanos = {most}"))
        .await;
    server.record(charge(&hash, "fits", 5)).await.unwrap();
    let message = "Cost is more than can be added to what the key has spent";
    rejected(server.record(charge(&hash, "too much", 1)).await)
        .is(Code::InvalidArgument, "FIELD_INVALID", message)
        .fields(&[("costNanos", message)]);
    // The other side of the account has room; the total alone exceeds the limit.
    server
        .change_key(&token, &hash, json!({ "include_byok_in_limit": true }))
        .await;
    let recorded = server
        .record(byok_charge(&hash, "byok", DOLLAR))
        .await
        .unwrap();
    assert_eq!(recorded.limit_remaining_nanos, Some(0));
    assert_eq!(server.database.count("charges").await, 2);
}

async fn charge_may_be_five_minutes_ahead(server: TestServer) {
    let (token, hash) = key(&server).await;
    for (moment, request_id) in [
        ("2026-08-01T12:04:00Z", "four minutes"),
        ("2026-08-01T12:05:00Z", "five minutes"),
    ] {
        server
            .record(charge_at(moment, charge(&hash, request_id, CENT)))
            .await
            .unwrap();
    }
    let message = "Time of the charge must not be in the future";
    for moment in [
        "2026-08-01T12:05:00.001Z",
        "2026-08-01T12:06:00Z",
        "2027-01-01T00:00:00Z",
    ] {
        rejected(
            server
                .record(charge_at(moment, charge(&hash, "ahead", CENT)))
                .await,
        )
        .is(Code::InvalidArgument, "FIELD_INVALID", message)
        .fields(&[("occurredAt", message)]);
    }
    let message = "Time of the charge must be a moment of the years 1 to 9999";
    for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000)] {
        let occurred_at = Some(prost_types::Timestamp { seconds, nanos });
        let request = RecordUsageRequest {
            occurred_at,
            ..charge(&hash, "never", CENT)
        };
        rejected(server.record(request).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", message)
            .fields(&[("occurredAt", message)]);
    }
    assert_eq!(server.key(&token, &hash).await["usage"], 0.02);
}

async fn request_id_is_required_and_bounded(server: TestServer) {
    let (_, hash) = key(&server).await;
    rejected(server.record(charge(&hash, "", CENT)).await)
        .is(
            Code::InvalidArgument,
            "FIELD_REQUIRED",
            "Request ID is required",
        )
        .fields(&[("requestId", "Request ID is required")]);
    for (id, message) in [
        ("é".repeat(128), "Request ID must have at most 255 bytes"),
        (
            "a\u{0}b".to_owned(),
            "Request ID must not have control characters",
        ),
    ] {
        rejected(server.record(charge(&hash, &id, CENT)).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", message)
            .fields(&[("requestId", message)]);
    }
    server
        .record(charge(&hash, &"r".repeat(255), CENT))
        .await
        .unwrap();
}

async fn charge_of_no_key_is_not_recorded(server: TestServer) {
    let (token, hash) = key(&server).await;
    let upper = hash.to_ascii_uppercase();
    for hash in ["", "none", &upper, &sha256_hex("none"), &sha256_hex(&token)] {
        rejected(server.record(charge(hash, "r", CENT)).await)
            .is(Code::NotFound, "API_KEY_NOT_FOUND", KEY_NOT_FOUND)
            .alone();
    }
    assert_eq!(server.database.count("charges").await, 0);
}

async fn concurrent_identical_charges_count_once(server: TestServer) {
    let (token, hash) = key(&server).await;
    let (server, barrier) = (Arc::new(server), Arc::new(Barrier::new(32)));
    let mut recorders = JoinSet::new();
    for _ in 0..32 {
        let (server, barrier) = (Arc::clone(&server), Arc::clone(&barrier));
        let request = charge(&hash, "r", DOLLAR);
        recorders.spawn(async move {
            barrier.wait().await;
            server.record(request).await.unwrap().duplicate
        });
    }
    let duplicates = recorders.join_all().await;
    assert_eq!(
        duplicates.iter().filter(|duplicate| !**duplicate).count(),
        1
    );
    assert_eq!(server.key(&token, &hash).await["usage"], 1);
}

async fn concurrent_charges_all_count(server: TestServer) {
    let (token, hash) = key(&server).await;
    let (server, barrier) = (Arc::new(server), Arc::new(Barrier::new(32)));
    let mut recorders = JoinSet::new();
    for number in 0..32 {
        let (server, barrier) = (Arc::clone(&server), Arc::clone(&barrier));
        let request = charge(&hash, &number.to_string(), CENT);
        recorders.spawn(async move {
            barrier.wait().await;
            server.record(request).await.unwrap().limit_remaining_nanos
        });
    }
    let mut left = recorders.join_all().await;
    left.sort_unstable();
    let expected = (1..=32)
        .rev()
        .map(|number| Some(10 * DOLLAR - number * CENT));
    assert_eq!(left, expected.collect::<Vec<_>>());
    let key = server.key(&token, &hash).await;
    assert_eq!(
        (&key["usage"], &key["usage_daily"]),
        (&json!(0.32), &json!(0.32))
    );
}

each_engine! {
    charge_counts_in_every_window_of_now
    byok_is_separate_and_counts_in_the_limit_if_set
    late_charge_counts_in_the_windows_of_its_own_time
    same_charge_counts_once
    another_charge_under_the_same_id_is_a_conflict
    request_ids_are_the_keys_own
    charge_is_recorded_for_every_state_of_the_key
    cost_is_from_nothing_to_a_million_dollars
    sum_that_would_not_fit_is_rejected
    charge_may_be_five_minutes_ahead
    request_id_is_required_and_bounded
    charge_of_no_key_is_not_recorded
    concurrent_identical_charges_count_once
    concurrent_charges_all_count
}
