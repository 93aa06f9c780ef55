//! GET /apikeys and ListApiKeys: the keys that each caller may list.

mod filters;

use std::time::Duration;

use keyward::proto::v1::{ApiKey, LinkApiKeyRequest, ListApiKeysRequest, ResourceKind};
use prost::Message;
use serde_json::json;
use tonic::Code;

use crate::support::{
    LIST_DENIED, TestServer, User, WORKSPACE_A, WORKSPACE_B, WORKSPACE_X, rejected,
};

fn in_workspace(id: &str) -> ListApiKeysRequest {
    ListApiKeysRequest {
        workspace_id: id.to_owned(),
        ..Default::default()
    }
}

async fn page_of_long_texts_has_fewer_keys_and_the_list_has_all(server: TestServer) {
    let long = "x".repeat(4096);
    let mut expected = Vec::new();
    // The short ones are the newest.
    for number in 0..70 {
        let (description, length) = if number < 60 {
            (long.as_str(), 4000)
        } else {
            ("", 0)
        };
        expected.push(
            server
                .create(json!({
                    "workspaceId": WORKSPACE_A, "provider": "AWS", "secret": format!("s{number}"),
                    "key": format!("{number:04}{}", "k".repeat(length)), "description": description,
                }))
                .await,
        );
    }
    expected.sort();

    let mut client = server.api_keys(&server.token(User::ReaderInA));
    let (mut pages, mut ids) = (0, Vec::new());
    let mut request = ListApiKeysRequest {
        page_size: 1000,
        ..in_workspace(WORKSPACE_A)
    };
    loop {
        let page = client
            .list_api_keys(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(page.encoded_len() < 300 * 1024, "{}", page.encoded_len());
        pages += 1;
        ids.extend(page.api_keys.into_iter().map(|key| key.id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    ids.sort();
    assert_eq!(ids, expected);
    assert_eq!(pages, 2);

    let answer = server.get("/apikeys?workspaceId=workspace-a");
    let answer = answer.bearer(&server.token(User::ReaderInA)).send().await;
    let listed = answer.json();
    let mut ids: Vec<_> = listed["apiKeys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    assert_eq!(ids, expected);
}

async fn empty_workspace_lists_nothing(server: TestServer) {
    let answer = server.get("/apikeys?workspaceId=workspace-a");
    let answer = answer.bearer(&server.token(User::ReaderInA)).send().await;
    answer.is(200, r#"{"success":true,"apiKeys":[]}"#);

    let mut client = server.api_keys(&server.token(User::ReaderInA));
    let listed = client
        .list_api_keys(in_workspace(WORKSPACE_A))
        .await
        .unwrap()
        .into_inner();
    assert!(listed.success && listed.api_keys.is_empty());
}

async fn every_field_of_a_key_is_listed_as_documented(server: TestServer) {
    let id = server
        .create(json!({
            "workspaceId": WORKSPACE_A, "key": "AKIAIOSFODNN7EXAMPLE", "secret": "wJalrXUtnFEMI",
            "provider": "AZURE", "endpoint": "s3.us-east-1.amazonaws.com", "region": "us-east-1",
            "tenantId": "tenant-1", "subscriptionId": "subscription-1",
            "description": "Backups,\nnightly",
        }))
        .await;

    let answer = server.get("/apikeys?workspaceId=workspace-a");
    let answer = answer.bearer(&server.token(User::ReaderInA)).send().await;
    answer.is(
        200,
        &format!(
            concat!(
                r#"{{"success":true,"apiKeys":[{{"id":"{}","key":"AKIAIOSFODNN7EXAMPLE","#,
                r#""endpoint":"s3.us-east-1.amazonaws.com","region":"us-east-1","#,
                r#""tenantId":"tenant-1","subscriptionId":"subscription-1","provider":"AZURE","#,
                r#""description":"Backups,\nnightly","createdAt":"2026-08-01T12:00:00.000Z","#,
                r#""bucket_count":0,"aillm_count":0}}]}}"#,
            ),
            id
        ),
    );

    let mut client = server.api_keys(&server.token(User::ReaderInA));
    let listed = client
        .list_api_keys(in_workspace(WORKSPACE_A))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        listed.api_keys,
        [ApiKey {
            id,
            key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            endpoint: Some("s3.us-east-1.amazonaws.com".to_owned()),
            region: Some("us-east-1".to_owned()),
            tenant_id: Some("tenant-1".to_owned()),
            subscription_id: Some("subscription-1".to_owned()),
            provider: "AZURE".to_owned(),
            description: Some("Backups,\nnightly".to_owned()),
            created_at: Some(prost_types::Timestamp {
                seconds: 1_785_585_600,
                nanos: 0
            }),
            bucket_count: 0,
            aillm_count: 0,
            created_by_kind: Some("user".to_owned()),
            created_by_id: Some("owner".to_owned()),
        }]
    );
}

async fn unset_fields_are_absent_and_timestamps_have_three_digits(server: TestServer) {
    server.clock.advance(Duration::from_millis(7));
    let id = server
        .create(json!({
            "workspaceId": WORKSPACE_A, "key": "some-other-key", "secret": "s", "provider": "GCP",
        }))
        .await;
    let answer = server.get("/apikeys?workspaceId=workspace-a");
    let answer = answer.bearer(&server.token(User::ReaderInA)).send().await;
    answer.is(200, &format!(concat!(
        r#"{{"success":true,"apiKeys":[{{"id":"{}","key":"some-other-key","provider":"GCP","#,
        r#""createdAt":"2026-08-01T12:00:00.007Z","bucket_count":0,"aillm_count":0}}]}}"#,
    ), id));
}

async fn links_are_counted_by_kind(server: TestServer) {
    let id = server
        .create(json!({
            "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
        }))
        .await;
    let mut service = server.api_keys(&server.service_token());
    for (kind, resource) in [
        (ResourceKind::Bucket, "bucket-1"),
        (ResourceKind::Bucket, "bucket-2"),
        (ResourceKind::AiModel, "model-1"),
    ] {
        let request = LinkApiKeyRequest {
            uuid: id.clone(),
            resource_kind: kind.into(),
            resource_id: resource.to_owned(),
        };
        service.link_api_key(request).await.unwrap();
    }
    let keys = server.list(WORKSPACE_A).await;
    assert_eq!(
        (&keys[0]["bucket_count"], &keys[0]["aillm_count"]),
        (&json!(2), &json!(1))
    );
}

async fn keys_are_listed_newest_first(server: TestServer) {
    let mut expected = Vec::new();
    for number in 0..5 {
        expected.insert(
            0,
            server
                .create(json!({
                    "workspaceId": WORKSPACE_A, "key": format!("k{number}"), "secret": "s",
                    "provider": "AWS",
                }))
                .await,
        );
        // The second and the third have the same millisecond.
        if number != 1 {
            server.clock.advance(Duration::from_millis(1));
        }
    }
    let listed: Vec<_> = server.list(WORKSPACE_A).await;
    let listed: Vec<_> = listed
        .iter()
        .map(|key| key["id"].as_str().unwrap())
        .collect();
    assert_eq!(listed, expected);
}

async fn without_a_workspace_the_readable_ones_are_listed_together(server: TestServer) {
    for (user, workspace) in [
        (User::Owner, WORKSPACE_A),
        (User::Owner, WORKSPACE_B),
        (User::Outsider, WORKSPACE_X),
    ] {
        let body = json!({
            "workspaceId": workspace, "key": workspace, "secret": "s", "provider": "AWS",
        });
        let answer = server
            .post("/apikeys")
            .bearer(&server.token(user))
            .json(&body)
            .send();
        assert_eq!(answer.await.status, 201);
        server.clock.advance(Duration::from_millis(1));
    }
    for (user, expected) in [
        (User::Owner, vec![WORKSPACE_B, WORKSPACE_A]),
        (User::Administrator, vec![WORKSPACE_B, WORKSPACE_A]),
        (User::ReaderInAWriterInB, vec![WORKSPACE_B, WORKSPACE_A]),
        (User::ReaderInA, vec![WORKSPACE_A]),
        (User::WriterInA, vec![WORKSPACE_A]),
        (User::NoAccess, vec![]),
        (User::Outsider, vec![WORKSPACE_X]),
    ] {
        let token = server.token(user);
        for path in ["/apikeys", "/apikeys?workspaceId="] {
            let answer = server.get(path).bearer(&token).send().await;
            assert_eq!(answer.status, 200);
            let listed = answer.json()["apiKeys"].as_array().unwrap().clone();
            let listed: Vec<_> = listed.iter().map(|key| key["key"].clone()).collect();
            assert_eq!(listed, expected, "{user:?} {path}");
        }
        let listed = server
            .api_keys(&token)
            .list_api_keys(in_workspace(""))
            .await
            .unwrap();
        let listed: Vec<_> = listed
            .into_inner()
            .api_keys
            .into_iter()
            .map(|k| k.key)
            .collect();
        assert_eq!(listed, expected, "{user:?}");
    }
}

async fn unreadable_workspace_is_rejected_like_a_missing_one(server: TestServer) {
    for (user, workspace) in [
        (User::NoAccess, WORKSPACE_A),
        (User::ReaderInA, WORKSPACE_B),
        (User::Owner, WORKSPACE_X),
        (User::Outsider, WORKSPACE_A),
        (User::Owner, "no-such-workspace"),
    ] {
        let token = server.token(user);
        let path = format!("/apikeys?workspaceId={workspace}");
        server
            .get(&path)
            .bearer(&token)
            .send()
            .await
            .rejects(403, LIST_DENIED);
        let result = server
            .api_keys(&token)
            .list_api_keys(in_workspace(workspace))
            .await;
        rejected(result)
            .is(Code::PermissionDenied, "PERMISSION_DENIED", LIST_DENIED)
            .alone();
    }
}

async fn secret_is_never_listed(server: TestServer) {
    server
        .create(json!({
            "workspaceId": WORKSPACE_A, "key": "k", "secret": "canary-4711", "provider": "AWS",
        }))
        .await;
    let token = server.token(User::Owner);
    let answer = server
        .get("/apikeys?workspaceId=workspace-a")
        .bearer(&token)
        .send()
        .await;
    assert!(answer.body.contains(r#""key":"k""#));
    assert!(!answer.body.contains("canary") && !answer.body.contains("secret"));
}

each_engine! {
    page_of_long_texts_has_fewer_keys_and_the_list_has_all
    empty_workspace_lists_nothing
    every_field_of_a_key_is_listed_as_documented
    unset_fields_are_absent_and_timestamps_have_three_digits
    links_are_counted_by_kind
    keys_are_listed_newest_first
    without_a_workspace_the_readable_ones_are_listed_together
    unreadable_workspace_is_rejected_like_a_missing_one
    secret_is_never_listed
}
