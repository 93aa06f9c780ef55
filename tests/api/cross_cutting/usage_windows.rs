//! Days, weeks from Monday and calendar months in UTC: spending in them, and the reset of a limit.

use keyward::proto::v1::KeyVerdict;
use serde_json::{Value, json};

use crate::support::{
    CENT, DOLLAR, Issued, ORGANIZATION, TestServer, charge, charge_at, hold, rejected,
};

/// Returns the remaining amount of a key's limit, in nano-dollars, on which all responses agree.
async fn remaining(server: &TestServer, token: &str, issued: &Issued) -> Option<i64> {
    let verified = server.verify(&issued.key).await.limit_remaining_nanos;
    // A zero charge that already exists changes nothing, and its response has the remaining amount.
    let recorded = server
        .record(charge(&issued.hash, "nothing", 0))
        .await
        .unwrap();
    let shown = json!(
        verified
            .map(|nanos| nanos / CENT)
            .map(|cents| cents as f64 / 100.0)
    );
    let list = server.get("/keys").bearer(token).send().await.json();
    let list = list["data"].as_array().unwrap();
    let listed = list.iter().find(|key| key["hash"] == issued.hash).unwrap();
    let current = server.get("/key").bearer(&issued.key).send().await.json();
    for key in [
        &server.key(token, &issued.hash).await,
        listed,
        &current["data"],
    ] {
        assert_eq!(key["limit_remaining"].as_f64(), shown.as_f64());
    }
    assert_eq!(recorded.limit_remaining_nanos, verified);
    verified
}

/// A key with a limit of a dollar.
async fn limited(server: &TestServer, token: &str, reset: Value) -> Issued {
    server
        .issued_key(token, json!({ "limit": 1, "limit_reset": reset }))
        .await
}

async fn limit_resets_at_the_end_of_its_window(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for (reset, spent, last, anew) in [
        (
            "daily",
            "2026-08-01T00:00:00Z",
            "2026-08-01T23:59:59.999Z",
            "2026-08-02T00:00:00Z",
        ),
        (
            "daily",
            "2026-12-31T12:00:00Z",
            "2026-12-31T23:59:59.999Z",
            "2027-01-01T00:00:00Z",
        ),
        (
            "daily",
            "2028-02-28T12:00:00Z",
            "2028-02-28T23:59:59.999Z",
            "2028-02-29T00:00:00Z",
        ),
        (
            "daily",
            "2028-02-29T12:00:00Z",
            "2028-02-29T23:59:59.999Z",
            "2028-03-01T00:00:00Z",
        ),
        // From a Monday to a Sunday, and across the end of a year.
        (
            "weekly",
            "2026-08-03T00:00:00Z",
            "2026-08-09T23:59:59.999Z",
            "2026-08-10T00:00:00Z",
        ),
        (
            "weekly",
            "2026-08-01T12:00:00Z",
            "2026-08-02T23:59:59.999Z",
            "2026-08-03T00:00:00Z",
        ),
        (
            "weekly",
            "2026-12-31T12:00:00Z",
            "2027-01-03T23:59:59.999Z",
            "2027-01-04T00:00:00Z",
        ),
        (
            "weekly",
            "2028-02-28T00:00:00Z",
            "2028-03-05T23:59:59.999Z",
            "2028-03-06T00:00:00Z",
        ),
        (
            "monthly",
            "2026-08-01T00:00:00Z",
            "2026-08-31T23:59:59.999Z",
            "2026-09-01T00:00:00Z",
        ),
        (
            "monthly",
            "2026-09-01T12:00:00Z",
            "2026-09-30T23:59:59.999Z",
            "2026-10-01T00:00:00Z",
        ),
        (
            "monthly",
            "2026-12-01T12:00:00Z",
            "2026-12-31T23:59:59.999Z",
            "2027-01-01T00:00:00Z",
        ),
        (
            "monthly",
            "2027-02-27T12:00:00Z",
            "2027-02-28T23:59:59.999Z",
            "2027-03-01T00:00:00Z",
        ),
        (
            "monthly",
            "2028-02-28T12:00:00Z",
            "2028-02-29T23:59:59.999Z",
            "2028-03-01T00:00:00Z",
        ),
    ] {
        server.set_clock(spent);
        let issued = limited(&server, &token, json!(reset)).await;
        server
            .record(charge(&issued.hash, "1", 40 * CENT))
            .await
            .unwrap();
        let left = remaining(&server, &token, &issued).await;
        assert_eq!(left, Some(60 * CENT), "{reset} {spent}");
        server.set_clock(last);
        let left = remaining(&server, &token, &issued).await;
        assert_eq!(left, Some(60 * CENT), "{reset} {last}");
        server
            .record(charge(&issued.hash, "2", 70 * CENT))
            .await
            .unwrap();
        assert_eq!(
            remaining(&server, &token, &issued).await,
            Some(0),
            "{reset} {last}"
        );
        assert_eq!(server.verdict(&issued.key).await, KeyVerdict::LimitExceeded);
        rejected(server.reserve(hold(&issued.hash, "held", 1)).await);
        server.set_clock(anew);
        // An earlier overspend is not carried over.
        assert_eq!(
            remaining(&server, &token, &issued).await,
            Some(DOLLAR),
            "{reset} {anew}"
        );
        assert_eq!(server.verdict(&issued.key).await, KeyVerdict::Valid);
        server
            .reserve(hold(&issued.hash, "held", DOLLAR))
            .await
            .unwrap();
        assert_eq!(server.key(&token, &issued.hash).await["usage"], 1.1);
        server.delete_key(&token, &issued.hash).await;
    }
}

async fn limit_without_reset_never_resets(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = limited(&server, &token, json!(null)).await;
    server
        .record(charge(&issued.hash, "1", 40 * CENT))
        .await
        .unwrap();
    for now in [
        "2026-08-02T00:00:00Z",
        "2026-09-01T00:00:00Z",
        "2036-01-01T00:00:00Z",
    ] {
        server.set_clock(now);
        assert_eq!(
            remaining(&server, &token, &issued).await,
            Some(60 * CENT),
            "{now}"
        );
    }
    // A key without a limit has no remaining amount, regardless of its reset.
    let unlimited = json!({ "limit_reset": "daily" });
    let unlimited = server.issued_key(&token, unlimited).await;
    server
        .record(charge(&unlimited.hash, "1", DOLLAR))
        .await
        .unwrap();
    assert_eq!(remaining(&server, &token, &unlimited).await, None);
}

async fn figures_follow_the_calendar_for_every_reset(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    // A Friday, the last of its month; then a Saturday, a Monday, and the next month.
    for reset in [json!(null), json!("daily"), json!("monthly")] {
        server.set_clock("2026-07-31T12:00:00Z");
        let issued = limited(&server, &token, reset).await;
        for (now, day, week, month) in [
            ("2026-07-31T12:00:00Z", 1, 1, 1),
            ("2026-08-01T12:00:00Z", 1, 2, 1),
            ("2026-08-02T23:59:59.999Z", 1, 3, 2),
            ("2026-08-03T00:00:00Z", 1, 1, 3),
            ("2026-08-03T12:00:00Z", 2, 2, 4),
            ("2026-09-01T00:00:00Z", 1, 1, 1),
        ] {
            server.set_clock(now);
            server
                .record(charge(&issued.hash, now, DOLLAR))
                .await
                .unwrap();
            let key = server.key(&token, &issued.hash).await;
            for (name, expected) in [
                ("usage_daily", day),
                ("usage_weekly", week),
                ("usage_monthly", month),
            ] {
                assert_eq!(key[name], expected, "{now} {name}");
            }
        }
        server.set_clock("2026-09-08T00:00:00Z");
        let key = server.key(&token, &issued.hash).await;
        let names = ["usage", "usage_daily", "usage_weekly", "usage_monthly"];
        assert_eq!(names.map(|name| &key[name]), [6, 0, 0, 1]);
    }
}

async fn late_charge_takes_from_the_limit_whose_window_it_is_in(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    // A Wednesday.
    server.set_clock("2026-08-19T10:00:00Z");
    for (moment, daily, weekly, monthly, never) in [
        ("2026-08-19T00:00:00Z", 90, 90, 90, 90),
        ("2026-08-18T23:59:59.999Z", 100, 90, 90, 90),
        ("2026-08-17T00:00:00Z", 100, 90, 90, 90),
        ("2026-08-16T23:59:59.999Z", 100, 100, 90, 90),
        ("2026-07-31T23:59:59.999Z", 100, 100, 100, 90),
    ] {
        for (reset, expected) in [
            (json!("daily"), daily),
            (json!("weekly"), weekly),
            (json!("monthly"), monthly),
            (json!(null), never),
        ] {
            let issued = limited(&server, &token, reset.clone()).await;
            let late = charge_at(moment, charge(&issued.hash, "late", 10 * CENT));
            server.record(late).await.unwrap();
            let left = remaining(&server, &token, &issued).await;
            assert_eq!(left, Some(expected * CENT), "{moment} {reset}");
        }
    }
}

async fn charge_a_little_ahead_counts_in_the_window_that_it_names(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    server.set_clock("2026-08-02T23:58:00Z");
    let issued = limited(&server, &token, json!("weekly")).await;
    let ahead = charge_at("2026-08-03T00:01:00Z", charge(&issued.hash, "1", 40 * CENT));
    server.record(ahead).await.unwrap();
    assert_eq!(remaining(&server, &token, &issued).await, Some(DOLLAR));
    server.set_clock("2026-08-03T00:00:00Z");
    assert_eq!(remaining(&server, &token, &issued).await, Some(60 * CENT));
}

async fn another_reset_takes_another_window(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    server.set_clock("2026-08-19T10:00:00Z");
    let issued = limited(&server, &token, json!(null)).await;
    for (moment, cents) in [
        ("2026-08-19T00:00:00Z", 1),
        ("2026-08-17T00:00:00Z", 2),
        ("2026-08-01T00:00:00Z", 4),
        ("2026-07-01T00:00:00Z", 8),
    ] {
        let late = charge_at(moment, charge(&issued.hash, moment, cents * CENT));
        server.record(late).await.unwrap();
    }
    for (reset, left) in [
        (json!("daily"), 99),
        (json!("weekly"), 97),
        (json!("monthly"), 93),
        (json!(null), 85),
    ] {
        let body = json!({ "limit_reset": reset });
        let key = server.change_key(&token, &issued.hash, body).await;
        assert_eq!(key["limit_remaining"], f64::from(left) / 100.0, "{reset}");
        let returned = remaining(&server, &token, &issued).await;
        assert_eq!(returned, Some(i64::from(left) * CENT));
    }
}

async fn hold_outlasts_the_window_and_is_settled_in_the_next(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    server.set_clock("2026-08-01T23:55:00Z");
    let issued = limited(&server, &token, json!("daily")).await;
    server
        .record(charge(&issued.hash, "1", 50 * CENT))
        .await
        .unwrap();
    let reservation = server.reserved(hold(&issued.hash, "2", 20 * CENT)).await;
    assert_eq!(remaining(&server, &token, &issued).await, Some(50 * CENT));
    server.set_clock("2026-08-02T00:01:00Z");
    assert_eq!(remaining(&server, &token, &issued).await, Some(DOLLAR));
    rejected(server.reserve(hold(&issued.hash, "3", 81 * CENT)).await);
    let settled = server.settle(&reservation, 25 * CENT).await.unwrap();
    assert_eq!(settled.limit_remaining_nanos, Some(75 * CENT));
    assert_eq!(remaining(&server, &token, &issued).await, Some(75 * CENT));
    let key = server.key(&token, &issued.hash).await;
    assert_eq!(
        (&key["usage"], &key["usage_daily"]),
        (&json!(0.75), &json!(0.25))
    );
}

each_engine! {
    limit_resets_at_the_end_of_its_window
    limit_without_reset_never_resets
    figures_follow_the_calendar_for_every_reset
    late_charge_takes_from_the_limit_whose_window_it_is_in
    charge_a_little_ahead_counts_in_the_window_that_it_names
    another_reset_takes_another_window
    hold_outlasts_the_window_and_is_settled_in_the_next
}
