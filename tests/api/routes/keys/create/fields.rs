//! POST /keys and CreateKey: valid and invalid values of each field.

use keyward::proto::v1::{CreateKeyRequest, KeyVerdict};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    DENIED, ORGANIZATION, OTHER_ORGANIZATION, TestServer, WORKSPACE_A, WORKSPACE_B, WORKSPACE_X,
    rejected,
};

const UTC: &str = "`expires_at` must be an RFC 3339 timestamp in UTC, such as 2027-01-31T00:00:00Z";
const RESET: &str = "`limit_reset` must be one of daily, weekly, monthly";

/// Returns a key with that member besides its name, as the API shows it.
async fn with(server: &TestServer, token: &str, member: &str, value: Value) -> Value {
    let issued = server.issued_key(token, json!({ member: value })).await;
    server.key(token, &issued.hash).await
}

/// Expects that REST rejects that member with this message and creates nothing.
async fn rejects(server: &TestServer, token: &str, member: &str, value: Value, message: &str) {
    let body = json!({ "name": "n", member: value });
    let answer = server.post("/keys").bearer(token).json(&body).send().await;
    answer.rejects_key(400, message);
    assert_eq!(server.database.count("issued_keys").await, 0, "{body}");
}

fn message() -> CreateKeyRequest {
    CreateKeyRequest {
        name: "n".to_owned(),
        ..Default::default()
    }
}

async fn name_is_required_and_bounded(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let long = "Name must have at most 255 bytes";
    for (body, message) in [
        (json!({}), "Name is required"),
        (json!({ "name": null }), "Name is required"),
        (json!({ "name": "" }), "Name is required"),
        (json!({ "name": "é".repeat(128) }), long),
        (
            json!({ "name": "a\nb" }),
            "Name must not have control characters",
        ),
        (
            json!({ "name": " \u{200b}\u{2800}" }),
            "Name must have a visible character",
        ),
        (json!({ "name": 7 }), "`name` must be a string"),
        (json!({ "name": ["n"] }), "`name` must be a string"),
    ] {
        let answer = server.post("/keys").bearer(&token).json(&body).send().await;
        answer.rejects_key(400, message);
    }
    // A missing body is an empty one.
    let answer = server.post("/keys").bearer(&token).send().await;
    answer.rejects_key(400, "Name is required");
    let mut client = server.management_keys(&token);
    let request = CreateKeyRequest::default();
    rejected(client.create_key(request).await)
        .is(Code::InvalidArgument, "FIELD_REQUIRED", "Name is required")
        .fields(&[("name", "Name is required")]);
    let request = CreateKeyRequest {
        name: "n".repeat(256),
        ..Default::default()
    };
    rejected(client.create_key(request).await)
        .is(Code::InvalidArgument, "FIELD_INVALID", long)
        .fields(&[("name", long)]);
    assert_eq!(server.database.count("issued_keys").await, 0);
    with(
        &server,
        &token,
        "name",
        json!(format!("{}n", "é".repeat(127))),
    )
    .await;
    // Names need not be unique.
    with(
        &server,
        &token,
        "name",
        json!(format!("{}n", "é".repeat(127))),
    )
    .await;
}

async fn limit_is_a_number_of_dollars(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let most = json!(9_000_000_000_i64);
    for limit in [
        json!(0),
        json!(75),
        json!(1.5),
        json!(1e-9),
        json!(0.1),
        most,
    ] {
        let shown = with(&server, &token, "limit", limit.clone()).await;
        assert_eq!(
            (&shown["limit"], &shown["limit_remaining"]),
            (&limit, &limit)
        );
    }
    for (sent, shown) in [(75.0, 75), (1e2, 100)] {
        assert_eq!(
            with(&server, &token, "limit", json!(sent)).await["limit"],
            shown
        );
    }
    let shown = with(&server, &token, "limit", json!(null)).await;
    assert_eq!(
        (&shown["limit"], &shown["limit_remaining"]),
        (&json!(null), &json!(null))
    );
}

async fn limit_out_of_range_or_finer_than_a_unit_is_rejected(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let negative = "Limit must be from 0 to 9000000000 US dollars, with at most 9 decimal places";
    let wrong = "`limit` must be a number from 0 to 9000000000 with at most 9 decimal places";
    for (value, message) in [
        (json!(-1), negative),
        (json!(-1e-9), negative),
        (json!(-9_000_000_000_i64), negative),
        (json!(9_000_000_001_i64), negative),
        (json!(9_223_372_036_i64), negative),
        (json!(9_223_372_037_i64), wrong),
        (json!(4e-10), wrong),
        (json!(1.000_000_000_1), wrong),
        (json!(1e300), wrong),
        (json!(-1e300), wrong),
        (json!("75"), wrong),
        (json!("NaN"), wrong),
        (json!("Infinity"), wrong),
        (json!(true), wrong),
        (json!([1]), wrong),
        (json!({ "amount": 1 }), wrong),
    ] {
        rejects(&server, &token, "limit", value, message).await;
    }
    // A value that JSON cannot express is invalid JSON.
    for text in [
        r#"{"name":"n","limit":NaN}"#,
        r#"{"name":"n","limit":Infinity}"#,
    ] {
        let call = server
            .post("/keys")
            .bearer(&token)
            .text("application/json", text);
        assert_eq!(call.send().await.status, 400, "{text}");
    }
    let answer = server
        .post("/keys")
        .bearer(&token)
        .text("application/json", r#"{"name":"n","limit":1e999}"#)
        .send()
        .await;
    assert_eq!(answer.status, 400);
    let request = CreateKeyRequest {
        limit_nanos: Some(-1),
        ..message()
    };
    rejected(server.management_keys(&token).create_key(request).await)
        .is(Code::InvalidArgument, "FIELD_INVALID", negative)
        .fields(&[("limit", negative)]);
    assert_eq!(server.database.count("issued_keys").await, 0);
}

async fn limit_resets_daily_weekly_monthly_or_never(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for reset in [
        json!("daily"),
        json!("weekly"),
        json!("monthly"),
        json!(null),
    ] {
        let shown = with(&server, &token, "limit_reset", reset.clone()).await;
        assert_eq!(shown["limit_reset"], reset);
    }
    server.database.execute("DELETE FROM issued_keys").await;
    for reset in [
        json!("yearly"),
        json!("Daily"),
        json!(""),
        json!(true),
        json!(["daily"]),
    ] {
        rejects(&server, &token, "limit_reset", reset, RESET).await;
    }
    let request = CreateKeyRequest {
        limit_reset: Some(4),
        ..message()
    };
    let said = "Limit reset must be one of daily, weekly, monthly";
    rejected(server.management_keys(&token).create_key(request).await)
        .is(Code::InvalidArgument, "FIELD_INVALID", said)
        .fields(&[("limit_reset", said)]);
}

async fn expiry_is_in_utc(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for (sent, shown) in [
        ("2027-12-31T23:59:59Z", "2027-12-31T23:59:59.000Z"),
        ("2027-12-31T23:59:59.5Z", "2027-12-31T23:59:59.500Z"),
        ("2027-12-31T23:59:59.123Z", "2027-12-31T23:59:59.123Z"),
        ("2027-12-31T23:59:59.123999999Z", "2027-12-31T23:59:59.123Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ] {
        assert_eq!(
            with(&server, &token, "expires_at", json!(sent)).await["expires_at"],
            shown
        );
    }
    server.database.execute("DELETE FROM issued_keys").await;
    for wrong in [
        "2027-12-31T23:59:59+00:00",
        "2027-12-31T23:59:59-00:00",
        "2027-12-31T23:59:59+02:00",
        "2027-12-31T23:59:59",
        "2027-12-31T23:59Z",
        "2027-12-31",
        "2027-02-29T00:00:00Z",
        "2027-12-31T23:59:59z",
        "2027-12-31 23:59:59Z",
        "tomorrow",
        "",
    ] {
        rejects(&server, &token, "expires_at", json!(wrong), UTC).await;
    }
    rejects(&server, &token, "expires_at", json!(1_830_297_599), UTC).await;
    let expires_at = Some(prost_types::Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    });
    let request = CreateKeyRequest {
        expires_at,
        ..message()
    };
    let said = "Expiry must be a moment of the years 1 to 9999";
    rejected(server.management_keys(&token).create_key(request).await)
        .is(Code::InvalidArgument, "FIELD_INVALID", said)
        .fields(&[("expires_at", said)]);
}

async fn expiry_in_the_past_is_rejected(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let said = "Expiry must be in the future";
    for past in ["2020-01-01T00:00:00Z", "2026-08-01T12:00:00Z"] {
        rejects(&server, &token, "expires_at", json!(past), said).await;
        let request = CreateKeyRequest {
            expires_at: Some(past.parse().unwrap()),
            ..message()
        };
        rejected(server.management_keys(&token).create_key(request).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", said)
            .fields(&[("expires_at", said)]);
    }
    assert_eq!(server.database.count("issued_keys").await, 0);
    let soon = json!({ "expires_at": "2026-08-01T12:00:00.001Z" });
    let issued = server.issued_key(&token, soon).await;
    assert_eq!(server.verdict(&issued.key).await, KeyVerdict::Valid);
    server.advance_seconds(1);
    assert_eq!(server.verdict(&issued.key).await, KeyVerdict::Expired);
    server
        .get("/key")
        .bearer(&issued.key)
        .send()
        .await
        .rejects_key(401, "Invalid token");
}

async fn key_belongs_to_a_workspace_of_its_organization(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for (sent, workspace) in [
        (json!(WORKSPACE_A), WORKSPACE_A),
        (json!(WORKSPACE_B), WORKSPACE_B),
        (json!(null), WORKSPACE_A),
    ] {
        let shown = with(&server, &token, "workspace_id", sent).await;
        assert_eq!(shown["workspace_id"], workspace);
    }
    for foreign in [WORKSPACE_X, "none", "org-1"] {
        let body = json!({ "name": "n", "workspace_id": foreign });
        let answer = server.post("/keys").bearer(&token).json(&body).send().await;
        answer.rejects_key(403, DENIED);
        let request = CreateKeyRequest {
            workspace_id: Some(foreign.to_owned()),
            ..message()
        };
        rejected(server.management_keys(&token).create_key(request).await)
            .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
            .alone();
    }
    for (value, message) in [
        (json!(""), "Workspace ID is required"),
        (
            json!("w".repeat(256)),
            "Workspace ID must have at most 255 bytes",
        ),
        (json!(7), "`workspace_id` must be a string"),
    ] {
        let body = json!({ "name": "n", "workspace_id": value });
        let answer = server.post("/keys").bearer(&token).json(&body).send().await;
        answer.rejects_key(400, message);
    }
    let other = server.management_key(OTHER_ORGANIZATION).await;
    let shown = with(&server, &other, "limit", json!(1)).await;
    assert_eq!(shown["workspace_id"], WORKSPACE_X);
    assert_eq!(server.database.count("issued_keys").await, 4);
}

async fn without_a_default_workspace_one_must_be_named(server: TestServer) {
    server.add_organization("org-3").await;
    let token = server.management_key("org-3").await;
    let said = "Workspace ID is required, since there is no default workspace";
    rejects(&server, &token, "limit", json!(1), said).await;
    rejected(server.management_keys(&token).create_key(message()).await)
        .is(Code::InvalidArgument, "FIELD_INVALID", said)
        .fields(&[("workspace_id", said)]);
    // The list is empty, which is not an error.
    server
        .get("/keys")
        .bearer(&token)
        .send()
        .await
        .is(200, r#"{"data":[]}"#);
    let answer = server.get("/key").bearer(&token).send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

async fn text_is_bounded_and_an_empty_one_is_unset(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for (member, label) in [
        ("creator_user_id", "Creator user ID"),
        ("external_user", "External user"),
    ] {
        let long = format!("{label} must have at most 255 bytes");
        let control = format!("{label} must not have control characters");
        let wrong = format!("`{member}` must be a string");
        rejects(&server, &token, member, json!("x".repeat(256)), &long).await;
        rejects(&server, &token, member, json!("a\u{0}b"), &control).await;
        rejects(&server, &token, member, json!(7), &wrong).await;
    }
    let required = "External user is required";
    rejects(&server, &token, "external", json!({}), required).await;
    rejects(&server, &token, "external", json!({ "user": "" }), required).await;
    let said = "`external` must be an object";
    rejects(&server, &token, "external", json!("their-7"), said).await;
    let said = "`external.user` must be a string";
    rejects(&server, &token, "external", json!({ "user": 7 }), said).await;
    let said = "`include_byok_in_limit` must be true or false";
    rejects(
        &server,
        &token,
        "include_byok_in_limit",
        json!("true"),
        said,
    )
    .await;
    for member in ["creator_user_id", "external_user"] {
        assert_eq!(
            with(&server, &token, member, json!("")).await[member],
            json!(null)
        );
        let longest = json!(format!("{}n", "é".repeat(127)));
        assert_eq!(
            with(&server, &token, member, longest.clone()).await[member],
            longest
        );
    }
}

async fn body_is_json_of_bounded_size(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let post = || server.post("/keys").bearer(&token);
    post()
        .text("text/plain", "{}")
        .send()
        .await
        .rejects_key(415, "The content type must be application/json");
    let answer = post().text("application/json", "{\"name\":").send().await;
    assert_eq!(answer.status, 400);
    assert!(
        answer
            .body
            .starts_with(r#"{"error":{"code":400,"message":"#),
        "{}",
        answer.body
    );
    let large = format!(r#"{{"name":"{}"}}"#, "n".repeat(1024 * 1024));
    let answer = post().text("application/json", large).send().await;
    assert_eq!(answer.status, 413);
    assert!(
        answer
            .body
            .starts_with(r#"{"error":{"code":413,"message":"#),
        "{}",
        answer.body
    );
}

each_engine! {
    name_is_required_and_bounded
    limit_is_a_number_of_dollars
    limit_out_of_range_or_finer_than_a_unit_is_rejected
    limit_resets_daily_weekly_monthly_or_never
    expiry_is_in_utc
    expiry_in_the_past_is_rejected
    key_belongs_to_a_workspace_of_its_organization
    without_a_default_workspace_one_must_be_named
    text_is_bounded_and_an_empty_one_is_unset
    body_is_json_of_bounded_size
}
