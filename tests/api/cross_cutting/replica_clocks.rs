//! Replicas on machines with wrong clocks: on PostgreSQL the database's clock decides, and no clock alone
//! deletes.

use std::time::Duration;

use keyward_core::Error;
use keyward_core::clock::{Clock, SystemClock, Timestamp};
use keyward_store::TimeSource;
use serde_json::json;
use tonic::Code;

use crate::support::{
    CENT, DOLLAR, Engine, ORGANIZATION, OnEngine, Setup, TestServer, charge, hold, hold_for,
    rejected,
};

const HOUR: Duration = Duration::from_secs(3600);
const RETENTION: Option<Duration> = Some(Duration::from_secs(90 * 24 * 3600));
const NOT_READY: &str = concat!(
    r#"{"reasons":["database.max_clock_difference_ms: "#,
    r#"the machine's clock differs from the database's by more"],"status":"unavailable"}"#
);

/// A moment relative to now, which is also the time of the database server.
fn ahead(seconds: i64) -> Timestamp {
    let now = SystemClock.now().unix_millis();
    Timestamp::from_unix_millis(now + 1000 * seconds)
}

/// Starts a replica whose machine clock is ahead of the database's, or behind it.
async fn replica(setup: Setup, ahead_seconds: i64) -> TestServer {
    Setup {
        time_source: TimeSource::Server,
        machine_time: ahead(ahead_seconds),
        charge_retention: RETENTION,
        audit_retention: RETENTION,
        ..setup
    }
    .start()
    .await
}

/// Starts another replica on the first one's database.
async fn beside(first: &TestServer, ahead_seconds: i64) -> TestServer {
    let setup = Setup::on(first.engine).await.unwrap();
    let store_url = Some(first.database.url().to_owned());
    replica(Setup { store_url, ..setup }, ahead_seconds).await
}

async fn replicas_40_s_apart_hold_no_more_than_the_limit(setup: Setup) {
    if setup.engine == Engine::Sqlite {
        // SQLite has one process.
        return;
    }
    let behind = replica(setup, -20).await;
    let before = beside(&behind, 20).await;
    let token = behind.management_key(ORGANIZATION).await;
    for (first, second) in [(&behind, &before), (&before, &behind)] {
        let issued = first.issued_key(&token, json!({ "limit": 1 })).await;
        // By the second replica's clock it could have expired; by the database's it has half a minute
        // left.
        let ttl = Duration::from_secs(30);
        let held = first
            .reserved(hold_for(ttl, hold(&issued.hash, "first", DOLLAR)))
            .await;
        rejected(second.reserve(hold(&issued.hash, "second", DOLLAR)).await).is(
            Code::ResourceExhausted,
            "LIMIT_EXCEEDED",
            "API key's limit is exceeded",
        );
        first.settle(&held, DOLLAR).await.unwrap();
        let key = second.key(&token, &issued.hash).await;
        assert_eq!(
            (&key["usage"], &key["limit_remaining"]),
            (&json!(1), &json!(0))
        );
    }
}

async fn clock_400_days_ahead_deletes_nothing(setup: Setup) {
    let server = replica(setup, 0).await;
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    for request_id in ["1", "2", "3"] {
        server
            .record(charge(&issued.hash, request_id, CENT))
            .await
            .unwrap();
    }
    server
        .reserve(hold(&issued.hash, "held", CENT))
        .await
        .unwrap();
    let events = server.database.count("audit_events").await;
    assert!(events > 1);

    // A SQLite file has one process, whose clock jumps.
    let other = match server.engine {
        Engine::Postgres => Some(beside(&server, 400 * 24 * 3600).await),
        Engine::Sqlite => None,
    };
    // The other replica starts with the same organization and users.
    let events = events.max(server.database.count("audit_events").await);
    let wrong = other.as_ref().unwrap_or(&server);
    wrong.clock.set(ahead(400 * 24 * 3600));
    for _ in 0..2 {
        let dropped = wrong.use_cases.ledger.roll_up(HOUR).await;
        let events = wrong.use_cases.audit.expire(HOUR).await;
        match wrong.engine {
            Engine::Sqlite => {
                let dropped = dropped.unwrap();
                assert_eq!((dropped.charges, dropped.reservations), (0, 0));
                assert_eq!(events.unwrap(), 0);
            }
            // One of the clocks is wrong.
            Engine::Postgres => {
                assert!(matches!(dropped, Err(Error::Unavailable(_))));
                assert!(matches!(events, Err(Error::Unavailable(_))));
            }
        }
    }
    assert_eq!(server.database.count("charges").await, 3);
    assert_eq!(server.database.count("reservations").await, 1);
    assert_eq!(server.database.count("audit_events").await, events);
    for request_id in ["1", "2", "3"] {
        let again = wrong
            .record(charge(&issued.hash, request_id, CENT))
            .await
            .unwrap();
        assert!(again.duplicate, "{request_id}");
    }
    assert_eq!(wrong.key(&token, &issued.hash).await["usage"], 0.03);
}

async fn replica_with_a_wrong_clock_is_not_ready(setup: Setup) {
    let engine = setup.engine;
    let server = replica(setup, 40).await;
    if engine == Engine::Sqlite {
        // SQLite has no server whose clock could differ.
        server
            .get("/readyz")
            .send()
            .await
            .is(200, r#"{"status":"ok"}"#);
        return;
    }
    for seconds in [40, -40] {
        server.clock.set(ahead(seconds));
        server.until_not_ready().await;
        server.get("/readyz").send().await.is(503, NOT_READY);
        server
            .get("/healthz")
            .send()
            .await
            .is(200, r#"{"status":"ok"}"#);
        until_ready(&server).await;
    }
}

async fn replica_behind_takes_charges_that_carry_their_time(setup: Setup) {
    if setup.engine == Engine::Sqlite {
        return;
    }
    // Further behind than a caller's clock may be ahead.
    let server = replica(setup, -600).await;
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    let at = |seconds: i64, request_id: &str| {
        let millis = ahead(seconds).unix_millis();
        let occurred_at = prost_types::Timestamp {
            seconds: millis / 1000,
            nanos: 0,
        };
        let mut charge = charge(&issued.hash, request_id, CENT);
        charge.occurred_at = Some(occurred_at);
        charge
    };
    server.record(at(0, "now")).await.unwrap();
    server
        .record(at(240, "a caller's clock is ahead"))
        .await
        .unwrap();
    let message = "Time of the charge must not be in the future";
    rejected(server.record(at(360, "in the future")).await).is(
        Code::InvalidArgument,
        "FIELD_INVALID",
        message,
    );
    assert_eq!(server.key(&token, &issued.hash).await["usage"], 0.02);
}

/// Keeps the machine's clock correct until the replica has compared it with the database's.
async fn until_ready(server: &TestServer) {
    let asking = async {
        loop {
            server.clock.set(ahead(0));
            let answer = server.get("/readyz").send().await;
            if answer.status == 200 {
                return answer.is(200, r#"{"status":"ok"}"#);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking)
        .await
        .expect("it stays not ready");
}

each_engine! {
    replicas_40_s_apart_hold_no_more_than_the_limit
    clock_400_days_ahead_deletes_nothing
    replica_with_a_wrong_clock_is_not_ready
    replica_behind_takes_charges_that_carry_their_time
}
