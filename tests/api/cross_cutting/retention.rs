//! Retention under wrong clocks: in each hour of running time, the replicas together delete at most one day of the
//! oldest rows. A wrong clock, restarts and further replicas do not change that.

use std::time::Duration;

use keyward_core::clock::Clock;
use serde_json::json;

use crate::support::{CENT, ORGANIZATION, Setup, TestServer, WORKSPACE_A, charge, hold};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const RETENTION: Option<Duration> = Some(Duration::from_secs(90 * 24 * 3600));

/// Number of days on which a filled server has a charge and the event of a created provider key.
const DAYS: i64 = 3;

/// A server with a charge and an event on each of [`DAYS`] days, the token of a management key, and a key's hash.
struct Filled {
    server: TestServer,
    token: String,
    hash: String,
}

impl Filled {
    async fn new(setup: Setup) -> Self {
        let server = Setup {
            charge_retention: RETENTION,
            audit_retention: RETENTION,
            ..setup
        }
        .start()
        .await;
        let token = server.management_key(ORGANIZATION).await;
        let hash = server.issued_key(&token, json!({})).await.hash;
        let filled = Self {
            server,
            token,
            hash,
        };
        for day in 0..DAYS {
            filled.write(&format!("day {day}")).await;
            filled.server.clock.advance(DAY + Duration::from_secs(1));
        }
        // The first run stores the cutoff.
        filled.run(Duration::ZERO).await;
        filled.assert_left(DAYS).await;
        filled
    }

    /// Writes a charge and an event with the current time.
    async fn write(&self, name: &str) {
        let charged = self.server.record(charge(&self.hash, name, CENT)).await;
        charged.unwrap();
        let body = json!({
            "workspaceId": WORKSPACE_A,
            "key": name,
            "secret": "s",
            "provider": "AWS",
        });
        self.server.create(body).await;
    }

    async fn run(&self, passed: Duration) {
        self.server.use_cases.ledger.roll_up(passed).await.unwrap();
        self.server.use_cases.audit.expire(passed).await.unwrap();
    }

    /// Runs an hour later by every clock.
    async fn run_after_an_hour(&self) {
        self.server.clock.advance(HOUR);
        self.run(HOUR).await;
    }

    /// Checks that so many charges and events are left, besides those of the day 'wrong'.
    async fn assert_left(&self, left: i64) {
        let database = &self.server.database;
        let charges = "charges WHERE request_id LIKE 'day %'";
        assert_eq!(database.count(charges).await, left);
        let created = "audit_events WHERE action = 'api_key.create'";
        let wrong = database
            .count("charges WHERE request_id NOT LIKE 'day %'")
            .await;
        assert_eq!(database.count(created).await, left + wrong);
    }
}

async fn wrong_clock_costs_a_day_an_hour(setup: Setup) {
    let filled = Filled::new(setup).await;
    filled.server.clock.advance(400 * DAY);
    filled.write("wrong").await;
    for left in (0..DAYS).rev() {
        filled.run_after_an_hour().await;
        filled.assert_left(left).await;
    }
}

async fn restarts_of_a_wrong_clock_delete_nothing(setup: Setup) {
    let filled = Filled::new(setup).await;
    filled.server.clock.advance(400 * DAY);
    filled.write("wrong").await;
    for _ in 0..90 {
        // A process that has just started.
        filled.run(Duration::ZERO).await;
        filled.server.clock.advance(HOUR);
    }
    filled.assert_left(DAYS).await;
}

async fn replicas_delete_a_day_an_hour_together(setup: Setup) {
    let filled = Filled::new(setup).await;
    filled.server.clock.advance(400 * DAY);
    filled.write("wrong").await;
    for left in (0..DAYS).rev() {
        filled.server.clock.advance(HOUR);
        // Replicas share the database and, here, its clock.
        for _ in 0..5 {
            filled.run(HOUR).await;
        }
        filled.assert_left(left).await;
    }
}

async fn clock_that_jumps_back_deletes_no_more(setup: Setup) {
    let filled = Filled::new(setup).await;
    let right = filled.server.clock.now();
    filled.server.clock.advance(400 * DAY);
    filled.write("wrong").await;
    filled.run_after_an_hour().await;
    filled.assert_left(DAYS - 1).await;
    filled.server.clock.set(right);
    for _ in 0..90 {
        filled.run_after_an_hour().await;
    }
    filled.assert_left(DAYS - 1).await;
    // Retention goes on with the right clock.
    filled.server.clock.advance(90 * DAY);
    filled.run_after_an_hour().await;
    filled.assert_left(DAYS - 2).await;
}

async fn backlog_of_a_pause_is_deleted_daily(setup: Setup) {
    let filled = Filled::new(setup).await;
    filled.server.clock.advance(200 * DAY);
    filled.write("after the pause").await;
    filled.run(Duration::ZERO).await;
    filled.assert_left(DAYS).await;
    for left in (0..DAYS).rev() {
        filled.run_after_an_hour().await;
        filled.assert_left(left).await;
    }
    let key = filled.server.key(&filled.token, &filled.hash).await;
    assert_eq!(key["usage"], 0.04);
}

async fn reservations_alone_are_dropped_past_their_retention(setup: Setup) {
    let server = Setup {
        charge_retention: Some(DAY),
        ..setup
    }
    .start()
    .await;
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({ "limit": 1 })).await;
    let released = server.reserved(hold(&issued.hash, "released", CENT)).await;
    server.release(&released).await.unwrap();
    server
        .reserve(hold(&issued.hash, "expired", CENT))
        .await
        .unwrap();
    // A reservation that ended long after its expiry does not keep the others.
    let late = server.reserved(hold(&issued.hash, "late", CENT)).await;
    server.clock.advance(20 * DAY);
    server.release(&late).await.unwrap();
    let dropped = server.roll_up_for(3).await;
    assert_eq!(
        dropped.reservations, 0,
        "without a newer row the clock alone deletes nothing"
    );
    server
        .reserve(hold(&issued.hash, "newer", CENT))
        .await
        .unwrap();
    assert_eq!(server.roll_up_for(3).await.reservations, 2);
    server.clock.advance(DAY + Duration::from_secs(601));
    server
        .reserve(hold(&issued.hash, "newest", CENT))
        .await
        .unwrap();
    assert_eq!(server.roll_up_for(3).await.reservations, 2);
    assert_eq!(server.database.count("reservations").await, 1);
}

each_engine! {
    wrong_clock_costs_a_day_an_hour
    restarts_of_a_wrong_clock_delete_nothing
    replicas_delete_a_day_an_hour_together
    clock_that_jumps_back_deletes_no_more
    backlog_of_a_pause_is_deleted_daily
    reservations_alone_are_dropped_past_their_retention
}
