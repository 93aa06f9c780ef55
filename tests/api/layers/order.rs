//! Every request passes the same layers in the same order, on every protocol.

use keyward::http::layers::NAMES;
use keyward::proto::v1::ListApiKeysRequest;
use serde_json::json;

use crate::support::{TestServer, User, WORKSPACE_A, WebFlavor, spans_of};

const LIST: &str = "/keyward.v1.ApiKeyService/ListApiKeys";

#[test]
fn layers_have_these_names_and_this_order() {
    let expected = [
        "request_id",
        "route",
        "client_ip",
        "trace",
        "security_headers",
        "cors",
        "catch_panic",
        "ip_rate_limit",
        "concurrency_limit",
        "deadline",
        "body_limit",
        "authenticate",
        "principal_rate_limit",
        "fair_queue",
        "policy",
        "buffer_body",
    ];
    assert_eq!(NAMES, expected);
}

/// Returns a field of the only span of a request. The span closes with the response, so a request whose
/// connection was reused, or on which another response arrived, has a closed span.
fn span_field(request_id: &str, field: &str) -> Option<String> {
    let spans = spans_of(request_id);
    assert_eq!(spans.len(), 1, "{request_id}: {spans:?}");
    spans[0].field(field).map(str::to_owned)
}

async fn rejected_request_has_an_id_and_a_span(server: TestServer) {
    let id = format!("refused-{:?}-{}", server.engine, server.address.port());
    let path = "/apikeys/canary-4711?x=canary-4712";
    let answer = server
        .put(path)
        .header("x-request-id", &id)
        .json(&json!({}))
        .send()
        .await;
    assert_eq!(
        (answer.status, answer.header("x-request-id")),
        (401, Some(id.as_str()))
    );
    let field = |name: &str| span_field(&id, name);
    assert_eq!(field("otel.name").as_deref(), Some("PUT /apikeys/{uuid}"));
    assert_eq!(field("http.route").as_deref(), Some("/apikeys/{uuid}"));
    assert_eq!(field("http.response.status_code").as_deref(), Some("401"));
    assert_eq!(
        field("otel.status_code"),
        None,
        "the caller is at fault, not the server"
    );
    assert!(!format!("{:?}", spans_of(&id)).contains("canary"));
}

async fn grpc_call_has_a_span_with_its_method_and_code(server: TestServer) {
    let id = format!("grpc-{:?}-{}", server.engine, server.address.port());
    let mut request = tonic::Request::new(ListApiKeysRequest::default());
    request
        .metadata_mut()
        .insert("x-request-id", id.parse().unwrap());
    server
        .api_keys_without_token()
        .list_api_keys(request)
        .await
        .unwrap_err();
    let field = |name: &str| span_field(&id, name);
    assert_eq!(
        field("otel.name").as_deref(),
        Some("keyward.v1.ApiKeyService/ListApiKeys")
    );
    assert_eq!(
        field("rpc.response.status_code").as_deref(),
        Some("UNAUTHENTICATED")
    );
    assert_eq!(
        field("keyward.error.reason").as_deref(),
        Some("TOKEN_MISSING")
    );
}

async fn oversized_body_is_rejected_before_authentication(server: TestServer) {
    // Otherwise a client without a token could make the server read the body.
    let request = format!(
        "POST /apikeys HTTP/1.1\r\nhost: keyward.test\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        2 * 1024 * 1024
    );
    let answer = server.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

async fn deadline_is_read_before_the_token(server: TestServer) {
    let answer = server
        .get("/apikeys")
        .header("grpc-timeout", "x")
        .send()
        .await;
    assert_eq!(answer.status, 400);
}

async fn token_is_looked_at_before_the_request_is_read(server: TestServer) {
    let answer = server.get("/apikeys?capability=x").send().await;
    assert_eq!(answer.status, 401);
    let answer = server.delete("/apikeys").send().await;
    assert_eq!(answer.status, 401);
}

async fn client_headers_about_the_caller_are_ignored(server: TestServer) {
    for (name, value) in [
        ("x-user-id", "owner"),
        ("x-organization-id", "org-1"),
        ("x-workspace-id", WORKSPACE_A),
        ("x-forwarded-user", "owner"),
        ("cookie", "token=owner"),
        ("proxy-authorization", "Bearer owner"),
    ] {
        let answer = server.get("/apikeys").header(name, value).send().await;
        assert_eq!(answer.status, 401, "{name}");
    }
    let token = server.token(User::Owner);
    let path = format!("/apikeys?authorization=Bearer%20{token}&token={token}");
    assert_eq!(server.get(&path).send().await.status, 401);
}

async fn protocol_of_another_path_bypasses_no_check(server: TestServer) {
    let token = server.token(User::Owner);
    // A gRPC path without a gRPC content type is an unknown path; with one it needs a token.
    let answer = server
        .post(LIST)
        .bearer(&token)
        .json(&json!({}))
        .send()
        .await;
    answer.rejects(404, "Not found");
    for flavor in WebFlavor::ALL {
        let request = ListApiKeysRequest::default();
        assert_eq!(
            server.grpc_web(flavor, LIST, None, &request).await.code(),
            "16"
        );
        // A REST path with a gRPC content type is an unknown method.
        assert_eq!(
            server
                .grpc_web(flavor, "/apikeys", None, &request)
                .await
                .code(),
            "12"
        );
        // Nor does a gRPC content type give access to other paths.
        assert_eq!(
            server
                .grpc_web(flavor, "/healthz", None, &request)
                .await
                .code(),
            "12"
        );
    }
    for kind in [
        "application/grpc-webby",
        "application/grpcx",
        "application/grpc+json",
    ] {
        let answer = server
            .get("/apikeys")
            .header("content-type", kind)
            .send()
            .await;
        let rejected = answer.header("grpc-status").is_some_and(|code| code != "0");
        assert!(
            answer.status >= 400 || rejected,
            "{kind}: {} {}",
            answer.status,
            answer.body
        );
        assert!(!answer.body.contains("apiKeys"), "{kind}: {}", answer.body);
    }
}

each_engine! {
    rejected_request_has_an_id_and_a_span
    grpc_call_has_a_span_with_its_method_and_code
    oversized_body_is_rejected_before_authentication
    deadline_is_read_before_the_token
    token_is_looked_at_before_the_request_is_read
    client_headers_about_the_caller_are_ignored
    protocol_of_another_path_bypasses_no_check
}
