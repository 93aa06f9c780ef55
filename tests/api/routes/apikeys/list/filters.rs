//! GET /apikeys and ListApiKeys: the filters by provider and capability, and malformed ones.

use keyward::proto::v1::ListApiKeysRequest;
use serde_json::json;
use tonic::Code;

use crate::support::{TestServer, User, WORKSPACE_A, rejected};

/// A key of every registered provider; the key is the provider's name.
async fn fill(server: &TestServer) {
    for provider in [
        "AWS",
        "GCP",
        "AZURE",
        "OPENAI",
        "ANTHROPIC",
        "GOOGLE",
        "OTHER",
        "MINIO",
    ] {
        server
            .create(json!({
                "workspaceId": WORKSPACE_A, "key": provider, "secret": "s", "provider": provider,
            }))
            .await;
    }
}

/// The providers of the keys that a query lists over REST.
async fn listed(server: &TestServer, query: &str) -> Vec<String> {
    let path = format!("/apikeys?{query}");
    let answer = server
        .get(&path)
        .bearer(&server.token(User::ReaderInA))
        .send()
        .await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    let keys = answer.json()["apiKeys"].as_array().unwrap().clone();
    let mut keys: Vec<_> = keys
        .iter()
        .map(|k| k["key"].as_str().unwrap().to_owned())
        .collect();
    keys.sort();
    keys
}

async fn filters_by_provider(server: TestServer) {
    fill(&server).await;
    assert_eq!(
        listed(&server, "workspaceId=workspace-a&provider=AWS").await,
        ["AWS"]
    );
    assert_eq!(listed(&server, "provider=MINIO").await, ["MINIO"]);
    assert_eq!(listed(&server, "provider=").await.len(), 8);
}

async fn filters_by_any_of_the_capability_bits(server: TestServer) {
    fill(&server).await;
    let storage = ["AWS", "AZURE", "GCP", "MINIO", "OTHER"];
    let ai = [
        "ANTHROPIC",
        "AWS",
        "AZURE",
        "GCP",
        "GOOGLE",
        "OPENAI",
        "OTHER",
    ];
    assert_eq!(listed(&server, "capability=1").await, storage);
    assert_eq!(listed(&server, "capability=2").await, ai);
    assert_eq!(
        listed(&server, "capability=4").await,
        ["AWS", "AZURE", "GCP", "OTHER"]
    );
    assert_eq!(listed(&server, "capability=128").await, ["OTHER"]);
    assert_eq!(listed(&server, "capability=3").await.len(), 8);
    assert_eq!(
        listed(&server, "capability=256").await,
        Vec::<String>::new()
    );
    assert_eq!(listed(&server, "capability=0").await, Vec::<String>::new());
}

async fn filters_by_provider_and_capability_together(server: TestServer) {
    fill(&server).await;
    assert_eq!(
        listed(&server, "provider=OPENAI&capability=2").await,
        ["OPENAI"]
    );
    assert_eq!(
        listed(&server, "provider=OPENAI&capability=1").await,
        Vec::<String>::new()
    );
    let request = ListApiKeysRequest {
        workspace_id: WORKSPACE_A.to_owned(),
        provider: "OPENAI".to_owned(),
        capability: Some(2),
        ..Default::default()
    };
    let mut client = server.api_keys(&server.token(User::ReaderInA));
    let listed = client
        .list_api_keys(request)
        .await
        .unwrap()
        .into_inner()
        .api_keys;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].provider, "OPENAI");
}

async fn parameters_are_percent_decoded(server: TestServer) {
    fill(&server).await;
    let query = "workspace%49d=workspace%2Da&provider=%41WS";
    assert_eq!(listed(&server, query).await, ["AWS"]);
    assert_eq!(
        listed(&server, "workspace_id=workspace-a&provider=AWS").await,
        ["AWS"]
    );
}

async fn unknown_parameter_is_rejected_and_named(server: TestServer) {
    let token = server.token(User::ReaderInA);
    for (query, message) in [
        (
            "workspaceid=a",
            "`workspaceid` is not a known query parameter; did you mean `workspaceId`?",
        ),
        (
            "provder=AWS",
            "`provder` is not a known query parameter; did you mean `provider`?",
        ),
        // The whole list is returned at once.
        ("page_size=7", "`page_size` is not a known query parameter"),
        (
            "pageToken=canary",
            "`pageToken` is not a known query parameter",
        ),
        ("%00", "The query must have no unknown parameters"),
    ] {
        let path = format!("/apikeys?{query}");
        server
            .get(&path)
            .bearer(&token)
            .send()
            .await
            .rejects(400, message);
    }
}

async fn unregistered_provider_is_rejected(server: TestServer) {
    let token = server.token(User::ReaderInA);
    for provider in ["NOPE", "aws", "AWS "] {
        let path = format!("/apikeys?provider={}", provider.replace(' ', "%20"));
        let answer = server.get(&path).bearer(&token).send().await;
        answer.rejects(400, "Unsupported provider");
        let request = ListApiKeysRequest {
            provider: provider.to_owned(),
            ..Default::default()
        };
        let result = server.api_keys(&token).list_api_keys(request).await;
        rejected(result)
            .is(
                Code::InvalidArgument,
                "FIELD_INVALID",
                "Unsupported provider",
            )
            .fields(&[("provider", "Unsupported provider")]);
    }
}

async fn malformed_parameter_is_named_and_its_value_not_repeated(server: TestServer) {
    let token = server.token(User::ReaderInA);
    let malformed = "`capability` must be an unsigned 32-bit integer";
    for value in ["canary", "-1", "4294967296", "1.5", ""] {
        let path = format!("/apikeys?capability={value}");
        server
            .get(&path)
            .bearer(&token)
            .send()
            .await
            .rejects(400, malformed);
    }
    for (query, message) in [
        ("provider=AWS&provider=GCP", "`provider` must be given once"),
        ("provider=%zz", "`provider` must be percent-encoded UTF-8"),
        (
            "workspaceId=%ff",
            "`workspaceId` must be percent-encoded UTF-8",
        ),
    ] {
        let path = format!("/apikeys?{query}");
        server
            .get(&path)
            .bearer(&token)
            .send()
            .await
            .rejects(400, message);
    }
}

async fn workspace_id_that_none_can_have_is_rejected(server: TestServer) {
    let token = server.token(User::ReaderInA);
    let message = "Workspace ID must have at most 255 bytes";
    let id = "w".repeat(256);
    let path = format!("/apikeys?workspaceId={id}");
    server
        .get(&path)
        .bearer(&token)
        .send()
        .await
        .rejects(400, message);
    let request = ListApiKeysRequest {
        workspace_id: id,
        ..Default::default()
    };
    rejected(server.api_keys(&token).list_api_keys(request).await)
        .is(Code::InvalidArgument, "FIELD_INVALID", message)
        .fields(&[("workspaceId", message)]);

    let message = "Workspace ID must not have control characters";
    let answer = server
        .get("/apikeys?workspaceId=a%00b")
        .bearer(&token)
        .send()
        .await;
    answer.rejects(400, message);
}

each_engine! {
    filters_by_provider
    filters_by_any_of_the_capability_bits
    filters_by_provider_and_capability_together
    parameters_are_percent_decoded
    unknown_parameter_is_rejected_and_named
    unregistered_provider_is_rejected
    malformed_parameter_is_named_and_its_value_not_repeated
    workspace_id_that_none_can_have_is_rejected
}
