//! Every response has `x-request-id`, on every protocol and for every outcome.

use keyward::proto::v1::ListApiKeysRequest;
use serde_json::json;

use crate::support::{TestServer, User, WebFlavor};

const LIST: &str = "/keyward.v1.ApiKeyService/ListApiKeys";

async fn every_response_has_its_own_request_id(server: TestServer) {
    let token = server.token(User::Owner);
    let mut seen = std::collections::BTreeSet::new();
    for (call, status) in [
        (server.get("/apikeys").bearer(&token), 200),
        (server.get("/apikeys?capability=x").bearer(&token), 400),
        (server.get("/apikeys"), 401),
        (server.get("/apikeys?workspaceId=none").bearer(&token), 403),
        (server.get("/nowhere"), 404),
        (server.delete("/apikeys").bearer(&token), 405),
        (
            server
                .post("/apikeys")
                .bearer(&token)
                .text("text/plain", "x"),
            415,
        ),
        (server.get("/keys").bearer(&token), 403),
        (server.get("/healthz"), 200),
    ] {
        let answer = call.send().await;
        assert_eq!(answer.status, status, "{}", answer.body);
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert!(uuid::Uuid::try_parse(&id).is_ok(), "{id}");
        assert!(seen.insert(id));
    }
    let listed = server
        .api_keys(&token)
        .list_api_keys(ListApiKeysRequest::default())
        .await;
    assert!(listed.unwrap().metadata().contains_key("x-request-id"));
    let rejected = server
        .api_keys("garbage")
        .list_api_keys(ListApiKeysRequest::default())
        .await;
    assert!(
        rejected
            .unwrap_err()
            .metadata()
            .contains_key("x-request-id")
    );
    for (flavor, token) in WebFlavor::ALL
        .into_iter()
        .flat_map(|f| [(f, None), (f, Some(token.as_str()))])
    {
        let answer = server
            .grpc_web(flavor, LIST, token, &ListApiKeysRequest::default())
            .await;
        assert!(answer.headers.contains_key("x-request-id"));
    }
}

async fn valid_request_id_of_the_caller_is_kept(server: TestServer) {
    let longest = "a".repeat(128);
    for id in [
        "7",
        "req-2026:08/01.a_b+c=",
        "01890a5d-ac96-774b-bcce-b302099a8057",
        &longest,
    ] {
        let answer = server
            .get("/apikeys")
            .header("x-request-id", id)
            .send()
            .await;
        assert_eq!(answer.header("x-request-id"), Some(id));
        let mut request = tonic::Request::new(ListApiKeysRequest::default());
        request
            .metadata_mut()
            .insert("x-request-id", id.parse().unwrap());
        let status = server
            .api_keys_without_token()
            .list_api_keys(request)
            .await
            .unwrap_err();
        assert_eq!(status.metadata().get("x-request-id").unwrap(), id);
    }
}

async fn invalid_request_id_is_replaced(server: TestServer) {
    let token = server.token(User::Owner);
    let too_long = "a".repeat(129);
    for id in [
        "",
        "with space",
        "<script>",
        "a,b",
        "caf\u{e9}",
        "sk-kw-v1-secret",
        "FB_AI_secret",
        "FB_AIS_secret",
        &token,
        &too_long,
    ] {
        let answer = server
            .get("/apikeys")
            .header("x-request-id", id)
            .send()
            .await;
        let given = answer.header("x-request-id").unwrap();
        assert!(uuid::Uuid::try_parse(given).is_ok(), "{given} for {id}");
    }
}

async fn it_reaches_the_audit_trail(server: TestServer) {
    let answer = server.post("/apikeys").bearer(&server.token(User::Owner));
    let answer = answer.json(&json!({
        "workspaceId": "workspace-a", "key": "k", "secret": "s", "provider": "AWS",
    }));
    let answer = answer.send().await;
    let id = answer.header("x-request-id").unwrap();
    let events = server.database.events().await;
    let event = events
        .iter()
        .find(|event| event.action == "api_key.create")
        .unwrap();
    assert_eq!(event.request_id, id);
}

each_engine! {
    every_response_has_its_own_request_id
    valid_request_id_of_the_caller_is_kept
    invalid_request_id_is_replaced
    it_reaches_the_audit_trail
}
