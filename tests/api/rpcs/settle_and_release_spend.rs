//! SettleSpend and ReleaseSpend, and the expiry of reservations.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::{
    CENT, DOLLAR, Issued, ORGANIZATION, TestServer, byok_hold, charge, hold, rejected,
};

const NOT_FOUND: &str = "Reservation not found";
/// Default lifetime of a reservation, in seconds.
const TEN_MINUTES: u64 = 600;

/// Returns a management key and a key with a limit of a dollar.
async fn keys(server: &TestServer) -> (String, Issued) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({ "limit": 1 })).await;
    (token, issued)
}

/// Returns the remaining and the spent amount of the key, in cents.
async fn left_and_spent(server: &TestServer, token: &str, issued: &Issued) -> (i64, i64) {
    let key = server.key(token, &issued.hash).await;
    let cents = |member: &str| (key[member].as_f64().unwrap() * 100.0).round() as i64;
    let left = server
        .verify(&issued.key)
        .await
        .limit_remaining_nanos
        .unwrap();
    assert_eq!(cents("limit_remaining") * CENT, left);
    (cents("limit_remaining"), cents("usage"))
}

async fn settled_hold_becomes_a_charge_of_the_true_cost(server: TestServer) {
    let (token, issued) = keys(&server).await;
    for (request_id, cost, left, spent) in [
        ("below", 10, 90, 10),
        ("exact", 40, 50, 50),
        ("nothing", 0, 50, 50),
        // The money was spent.
        ("above", 45, 5, 95),
        ("far above", 500, 0, 595),
    ] {
        let amount = if request_id == "far above" { 5 } else { 40 };
        let reservation = server
            .reserved(hold(&issued.hash, request_id, amount * CENT))
            .await;
        let settled = server.settle(&reservation, cost * CENT).await.unwrap();
        assert!(!settled.duplicate);
        assert_eq!(settled.limit_remaining_nanos, Some(left * CENT));
        let returned = left_and_spent(&server, &token, &issued).await;
        assert_eq!(returned, (left, spent), "{request_id}");
        let charged = format!(
            "charges WHERE request_id = '{request_id}' AND amount_nanos = {} \
             AND recorded_by = 'ai-gateway'",
            cost * CENT
        );
        assert_eq!(server.database.count(&charged).await, 1);
    }
}

async fn settled_byok_hold_is_a_byok_charge(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let reservation = server
        .reserved(byok_hold(&issued.hash, "r", 40 * CENT))
        .await;
    let settled = server.settle(&reservation, 30 * CENT).await.unwrap();
    assert_eq!(settled.limit_remaining_nanos, Some(DOLLAR));
    let key = server.key(&token, &issued.hash).await;
    assert_eq!(
        (&key["usage"], &key["byok_usage"]),
        (&json!(0), &json!(0.3))
    );
}

async fn second_settlement_is_the_first_one_or_a_conflict(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let reservation = server.reserved(hold(&issued.hash, "r", 40 * CENT)).await;
    server.settle(&reservation, 30 * CENT).await.unwrap();
    server.advance_seconds(2 * TEN_MINUTES);
    let again = server.settle(&reservation, 30 * CENT).await.unwrap();
    assert_eq!(
        (again.duplicate, again.limit_remaining_nanos),
        (true, Some(70 * CENT))
    );
    for cost in [0, 29 * CENT, 40 * CENT] {
        let message = "Request ID was already used for a charge of another cost";
        rejected(server.settle(&reservation, cost).await)
            .is(Code::AlreadyExists, "REQUEST_ID_CONFLICT", message)
            .alone();
    }
    // The resulting charge is a charge like any other.
    assert!(
        server
            .record(charge(&issued.hash, "r", 30 * CENT))
            .await
            .unwrap()
            .duplicate
    );
    rejected(server.record(charge(&issued.hash, "r", 31 * CENT)).await);
    assert_eq!(left_and_spent(&server, &token, &issued).await, (70, 30));
    assert_eq!(server.database.count("charges").await, 1);
}

async fn hold_whose_charge_was_recorded_is_settled_by_it(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let reservation = server.reserved(hold(&issued.hash, "r", 40 * CENT)).await;
    server
        .record(charge(&issued.hash, "r", 30 * CENT))
        .await
        .unwrap();
    rejected(server.settle(&reservation, 31 * CENT).await).is(
        Code::AlreadyExists,
        "REQUEST_ID_CONFLICT",
        "Request ID was already used for a charge of another cost",
    );
    let settled = server.settle(&reservation, 30 * CENT).await.unwrap();
    assert_eq!(
        (settled.duplicate, settled.limit_remaining_nanos),
        (true, Some(70 * CENT))
    );
    assert_eq!(left_and_spent(&server, &token, &issued).await, (70, 30));
}

async fn expired_hold_holds_nothing_and_can_be_settled(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let reservation = server.reserved(hold(&issued.hash, "r", 40 * CENT)).await;
    server.advance_seconds(TEN_MINUTES - 1);
    rejected(server.reserve(hold(&issued.hash, "more", 61 * CENT)).await);
    server.advance_seconds(1);
    assert_eq!(left_and_spent(&server, &token, &issued).await, (100, 0));
    // Another reservation took its room.
    server
        .reserve(hold(&issued.hash, "other", DOLLAR))
        .await
        .unwrap();
    let settled = server.settle(&reservation, 30 * CENT).await.unwrap();
    assert_eq!(
        (settled.duplicate, settled.limit_remaining_nanos),
        (false, Some(70 * CENT))
    );
    assert_eq!(left_and_spent(&server, &token, &issued).await, (70, 30));
    assert!(
        server
            .settle(&reservation, 30 * CENT)
            .await
            .unwrap()
            .duplicate
    );
}

async fn released_hold_holds_nothing_and_can_be_released_again(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let reservation = server.reserved(hold(&issued.hash, "r", 40 * CENT)).await;
    for _ in 0..2 {
        server.release(&reservation).await.unwrap();
        assert_eq!(left_and_spent(&server, &token, &issued).await, (100, 0));
    }
    server.advance_seconds(TEN_MINUTES);
    server.release(&reservation).await.unwrap();
    let expired = server
        .reserved(hold(&issued.hash, "expired", 40 * CENT))
        .await;
    server.advance_seconds(TEN_MINUTES);
    server.release(&expired).await.unwrap();
    assert_eq!(server.database.count("charges").await, 0);
}

async fn ended_hold_cannot_end_otherwise(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let settled = server
        .reserved(hold(&issued.hash, "settled", 40 * CENT))
        .await;
    server.settle(&settled, 40 * CENT).await.unwrap();
    rejected(server.release(&settled).await)
        .is(
            Code::FailedPrecondition,
            "RESERVATION_SETTLED",
            "Reservation was already settled",
        )
        .alone();
    let released = server
        .reserved(hold(&issued.hash, "released", 40 * CENT))
        .await;
    server.release(&released).await.unwrap();
    for cost in [0, 40 * CENT] {
        let message = "Reservation was already released";
        rejected(server.settle(&released, cost).await)
            .is(Code::FailedPrecondition, "RESERVATION_RELEASED", message)
            .alone();
    }
    assert_eq!(left_and_spent(&server, &token, &issued).await, (60, 40));
}

async fn ended_reservation_is_not_made_again(server: TestServer) {
    let (_, issued) = keys(&server).await;
    let settled = server.reserved(hold(&issued.hash, "settled", CENT)).await;
    server.settle(&settled, CENT).await.unwrap();
    let released = server.reserved(hold(&issued.hash, "released", CENT)).await;
    server.release(&released).await.unwrap();
    server
        .reserve(hold(&issued.hash, "expired", CENT))
        .await
        .unwrap();
    server.advance_seconds(TEN_MINUTES);
    for (request_id, reason) in [
        ("settled", "RESERVATION_SETTLED"),
        ("released", "RESERVATION_RELEASED"),
        ("expired", "RESERVATION_EXPIRED"),
    ] {
        let message = format!("Reservation was already {request_id}");
        rejected(server.reserve(hold(&issued.hash, request_id, CENT)).await)
            .is(Code::FailedPrecondition, reason, &message)
            .alone();
    }
}

async fn reservation_of_a_disabled_or_expired_key_ends_normally(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let body = json!({ "limit": 1, "expires_at": "2026-08-01T12:05:00Z" });
    let issued = server.issued_key(&token, body).await;
    let settled = server
        .reserved(hold(&issued.hash, "settled", 40 * CENT))
        .await;
    let released = server
        .reserved(hold(&issued.hash, "released", 40 * CENT))
        .await;
    server
        .change_key(&token, &issued.hash, json!({ "disabled": true }))
        .await;
    server.set_clock("2026-08-01T12:06:00Z");
    let answer = server.settle(&settled, 50 * CENT).await.unwrap();
    assert_eq!(answer.limit_remaining_nanos, Some(50 * CENT));
    server.release(&released).await.unwrap();
    assert_eq!(left_and_spent(&server, &token, &issued).await, (50, 50));
}

async fn id_without_a_reservation_is_not_found(server: TestServer) {
    let (_, issued) = keys(&server).await;
    let reservation = server.reserved(hold(&issued.hash, "r", CENT)).await;
    let plain = reservation.replace('-', "");
    let none = "01890a5d-ac96-774b-bcce-b302099a8057";
    for id in ["", "none", "r", &issued.hash, &plain, none] {
        rejected(server.settle(id, CENT).await)
            .is(Code::NotFound, "RESERVATION_NOT_FOUND", NOT_FOUND)
            .alone();
        rejected(server.release(id).await)
            .is(Code::NotFound, "RESERVATION_NOT_FOUND", NOT_FOUND)
            .alone();
    }
    for (cost, message) in [
        (-1, "Cost must not be negative"),
        (
            1_000_000 * DOLLAR + 1,
            "Cost must be at most 1000000000000000 nano-dollars",
        ),
    ] {
        rejected(server.settle(&reservation, cost).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", message)
            .fields(&[("costNanos", message)]);
    }
    assert_eq!(server.database.count("charges").await, 0);
}

async fn concurrent_settlements_count_once(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let reservation = server.reserved(hold(&issued.hash, "r", 40 * CENT)).await;
    let (server, barrier) = (Arc::new(server), Arc::new(Barrier::new(32)));
    let mut settlers = JoinSet::new();
    for _ in 0..32 {
        let (server, barrier) = (Arc::clone(&server), Arc::clone(&barrier));
        let reservation = reservation.clone();
        settlers.spawn(async move {
            barrier.wait().await;
            server
                .settle(&reservation, 30 * CENT)
                .await
                .unwrap()
                .duplicate
        });
    }
    let duplicates = settlers.join_all().await;
    assert_eq!(
        duplicates.iter().filter(|duplicate| !**duplicate).count(),
        1
    );
    assert_eq!(left_and_spent(&server, &token, &issued).await, (70, 30));
}

async fn concurrent_settlement_and_release_have_one_winner(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let mut spent = 0;
    for round in 0..16 {
        let reservation = server
            .reserved(hold(&issued.hash, &round.to_string(), CENT))
            .await;
        let (settled, released) = tokio::join!(
            server.settle(&reservation, CENT),
            server.release(&reservation)
        );
        match (settled, released) {
            (Ok(_), Err(status)) => {
                spent += 1;
                rejected(Err::<(), _>(status)).is(
                    Code::FailedPrecondition,
                    "RESERVATION_SETTLED",
                    "Reservation was already settled",
                );
            }
            (Err(status), Ok(())) => {
                rejected(Err::<(), _>(status)).is(
                    Code::FailedPrecondition,
                    "RESERVATION_RELEASED",
                    "Reservation was already released",
                );
            }
            both => panic!("{both:?}"),
        }
    }
    assert_eq!(
        left_and_spent(&server, &token, &issued).await,
        (100 - spent, spent)
    );
}

each_engine! {
    settled_hold_becomes_a_charge_of_the_true_cost
    settled_byok_hold_is_a_byok_charge
    second_settlement_is_the_first_one_or_a_conflict
    hold_whose_charge_was_recorded_is_settled_by_it
    expired_hold_holds_nothing_and_can_be_settled
    released_hold_holds_nothing_and_can_be_released_again
    ended_hold_cannot_end_otherwise
    ended_reservation_is_not_made_again
    reservation_of_a_disabled_or_expired_key_ends_normally
    id_without_a_reservation_is_not_found
    concurrent_settlements_count_once
    concurrent_settlement_and_release_have_one_winner
}
