//! How a request reaches a method through its route, and how the answer comes back.

#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod probe;

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use keyward_gateway::BodyTooLarge;
use probe::router;
use tonic::Status;

async fn call<B>(request: Request<B>) -> (StatusCode, HeaderMap, String)
where
    B: http_body::Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let router = router();
    let resolution = router.resolve(request.method(), request.uri().path());
    let (parts, body) = router.call(resolution, request).await.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (
        parts.status,
        parts.headers,
        String::from_utf8(bytes.to_vec()).unwrap(),
    )
}

fn request(
    method: &str,
    uri: &str,
    content_type: Option<&str>,
    body: &str,
) -> Request<Full<Bytes>> {
    let mut builder = Request::builder().method(method).uri(uri);
    if let Some(content_type) = content_type {
        builder = builder.header("content-type", content_type);
    }
    builder
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

async fn answered(
    method: &str,
    uri: &str,
    content_type: Option<&str>,
    body: &str,
) -> (u16, String) {
    let (status, _, body) = call(request(method, uri, content_type, body)).await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn query_parameters_are_bound() {
    for (query, expected) in [
        ("", r#"{"theText":"","numbers":[]}"#),
        ("theText=a+b%26", r#"{"theText":"a b&","numbers":[]}"#),
        ("the_text=&other=1&&=&x", r#"{"theText":"","numbers":[]}"#),
        (
            "flag=true&numbers=1&numbers=-2",
            r#"{"theText":"","flag":true,"numbers":["1","-2"]}"#,
        ),
        ("%74heText=x", r#"{"theText":"x","numbers":[]}"#),
    ] {
        let (status, body) = answered("GET", &format!("/a?{query}"), None, "").await;
        assert_eq!((status, body.as_str()), (201, expected), "{query}");
    }
}

#[tokio::test]
async fn a_wrong_parameter_is_named_and_not_repeated() {
    for (query, expected) in [
        ("flag=s3cr3t", "`flag` must be true or false"),
        ("flag=", "`flag` must be true or false"),
        (
            "numbers=1&numbers=s3cr3t",
            "`numbers` must be a 64-bit integer",
        ),
        (
            "numbers=9223372036854775808",
            "`numbers` must be a 64-bit integer",
        ),
        ("theText=a&the_text=b", "`theText` must be given once"),
        ("theText=%ff", "`theText` must be percent-encoded UTF-8"),
    ] {
        let (status, body) = answered("GET", &format!("/a?{query}"), None, "").await;
        assert_eq!((status, body), (400, format!("{expected:?}")), "{query}");
    }
}

#[tokio::test]
async fn the_path_wins_over_query_and_body() {
    let expected = r#"{"theText":"path","numbers":[]}"#;
    let (_, body) = answered("GET", "/a/path?theText=query&theText=twice", None, "").await;
    assert_eq!(body, expected);
    let json = Some("application/json");
    let (_, body) = answered("PUT", "/a/path?flag=true", json, r#"{"theText":"body"}"#).await;
    assert_eq!(body, expected);
}

/// Sends a body to a path that leads to `Change`.
async fn changed(method: &str, uri: &str, body: &str) -> String {
    let (status, body) = answered(method, uri, Some("application/json"), body).await;
    assert_eq!(status, 201, "{body}");
    body
}

#[tokio::test]
async fn the_members_of_a_patch_become_its_mask() {
    for (body, expected) in [
        ("", r#"{"name":"n","updateMask":""}"#),
        ("{}", r#"{"name":"n","updateMask":""}"#),
        (
            r#"{"limit":1.5}"#,
            r#"{"name":"n","limit":1.5,"updateMask":"limitNanos"}"#,
        ),
        (
            r#"{"limit":null}"#,
            r#"{"name":"n","updateMask":"limitNanos"}"#,
        ),
        (
            r#"{"theNote":null,"limit":0}"#,
            r#"{"name":"n","limit":0,"updateMask":"limitNanos,theNote"}"#,
        ),
        (
            r#"{"the_note":""}"#,
            r#"{"name":"n","theNote":"","updateMask":"theNote"}"#,
        ),
        (
            r#"{"limit_nanos":1,"later":{"limit":1}}"#,
            r#"{"name":"n","updateMask":""}"#,
        ),
    ] {
        assert_eq!(changed("PATCH", "/c/n", body).await, expected, "{body}");
    }
}

#[tokio::test]
async fn a_mask_leaves_out_what_the_path_binds() {
    let body = r#"{"theNote":"b","name":"b","limit":1}"#;
    assert_eq!(
        changed("PATCH", "/c/n", body).await,
        r#"{"name":"n","limit":1,"theNote":"b","updateMask":"limitNanos,theNote"}"#
    );
    assert_eq!(
        changed("PATCH", "/c/n/p", body).await,
        r#"{"name":"n","limit":1,"theNote":"p","updateMask":"limitNanos"}"#
    );
}

#[tokio::test]
async fn a_mask_that_the_caller_gives_names_what_changes() {
    for (body, expected) in [
        (
            r#"{"limit":1,"updateMask":"theNote,other"}"#,
            r#"{"name":"n","limit":1,"updateMask":"theNote,other"}"#,
        ),
        // By the names that the members have in JSON, where these differ.
        (
            r#"{"limit":1,"updateMask":"limit,theNote"}"#,
            r#"{"name":"n","limit":1,"updateMask":"limitNanos,theNote"}"#,
        ),
        // A mask that names nothing, or is null, is as good as none.
        (
            r#"{"update_mask":"","limit":1}"#,
            r#"{"name":"n","limit":1,"updateMask":"limitNanos"}"#,
        ),
        (
            r#"{"limit":null,"updateMask":null}"#,
            r#"{"name":"n","updateMask":"limitNanos"}"#,
        ),
    ] {
        assert_eq!(changed("PATCH", "/c/n", body).await, expected, "{body}");
    }
}

#[tokio::test]
async fn nothing_but_a_patch_with_a_body_has_its_mask_made() {
    let body = r#"{"limit":1}"#;
    let unmasked = r#"{"name":"n","limit":1}"#;
    assert_eq!(changed("PUT", "/c/n", body).await, unmasked);
    assert_eq!(changed("PUT", "/c/n", "").await, r#"{"name":"n"}"#);
    let unnamed = r#"{"name":"","limit":1}"#;
    assert_eq!(changed("POST", "/c", body).await, unnamed);
    assert_eq!(changed("PATCH", "/c?limit=1", "").await, unnamed);
}

#[tokio::test]
async fn a_body_must_be_json_unless_it_is_empty_or_not_bound() {
    for content_type in [
        "application/json",
        "Application/JSON ; a=b",
        "application/x+json",
    ] {
        let (status, _) = answered("POST", "/a", Some(content_type), "{}").await;
        assert_eq!(status, 201, "{content_type}");
    }
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/jsonx"),
        Some("x/y+json"),
    ] {
        let (status, body) = answered("POST", "/a", content_type, "{}").await;
        assert_eq!(status, 415, "{content_type:?}");
        assert_eq!(body, r#""The content type must be application/json""#);
        assert_eq!(answered("POST", "/a", content_type, "").await.0, 201);
        assert_eq!(answered("GET", "/a", content_type, "no json").await.0, 201);
    }
}

#[tokio::test]
async fn a_request_without_a_route_is_refused() {
    assert_eq!(
        answered("GET", "/b", None, "").await,
        (404, r#""Not found""#.to_owned())
    );
    let (status, headers, _) = call(request("PATCH", "/a", None, "")).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(headers["allow"], "GET, POST");
}

#[tokio::test]
async fn headers_and_extensions_come_along_and_metadata_goes_back() {
    let mut request = request("GET", "/a", None, "");
    request
        .headers_mut()
        .insert("user-agent", "probe".parse().unwrap());
    request.extensions_mut().insert("extended");
    let (_, headers, _) = call(request).await;
    assert_eq!(headers["x-seen"], "probe");
    assert_eq!(headers["x-extension"], "extended");
    assert!(!headers.contains_key("grpc-hidden"));
}

/// A body that fails at once.
struct Failing<E>(Option<E>);

impl<E: Unpin> http_body::Body for Failing<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, E>>> {
        Poll::Ready(self.0.take().map(Err))
    }
}

async fn failing<E: Into<Box<dyn Error + Send + Sync>> + Unpin>(error: E) -> (u16, String) {
    let (status, _, body) = call(Request::post("/a").body(Failing(Some(error))).unwrap()).await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn a_body_that_cannot_be_read_says_why() {
    let too_large = r#""The request body is larger than 9 bytes""#.to_owned();
    let limit = BodyTooLarge { limit_bytes: 9 };
    assert_eq!(failing(limit).await, (413, too_large.clone()));
    assert_eq!(failing(Status::from(limit)).await, (413, too_large.clone()));
    assert_eq!(
        failing(std::io::Error::other(limit)).await,
        (413, too_large)
    );
    assert_eq!(failing(Status::resource_exhausted("full")).await.0, 413);
    assert_eq!(failing(Status::deadline_exceeded("late")).await.0, 504);
    let unread = r#""The request body could not be read""#.to_owned();
    assert_eq!(
        failing(std::io::Error::other("s3cr3t")).await,
        (400, unread)
    );
}

#[test]
fn requests_can_be_answered_on_any_thread() {
    fn is_send<T: Send>(_: T) {}
    let router = router();
    let resolution = router.resolve(&Method::GET, "/a");
    let request: Request<http_body_util::Empty<Bytes>> = Request::default();
    is_send(router.call(resolution, request));
}
