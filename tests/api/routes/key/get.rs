//! GET /key and GetCurrentKey: a key describes itself.

use keyward::proto::v1::{
    CurrentKey, GetCurrentKeyRequest, GetCurrentKeyResponse, KeyVerdict, LimitReset,
};
use prost::Message;
use serde_json::json;
use tonic::Code;

use crate::support::{
    CENT, DENIED, DOLLAR, MOUNTS, ORGANIZATION, OTHER_ORGANIZATION, TestServer, User, WORKSPACE_B,
    WebFlavor, byok_charge, charge, rejected,
};

/// End of the JSON of every key.
const CONSTANT: &str = concat!(
    r#""rate_limit":{"requests":-1,"interval":"10s","#,
    r#""note":"This field is deprecated and safe to ignore."},"#,
);
/// End of the JSON of every key, after its organization and workspace.
const EMPTY: &str = concat!(
    r#""allowed_data_regions":[],"#,
    r#""free_model_daily_requests":{"limit":0,"remaining":0,"used":0},"#,
    r#""budgets":[],"effective_budget":null}}"#,
);
const UNUSED: &str = concat!(
    r#""usage":0,"usage_daily":0,"usage_weekly":0,"usage_monthly":0,"#,
    r#""byok_usage":0,"byok_usage_daily":0,"byok_usage_weekly":0,"byok_usage_monthly":0,"#,
);

fn label(key: &str) -> String {
    format!("{}...{}", &key[..12], &key[77..])
}

async fn older_path_of_tools_is_equal(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({ "limit": 2 })).await;
    for key in [&token, &issued.key] {
        let expected = server.get("/api/v1/key").bearer(key).send().await;
        let answer = server.get("/api/v1/auth/key").bearer(key).send().await;
        answer.is(200, &expected.body);
    }
    let answer = server
        .get("/api/v1/auth/key")
        .bearer("garbage")
        .send()
        .await;
    answer.rejects_key(401, "Invalid token");
}

async fn issued_key_describes_itself_completely(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let plain = server.issued_key(&token, json!({})).await;
    let full = server
        .issued_key(
            &token,
            json!({
                "limit": 2.5, "limit_reset": "monthly", "include_byok_in_limit": true,
                "expires_at": "2027-01-01T00:00:00Z", "creator_user_id": "c",
                "workspace_id": WORKSPACE_B,
            }),
        )
        .await;
    server
        .record(charge(&full.hash, "own", DOLLAR))
        .await
        .unwrap();
    server
        .record(byok_charge(&full.hash, "byok", 25 * CENT))
        .await
        .unwrap();
    for mount in MOUNTS {
        let path = format!("{mount}/key");
        let expected = format!(
            concat!(
                r#"{{"data":{{"label":"{}","limit":null,"limit_remaining":null,"#,
                r#""limit_reset":null,"include_byok_in_limit":false,{}"#,
                r#""expires_at":null,"creator_user_id":null,"is_free_tier":false,"#,
                r#""is_management_key":false,"is_provisioning_key":false,{}"#,
                r#""organization_id":"org-1","workspace_id":"workspace-a",{}"#,
            ),
            label(&plain.key),
            UNUSED,
            CONSTANT,
            EMPTY,
        );
        server
            .get(&path)
            .bearer(&plain.key)
            .send()
            .await
            .is(200, &expected);
        let used = concat!(
            r#""usage":1,"usage_daily":1,"usage_weekly":1,"usage_monthly":1,"#,
            r#""byok_usage":0.25,"byok_usage_daily":0.25,"byok_usage_weekly":0.25,"#,
            r#""byok_usage_monthly":0.25,"#,
        );
        let expected = format!(
            concat!(
                r#"{{"data":{{"label":"{}","limit":2.5,"limit_remaining":1.25,"#,
                r#""limit_reset":"monthly","include_byok_in_limit":true,{}"#,
                r#""expires_at":"2027-01-01T00:00:00.000Z","creator_user_id":"c","#,
                r#""is_free_tier":false,"is_management_key":false,"#,
                r#""is_provisioning_key":false,{}"#,
                r#""organization_id":"org-1","workspace_id":"workspace-b",{}"#,
            ),
            label(&full.key),
            used,
            CONSTANT,
            EMPTY,
        );
        server
            .get(&path)
            .bearer(&full.key)
            .send()
            .await
            .is(200, &expected);
    }
}

async fn management_key_describes_its_kind(server: TestServer) {
    for (organization, workspace) in [
        (ORGANIZATION, "workspace-a"),
        (OTHER_ORGANIZATION, "workspace-x"),
        ("org-3", ""),
    ] {
        if organization == "org-3" {
            server.add_organization(organization).await;
        }
        let key = server.management_key(organization).await;
        let expected = format!(
            concat!(
                r#"{{"data":{{"label":"{}","limit":null,"limit_remaining":null,"#,
                r#""limit_reset":null,"include_byok_in_limit":false,{}"#,
                r#""expires_at":null,"creator_user_id":null,"is_free_tier":false,"#,
                r#""is_management_key":true,"is_provisioning_key":true,{}"#,
                r#""organization_id":"{}","workspace_id":"{}",{}"#,
            ),
            label(&key),
            UNUSED,
            CONSTANT,
            organization,
            workspace,
            EMPTY,
        );
        for mount in MOUNTS {
            let path = format!("{mount}/key");
            server
                .get(&path)
                .bearer(&key)
                .send()
                .await
                .is(200, &expected);
        }
    }
}

async fn key_whose_limit_is_used_up_may_ask_what_it_is(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&token, json!({ "limit": 1 })).await;
    server
        .record(charge(&issued.hash, "r", 2 * DOLLAR))
        .await
        .unwrap();
    assert_eq!(server.verdict(&issued.key).await, KeyVerdict::LimitExceeded);
    let answer = server.get("/key").bearer(&issued.key).send().await;
    assert_eq!(answer.status, 200);
    let data = &answer.json()["data"];
    assert_eq!(
        (&data["limit_remaining"], &data["usage"]),
        (&json!(0), &json!(2))
    );
    let none = server.issued_key(&token, json!({ "limit": 0 })).await;
    assert_eq!(
        server.get("/key").bearer(&none.key).send().await.status,
        200
    );
}

async fn protocols_describe_the_key_equally(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let body = json!({ "limit": 1, "limit_reset": "weekly" });
    let issued = server.issued_key(&token, body).await;
    let request = GetCurrentKeyRequest {};
    let grpc = server
        .management_keys(&issued.key)
        .get_current_key(request)
        .await
        .unwrap();
    let grpc = grpc.into_inner();
    let key: &CurrentKey = grpc.data.as_ref().unwrap();
    assert_eq!(key.label, label(&issued.key));
    assert_eq!(
        (key.limit_nanos, key.limit_remaining_nanos),
        (Some(DOLLAR), Some(DOLLAR))
    );
    assert_eq!(key.limit_reset(), LimitReset::Weekly);
    assert_eq!((key.is_management_key, key.is_free_tier), (false, false));
    let path = "/keyward.v1.ManagementKeyService/GetCurrentKey";
    for flavor in WebFlavor::ALL {
        let answer = server
            .grpc_web(flavor, path, Some(&issued.key), &request)
            .await;
        let web = GetCurrentKeyResponse::decode(answer.messages[0].as_slice()).unwrap();
        assert_eq!(web, grpc);
    }
    let management = server
        .management_keys(&token)
        .get_current_key(request)
        .await
        .unwrap();
    assert!(management.into_inner().data.unwrap().is_management_key);
}

async fn caller_without_an_issued_key_is_rejected(server: TestServer) {
    let users = User::MEMBERS.map(|user| server.token(user));
    for token in users.into_iter().chain([server.service_token()]) {
        for mount in MOUNTS {
            let call = server.get(&format!("{mount}/key")).bearer(&token);
            call.send().await.rejects_key(403, DENIED);
        }
        let request = GetCurrentKeyRequest {};
        rejected(
            server
                .management_keys(&token)
                .get_current_key(request)
                .await,
        )
        .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
        .alone();
    }
}

each_engine! {
    older_path_of_tools_is_equal
    issued_key_describes_itself_completely
    management_key_describes_its_kind
    key_whose_limit_is_used_up_may_ask_what_it_is
    protocols_describe_the_key_equally
    caller_without_an_issued_key_is_rejected
}
