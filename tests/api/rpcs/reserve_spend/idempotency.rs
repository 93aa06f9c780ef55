//! ReserveSpend: repeated and concurrent reservations.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::Code;

use super::{DAY, EXCEEDED, exceeds, keys};
use crate::support::{CENT, DOLLAR, TestServer, byok_hold, charge, hold, hold_for, rejected};

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
        rejected(server.reserve(conflict).await)
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
                rejected(Err::<(), _>(status))
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
    same_hold_is_the_first_one
    another_hold_under_the_same_id_is_a_conflict
    concurrent_holds_are_admitted_up_to_the_limit
    concurrent_identical_holds_are_one
}
