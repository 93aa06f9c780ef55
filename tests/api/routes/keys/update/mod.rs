//! PATCH /keys/{hash}: changed and unchanged members.

mod mask;

use serde_json::{Value, json};

use crate::support::{
    CENT, KEY_NOT_FOUND, MOUNTS, ORGANIZATION, OTHER_ORGANIZATION, TestServer, charge, sha256_hex,
};

const UPDATED_AT: &str = "2026-08-01T12:00:01.000Z";

/// Returns a key with every member set.
fn full() -> Value {
    json!({
        "name": "n", "limit": 10, "limit_reset": "daily", "include_byok_in_limit": true,
        "expires_at": "2027-01-01T00:00:00Z", "creator_user_id": "c", "external_user": "e",
    })
}

/// Expects that the body is rejected with this message and the key stays unchanged.
async fn rejects(server: &TestServer, token: &str, hash: &str, body: Value, message: &str) {
    let before = server.key(token, hash).await;
    for mount in MOUNTS {
        let call = server.patch(&format!("{mount}/keys/{hash}")).bearer(token);
        call.json(&body).send().await.rejects_key(400, message);
    }
    assert_eq!(server.key(token, hash).await, before, "{body}");
}

async fn each_field_changes_alone(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for (member, value, remaining) in [
        ("name", json!("m"), json!(10)),
        ("disabled", json!(true), json!(10)),
        ("limit", json!(7.5), json!(7.5)),
        ("limit", json!(0), json!(0)),
        ("limit_reset", json!("weekly"), json!(10)),
        ("include_byok_in_limit", json!(false), json!(10)),
    ] {
        let issued = server.issued_key(&token, full()).await;
        let mut expected = server.key(&token, &issued.hash).await;
        server.set_clock(UPDATED_AT);
        let changed = server
            .change_key(&token, &issued.hash, json!({ member: value }))
            .await;
        expected[member] = value;
        expected["limit_remaining"] = remaining;
        expected["updated_at"] = json!(UPDATED_AT);
        assert_eq!(changed, expected, "{member}");
        assert_eq!(server.key(&token, &issued.hash).await, expected);
        server.set_clock("2026-08-01T12:00:00Z");
    }
}

async fn all_fields_change_at_once_on_both_mounts(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for mount in MOUNTS {
        let issued = server.issued_key(&token, json!({})).await;
        let body = json!({
            "name": "m", "disabled": true, "limit": 75, "limit_reset": "monthly",
            "include_byok_in_limit": true,
        });
        let call = server
            .patch(&format!("{mount}/keys/{}", issued.hash))
            .bearer(&token);
        let answer = call.json(&body).send().await;
        let text = answer.body.clone();
        answer.is(200, &text);
        for (member, value) in body.as_object().unwrap() {
            assert_eq!(answer.json()["data"][member], *value, "{member}");
        }
        assert_eq!(
            answer.json(),
            json!({ "data": server.key(&token, &issued.hash).await })
        );
    }
}

async fn null_removes_the_limit_and_the_reset(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, full()).await;
    let key = server
        .change_key(&token, &issued.hash, json!({ "limit_reset": null }))
        .await;
    assert_eq!(
        (&key["limit_reset"], &key["limit"]),
        (&json!(null), &json!(10))
    );
    let key = server
        .change_key(&token, &issued.hash, json!({ "limit": null }))
        .await;
    assert_eq!(
        (&key["limit"], &key["limit_remaining"]),
        (&json!(null), &json!(null))
    );
    let both = json!({ "limit": 5, "limit_reset": "daily" });
    let key = server.change_key(&token, &issued.hash, both).await;
    assert_eq!(
        (&key["limit"], &key["limit_reset"]),
        (&json!(5), &json!("daily"))
    );
    let both = json!({ "limit": null, "limit_reset": null, "name": "m" });
    let key = server.change_key(&token, &issued.hash, both).await;
    assert_eq!(
        (&key["limit"], &key["limit_reset"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(
        (&key["name"], &key["include_byok_in_limit"]),
        (&json!("m"), &json!(true))
    );
    // Removing an absent member is not an error.
    server
        .change_key(&token, &issued.hash, json!({ "limit": null }))
        .await;
}

async fn required_member_cannot_be_null(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, full()).await;
    for (member, label) in [
        ("name", "name"),
        ("disabled", "disabled"),
        ("include_byok_in_limit", "include_byok_in_limit"),
    ] {
        let said = format!("`{label}` must not be null");
        let body = json!({ "limit": 3, member: null });
        rejects(&server, &token, &issued.hash, body, &said).await;
    }
}

async fn nothing_to_change_changes_nothing(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, full()).await;
    let before = server.key(&token, &issued.hash).await;
    let path = format!("/keys/{}", issued.hash);
    server.advance_seconds(1);
    for body in [
        json!({}),
        json!({ "hash": "none" }),
        json!({ "hash": null }),
    ] {
        assert_eq!(server.change_key(&token, &issued.hash, body).await, before);
    }
    let answer = server.patch(&path).bearer(&token).send().await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({ "data": before }))
    );
    assert_eq!(before["updated_at"], json!(null));
    let updates = "audit_events WHERE action = 'issued_key.update'";
    assert_eq!(server.database.count(updates).await, 0);
}

async fn hash_of_the_path_is_the_one_that_counts(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let (first, second) = (
        server.issued_key(&token, full()).await,
        server.issued_key(&token, full()).await,
    );
    let body = json!({ "hash": second.hash, "name": "m" });
    let changed = server.change_key(&token, &first.hash, body).await;
    assert_eq!(
        (&changed["hash"], &changed["name"]),
        (&json!(first.hash), &json!("m"))
    );
    assert_eq!(server.key(&token, &second.hash).await["name"], "n");
    // Nor does any query parameter count.
    let path = format!("/keys/{}?hash={}", first.hash, second.hash);
    let answer = server
        .patch(&path)
        .bearer(&token)
        .json(&json!({}))
        .send()
        .await;
    assert_eq!(answer.json()["data"], changed);
    let answer = server
        .patch(&format!("{path}&name=q"))
        .bearer(&token)
        .json(&json!({}));
    let said = "`name` must be given in the body and not in the query";
    answer.send().await.rejects_key(400, said);
    assert_eq!(server.key(&token, &first.hash).await, changed);
}

async fn unfit_field_is_rejected(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, full()).await;
    let wrong_limit = "`limit` must be a number from 0 to 9000000000 with at most 9 decimal places";
    let limit_range =
        "Limit must be from 0 to 9000000000 US dollars, with at most 9 decimal places";
    for (member, value, message) in [
        ("name", json!(""), "Name is required"),
        (
            "name",
            json!("n".repeat(256)),
            "Name must have at most 255 bytes",
        ),
        (
            "name",
            json!("a\tb"),
            "Name must not have control characters",
        ),
        (
            "name",
            json!("\u{200b}"),
            "Name must have a visible character",
        ),
        (
            "expires_at",
            json!(null),
            "`expires_at` is not a known member",
        ),
        ("usage", json!(7), "`usage` is not a known member"),
        ("name", json!(7), "`name` must be a string"),
        (
            "disabled",
            json!("true"),
            "`disabled` must be true or false",
        ),
        ("disabled", json!(1), "`disabled` must be true or false"),
        ("limit", json!(-1), limit_range),
        ("limit", json!(-1e-9), limit_range),
        ("limit", json!("1"), wrong_limit),
        ("limit", json!(1e300), wrong_limit),
        (
            "limit_reset",
            json!("yearly"),
            "`limit_reset` must be one of daily, weekly, monthly",
        ),
        (
            "include_byok_in_limit",
            json!(0),
            "`include_byok_in_limit` must be true or false",
        ),
    ] {
        rejects(
            &server,
            &token,
            &issued.hash,
            json!({ member: value }),
            message,
        )
        .await;
        // All or nothing.
        let body = json!({ "name": "m", "limit": 1, member: value });
        rejects(&server, &token, &issued.hash, body, message).await;
    }
}

async fn changed_limit_counts_what_was_spent_before(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    server
        .record(charge(&issued.hash, "r", 60 * CENT))
        .await
        .unwrap();
    for (limit, remaining) in [
        (json!(1), json!(0.4)),
        (json!(0.5), json!(0)),
        (json!(null), json!(null)),
    ] {
        let key = server
            .change_key(&token, &issued.hash, json!({ "limit": limit }))
            .await;
        assert_eq!(
            (&key["limit_remaining"], &key["usage"]),
            (&remaining, &json!(0.6))
        );
    }
}

async fn disabled_key_works_again_when_it_is_enabled(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    for (disabled, status) in [(true, 401), (false, 200), (true, 401)] {
        server
            .change_key(&token, &issued.hash, json!({ "disabled": disabled }))
            .await;
        let answer = server.get("/key").bearer(&issued.key).send().await;
        assert_eq!(answer.status, status, "{disabled}");
    }
}

async fn hash_without_a_key_of_the_organization_is_not_found(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let other = server.management_key(OTHER_ORGANIZATION).await;
    let foreign = server.issued_key(&other, full()).await;
    let before = server.key(&other, &foreign.hash).await;
    for hash in [
        foreign.hash.clone(),
        sha256_hex("x"),
        sha256_hex(&token),
        "none".to_owned(),
    ] {
        for mount in MOUNTS {
            let call = server.patch(&format!("{mount}/keys/{hash}")).bearer(&token);
            call.json(&json!({ "name": "m" }))
                .send()
                .await
                .rejects_key(404, KEY_NOT_FOUND);
            // An empty change reveals nothing either.
            let call = server.patch(&format!("{mount}/keys/{hash}")).bearer(&token);
            call.json(&json!({}))
                .send()
                .await
                .rejects_key(404, KEY_NOT_FOUND);
        }
    }
    assert_eq!(server.key(&other, &foreign.hash).await, before);
}

each_engine! {
    each_field_changes_alone
    all_fields_change_at_once_on_both_mounts
    null_removes_the_limit_and_the_reset
    required_member_cannot_be_null
    nothing_to_change_changes_nothing
    hash_of_the_path_is_the_one_that_counts
    unfit_field_is_rejected
    changed_limit_counts_what_was_spent_before
    disabled_key_works_again_when_it_is_enabled
    hash_without_a_key_of_the_organization_is_not_found
}
