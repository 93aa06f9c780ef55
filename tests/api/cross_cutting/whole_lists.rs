//! Lists that REST returns whole and gRPC in pages, and the limits on their size.

use std::collections::BTreeSet;

use keyward::config::UnknownFields;
use keyward::proto::v1 as pb;
use keyward_store::KeyBounds;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{REPO_A, Setup, TestServer, User, WORKSPACE_A, rejected};

/// Number of items of a page in these tests.
const PAGE: u32 = 2;
/// Number of keys in each list: the last page is not full.
pub(super) const KEYS: usize = 5;
/// Number of keys that a workspace and a repo may have in the tests of limits.
const BOUND: u32 = 3;

pub(super) async fn start_with_pages(setup: Setup) -> TestServer {
    let max_page_items = PAGE;
    Setup {
        max_page_items,
        ..setup
    }
    .start()
    .await
}

async fn start_with_bounds(setup: Setup) -> TestServer {
    let bounds = KeyBounds {
        provider_keys_per_workspace: BOUND,
        ai_keys_per_repo: BOUND,
    };
    Setup { bounds, ..setup }.start().await
}

fn provider_key(number: usize) -> Value {
    json!({
        "workspaceId": WORKSPACE_A, "key": format!("key-{number}"), "secret": "s", "provider": "AWS",
    })
}

pub(super) async fn create_provider_keys(server: &TestServer) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..KEYS {
        ids.insert(0, server.create(provider_key(number)).await);
    }
    ids
}

async fn create_repo_ai_keys(server: &TestServer) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..KEYS {
        let created = server
            .create_repo_ai_key(REPO_A, &format!("key {number}"))
            .await;
        ids.insert(0, created.id);
    }
    ids
}

fn ids(keys: &[Value]) -> Vec<String> {
    let id = |key: &Value| key["id"].as_str().unwrap().to_owned();
    keys.iter().map(id).collect()
}

/// REST returns whole lists, so it has no page fields.
async fn page_parameter_of_a_whole_list_is_unknown(setup: Setup) {
    let server = start_with_pages(setup).await;
    create_provider_keys(&server).await;
    create_repo_ai_keys(&server).await;
    for path in ["/apikeys".to_owned(), format!("/repo/{REPO_A}/ai/apikey")] {
        for name in ["page_size", "pageSize", "page_token", "pageToken"] {
            let call = server
                .get(&format!("{path}?{name}=1"))
                .bearer(&server.token(User::Owner));
            let message = format!("`{name}` is not a known query parameter");
            call.send().await.rejects(400, &message);
        }
    }
}

async fn page_parameter_of_a_whole_list_may_be_ignored(setup: Setup) {
    let setup = Setup {
        unknown_fields: UnknownFields::Ignore,
        ..setup
    };
    let server = start_with_pages(setup).await;
    create_provider_keys(&server).await;
    let call = server
        .get("/apikeys?pageSize=1&page_token=x")
        .bearer(&server.token(User::Owner));
    let answer = call.send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["apiKeys"].as_array().unwrap().len(), KEYS);
}

async fn rest_list_of_several_pages_is_whole(setup: Setup) {
    let server = start_with_pages(setup).await;
    let created = create_provider_keys(&server).await;
    let listed = server.list(WORKSPACE_A).await;
    assert_eq!(
        BTreeSet::from_iter(ids(&listed)),
        BTreeSet::from_iter(created.clone())
    );
    let answer = server.get("/apikeys?workspaceId=workspace-a");
    let answer = answer.bearer(&server.token(User::Owner)).send().await;
    let whole = answer.json();
    let members: Vec<&String> = whole.as_object().unwrap().keys().collect();
    assert_eq!(members, ["apiKeys", "success"]);
    assert_eq!(whole["success"], true);
    assert_eq!(whole["apiKeys"].as_array().unwrap().len(), KEYS);

    let created = create_repo_ai_keys(&server).await;
    let listed = ids(&server.list_repo_ai_keys(REPO_A).await);
    assert_eq!(BTreeSet::from_iter(listed), BTreeSet::from_iter(created));
}

async fn rest_list_that_breaks_midway_does_not_end(setup: Setup) {
    let server = start_with_pages(setup).await;
    create_provider_keys(&server).await;
    let token = server.token(User::Owner);
    let url = server.url("/apikeys?workspaceId=workspace-a");
    let clients = [&server.http, &server.http2];
    for client in clients {
        let answer = client.get(&url).bearer_auth(&token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
    }
    // The page after the first cannot be read.
    let broken = "UPDATE provider_keys SET version = -1 WHERE key = 'key-0'";
    server.database.execute(broken).await;
    for client in clients {
        // Over HTTP/2 the reset may come before the status.
        if let Ok(answer) = client.get(&url).bearer_auth(&token).send().await {
            assert_eq!(answer.status(), 200);
            answer.bytes().await.unwrap_err();
        }
    }
}

async fn grpc_lists_come_in_pages_in_the_order_of_rest(setup: Setup) {
    let server = start_with_pages(setup).await;
    create_provider_keys(&server).await;
    create_repo_ai_keys(&server).await;
    let token = server.token(User::Owner);
    let (mut provider, mut repo) = (server.api_keys(&token), server.repo_ai_keys(&token));
    for page_size in [0, 1, 2, u32::MAX] {
        let most = if page_size == 1 { 1 } else { PAGE as usize };
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListApiKeysRequest {
                workspace_id: WORKSPACE_A.to_owned(),
                page_size,
                page_token,
                ..Default::default()
            };
            let page = provider.list_api_keys(request).await.unwrap().into_inner();
            assert!(page.success && page.api_keys.len() <= most);
            found.extend(page.api_keys.into_iter().map(|key| key.id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found, ids(&server.list(WORKSPACE_A).await), "{page_size}");
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListRepoAiKeysRequest {
                repo_id: REPO_A.to_owned(),
                page_size,
                page_token,
            };
            let page = repo.list_repo_ai_keys(request).await.unwrap().into_inner();
            assert!(page.success && page.api_keys.len() <= most);
            found.extend(page.api_keys.into_iter().map(|key| key.id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(
            found,
            ids(&server.list_repo_ai_keys(REPO_A).await),
            "{page_size}"
        );
    }
}

async fn page_token_of_another_list_is_rejected(setup: Setup) {
    let server = start_with_pages(setup).await;
    let token = server.token(User::Owner);
    for page_token in ["canary", "00", &hex("bucket:a"), &hex("1:2"), &hex("x:")] {
        let request = pb::ListApiKeysRequest {
            workspace_id: WORKSPACE_A.to_owned(),
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        let listed = server.api_keys(&token).list_api_keys(request).await;
        rejected(listed).is(
            Code::InvalidArgument,
            "FIELD_INVALID",
            "Page token is not valid",
        );
        let request = pb::ListRepoAiKeysRequest {
            repo_id: REPO_A.to_owned(),
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        let listed = server.repo_ai_keys(&token).list_repo_ai_keys(request).await;
        rejected(listed).is(
            Code::InvalidArgument,
            "FIELD_INVALID",
            "Page token is not valid",
        );
    }
}

async fn page_token_is_rejected_with_other_filters(setup: Setup) {
    let server = start_with_pages(setup).await;
    create_provider_keys(&server).await;
    create_repo_ai_keys(&server).await;
    server.add_repo(WORKSPACE_A, "repo-2").await;
    let token = server.token(User::Owner);
    let (mut provider, mut repo) = (server.api_keys(&token), server.repo_ai_keys(&token));
    let other_filters = "Page token is of a list with other filters";

    let first = pb::ListApiKeysRequest {
        workspace_id: WORKSPACE_A.to_owned(),
        ..Default::default()
    };
    let page = provider.list_api_keys(first.clone()).await.unwrap();
    let next = pb::ListApiKeysRequest {
        page_token: page.into_inner().next_page_token,
        ..first
    };
    provider.list_api_keys(next.clone()).await.unwrap();
    let everywhere = pb::ListApiKeysRequest {
        workspace_id: String::new(),
        ..next.clone()
    };
    let of_aws = pb::ListApiKeysRequest {
        provider: "AWS".to_owned(),
        ..next.clone()
    };
    let of_ai = pb::ListApiKeysRequest {
        capability: Some(2),
        ..next
    };
    for request in [everywhere, of_aws, of_ai] {
        rejected(provider.list_api_keys(request).await).is(
            Code::InvalidArgument,
            "FIELD_INVALID",
            other_filters,
        );
    }

    let first = pb::ListRepoAiKeysRequest {
        repo_id: REPO_A.to_owned(),
        ..Default::default()
    };
    let page = repo.list_repo_ai_keys(first).await.unwrap();
    let elsewhere = pb::ListRepoAiKeysRequest {
        repo_id: "repo-2".to_owned(),
        page_token: page.into_inner().next_page_token,
        ..Default::default()
    };
    rejected(repo.list_repo_ai_keys(elsewhere).await).is(
        Code::InvalidArgument,
        "FIELD_INVALID",
        other_filters,
    );
}

async fn workspace_holds_at_most_its_bound_of_keys(setup: Setup) {
    let server = start_with_bounds(setup).await;
    let token = server.token(User::Owner);
    let creating = (0..3 * BOUND as usize).map(|number| {
        let call = server
            .post("/apikeys")
            .bearer(&token)
            .json(&provider_key(number));
        async move { call.send().await }
    });
    let answers = futures_util::future::join_all(creating).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, BOUND as usize);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.rejects(400, "Workspace must have at most 3 API keys");
    }
    let id = ids(&server.list(WORKSPACE_A).await).remove(0);
    let deleted = server
        .delete(&format!("/apikeys/{id}"))
        .bearer(&token)
        .send()
        .await;
    assert_eq!(deleted.status, 200);
    server.create(provider_key(100)).await;
}

async fn repo_holds_at_most_its_bound_of_live_keys(setup: Setup) {
    let server = start_with_bounds(setup).await;
    let token = server.token(User::Owner);
    let path = format!("/repo/{REPO_A}/ai/apikey");
    let creating = (0..3 * BOUND).map(|number| {
        let body = json!({ "name": format!("key {number}"), "aiType": "AWS" });
        let call = server.post(&path).bearer(&token).json(&body);
        async move { call.send().await }
    });
    let answers = futures_util::future::join_all(creating).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, BOUND as usize);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.rejects(400, "Repo must have at most 3 API keys");
    }
    let id = ids(&server.list_repo_ai_keys(REPO_A).await).remove(0);
    let deleted = server
        .delete(&format!("{path}/{id}"))
        .bearer(&token)
        .send()
        .await;
    assert_eq!(deleted.status, 200);
    server.create_repo_ai_key(REPO_A, "another").await;
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

each_engine! {
    page_parameter_of_a_whole_list_is_unknown
    page_parameter_of_a_whole_list_may_be_ignored
    rest_list_of_several_pages_is_whole
    rest_list_that_breaks_midway_does_not_end
    grpc_lists_come_in_pages_in_the_order_of_rest
    page_token_of_another_list_is_rejected
    page_token_is_rejected_with_other_filters
    workspace_holds_at_most_its_bound_of_keys
    repo_holds_at_most_its_bound_of_live_keys
}
