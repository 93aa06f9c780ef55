//! Limits for every path: sizes, media types, methods and unknown paths, each reported in the error body of
//! the path's service.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use keyward::proto::v1::CreateApiKeyRequest;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::support::{
    ORGANIZATION, TestServer, UNAUTHENTICATED, User, WORKSPACE_A, WebFlavor, rejected,
};

const MIB: usize = 1024 * 1024;
const TOO_LARGE: &str = "The request body is larger than 1048576 bytes";
const NOT_JSON: &str = "The content type must be application/json";

fn error(status: u16, message: &str) -> String {
    format!(r#"{{"error":{{"code":{status},"message":"{message}"}}}}"#)
}

/// Head of a POST without a body size.
fn head(path: &str, token: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: keyward.test\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\nconnection: close\r\n"
    )
}

async fn body_declared_too_large_is_rejected_unread(server: TestServer) {
    let token = server.token(User::Owner);
    for (path, body) in [
        (
            "/apikeys",
            format!(r#"{{"success":false,"message":"{TOO_LARGE}"}}"#),
        ),
        ("/keys", error(413, TOO_LARGE)),
    ] {
        let request = format!("{}content-length: {}\r\n\r\n", head(path, &token), MIB + 1);
        let answer = server.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(
            answer.contains("x-request-id: ") && answer.ends_with(&body),
            "{answer}"
        );
    }
}

/// A client that sends everything before it reads would otherwise find the connection closed.
async fn oversized_body_can_be_sent_to_its_end(server: TestServer) {
    let token = server.token(User::Owner);
    let size = 3 * MIB;
    let head = format!("{}content-length: {size}\r\n\r\n", head("/apikeys", &token));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 13];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413 ");
    // The client has its response and still continues to send.
    for _ in 0..size / 1024 {
        stream.write_all(&[b' '; 1024]).await.unwrap();
    }
    stream.read_to_end(&mut Vec::new()).await.unwrap();
}

async fn body_found_too_large_is_rejected(server: TestServer) {
    let token = server.token(User::Owner);
    let management = server.management_key(ORGANIZATION).await;
    for (path, token, body) in [
        (
            "/apikeys",
            &token,
            format!(r#"{{"success":false,"message":"{TOO_LARGE}"}}"#),
        ),
        ("/keys", &management, error(413, TOO_LARGE)),
    ] {
        // One chunk, one byte too long, without an end of the body.
        let mut request = head(path, token).into_bytes();
        let size = MIB + 1;
        request.extend(format!("transfer-encoding: chunked\r\n\r\n{size:x}\r\n").bytes());
        request.resize(request.len() + size, b' ');
        let answer = server.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(
            answer.contains("x-request-id: ") && answer.ends_with(&body),
            "{answer}"
        );
    }
}

async fn body_of_the_largest_size_is_read(server: TestServer) {
    let body = json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
    });
    let mut body = body.to_string();
    body.push_str(&" ".repeat(MIB - body.len()));
    let call = server.post("/apikeys").bearer(&server.token(User::Owner));
    let answer = call.text("application/json", body).send().await;
    assert_eq!(answer.status, 201, "{}", answer.body);
}

async fn oversized_message_is_rejected_over_grpc_and_grpc_web(server: TestServer) {
    let token = server.token(User::Owner);
    let request = CreateApiKeyRequest {
        secret: "s".repeat(MIB + 1),
        ..Default::default()
    };
    rejected(
        server
            .api_keys(&token)
            .create_api_key(request.clone())
            .await,
    )
    .is(Code::ResourceExhausted, "RESOURCE_EXHAUSTED", TOO_LARGE)
    .alone();
    let path = "/keyward.v1.ApiKeyService/CreateApiKey";
    for flavor in WebFlavor::ALL {
        let answer = server.grpc_web(flavor, path, Some(&token), &request).await;
        assert_eq!((answer.code(), answer.message().as_str()), ("8", TOO_LARGE));
    }
}

async fn body_that_is_not_json_is_rejected(server: TestServer) {
    let token = server.token(User::Owner);
    let management = server.management_key(ORGANIZATION).await;
    let body = json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
    });
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "multipart/form-data",
        "",
    ] {
        let call = server
            .post("/apikeys")
            .bearer(&token)
            .text(media_type, body.to_string());
        call.send().await.rejects(415, NOT_JSON);
        let call = server
            .put("/apikeys/x")
            .bearer(&token)
            .text(media_type, body.to_string());
        call.send().await.rejects(415, NOT_JSON);
        let call = server
            .post("/keys")
            .bearer(&management)
            .text(media_type, r#"{"name":"n"}"#);
        call.send().await.is(415, &error(415, NOT_JSON));
    }
    assert!(server.list(WORKSPACE_A).await.is_empty());
    // A body without a type is read: a page of another origin needs a preflight for the token.
    let call = server
        .post("/apikeys")
        .bearer(&token)
        .body(body.to_string());
    assert_eq!(call.send().await.status, 201);

    let utf8 = "Application/JSON; charset=utf-8";
    let body = json!({
        "workspaceId": WORKSPACE_A, "key": "k2", "secret": "s", "provider": "AWS",
    });
    let call = server
        .post("/apikeys")
        .bearer(&token)
        .text(utf8, body.to_string());
    assert_eq!(call.send().await.status, 201);
}

async fn wrong_verb_on_a_known_path_reports_the_allowed_ones(server: TestServer) {
    let token = server.token(User::Owner);
    for (method, path, allow) in [
        (Method::DELETE, "/apikeys", "GET, HEAD, OPTIONS, POST"),
        (Method::PUT, "/apikeys", "GET, HEAD, OPTIONS, POST"),
        (Method::GET, "/apikeys/x", "DELETE, OPTIONS, PUT"),
        (Method::POST, "/apikeys/x", "DELETE, OPTIONS, PUT"),
        (Method::PATCH, "/apikeys/x", "DELETE, OPTIONS, PUT"),
    ] {
        let answer = server
            .call(method.clone(), path)
            .bearer(&token)
            .send()
            .await;
        answer.rejects(405, "Method not allowed");
        assert_eq!(answer.header("allow"), Some(allow));
        let answer = server.call(method, path).send().await;
        answer.rejects(401, UNAUTHENTICATED);
        assert_eq!(answer.header("allow"), None);
    }
    let answer = server.put("/keys").bearer(&token).send().await;
    answer.is(405, &error(405, "Method not allowed"));
    assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS, POST"));
}

async fn allowed_verbs_are_reported_without_a_token(server: TestServer) {
    for (path, allow) in [
        ("/apikeys", "GET, HEAD, OPTIONS, POST"),
        ("/apikeys/x", "DELETE, OPTIONS, PUT"),
        ("/api/v1/key", "GET, HEAD, OPTIONS"),
    ] {
        let answer = server.call(Method::OPTIONS, path).send().await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{path}");
        assert_eq!(answer.header("allow"), Some(allow), "{path}");
    }
    let answer = server.call(Method::OPTIONS, "/nowhere").send().await;
    answer.rejects(404, "Not found");
}

async fn head_is_get_without_its_body(server: TestServer) {
    let path = format!("/apikeys?workspaceId={WORKSPACE_A}");
    let token = server.token(User::Owner);
    let get = server.get(&path).bearer(&token).send().await;
    let head = server.call(Method::HEAD, &path).bearer(&token).send().await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), get.header("content-length"));
    assert_eq!(head.header("content-type"), Some("application/json"));
    assert_eq!(server.call(Method::HEAD, &path).send().await.status, 401);
}

async fn body_may_be_compressed_and_is_measured_after(server: TestServer) {
    let token = server.token(User::Owner);
    let send = |encoding: &str, body: Vec<u8>| {
        let call = server.post("/apikeys").bearer(&token);
        call.header("content-encoding", encoding)
            .text("application/json", body)
            .send()
    };
    let gzip = |data: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    };
    let body = json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS"
    });
    let created = send("gzip", gzip(body.to_string().as_bytes())).await;
    assert_eq!(created.status, 201, "{}", created.body);
    send("gzip", gzip(&vec![b' '; MIB + 1]))
        .await
        .rejects(413, TOO_LARGE);
    let corrupt = "The request body is not what its content encoding says";
    send("gzip", b"{}".to_vec()).await.rejects(400, corrupt);
    let unknown = send("br", b"{}".to_vec()).await;
    unknown.rejects(415, "The content encoding must be gzip, zstd or none");
    assert_eq!(unknown.header("accept-encoding"), Some("gzip, zstd"));
}

async fn unknown_path_is_unknown_with_and_without_a_token(server: TestServer) {
    let token = server.token(User::Owner);
    for path in [
        "/",
        "/nowhere",
        "/apikeys/",
        "/apikeys/x/y",
        "/APIKEYS",
        "/api/v1",
        "/repo",
        "/repo/repo-a/ai",
        "//apikeys",
        "/v2/apikeys",
        "/healthz/x",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let body = if path == "/api/v1" {
                error(404, "Not found")
            } else {
                r#"{"success":false,"message":"Not found"}"#.to_owned()
            };
            let with = server
                .call(method.clone(), path)
                .bearer(&token)
                .send()
                .await;
            let without = server.call(method, path).send().await;
            with.is(404, &body);
            without.is(404, &body);
        }
    }
    // Paths under /v1 belong to the audit service.
    for path in ["/v1", "/v1/apikeys", "/v1/audit-events/x"] {
        for call in [server.get(path).bearer(&token), server.get(path)] {
            let answer = call.send().await;
            let body = answer.json();
            assert_eq!(
                (answer.status, &body["error"]["status"]),
                (404, &json!("NOT_FOUND")),
                "{path}"
            );
        }
    }
    for path in ["/keys/x/y", "/key/x", "/api/v1/keys/x/y"] {
        server
            .get(path)
            .bearer(&token)
            .send()
            .await
            .is(404, &error(404, "Not found"));
        server
            .get(path)
            .send()
            .await
            .is(404, &error(404, "Not found"));
    }
}

async fn malformed_escape_in_a_path_is_rejected(server: TestServer) {
    let said = "The path must be percent-encoded UTF-8";
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        for path in ["/apikeys/%zz", "/apikeys/%ff", "/apikeys/%f"] {
            server
                .call(method.clone(), path)
                .send()
                .await
                .rejects(400, said);
        }
        server
            .call(method, "/keys/%zz")
            .send()
            .await
            .is(400, &error(400, said));
    }
    let answer = server.get("/v1/audit-events/%zz").send().await;
    let shown = answer.json()["error"].clone();
    assert_eq!((answer.status, &shown["message"]), (400, &json!(said)));
}

async fn unknown_grpc_method_is_unimplemented(server: TestServer) {
    for path in [
        "/keyward.v1.ApiKeyService/Nothing",
        "/keyward.v1.Nothing/At/All",
        "/x",
    ] {
        for flavor in WebFlavor::ALL {
            let answer = server.grpc_web(flavor, path, None, &()).await;
            assert_eq!((answer.http_status, answer.code()), (200, "12"), "{path}");
            assert!(
                answer.headers.contains_key("grpc-status-details-bin"),
                "{path}"
            );
        }
    }
}

each_engine! {
    body_declared_too_large_is_rejected_unread
    oversized_body_can_be_sent_to_its_end
    body_found_too_large_is_rejected
    body_of_the_largest_size_is_read
    oversized_message_is_rejected_over_grpc_and_grpc_web
    body_that_is_not_json_is_rejected
    wrong_verb_on_a_known_path_reports_the_allowed_ones
    allowed_verbs_are_reported_without_a_token
    head_is_get_without_its_body
    body_may_be_compressed_and_is_measured_after
    unknown_path_is_unknown_with_and_without_a_token
    malformed_escape_in_a_path_is_rejected
    unknown_grpc_method_is_unimplemented
}
