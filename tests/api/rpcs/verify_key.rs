//! VerifyKey: the verdict, and its precedence.

use keyward::proto::v1::{KeyVerdict, ReserveSpendRequest, VerifyKeyRequest, VerifyKeyResponse};
use keyward_crypto::{Token, TokenKind};
use prost::Message;
use serde_json::json;
use tonic::Code;

use crate::support::{
    CENT, DENIED, DOLLAR, ORGANIZATION, OTHER_ORGANIZATION, TestServer, User, WORKSPACE_B,
    WORKSPACE_X, WebFlavor, charge, hold, rejected,
};

/// Returns the response for a missing key.
fn not_found() -> VerifyKeyResponse {
    VerifyKeyResponse {
        verdict: KeyVerdict::NotFound.into(),
        ..Default::default()
    }
}

async fn valid_key_is_returned_with_its_workspace_and_remainder(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let body = json!({ "limit": 2, "workspace_id": WORKSPACE_B });
    let issued = server.issued_key(&token, body).await;
    server
        .record(charge(&issued.hash, "r", 75 * CENT))
        .await
        .unwrap();
    let expected = VerifyKeyResponse {
        verdict: KeyVerdict::Valid.into(),
        hash: issued.hash.clone(),
        organization_id: ORGANIZATION.to_owned(),
        workspace_id: WORKSPACE_B.to_owned(),
        limit_remaining_nanos: Some(125 * CENT),
    };
    assert_eq!(server.verify(&issued.key).await, expected);
    let path = "/keyward.v1.ManagementKeyService/VerifyKey";
    for flavor in WebFlavor::ALL {
        let request = VerifyKeyRequest {
            token: issued.key.clone(),
            byok: false,
        };
        let service = server.service_token();
        let answer = server
            .grpc_web(flavor, path, Some(&service), &request)
            .await;
        let verified = VerifyKeyResponse::decode(answer.messages[0].as_slice()).unwrap();
        assert_eq!(verified, expected);
    }

    let other = server.management_key(OTHER_ORGANIZATION).await;
    let foreign = server.issued_key(&other, json!({})).await;
    let verified = server.verify(&foreign.key).await;
    assert_eq!(
        (
            verified.organization_id.as_str(),
            verified.workspace_id.as_str()
        ),
        (OTHER_ORGANIZATION, WORKSPACE_X)
    );
    assert_eq!(
        (verified.verdict(), verified.limit_remaining_nanos),
        (KeyVerdict::Valid, None)
    );
}

async fn token_without_a_live_issued_key_is_not_found(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    let deleted = server.issued_key(&token, json!({})).await;
    server.delete_key(&token, &deleted.hash).await;
    let unknown = Token::generate(TokenKind::ISSUED_KEY).unwrap();
    let mut typo = issued.key.clone();
    typo.replace_range(20..21, if &typo[20..21] == "0" { "1" } else { "0" });
    for text in [
        // Management keys cannot spend.
        token.as_str(),
        &deleted.key,
        unknown.expose(),
        &typo,
        &issued.hash,
        &issued.key[..80],
        &format!(" {}", issued.key),
        &server.token(User::Owner),
        "",
        "garbage",
        "\u{0}",
    ] {
        assert_eq!(server.verify(text).await, not_found());
    }
    assert_eq!(server.verdict(&issued.key).await, KeyVerdict::Valid);
}

async fn first_of_several_verdicts_is_returned(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for disabled in [false, true] {
        for expired in [false, true] {
            for exceeded in [false, true] {
                let mut body = json!({ "limit": 1 });
                if expired {
                    server.set_clock("2026-08-01T12:00:00Z");
                    body["expires_at"] = json!("2026-08-01T12:00:01Z");
                }
                let issued = server.issued_key(&token, body).await;
                server.advance_seconds(1);
                let cost = if exceeded { DOLLAR } else { DOLLAR - 1 };
                server
                    .record(charge(&issued.hash, "r", cost))
                    .await
                    .unwrap();
                server
                    .change_key(&token, &issued.hash, json!({ "disabled": disabled }))
                    .await;
                let expected = match (disabled, expired, exceeded) {
                    (true, _, _) => KeyVerdict::Disabled,
                    (_, true, _) => KeyVerdict::Expired,
                    (_, _, true) => KeyVerdict::LimitExceeded,
                    (false, false, false) => KeyVerdict::Valid,
                };
                let verified = server.verify(&issued.key).await;
                assert_eq!(verified.verdict(), expected);
                // The response has the other known facts of the key, regardless of the verdict.
                let known = (verified.hash.as_str(), verified.limit_remaining_nanos);
                assert_eq!(known, (issued.hash.as_str(), Some(i64::from(!exceeded))));
                assert_eq!(verified.organization_id, ORGANIZATION);
                server.delete_key(&token, &issued.hash).await;
                assert_eq!(server.verify(&issued.key).await, not_found());
            }
        }
    }
}

async fn key_expires_at_its_moment(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let expiry = json!({ "expires_at": "2026-08-01T13:00:00Z" });
    let issued = server.issued_key(&token, expiry).await;
    for (now, verdict, status) in [
        ("2026-08-01T12:59:59.999Z", KeyVerdict::Valid, 200),
        ("2026-08-01T13:00:00Z", KeyVerdict::Expired, 401),
        ("2026-08-01T13:00:00.001Z", KeyVerdict::Expired, 401),
    ] {
        server.set_clock(now);
        assert_eq!(server.verdict(&issued.key).await, verdict, "{now}");
        assert_eq!(
            server.get("/key").bearer(&issued.key).send().await.status,
            status,
            "{now}"
        );
    }
}

async fn limit_of_nothing_is_exceeded_and_one_that_is_held_is_not(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let none = server.issued_key(&token, json!({ "limit": 0 })).await;
    assert_eq!(server.verdict(&none.key).await, KeyVerdict::LimitExceeded);
    let issued = server.issued_key(&token, json!({ "limit": 1 })).await;
    // The reservation may belong to the requesting caller, whose response was lost.
    let reservation = server.reserved(hold(&issued.hash, "r", DOLLAR)).await;
    assert_eq!(server.verdict(&issued.key).await, KeyVerdict::Valid);
    server.settle(&reservation, DOLLAR).await.unwrap();
    assert_eq!(server.verdict(&issued.key).await, KeyVerdict::LimitExceeded);
}

async fn exhausted_limit_rejects_byok_only_where_it_counts(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({ "limit": 1 })).await;
    server
        .record(charge(&issued.hash, "r", DOLLAR))
        .await
        .unwrap();
    let mut service = server.management_keys(&server.service_token());
    for (counts, byok, verdict) in [
        (false, false, KeyVerdict::LimitExceeded),
        (false, true, KeyVerdict::Valid),
        (true, true, KeyVerdict::LimitExceeded),
    ] {
        let body = json!({ "include_byok_in_limit": counts });
        server.change_key(&token, &issued.hash, body).await;
        let request = VerifyKeyRequest {
            token: issued.key.clone(),
            byok,
        };
        let verified = service.verify_key(request).await.unwrap().into_inner();
        assert_eq!(verified.verdict(), verdict, "{counts} {byok}");
        // A reservation is admitted by the same rule.
        let request_id = format!("{counts} {byok}");
        let hold = ReserveSpendRequest {
            byok,
            ..hold(&issued.hash, &request_id, 1)
        };
        let admitted = server.reserve(hold).await.is_ok();
        assert_eq!(admitted, verdict == KeyVerdict::Valid, "{counts} {byok}");
    }
}

async fn services_alone_may_verify(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({})).await;
    let users = User::MEMBERS.map(|user| server.token(user));
    for token in users.into_iter().chain([token.clone(), issued.key.clone()]) {
        // Valid and invalid tokens are rejected alike.
        for asked in [&issued.key, "garbage"] {
            let request = VerifyKeyRequest {
                token: asked.to_owned(),
                byok: false,
            };
            rejected(server.management_keys(&token).verify_key(request).await)
                .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
                .alone();
        }
    }
}

each_engine! {
    valid_key_is_returned_with_its_workspace_and_remainder
    token_without_a_live_issued_key_is_not_found
    first_of_several_verdicts_is_returned
    key_expires_at_its_moment
    limit_of_nothing_is_exceeded_and_one_that_is_held_is_not
    exhausted_limit_rejects_byok_only_where_it_counts
    services_alone_may_verify
}
