//! Boundaries between the protocols, and malformed gRPC.

use std::time::Duration;

use http::Method;
use keyward::proto::v1::ListApiKeysRequest;
use reqwest::Version;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;

use crate::support::{
    Engine, OnEngine, TestServer, UNAUTHENTICATED_BODY, User, WORKSPACE_A, grpc_frame, rejected,
    with_token,
};
use crate::sweeps::every_method::Bytes;

const LIST: &str = "/keyward.v1.ApiKeyService/ListApiKeys";

async fn probe_allows_get_and_head_alone(server: TestServer) {
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.call(Method::HEAD, path).send().await.status, 200);
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let answer = server.call(method, path).send().await;
            answer.is(405, r#"{"success":false,"message":"Method not allowed"}"#);
            assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
        }
        let options = server.call(Method::OPTIONS, path).send().await;
        assert_eq!(
            (options.status, options.header("allow")),
            (204, Some("GET, HEAD, OPTIONS"))
        );
    }
}

async fn grpc_path_allows_post_alone(server: TestServer) {
    for content_type in [
        "application/grpc",
        "application/grpc-web+proto",
        "text/plain",
    ] {
        let call = || server.get(LIST).header("content-type", content_type);
        call().send().await.is(401, UNAUTHENTICATED_BODY);
        let answer = call().bearer(&server.token(User::Owner)).send().await;
        answer.is(405, r#"{"success":false,"message":"Method not allowed"}"#);
        assert_eq!(answer.header("allow"), Some("OPTIONS, POST"));
    }
    let options = server.call(Method::OPTIONS, LIST).send().await;
    assert_eq!(
        (options.status, options.header("allow")),
        (204, Some("OPTIONS, POST"))
    );
}

async fn grpc_with_another_encoding_than_protobufs_is_415(server: TestServer) {
    let token = server.token(User::Owner);
    for content_type in [
        "application/grpc+json",
        "application/grpc-web+json",
        "Application/gRPC-Web+JSON; charset=utf-8",
        "application/grpc-web-text+json",
        "application/grpc-web+thrift",
    ] {
        for path in [
            LIST,
            "/keyward.v1.ApiKeyService/Nothing",
            "/grpc.health.v1.Health/Check",
        ] {
            let call = server.post(path).bearer(&token).text(content_type, "{}");
            let answer = call.send().await;
            assert_eq!(answer.status, 415, "{content_type} {path}: {}", answer.body);
            assert_eq!(answer.header("grpc-status"), None);
        }
    }
}

async fn grpc_web_is_answered_in_the_form_that_was_asked_in(server: TestServer) {
    let body = grpc_frame(&ListApiKeysRequest::default());
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &body);
    for (asked, body, answered) in [
        (
            "application/grpc-web",
            body.clone(),
            "application/grpc-web+proto",
        ),
        (
            "application/grpc-web-text",
            text.clone().into_bytes(),
            "application/grpc-web-text+proto",
        ),
        (
            "application/grpc-web-text; charset=utf-8",
            text.into_bytes(),
            "application/grpc-web-text+proto",
        ),
    ] {
        let call = server.post(LIST).bearer(&server.token(User::Owner));
        let answer = call.text(asked, body).send().await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(answered))
        );
    }
}

async fn native_grpc_over_http_1_is_rejected_with_the_reason(server: TestServer) {
    for path in [LIST, "/apikeys"] {
        let request = server.http.post(server.url(path)).version(Version::HTTP_11);
        let request = request.bearer_auth(server.token(User::Owner));
        let request = request.header("content-type", "application/grpc");
        let answer = request
            .body(grpc_frame(&ListApiKeysRequest::default()))
            .send()
            .await;
        let headers = answer.unwrap().headers().clone();
        assert_eq!(headers["grpc-status"], "12", "{path}");
        assert!(headers.contains_key("grpc-message"));
    }
}

async fn undecodable_message_is_an_invalid_argument(server: TestServer) {
    // A text field with bytes that are not UTF-8, and a field that ends too early.
    for bytes in [vec![0x0a, 0x02, 0xff, 0xfe], vec![0x0a, 0x7f]] {
        let mut client = Grpc::new(server.channel());
        client.ready().await.unwrap();
        let request = with_token(&server.token(User::Owner), bytes);
        let path = PathAndQuery::from_static(LIST);
        let result = client.unary(request, path, Bytes).await;
        rejected(result.map(|answer| answer.into_inner()))
            .is(
                Code::InvalidArgument,
                "MESSAGE_MALFORMED",
                "The request message cannot be decoded",
            )
            .alone();
    }
}

async fn expired_deadline_rejects_every_request(server: TestServer) {
    let token = server.token(User::Owner);
    for timeout in ["0n", "0S"] {
        let call = server
            .get("/apikeys")
            .bearer(&token)
            .header("grpc-timeout", timeout);
        assert_eq!(call.send().await.status, 504, "{timeout}");
    }
}

async fn uuid_without_hyphens_is_not_found(server: TestServer) {
    let created = server
        .create(json!({"workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS"}))
        .await;
    let token = server.token(User::Owner);
    let plain = created.replace('-', "");
    for other in [
        plain.clone(),
        format!("{{{created}}}"),
        format!("urn:uuid:{created}"),
    ] {
        let path = format!("/apikeys/{other}");
        let call = server
            .put(&path)
            .bearer(&token)
            .json(&json!({"region": "eu"}));
        call.send().await.rejects(404, "API key not found");
    }
}

/// hyper's own timer starts once the HTTP version is known; this timer starts earlier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_client_is_disconnected() {
    let Some(server) = TestServer::on(Engine::Sqlite).await else {
        return;
    };
    let silent = ["", "P", "PRI * HTTP/2.0\r\n", "GET /heal"].map(|beginning| async {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        // The server ends the connection; any bytes before that are not checked.
        let mut answer = Vec::new();
        let closed = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(60), closed)
            .await
            .map(|_| ())
    });
    for closed in futures_util::future::join_all(silent).await {
        assert_eq!(
            closed,
            Ok(()),
            "the connection was still open after a minute"
        );
    }
}

/// Unread responses must not be kept forever either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_does_not_read_is_disconnected() {
    let Some(server) = TestServer::on(Engine::Sqlite).await else {
        return;
    };
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let requests = "GET /nope HTTP/1.1\r\nhost: keyward.test\r\n\r\n".repeat(1000);
    // The server stops reading while its responses are not read, and then ends the connection.
    let until_closed = async { while stream.write_all(requests.as_bytes()).await.is_ok() {} };
    let closed = tokio::time::timeout(Duration::from_secs(60), until_closed).await;
    assert_eq!(
        closed,
        Ok(()),
        "the connection was still open after a minute"
    );
}

each_engine! {
    probe_allows_get_and_head_alone
    grpc_path_allows_post_alone
    grpc_with_another_encoding_than_protobufs_is_415
    grpc_web_is_answered_in_the_form_that_was_asked_in
    native_grpc_over_http_1_is_rejected_with_the_reason
    undecodable_message_is_an_invalid_argument
    expired_deadline_rejects_every_request
    uuid_without_hyphens_is_not_found
}
