//! Requests whose body does not arrive: the method alone decides where possible, and a body has a timeout.

use std::time::{Duration, Instant};

use keyward::http::layers::BodyTime;
use serde_json::json;

use crate::support::{DENIED, ORGANIZATION, Setup, TestServer, User};

/// Head of a request with a body, on a connection that ends with the response.
fn head(path: &str, token: &str, content_type: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: keyward.test\r\nauthorization: Bearer {token}\r\n\
         content-type: {content_type}\r\ngrpc-timeout: 60S\r\nconnection: close\r\n\
         content-length: 1000\r\n\r\n"
    )
}

const JSON: &str = "application/json";
const GRPC_WEB: &str = "application/grpc-web+proto";

async fn principal_without_the_right_is_rejected_before_its_body(server: TestServer) {
    let management = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&management, json!({})).await.key;
    let user = server.token(User::Owner);
    for (token, path) in [
        (&issued, "/keys"),
        (&issued, "/apikeys"),
        (&user, "/keys"),
        (&management, "/apikeys"),
    ] {
        let answer = server.raw(head(path, token, JSON).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{path}: {answer}");
        assert!(answer.contains(DENIED), "{path}: {answer}");
    }
    for (token, method) in [
        (&issued, "ManagementKeyService/CreateKey"),
        (&user, "ManagementKeyService/VerifyKey"),
        (&user, "DirectoryService/UpsertOrganization"),
        (&management, "ApiKeyService/ResolveApiKey"),
    ] {
        let path = format!("/keyward.v1.{method}");
        let answer = server.raw(head(&path, token, GRPC_WEB).as_bytes()).await;
        assert!(answer.contains("grpc-status: 7\r\n"), "{path}: {answer}");
    }
}

async fn missing_body_ends_the_request_in_time(setup: Setup) {
    let body_time = BodyTime {
        timeout: Duration::from_millis(300),
        min_bytes_per_second: 16 * 1024,
    };
    let server = Setup { body_time, ..setup }.start().await;
    let user = server.token(User::Owner);
    let began = Instant::now();
    let answer = server.raw(head("/apikeys", &user, JSON).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.contains("The request body has come too slowly"),
        "{answer}"
    );
    // Part of a body is not a body.
    let part = format!("{}{{", head("/apikeys", &user, JSON));
    let answer = server.raw(part.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let path = "/keyward.v1.ApiKeyService/CreateApiKey";
    let answer = server.raw(head(path, &user, GRPC_WEB).as_bytes()).await;
    assert!(answer.contains("grpc-status: 4\r\n"), "{answer}");
    let took = began.elapsed();
    assert!(
        took >= 3 * body_time.timeout && took < Duration::from_secs(20),
        "{took:?}"
    );
}

each_engine! {
    principal_without_the_right_is_rejected_before_its_body
    missing_body_ends_the_request_in_time
}
