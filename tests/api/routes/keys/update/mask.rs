//! UpdateKey over gRPC, with and without a mask.

use keyward::proto::v1::{IssuedKey, LimitReset, UpdateKeyRequest};
use prost_types::FieldMask;
use serde_json::json;
use tonic::{Code, Status};

use crate::support::{Issued, KEY_NOT_FOUND, ORGANIZATION, TestServer, rejected};

/// Returns a management key, and an issued key with the name `n` and a limit of 10 dollars a day.
async fn keys(server: &TestServer) -> (String, Issued) {
    let token = server.management_key(ORGANIZATION).await;
    let body = json!({ "name": "n", "limit": 10, "limit_reset": "daily" });
    let issued = server.issued_key(&token, body).await;
    (token, issued)
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    let paths = paths.iter().copied().map(str::to_owned).collect();
    Some(FieldMask { paths })
}

/// Returns an update that sets every field.
fn everything(hash: &str) -> UpdateKeyRequest {
    UpdateKeyRequest {
        hash: hash.to_owned(),
        name: Some("m".to_owned()),
        disabled: Some(true),
        limit_nanos: Some(5_000_000_000),
        limit_reset: Some(LimitReset::Weekly.into()),
        include_byok_in_limit: Some(true),
        update_mask: None,
    }
}

/// Returns an update that sets no field.
fn nothing(hash: &str) -> UpdateKeyRequest {
    UpdateKeyRequest {
        hash: hash.to_owned(),
        ..Default::default()
    }
}

async fn update(
    server: &TestServer,
    token: &str,
    request: UpdateKeyRequest,
) -> Result<IssuedKey, Status> {
    let updated = server.management_keys(token).update_key(request).await?;
    Ok(updated.into_inner().data.unwrap())
}

async fn without_a_mask_the_fields_that_are_set_change(server: TestServer) {
    for none in [None, mask(&[])] {
        let (token, issued) = keys(&server).await;
        let request = UpdateKeyRequest {
            update_mask: none.clone(),
            ..nothing(&issued.hash)
        };
        let key = update(&server, &token, request).await.unwrap();
        assert_eq!(
            (key.limit_nanos, key.updated_at),
            (Some(10_000_000_000), None)
        );
        assert_eq!((key.name.as_str(), key.disabled), ("n", false));
        let request = UpdateKeyRequest {
            limit_nanos: Some(1),
            update_mask: none.clone(),
            ..nothing(&issued.hash)
        };
        let key = update(&server, &token, request).await.unwrap();
        assert_eq!(
            (key.limit_nanos, key.limit_reset()),
            (Some(1), LimitReset::Daily)
        );
        assert!(key.updated_at.is_some());
        let request = UpdateKeyRequest {
            update_mask: none,
            ..everything(&issued.hash)
        };
        let key = update(&server, &token, request).await.unwrap();
        assert_eq!((key.name.as_str(), key.disabled), ("m", true));
        assert_eq!(
            (key.limit_nanos, key.include_byok_in_limit),
            (Some(5_000_000_000), true)
        );
        assert_eq!(key.limit_reset(), LimitReset::Weekly);
    }
}

async fn masked_fields_change_alone(server: TestServer) {
    for (paths, name, disabled, limit, reset, byok) in [
        (&["name"][..], "m", false, 10, LimitReset::Daily, false),
        (&["disabled"], "n", true, 10, LimitReset::Daily, false),
        (&["limit_nanos"], "n", false, 5, LimitReset::Daily, false),
        (&["limit_reset"], "n", false, 10, LimitReset::Weekly, false),
        (
            &["include_byok_in_limit"],
            "n",
            false,
            10,
            LimitReset::Daily,
            true,
        ),
        (
            &["name", "limit_nanos", "name"],
            "m",
            false,
            5,
            LimitReset::Daily,
            false,
        ),
    ] {
        let (token, issued) = keys(&server).await;
        let request = UpdateKeyRequest {
            update_mask: mask(paths),
            ..everything(&issued.hash)
        };
        let key = update(&server, &token, request).await.unwrap();
        assert_eq!(
            (key.name.as_str(), key.disabled),
            (name, disabled),
            "{paths:?}"
        );
        assert_eq!(key.limit_nanos, Some(limit * 1_000_000_000), "{paths:?}");
        assert_eq!(
            (key.limit_reset(), key.include_byok_in_limit),
            (reset, byok),
            "{paths:?}"
        );
    }
}

async fn unset_limit_or_reset_that_the_mask_names_is_removed(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let request = UpdateKeyRequest {
        update_mask: mask(&["limit_reset"]),
        ..nothing(&issued.hash)
    };
    let key = update(&server, &token, request).await.unwrap();
    assert_eq!(
        (key.limit_reset, key.limit_nanos),
        (None, Some(10_000_000_000))
    );
    let request = UpdateKeyRequest {
        update_mask: mask(&["limit_nanos"]),
        ..nothing(&issued.hash)
    };
    let key = update(&server, &token, request).await.unwrap();
    assert_eq!((key.limit_nanos, key.limit_remaining_nanos), (None, None));

    // A reset of "never" clears it too.
    let (token, issued) = keys(&server).await;
    let request = UpdateKeyRequest {
        limit_reset: Some(LimitReset::Unspecified.into()),
        ..nothing(&issued.hash)
    };
    assert_eq!(
        update(&server, &token, request).await.unwrap().limit_reset,
        None
    );
}

async fn unset_field_that_must_be_there_is_rejected(server: TestServer) {
    let (token, issued) = keys(&server).await;
    for (path, label) in [
        ("name", "name"),
        ("disabled", "disabled"),
        ("include_byok_in_limit", "include_byok_in_limit"),
    ] {
        let said = format!("`{label}` must not be null");
        let request = UpdateKeyRequest {
            limit_nanos: Some(1),
            update_mask: mask(&["limit_nanos", path]),
            ..nothing(&issued.hash)
        };
        rejected(update(&server, &token, request).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", &said)
            .fields(&[(path, &said)]);
    }
    assert_eq!(server.key(&token, &issued.hash).await["limit"], 10);
}

async fn unknown_mask_path_is_rejected_and_not_repeated(server: TestServer) {
    let (token, issued) = keys(&server).await;
    for path in [
        "canary",
        "hash",
        "expires_at",
        "limit",
        "limitNanos",
        "*",
        "",
        "created_at",
    ] {
        let said = "Path 2 of the mask names no field that can change";
        let request = UpdateKeyRequest {
            update_mask: mask(&["name", path]),
            ..everything(&issued.hash)
        };
        rejected(update(&server, &token, request).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", said)
            .fields(&[("update_mask", said)])
            .hides(&["canary"]);
    }
    assert_eq!(
        server.key(&token, &issued.hash).await["updated_at"],
        json!(null)
    );
}

async fn mask_in_the_body_is_the_callers_own(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let body = json!({ "name": "m", "limit": 1, "update_mask": "limitNanos,limitReset" });
    let key = server.change_key(&token, &issued.hash, body).await;
    assert_eq!((&key["name"], &key["limit"]), (&json!("n"), &json!(1)));
    assert_eq!(key["limit_reset"], json!(null));
    let path = format!("/keys/{}", issued.hash);
    let call = server
        .patch(&path)
        .bearer(&token)
        .json(&json!({ "update_mask": ["name"] }));
    let said = "`update_mask` must be a string of field names joined by commas";
    call.send().await.rejects_key(400, said);
}

async fn mask_in_the_body_that_names_nothing_is_none(server: TestServer) {
    let (token, issued) = keys(&server).await;
    for (mask, limit) in [(json!(null), json!(3)), (json!(""), json!(4))] {
        let body = json!({ "limit": limit, "update_mask": mask });
        assert_eq!(
            server.change_key(&token, &issued.hash, body).await["limit"],
            limit
        );
        let body = json!({ "limit": null, "update_mask": mask });
        let key = server.change_key(&token, &issued.hash, body).await;
        assert_eq!(key["limit"], json!(null), "{mask}");
    }
    // The mask also accepts the JSON name of the limit.
    let body = json!({ "name": "m", "limit": 5, "update_mask": "limit" });
    let key = server.change_key(&token, &issued.hash, body).await;
    assert_eq!((&key["name"], &key["limit"]), (&json!("n"), &json!(5)));
}

async fn unfit_field_is_named(server: TestServer) {
    let (token, issued) = keys(&server).await;
    let reset = "Limit reset must be one of daily, weekly, monthly";
    let long = "Name must have at most 255 bytes";
    for (request, field, message) in [
        (
            UpdateKeyRequest {
                limit_nanos: Some(-1),
                ..nothing(&issued.hash)
            },
            "limit",
            "Limit must be from 0 to 9000000000 US dollars, with at most 9 decimal places",
        ),
        (
            UpdateKeyRequest {
                limit_reset: Some(9),
                ..nothing(&issued.hash)
            },
            "limit_reset",
            reset,
        ),
        (
            UpdateKeyRequest {
                name: Some("n".repeat(256)),
                ..nothing(&issued.hash)
            },
            "name",
            long,
        ),
    ] {
        rejected(update(&server, &token, request).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", message)
            .fields(&[(field, message)]);
    }
    let request = UpdateKeyRequest {
        name: Some(String::new()),
        ..nothing(&issued.hash)
    };
    rejected(update(&server, &token, request).await)
        .is(Code::InvalidArgument, "FIELD_REQUIRED", "Name is required")
        .fields(&[("name", "Name is required")]);
    rejected(update(&server, &token, everything("none")).await)
        .is(Code::NotFound, "API_KEY_NOT_FOUND", KEY_NOT_FOUND)
        .alone();
}

each_engine! {
    without_a_mask_the_fields_that_are_set_change
    masked_fields_change_alone
    unset_limit_or_reset_that_the_mask_names_is_removed
    unset_field_that_must_be_there_is_rejected
    unknown_mask_path_is_rejected_and_not_repeated
    mask_in_the_body_is_the_callers_own
    mask_in_the_body_that_names_nothing_is_none
    unfit_field_is_named
}
