//! GET /repo/{repoId}/ai/apikey and ListRepoAiKeys.

use std::time::Duration;

use http::Method;
use keyward::proto::v1::{
    AiType, CreateRepoAiKeyRequest, CreateRepoAiKeyResponse, ListRepoAiKeysRequest,
    ListRepoAiKeysResponse, RepoAiKey,
};
use prost::Message;
use serde_json::json;

use crate::support::{
    REPO_A, TestServer, User, WORKSPACE_A, WORKSPACE_B, WebFlavor, repo_ai_keys_path,
};

const PATH: &str = "/repo/repo-a/ai/apikey";
const EMPTY: &str = r#"{"success":true,"apiKeys":[]}"#;

fn of_repo(repo: &str) -> ListRepoAiKeysRequest {
    ListRepoAiKeysRequest {
        repo_id: repo.to_owned(),
        ..Default::default()
    }
}

async fn repo_without_keys_lists_nothing(server: TestServer) {
    let token = server.token(User::ReaderInA);
    server.get(PATH).bearer(&token).send().await.is(200, EMPTY);
    let listed = server
        .repo_ai_keys(&token)
        .list_repo_ai_keys(of_repo(REPO_A))
        .await
        .unwrap();
    let listed = listed.into_inner();
    assert!(listed.success && listed.api_keys.is_empty());
}

async fn every_field_of_a_key_is_listed_as_documented(server: TestServer) {
    let token = server.token(User::ReaderInA);
    server.clock.advance(Duration::from_millis(7));
    let created = server
        .create_repo_ai_key(REPO_A, "Production \"AI\" Key")
        .await;
    let (id, key) = (&created.id, &created.key);
    server.get(PATH).bearer(&token).send().await.is(
        200,
        &format!(
            concat!(
                r#"{{"success":true,"apiKeys":[{{"id":"{}","name":"Production \"AI\" Key","#,
                r#""repoId":"repo-a","key":"{}","aiType":"OPENAI","#,
                r#""createdAt":"2026-08-01T12:00:00.007Z","deletedAt":null}}]}}"#,
            ),
            id, key
        ),
    );

    let listed = server
        .repo_ai_keys(&token)
        .list_repo_ai_keys(of_repo(REPO_A))
        .await
        .unwrap();
    assert_eq!(
        listed.into_inner(),
        ListRepoAiKeysResponse {
            success: true,
            next_page_token: String::new(),
            api_keys: vec![RepoAiKey {
                id: created.id,
                name: "Production \"AI\" Key".to_owned(),
                repo_id: REPO_A.to_owned(),
                key: created.key,
                ai_type: AiType::Openai.into(),
                created_at: Some(prost_types::Timestamp {
                    seconds: 1_785_585_600,
                    nanos: 7_000_000,
                }),
                deleted_at: None,
                created_by_kind: Some("user".to_owned()),
                created_by_id: Some("owner".to_owned()),
            }],
        }
    );
}

async fn moment_of_a_whole_second_has_three_digits_too(server: TestServer) {
    server.create_repo_ai_key(REPO_A, "Production").await;
    let listed = server.list_repo_ai_keys(REPO_A).await;
    assert_eq!(listed[0]["createdAt"], "2026-08-01T12:00:00.000Z");
}

async fn keys_are_listed_newest_first(server: TestServer) {
    let mut expected = Vec::new();
    for number in 0..5 {
        let created = server.create_repo_ai_key(REPO_A, &number.to_string()).await;
        expected.insert(0, created.id);
        // The second and the third key have the same millisecond.
        if number != 1 {
            server.clock.advance(Duration::from_millis(1));
        }
    }
    let listed = server.list_repo_ai_keys(REPO_A).await;
    let listed: Vec<_> = listed
        .iter()
        .map(|key| key["id"].as_str().unwrap())
        .collect();
    assert_eq!(listed, expected);

    let mut client = server.repo_ai_keys(&server.token(User::ReaderInA));
    let listed = client
        .list_repo_ai_keys(of_repo(REPO_A))
        .await
        .unwrap()
        .into_inner();
    let listed: Vec<_> = listed.api_keys.into_iter().map(|key| key.id).collect();
    assert_eq!(listed, expected);
}

async fn repo_lists_its_own_keys_alone(server: TestServer) {
    server.add_repo(WORKSPACE_A, "repo-other").await;
    server.add_repo(WORKSPACE_B, "repo-b").await;
    for repo in [REPO_A, "repo-other", "repo-b"] {
        server.create_repo_ai_key(repo, "Production").await;
    }
    for repo in [REPO_A, "repo-other", "repo-b"] {
        let listed = server.list_repo_ai_keys(repo).await;
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0]["repoId"], repo);
    }
    // No query parameter selects another repo.
    let path = format!("{PATH}?repoId=repo-other&repo_id=repo-b");
    let answer = server
        .get(&path)
        .bearer(&server.token(User::ReaderInA))
        .send()
        .await;
    assert_eq!(answer.json()["apiKeys"][0]["repoId"], REPO_A);
    let path = format!("{PATH}?page_size=1");
    let answer = server
        .get(&path)
        .bearer(&server.token(User::ReaderInA))
        .send()
        .await;
    answer.rejects(400, "`page_size` is not a known query parameter");
}

async fn deleted_keys_are_not_listed(server: TestServer) {
    let first = server.create_repo_ai_key(REPO_A, "first").await;
    let second = server.create_repo_ai_key(REPO_A, "second").await;
    server.delete_repo_ai_key(REPO_A, &first.id).await;
    let listed = server.list_repo_ai_keys(REPO_A).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["id"], second.id);
    server.delete_repo_ai_key(REPO_A, &second.id).await;
    let answer = server
        .get(PATH)
        .bearer(&server.token(User::ReaderInA))
        .send()
        .await;
    answer.is(200, EMPTY);
}

async fn no_secret_is_listed(server: TestServer) {
    let created = server.create_repo_ai_key(REPO_A, "Production").await;
    let token = server.token(User::Owner);
    let answer = server.get(PATH).bearer(&token).send().await;
    assert!(answer.body.contains(&created.key));
    assert!(!answer.body.contains("FB_AIS_") && !answer.body.contains("ecret"));
    let listed = server
        .repo_ai_keys(&token)
        .list_repo_ai_keys(of_repo(REPO_A))
        .await
        .unwrap();
    let listed = listed.into_inner().encode_to_vec();
    let listed = String::from_utf8_lossy(&listed);
    assert!(listed.contains(&created.key) && !listed.contains("FB_AIS_"));
}

async fn repo_may_have_any_name_that_a_path_can_carry(server: TestServer) {
    for (repo, in_path) in [
        ("r\u{e9}po 1", "r%C3%A9po%201"),
        ("a/b?c#d%e", "a%2Fb%3Fc%23d%25e"),
        ("apikey", "apikey"),
    ] {
        server.add_repo(WORKSPACE_A, repo).await;
        let created = server.create_repo_ai_key(in_path, "Production").await;
        let listed = server.list_repo_ai_keys(in_path).await;
        assert_eq!(listed[0]["repoId"], repo);
        server.delete_repo_ai_key(in_path, &created.id).await;
    }
}

async fn grpc_web_creates_and_lists(server: TestServer) {
    let token = server.token(User::WriterInA);
    for flavor in WebFlavor::ALL {
        let request = CreateRepoAiKeyRequest {
            repo_id: REPO_A.to_owned(),
            name: format!("{flavor:?}"),
            ai_type: AiType::Aws.into(),
        };
        let path = "/keyward.v1.RepoAiKeyService/CreateRepoAiKey";
        let answer = server.grpc_web(flavor, path, Some(&token), &request).await;
        assert_eq!((answer.http_status, answer.code()), (200, "0"));
        let created = CreateRepoAiKeyResponse::decode(answer.messages[0].as_slice()).unwrap();
        assert!(created.success);

        let path = "/keyward.v1.RepoAiKeyService/ListRepoAiKeys";
        let answer = server
            .grpc_web(flavor, path, Some(&token), &of_repo(REPO_A))
            .await;
        assert_eq!(answer.code(), "0");
        let listed = ListRepoAiKeysResponse::decode(answer.messages[0].as_slice()).unwrap();
        assert_eq!(listed.api_keys[0].id, created.id);

        let nobody = server.token(User::NoAccess);
        for (token, code) in [(None, "16"), (Some(nobody.as_str()), "7")] {
            let answer = server.grpc_web(flavor, path, token, &of_repo(REPO_A)).await;
            assert_eq!((answer.http_status, answer.code()), (200, code));
            assert!(answer.messages.is_empty());
        }
    }
}

async fn other_verbs_are_not_known_here(server: TestServer) {
    let token = server.token(User::Owner);
    let (all, one) = (repo_ai_keys_path(REPO_A), format!("{PATH}/k"));
    for (method, path, allow) in [
        (Method::PUT, &all, ["GET", "POST"]),
        (Method::PATCH, &all, ["GET", "POST"]),
        (Method::DELETE, &all, ["GET", "POST"]),
        (Method::GET, &one, ["DELETE", "PUT"]),
        (Method::POST, &one, ["DELETE", "PUT"]),
        (Method::PATCH, &one, ["DELETE", "PUT"]),
    ] {
        let call = server
            .call(method.clone(), path)
            .bearer(&token)
            .json(&json!({}));
        let answer = call.send().await;
        answer.rejects(405, "Method not allowed");
        let returned = answer.header("allow").unwrap();
        assert!(
            allow.iter().all(|verb| returned.contains(verb)),
            "{method} {path}: {returned}"
        );
    }
}

each_engine! {
    repo_without_keys_lists_nothing
    every_field_of_a_key_is_listed_as_documented
    moment_of_a_whole_second_has_three_digits_too
    keys_are_listed_newest_first
    repo_lists_its_own_keys_alone
    deleted_keys_are_not_listed
    no_secret_is_listed
    repo_may_have_any_name_that_a_path_can_carry
    grpc_web_creates_and_lists
    other_verbs_are_not_known_here
}
