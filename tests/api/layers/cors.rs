//! CORS: pages of other origins may call and read if the operator allows the origin.

use std::collections::BTreeSet;

use http::Method;
use keyward::http::layers::AllowedOrigins;
use keyward::proto::v1::ListApiKeysRequest;
use serde_json::json;

use crate::support::{
    Setup, TestServer, UNAUTHENTICATED, UNAUTHENTICATED_BODY, User, WORKSPACE_A, WebAnswer,
    WebFlavor, grpc_frame,
};

const ALLOWED: [&str; 2] = ["https://app.example.com", "http://localhost:5173"];
const OTHERS: [&str; 6] = [
    "https://evil.example",
    "https://app.example.com.evil.example",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://APP.example.com",
    "null",
];
const LIST: &str = "/keyward.v1.ApiKeyService/ListApiKeys";

async fn start(setup: Setup) -> TestServer {
    let origins = AllowedOrigins::parse(&ALLOWED).unwrap();
    Setup { origins, ..setup }.start().await
}

/// Members of a list header, in lower case.
fn list(headers: &http::HeaderMap, name: &str) -> BTreeSet<String> {
    let values = headers.get_all(name).iter();
    let members = values.flat_map(|value| value.to_str().unwrap().split(','));
    members
        .map(|member| member.trim().to_ascii_lowercase())
        .collect()
}

#[track_caller]
fn holds(headers: &http::HeaderMap, name: &str, expected: &[&str]) {
    let held = list(headers, name);
    for member in expected {
        assert!(
            held.contains(*member),
            "{member} is not in {name}: {held:?}"
        );
    }
}

/// Expects that the page may read the response and all exposed headers.
#[track_caller]
fn readable(headers: &http::HeaderMap, origin: &str) {
    assert_eq!(headers["access-control-allow-origin"], origin);
    let seen = [
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
        "x-request-id",
        "retry-after",
    ];
    holds(headers, "access-control-expose-headers", &seen);
    common(headers);
}

/// Expects that no page may read the response.
#[track_caller]
fn unreadable(headers: &http::HeaderMap) {
    assert!(
        !headers.contains_key("access-control-allow-origin"),
        "{headers:?}"
    );
    common(headers);
}

#[track_caller]
fn common(headers: &http::HeaderMap) {
    holds(headers, "vary", &["origin"]);
    assert!(
        !headers.contains_key("access-control-allow-credentials"),
        "{headers:?}"
    );
    assert!(!format!("{headers:?}").contains("\"*\""), "{headers:?}");
    assert!(headers.contains_key("x-request-id"));
}

async fn preflight_is_answered_on_every_path_without_a_token(setup: Setup) {
    let server = start(setup).await;
    let asked = "authorization,content-type,x-grpc-web,x-user-agent,grpc-timeout,traceparent";
    for origin in ALLOWED {
        for path in [
            "/apikeys",
            "/keys/x",
            "/api/v1/keys",
            LIST,
            "/healthz",
            "/nowhere",
        ] {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                let call = server.call(Method::OPTIONS, path).header("origin", origin);
                let call = call.header("access-control-request-method", method);
                let call = call.header("access-control-request-headers", asked);
                let answer = call.send().await;
                assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
                let headers = &answer.headers;
                assert_eq!(headers["access-control-allow-origin"], origin);
                holds(
                    headers,
                    "access-control-allow-methods",
                    &[&method.to_lowercase()],
                );
                let asked: Vec<_> = asked.split(',').collect();
                holds(headers, "access-control-allow-headers", &asked);
                assert_eq!(headers["access-control-max-age"], "7200");
                common(headers);
            }
        }
    }
}

async fn headers_of_browser_clients_are_allowed(setup: Setup) {
    let server = start(setup).await;
    let call = server
        .call(Method::OPTIONS, LIST)
        .header("origin", ALLOWED[0]);
    let answer = call
        .header("access-control-request-method", "POST")
        .send()
        .await;
    let sent = [
        "authorization",
        "content-type",
        "x-grpc-web",
        "x-user-agent",
        "grpc-timeout",
        "grpc-encoding",
        "grpc-accept-encoding",
        "connect-protocol-version",
        "connect-timeout-ms",
        "traceparent",
        "tracestate",
        "baggage",
        "x-request-id",
        "http-referer",
        "x-openrouter-title",
        "x-openrouter-categories",
    ];
    holds(&answer.headers, "access-control-allow-headers", &sent);
}

async fn preflight_of_another_origin_allows_nothing(setup: Setup) {
    let server = start(setup).await;
    for origin in OTHERS {
        let call = server
            .call(Method::OPTIONS, "/apikeys")
            .header("origin", origin);
        let answer = call
            .header("access-control-request-method", "GET")
            .send()
            .await;
        unreadable(&answer.headers);
    }
}

async fn pages_read_answers_and_rejections_over_rest(setup: Setup) {
    let server = start(setup).await;
    let (token, denied) = (server.token(User::Owner), server.token(User::NoAccess));
    let list = format!("/apikeys?workspaceId={WORKSPACE_A}");
    for origin in ALLOWED {
        let get = |path: &str| server.get(path).header("origin", origin);
        for (call, status) in [
            (get("/apikeys").bearer(&token), 200),
            (get("/apikeys?capability=x").bearer(&token), 400),
            (get("/apikeys"), 401),
            (get(&list).bearer(&denied), 403),
            (get("/nowhere"), 404),
            (
                server
                    .delete("/apikeys")
                    .header("origin", origin)
                    .bearer(&token),
                405,
            ),
            (
                server
                    .post("/apikeys")
                    .header("origin", origin)
                    .bearer(&token)
                    .text("application/json", " ".repeat(1024 * 1024 + 1)),
                413,
            ),
            (
                server
                    .post("/apikeys")
                    .header("origin", origin)
                    .bearer(&token)
                    .text("text/plain", "{}"),
                415,
            ),
            (
                get("/apikeys").bearer(&token).header("grpc-timeout", "0n"),
                504,
            ),
            (get("/healthz"), 200),
            (get("/readyz"), 200),
        ] {
            let answer = call.send().await;
            assert_eq!(answer.status, status, "{}", answer.body);
            readable(&answer.headers, origin);
        }
    }
    server.store.close().await;
    server.until_not_ready().await;
    for path in ["/readyz", "/apikeys"] {
        let answer = server
            .get(path)
            .header("origin", ALLOWED[0])
            .bearer(&token)
            .send()
            .await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("1")),
            "{path}"
        );
        readable(&answer.headers, ALLOWED[0]);
    }
}

async fn pages_read_answers_and_rejections_over_grpc_web(setup: Setup) {
    let server = start(setup).await;
    let token = server.token(User::Owner);
    for flavor in WebFlavor::ALL {
        for (path, token, code) in [
            (LIST, Some(&token), "0"),
            (LIST, None, "16"),
            ("/keyward.v1.Nothing/AtAll", None, "12"),
        ] {
            let framed = grpc_frame(&ListApiKeysRequest::default());
            let mut request = server.grpc_web_request(flavor, path, framed);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = WebAnswer::of(flavor, request.header("origin", ALLOWED[1])).await;
            assert_eq!(answer.code(), code);
            readable(&answer.headers, ALLOWED[1]);
        }
    }
}

/// The browser enforces CORS: the response is the same, and no page may read it.
async fn page_of_another_origin_reads_nothing(setup: Setup) {
    let server = start(setup).await;
    for origin in OTHERS {
        let answer = server.get("/apikeys").header("origin", origin).send().await;
        answer.rejects(401, UNAUTHENTICATED);
        unreadable(&answer.headers);
        let answer = server.get("/healthz").header("origin", origin).send().await;
        unreadable(&answer.headers);
    }
    // Nor may a cache give one origin a response that it stored for another client.
    let answer = server.get("/healthz").send().await;
    unreadable(&answer.headers);
}

async fn options_without_preflight_headers_reports_the_path(setup: Setup) {
    let server = start(setup).await;
    let call = server
        .call(Method::OPTIONS, "/apikeys")
        .header("origin", ALLOWED[0]);
    let answer = call.send().await;
    assert!(!answer.headers.contains_key("access-control-allow-methods"));
    let same = server.call(Method::OPTIONS, "/apikeys").send().await;
    assert_eq!((answer.status, answer.body), (same.status, same.body));
}

async fn without_allowed_origins_there_is_no_cors(server: TestServer) {
    let call = server
        .call(Method::OPTIONS, "/apikeys")
        .header("origin", ALLOWED[0]);
    let preflight = call
        .header("access-control-request-method", "POST")
        .send()
        .await;
    let answer = server
        .get("/apikeys")
        .header("origin", ALLOWED[0])
        .send()
        .await;
    answer.is(401, UNAUTHENTICATED_BODY);
    for headers in [preflight.headers, answer.headers] {
        let cors = |name: &&http::HeaderName| name.as_str().starts_with("access-control-");
        assert_eq!(headers.keys().find(cors), None);
    }
}

async fn page_may_post_what_it_may_read(setup: Setup) {
    let server = start(setup).await;
    let body = json!({ "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS" });
    let call = server.post("/apikeys").header("origin", ALLOWED[0]);
    let answer = call
        .bearer(&server.token(User::Owner))
        .json(&body)
        .send()
        .await;
    assert_eq!(answer.status, 201);
    readable(&answer.headers, ALLOWED[0]);
}

each_engine! {
    preflight_is_answered_on_every_path_without_a_token
    headers_of_browser_clients_are_allowed
    preflight_of_another_origin_allows_nothing
    pages_read_answers_and_rejections_over_rest
    pages_read_answers_and_rejections_over_grpc_web
    page_of_another_origin_reads_nothing
    options_without_preflight_headers_reports_the_path
    without_allowed_origins_there_is_no_cors
    page_may_post_what_it_may_read
}
