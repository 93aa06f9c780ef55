//! Calls one service over gRPC and REST: errors agree, headers are copied both ways, and the router
//! is an ordinary service.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

mod support;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keyward_gateway::{BodyTooLarge, Resolution, RestRouter};
use keyward_gateway_testserver::{Probe, v1};
use prost::Message;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tonic::{Code, Status};
use tonic_types::{StatusExt, pb};
use tower::ServiceExt;

use support::{call, call_on, request, router};

fn plan(code: i32, message: &str, details: &[&str]) -> v1::Plan {
    v1::Plan {
        code,
        message: message.to_owned(),
        details: details.iter().map(|name| (*name).to_owned()).collect(),
        ..v1::Plan::default()
    }
}

/// Returns the status that gRPC clients get for the plan, from a real tonic server in the process.
async fn over_grpc(plan: v1::Plan) -> Status {
    let server = Probe::default().grpc();
    let mut client = v1::outcomes_client::OutcomesClient::new(server.prepare());
    client.fail(plan).await.unwrap_err()
}

/// Returns the response that REST clients get for the plan.
async fn over_rest(plan: &v1::Plan) -> support::RestResponse {
    let details: String = plan
        .details
        .iter()
        .map(|name| format!("&details={name}"))
        .collect();
    let uri = format!(
        "GET /fail?code={}&message={}{details}",
        plan.code, plan.message
    );
    call(&uri, "").await
}

#[tokio::test]
async fn details_agree_between_the_protocols() {
    let plan = plan(8, "slow", &["retry", "quota", "own", "unknown"]);
    let grpc = over_grpc(plan.clone()).await;
    assert_eq!(
        (grpc.code(), grpc.message()),
        (Code::ResourceExhausted, "slow")
    );
    let packed = pb::Status::decode(grpc.details()).unwrap();
    let rest = over_rest(&plan).await;
    assert_eq!(rest.status, 429);
    assert_eq!(rest.header("retry-after"), Some("2"));
    let error = rest.json()["error"].clone();
    assert_eq!(error["code"], 429);
    assert_eq!(error["message"], "slow");
    assert_eq!(error["status"], "RESOURCE_EXHAUSTED");
    let details = error["details"].as_array().unwrap().clone();
    let types = |list: &[Value]| -> Vec<String> {
        list.iter()
            .map(|detail| detail["@type"].as_str().unwrap().to_owned())
            .collect()
    };
    let packed_types: Vec<_> = packed
        .details
        .iter()
        .map(|any| any.type_url.clone())
        .collect();
    assert_eq!(types(&details), packed_types);
    assert_eq!(details[2]["violations"][0]["subject"], "calls");
    let google = |name: &str| format!("type.googleapis.com/google.rpc.{name}");
    assert_eq!(
        details,
        [
            json!({"@type": google("ErrorInfo"), "reason": "RESOURCE_EXHAUSTED", "domain": "probe.v1", "metadata": {}}),
            json!({"@type": google("RetryInfo"), "retryDelay": "1.500s"}),
            details[2].clone(),
            json!({"@type": "type.googleapis.com/probe.v1.OwnDetail", "bigNumber": "7"}),
            // A type without a description: its content, verbatim.
            json!({"@type": "type.googleapis.com/probe.v1.Unknown", "value": "CAE="}),
        ]
    );
}

#[tokio::test]
async fn every_code_has_its_status_and_name() {
    for (code, http, name) in [
        (1, 499, "CANCELLED"),
        (2, 500, "INTERNAL"),
        (3, 400, "INVALID_ARGUMENT"),
        (4, 504, "DEADLINE_EXCEEDED"),
        (5, 404, "NOT_FOUND"),
        (6, 409, "ALREADY_EXISTS"),
        (7, 403, "PERMISSION_DENIED"),
        (8, 429, "RESOURCE_EXHAUSTED"),
        (9, 400, "FAILED_PRECONDITION"),
        (10, 409, "ABORTED"),
        (11, 400, "OUT_OF_RANGE"),
        (12, 501, "UNIMPLEMENTED"),
        (13, 500, "INTERNAL"),
        (14, 503, "UNAVAILABLE"),
        (15, 500, "DATA_LOSS"),
        (16, 401, "UNAUTHENTICATED"),
    ] {
        let plan = plan(code, "text", &[]);
        let rest = over_rest(&plan).await;
        let error = rest.json()["error"].clone();
        assert_eq!((rest.status, &error["status"]), (http, &json!(name)));
        assert_eq!(error["code"], http);
        let grpc = over_grpc(plan).await;
        assert_eq!(error["message"], grpc.message());
        assert_ne!(grpc.code(), tonic::Code::Unknown);
        assert_eq!(grpc.get_error_details().error_info().unwrap().reason, name);
    }
}

#[tokio::test]
async fn declared_error_bodies() {
    for (code, status, expected) in [
        (
            6,
            400,
            r#"{"success":false,"code":400,"message":"it's \"so\""}"#,
        ),
        (5, 404, r#"{"nothing":"it's \"so\""}"#),
        (7, 403, r#"{"success":false,"code":403,"message":"Do not"}"#),
        (
            13,
            500,
            r#"{"success":false,"code":500,"message":"Internal server error"}"#,
        ),
    ] {
        let uri = format!("GET /enveloped/fail?code={code}&message=it's+%22so%22");
        let answer = call(&uri, "").await;
        assert_eq!((answer.status, answer.text().as_str()), (status, expected));
    }
    // Paths below the service's have its error body; others have the setting of the router, by
    // default that of the first route's service.
    let answer = call("GET /enveloped/none", "").await;
    assert_eq!(
        answer.text(),
        r#"{"success":false,"code":404,"message":"Not found"}"#
    );
    let none = call("GET /none", "").await;
    assert_eq!(none.rejection(), "404 Not found");
    assert_eq!(
        none.json()["error"]["details"][0]["domain"],
        v1::PATHS.error_domain
    );
    let like = Probe::default()
        .rest()
        .unknown(&v1::ENVELOPED)
        .build()
        .unwrap();
    let answer = call_on(&like, request("GET /none", "")).await;
    assert_eq!(
        answer.text(),
        r#"{"success":false,"code":404,"message":"Not found"}"#
    );
}

#[tokio::test]
async fn streams_over_grpc_end_as_they_do_over_rest() {
    let server = Probe::default().grpc();
    let mut client = v1::outcomes_client::OutcomesClient::new(server.prepare());
    let mut plan = plan(13, "s3cr3t", &[]);
    plan.messages = 2;
    let mut stream = client.watch(plan).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().big_number, 1);
    assert_eq!(stream.message().await.unwrap().unwrap().big_number, 2);
    let error = stream.message().await.unwrap_err();
    assert_eq!(error.message(), "Internal server error");
    assert_eq!(
        error.get_error_details().error_info().unwrap().reason,
        "INTERNAL"
    );
}

#[tokio::test]
async fn headers_and_extensions_come_along_and_metadata_goes_back() {
    let mut request = request("GET /query", "");
    request
        .headers_mut()
        .insert("user-agent", "probe".parse().unwrap());
    request.extensions_mut().insert("extended");
    let answer = call_on(router(), request).await;
    assert_eq!(answer.header("x-seen"), Some("probe"));
    assert_eq!(answer.header("x-extension"), Some("extended"));
    assert_eq!(answer.header("grpc-hidden"), None);
}

/// Body that fails at once.
struct Failing<E>(Option<E>);

impl<E: Unpin> http_body::Body for Failing<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, E>>> {
        std::task::Poll::Ready(self.0.take().map(Err))
    }
}

async fn failing<E>(error: E) -> String
where
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Unpin,
{
    let request = Request::post("/body").body(Failing(Some(error))).unwrap();
    call_on(router(), request).await.rejection()
}

#[tokio::test]
async fn a_body_that_cannot_be_read_says_why() {
    let limit = BodyTooLarge { limit_bytes: 9 };
    let too_large = "413 The request body is larger than 9 bytes";
    assert_eq!(failing(limit).await, too_large);
    assert_eq!(failing(Status::from(limit)).await, too_large);
    assert_eq!(failing(std::io::Error::other(limit)).await, too_large);
    assert_eq!(
        failing(Status::resource_exhausted("full")).await,
        "413 full"
    );
    assert_eq!(failing(Status::deadline_exceeded("late")).await, "504 late");
    let unread = "400 The request body could not be read";
    assert_eq!(failing(std::io::Error::other("s3cr3t")).await, unread);
}

#[test]
fn two_services_with_one_route_do_not_go_together() {
    let probe = std::sync::Arc::new(Probe::default());
    let twice = Probe::default().rest().routes(v1::enveloped_routes(probe));
    assert_eq!(
        twice.build().unwrap_err().to_string(),
        "probe.v1.Enveloped.FailPlainly: the route GET /enveloped/fail matches the same requests \
         as probe.v1.Enveloped.FailPlainly's"
    );
}

#[test]
fn requests_can_be_answered_on_any_thread() {
    fn is_send<T: Send>(_: T) {}
    let resolution = router().resolve(&http::Method::GET, "/query");
    is_send(router().call(resolution, Request::new(Empty::<Bytes>::new())));
    is_send(
        router()
            .clone()
            .oneshot(Request::new(Empty::<Bytes>::new())),
    );
}

/// Uses the router behind axum, like the author of another service.
#[tokio::test]
async fn it_is_a_service_that_axum_can_fall_back_to() {
    let app = axum::Router::new()
        .route("/own", axum::routing::get(|| async { "own" }))
        .fallback_service(Probe::default().rest().build().unwrap());
    let get = |uri: &str| Request::get(uri).body(axum::body::Body::empty()).unwrap();
    let text = |response: Response<axum::body::Body>| async {
        String::from_utf8(
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .to_vec(),
        )
        .unwrap()
    };
    let own = app.clone().oneshot(get("/own")).await.unwrap();
    assert_eq!(text(own).await, "own");
    let rest = app.clone().oneshot(get("/query?aString=x")).await.unwrap();
    assert!(text(rest).await.contains(r#""aString":"x""#));
    let none = app.clone().oneshot(get("/none")).await.unwrap();
    assert_eq!(none.status(), 404);
    let ping = Request::options("*").body(axum::body::Body::empty());
    let ping = app.oneshot(ping.unwrap()).await.unwrap();
    assert_eq!(ping.status(), 204);
}

/// Uses a real socket, over both versions of HTTP.
#[tokio::test]
async fn over_a_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().fallback_service(Probe::default().rest().build().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut one, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut two, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);

    let send = |method: &str, path: &str| {
        let uri = format!("http://{address}{path}");
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("host", "probe");
        request.body(Empty::<Bytes>::new()).unwrap()
    };
    for (method, path, status, expected) in [
        ("GET", "/p/a%2Fb", 200, Some("a/b")),
        ("GET", "/watch?messages=2&message=line", 200, Some("line")),
        ("HEAD", "/query?aString=x", 200, None),
        ("OPTIONS", "/query", 204, None),
        ("DELETE", "/gone", 204, None),
        ("PUT", "/query", 405, Some("Method not allowed")),
    ] {
        let first = one.send_request(send(method, path)).await.unwrap();
        let second = two.send_request(send(method, path)).await.unwrap();
        for response in [first, second] {
            let (parts, body) = response.into_parts();
            let text = body.collect().await.unwrap().to_bytes();
            let text = String::from_utf8(text.to_vec()).unwrap();
            assert_eq!(parts.status, status, "{method} {path} {:?}", parts.version);
            match expected {
                Some(expected) => assert!(text.contains(expected), "{text}"),
                None => assert_eq!(text, "", "{method} {path}"),
            }
            if method == "HEAD" {
                let length: usize = parts.headers["content-length"]
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                assert!(length > 100);
            }
        }
    }
    server.abort();
}

#[test]
fn a_resolution_knows_how_its_errors_look() {
    let service = |method: http::Method, path: &str| match router().resolve(&method, path) {
        Resolution::Matched(found) => format!(
            "{} {}",
            found.spec().method.service,
            found.spec().method.method
        ),
        other => other.method().service.to_owned(),
    };
    assert_eq!(service(http::Method::GET, "/query"), "probe.v1.Echo Query");
    assert_eq!(service(http::Method::PUT, "/query"), "probe.v1.Echo");
    assert_eq!(service(http::Method::OPTIONS, "/query"), "probe.v1.Echo");
    assert_eq!(
        service(http::Method::GET, "/enveloped/x/y"),
        "probe.v1.Enveloped"
    );
    // A path that is not near a route has the error format near the first route.
    assert_eq!(service(http::Method::GET, "/none"), "probe.v1.Paths");
    let empty = RestRouter::builder().build().unwrap();
    let nothing = empty.resolve(&http::Method::GET, "/none");
    assert_eq!(nothing.method().service, "");
}
