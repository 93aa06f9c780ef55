//! HEAD, OPTIONS, and methods that a path does not have.

use crate::support::{call, router};
use http_body::Body as _;

#[tokio::test]
async fn another_method_is_rejected_with_those_that_there_are() {
    // grpc-gateway responds with 501 or, newer, 405 without `Allow`; Envoy treats it as an unknown
    // method. RFC 9110, 15.5.6, requires 405 with `Allow`.
    let answer = call("PUT /p/literal", "").await;
    assert_eq!(answer.rejection(), "405 Method not allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS, POST"));
    let answer = call("GET /none", "").await;
    assert_eq!(answer.rejection(), "404 Not found");
    assert_eq!(answer.header("allow"), None);
}

#[tokio::test]
async fn head_has_the_headers_of_get() {
    for path in ["/query?aString=x", "/fail?message=x&filling=2000"] {
        let get = call(&format!("GET {path}"), "").await;
        let head = call(&format!("HEAD {path}"), "").await;
        assert_eq!((head.status, head.bytes.len()), (200, 0), "{path}");
        let length = get.bytes.len().to_string();
        assert_eq!(
            head.header("content-length"),
            Some(length.as_str()),
            "{path}"
        );
        for name in ["content-type", "vary", "x-seen"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
    for path in ["/query?anInt32=x", "/none", "/fail?code=5&message=gone"] {
        let get = call(&format!("GET {path}"), "").await;
        let head = call(&format!("HEAD {path}"), "").await;
        assert_eq!((head.status, head.bytes.len()), (get.status, 0), "{path}");
        let length = get.bytes.len().to_string();
        assert_eq!(
            head.header("content-length"),
            Some(length.as_str()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn head_of_a_stream_has_no_length() {
    let head = call("HEAD /watch?endless=true", "").await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    assert_eq!(head.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(head.header("content-length"), None);
}

#[tokio::test]
async fn options_lists_the_methods_and_calls_nothing() {
    let request =
        http::Request::options("/fail?code=13").body(http_body_util::Empty::<bytes::Bytes>::new());
    let request = request.unwrap();
    let resolution = router().resolve(request.method(), request.uri().path());
    let response = router().call(resolution, request).await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["allow"], "GET, HEAD, OPTIONS, POST");
    assert!(response.body().is_end_stream());
    assert_eq!(call("OPTIONS /none", "").await.status, 404);
}

/// RFC 9110, 9.3.7: the server as a whole, a ping.
#[tokio::test]
async fn options_of_the_server_is_no_path() {
    let answer = call("OPTIONS *", "").await;
    assert_eq!((answer.status, answer.bytes.len()), (204, 0));
    assert_eq!(answer.header("allow"), None);
    assert_eq!(call("GET *", "").await.status, 404);
}

#[tokio::test]
async fn declared_head_and_options_are_called() {
    let answer = call("OPTIONS /custom", "").await;
    assert_eq!(answer.status, 200);
    assert!(answer.json().is_object());
    let answer = call("HEAD /custom", "").await;
    assert_eq!((answer.status, answer.bytes.len()), (200, 0));
    let answer = call("REPORT /custom", r#"{"aString":"x"}"#).await;
    assert_eq!(answer.json()["aString"], "x");
    assert_eq!(call("OPTIONS /any/x", "").await.json()["aString"], "x");
}
