//! ReserveSpend: keys and values that are rejected.

use keyward::proto::v1::ReserveSpendRequest;
use serde_json::json;
use tonic::Code;

use super::keys;
use crate::support::{
    CENT, DOLLAR, KEY_NOT_FOUND, ORGANIZATION, TestServer, byok_hold, hold, rejected, sha256_hex,
};

async fn more_than_can_be_held_is_rejected(server: TestServer) {
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
    rejected(server.reserve(hold(&issued.hash, "3", 1)).await)
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

async fn disabled_expired_or_unknown_key_holds_nothing(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let expired = json!({ "limit": 1, "expires_at": "2026-08-01T12:00:01Z" });
    let expired = server.issued_key(&token, expired).await;
    server.advance_seconds(1);
    for amount in [0, CENT, 2 * DOLLAR] {
        rejected(server.reserve(hold(&expired.hash, "r", amount)).await)
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
        rejected(server.reserve(hold(hash, "r", CENT)).await)
            .is(
                Code::FailedPrecondition,
                "KEY_DISABLED",
                "API key is disabled",
            )
            .alone();
        rejected(server.reserve(byok_hold(hash, "r", CENT)).await).is(
            Code::FailedPrecondition,
            "KEY_DISABLED",
            "API key is disabled",
        );
    }
    for hash in ["", "none", &sha256_hex("none"), &sha256_hex(&token)] {
        rejected(server.reserve(hold(hash, "r", CENT)).await)
            .is(Code::NotFound, "API_KEY_NOT_FOUND", KEY_NOT_FOUND)
            .alone();
    }
    assert_eq!(server.database.count("reservations").await, 0);
}

async fn time_to_hold_that_does_not_fit_is_rejected(server: TestServer) {
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
        rejected(server.reserve(request).await)
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
        rejected(server.reserve(hold(&issued.hash, "r", amount)).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", message)
            .fields(&[("amountNanos", message)]);
    }
    rejected(server.reserve(hold(&issued.hash, "", CENT)).await)
        .is(
            Code::InvalidArgument,
            "FIELD_REQUIRED",
            "Request ID is required",
        )
        .fields(&[("requestId", "Request ID is required")]);
    let long = "Request ID must have at most 255 bytes";
    rejected(
        server
            .reserve(hold(&issued.hash, &"r".repeat(256), CENT))
            .await,
    )
    .is(Code::InvalidArgument, "FIELD_INVALID", long)
    .fields(&[("requestId", long)]);
}

each_engine! {
    more_than_can_be_held_is_rejected
    disabled_expired_or_unknown_key_holds_nothing
    time_to_hold_that_does_not_fit_is_rejected
    unfit_field_is_named
}
