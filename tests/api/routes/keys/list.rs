//! GET /keys and ListKeys.

use keyward::proto::v1::{ListKeysRequest, ListKeysResponse};
use prost::Message;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    DENIED, MOUNTS, ORGANIZATION, OTHER_ORGANIZATION, TestServer, WORKSPACE_A, WORKSPACE_B,
    WORKSPACE_X, WebFlavor, rejected,
};

/// The names of the keys that a query lists over REST.
async fn listed(server: &TestServer, token: &str, query: &str) -> Vec<String> {
    let path = format!("/keys?{query}");
    let answer = server.get(&path).bearer(token).send().await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    let answer = answer.json();
    names(answer["data"].as_array().unwrap())
}

fn names(keys: &[Value]) -> Vec<String> {
    let name = |key: &Value| key["name"].as_str().unwrap().to_owned();
    keys.iter().map(name).collect()
}

async fn named(server: &TestServer, token: &str, name: &str, workspace: &str) -> String {
    let body = json!({ "name": name, "workspace_id": workspace });
    server.issued_key(token, body).await.hash
}

async fn organization_without_keys_has_an_empty_list(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for mount in MOUNTS {
        let call = server.get(&format!("{mount}/keys")).bearer(&token);
        call.send().await.is(200, r#"{"data":[]}"#);
    }
}

async fn listed_key_is_the_key_itself(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let body = json!({
        "limit": 2.5, "limit_reset": "daily", "expires_at": "2027-01-01T00:00:00Z",
    });
    let issued = server.issued_key(&token, body).await;
    let key = server.key(&token, &issued.hash).await;
    for mount in MOUNTS {
        let answer = server
            .get(&format!("{mount}/keys"))
            .bearer(&token)
            .send()
            .await;
        assert_eq!(answer.json(), json!({ "data": [key] }));
    }
}

async fn keys_are_listed_newest_first(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    // Also among keys of the same millisecond.
    for name in ["1", "2", "3"] {
        named(&server, &token, name, WORKSPACE_A).await;
    }
    server.advance_seconds(1);
    for name in ["4", "5"] {
        named(&server, &token, name, WORKSPACE_A).await;
    }
    assert_eq!(listed(&server, &token, "").await, ["5", "4", "3", "2", "1"]);
    // A change moves no key.
    let list = server.get("/keys").bearer(&token).send().await.json();
    let hash = list["data"][3]["hash"].as_str().unwrap();
    server.change_key(&token, hash, json!({ "limit": 1 })).await;
    assert_eq!(listed(&server, &token, "").await, ["5", "4", "3", "2", "1"]);
}

async fn page_has_a_hundred_keys_and_offsets_reach_all(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for number in 0..250 {
        named(&server, &token, &number.to_string(), WORKSPACE_A).await;
    }
    let expected = |range: std::ops::Range<usize>| -> Vec<String> {
        range.map(|place| (249 - place).to_string()).collect()
    };
    for (query, range) in [
        ("", 0..100),
        ("offset=0", 0..100),
        ("offset=1", 1..101),
        ("offset=100", 100..200),
        ("offset=200", 200..250),
        ("offset=249", 249..250),
        ("offset=250", 0..0),
        ("offset=2147483647", 0..0),
    ] {
        assert_eq!(
            listed(&server, &token, query).await,
            expected(range),
            "{query}"
        );
    }
    let request = ListKeysRequest {
        offset: 150,
        ..Default::default()
    };
    let page = server
        .management_keys(&token)
        .list_keys(request)
        .await
        .unwrap()
        .into_inner();
    let names: Vec<_> = page.data.into_iter().map(|key| key.name).collect();
    assert_eq!(names, expected(150..250));
}

async fn offset_that_is_negative_or_no_number_is_rejected(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let negative = "Offset must not be negative";
    let wrong = "`offset` must be a 32-bit integer";
    for mount in MOUNTS {
        for (offset, message) in [
            ("-1", negative),
            ("-2147483648", negative),
            ("ten", wrong),
            ("", wrong),
            ("1.5", wrong),
            ("2147483648", wrong),
        ] {
            let path = format!("{mount}/keys?offset={offset}");
            server
                .get(&path)
                .bearer(&token)
                .send()
                .await
                .rejects_key(400, message);
        }
    }
    let request = ListKeysRequest {
        offset: -1,
        ..Default::default()
    };
    rejected(server.management_keys(&token).list_keys(request).await)
        .is(Code::InvalidArgument, "FIELD_INVALID", negative)
        .fields(&[("offset", negative)]);
}

async fn disabled_keys_are_listed_when_asked_for_alone(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for name in ["on", "off", "expired"] {
        let hash = named(&server, &token, name, WORKSPACE_A).await;
        server
            .change_key(&token, &hash, json!({ "disabled": name == "off" }))
            .await;
    }
    server.set_clock("2026-08-01T13:00:00Z");
    let past = json!({ "name": "past", "expires_at": "2026-08-01T13:00:01Z" });
    server.issued_key(&token, past).await;
    server.advance_seconds(1);
    for query in ["", "include_disabled=false"] {
        assert_eq!(
            listed(&server, &token, query).await,
            ["past", "expired", "on"],
            "{query}"
        );
    }
    let all = listed(&server, &token, "include_disabled=true").await;
    assert_eq!(all, ["past", "expired", "off", "on"]);
    assert_eq!(
        listed(&server, &token, "include_disabled=true&offset=2").await,
        ["off", "on"]
    );
    assert_eq!(listed(&server, &token, "offset=2").await, ["on"]);
    for wrong in ["yes", "1", "TRUE", "", "null"] {
        let path = format!("/keys?include_disabled={wrong}");
        let said = "`include_disabled` must be true or false";
        server
            .get(&path)
            .bearer(&token)
            .send()
            .await
            .rejects_key(400, said);
    }
    let request = ListKeysRequest {
        include_disabled: true,
        ..Default::default()
    };
    let list = server
        .management_keys(&token)
        .list_keys(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(list.data.len(), 4);
}

async fn deleted_keys_are_never_listed(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let hash = named(&server, &token, "gone", WORKSPACE_A).await;
    let disabled = named(&server, &token, "disabled and gone", WORKSPACE_A).await;
    server
        .change_key(&token, &disabled, json!({ "disabled": true }))
        .await;
    named(&server, &token, "there", WORKSPACE_A).await;
    for hash in [hash, disabled] {
        server.delete_key(&token, &hash).await;
    }
    for query in [
        "",
        "include_disabled=true",
        "include_disabled=true&offset=0",
    ] {
        assert_eq!(listed(&server, &token, query).await, ["there"], "{query}");
    }
}

async fn list_without_a_workspace_is_of_the_default_one(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let other = server.management_key(OTHER_ORGANIZATION).await;
    named(&server, &token, "a", WORKSPACE_A).await;
    named(&server, &token, "b", WORKSPACE_B).await;
    named(&server, &other, "x", WORKSPACE_X).await;
    for (token, query, expected) in [
        (&token, "", "a"),
        (&token, "workspace_id=", "a"),
        (&token, "workspace_id=workspace-a", "a"),
        (&token, "workspace_id=workspace-b", "b"),
        (&other, "", "x"),
        (&other, "workspace_id=workspace-x", "x"),
    ] {
        assert_eq!(listed(&server, token, query).await, [expected], "{query}");
    }
}

async fn foreign_workspace_is_rejected_like_a_missing_one(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    let other = server.management_key(OTHER_ORGANIZATION).await;
    named(&server, &other, "x", WORKSPACE_X).await;
    for (token, workspace) in [
        (&token, WORKSPACE_X),
        (&token, "none"),
        (&other, WORKSPACE_A),
        (&other, "none"),
    ] {
        for mount in MOUNTS {
            let path = format!("{mount}/keys?workspace_id={workspace}");
            server
                .get(&path)
                .bearer(token)
                .send()
                .await
                .rejects_key(403, DENIED);
        }
        let request = ListKeysRequest {
            workspace_id: workspace.to_owned(),
            ..Default::default()
        };
        rejected(server.management_keys(token).list_keys(request).await)
            .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
            .alone();
    }
    let long = format!("/keys?workspace_id={}", "w".repeat(256));
    server
        .get(&long)
        .bearer(&token)
        .send()
        .await
        .rejects_key(400, "Workspace ID must have at most 255 bytes");
}

async fn protocols_list_the_same_issued_keys(server: TestServer) {
    let token = server.management_key(ORGANIZATION).await;
    for name in ["1", "2"] {
        named(&server, &token, name, WORKSPACE_A).await;
    }
    let request = ListKeysRequest::default();
    let grpc = server
        .management_keys(&token)
        .list_keys(request.clone())
        .await
        .unwrap();
    let grpc = grpc.into_inner();
    let path = "/keyward.v1.ManagementKeyService/ListKeys";
    for flavor in WebFlavor::ALL {
        let answer = server.grpc_web(flavor, path, Some(&token), &request).await;
        let web = ListKeysResponse::decode(answer.messages[0].as_slice()).unwrap();
        assert_eq!(web, grpc);
    }
    let hashes: Vec<_> = grpc.data.iter().map(|key| key.hash.as_str()).collect();
    let rest = server.get("/keys").bearer(&token).send().await.json();
    let rest = rest["data"].as_array().unwrap();
    let over_rest: Vec<_> = rest.iter().map(|key| &key["hash"]).collect();
    assert_eq!(over_rest, hashes);
}

each_engine! {
    organization_without_keys_has_an_empty_list
    listed_key_is_the_key_itself
    keys_are_listed_newest_first
    page_has_a_hundred_keys_and_offsets_reach_all
    offset_that_is_negative_or_no_number_is_rejected
    disabled_keys_are_listed_when_asked_for_alone
    deleted_keys_are_never_listed
    list_without_a_workspace_is_of_the_default_one
    foreign_workspace_is_rejected_like_a_missing_one
    protocols_list_the_same_issued_keys
}
