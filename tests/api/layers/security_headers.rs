//! Security headers for browsers on every response: no caching, no sniffing, no scripts, no display, no
//! framing. No header reveals the server software.

use http::{HeaderMap, Method};
use keyward::http::layers::AllowedOrigins;
use keyward::proto::v1::ListApiKeysRequest;
use serde_json::json;
use tonic::Code;

use crate::support::{ORGANIZATION, Setup, TestServer, User, WORKSPACE_A, WebFlavor, grpc_frame};

const LIST: &str = "/keyward.v1.ApiKeyService/ListApiKeys";
/// Headers of a response over REST, for a browser that displays it.
const REST: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
];
/// Names of all such headers.
const NAMES: [&str; 5] = [
    "x-content-type-options",
    "cache-control",
    "content-security-policy",
    "referrer-policy",
    "strict-transport-security",
];

/// Expects exactly these security headers, and no header that reveals the server software.
#[track_caller]
fn has(headers: &HeaderMap, expected: &[(&str, &str)]) {
    let is_one = |name: &str| NAMES.contains(&name);
    let mut found: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()))
        .filter(|(name, _)| is_one(name))
        .collect();
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    reveals_nothing(headers);
}

#[track_caller]
fn reveals_nothing(headers: &HeaderMap) {
    for name in ["server", "x-powered-by", "via", "x-aspnet-version"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    let shown = format!("{headers:?}").to_lowercase();
    for word in ["hyper", "axum", "tonic", "rust", env!("CARGO_PKG_VERSION")] {
        assert!(!shown.contains(word), "{word} in {shown}");
    }
}

async fn rest_responses_have_security_headers(setup: Setup) {
    let origins = AllowedOrigins::parse(&["https://app.example.com"]).unwrap();
    let server = Setup { origins, ..setup }.start().await;
    let token = server.token(User::Owner);
    let key = json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
    });
    let preflight = server.call(Method::OPTIONS, "/apikeys");
    let preflight = preflight.header("origin", "https://app.example.com");
    for (status, call) in [
        (200, server.get("/apikeys").bearer(&token)),
        (200, server.call(Method::HEAD, "/apikeys").bearer(&token)),
        (201, server.post("/apikeys").bearer(&token).json(&key)),
        (204, server.call(Method::OPTIONS, "/apikeys")),
        (
            200,
            preflight.header("access-control-request-method", "POST"),
        ),
        (400, server.get("/apikeys").header("grpc-timeout", "x")),
        (400, server.post("/apikeys").bearer(&token).json(&json!({}))),
        (401, server.get("/apikeys")),
        (401, server.get("/keys").bearer("garbage")),
        (403, server.get("/keys").bearer(&token)),
        (404, server.get("/nowhere")),
        (405, server.delete("/apikeys").bearer(&token)),
        (
            413,
            server
                .post("/apikeys")
                .text("application/json", " ".repeat(2 << 20)),
        ),
        (
            415,
            server
                .post("/apikeys")
                .bearer(&token)
                .text("text/html", "<script>"),
        ),
        (200, server.get("/healthz")),
        (200, server.get("/readyz")),
    ] {
        let answer = call.send().await;
        assert_eq!(answer.status, status, "{}", answer.body);
        has(&answer.headers, &REST);
    }
    server.store.close().await;
    server.until_not_ready().await;
    for (path, status) in [("/apikeys", 503), ("/readyz", 503)] {
        let answer = server.get(path).bearer(&token).send().await;
        assert_eq!(answer.status, status);
        has(&answer.headers, &REST);
    }
}

async fn plaintext_key_is_not_stored(server: TestServer) {
    let management_key = server.management_key(ORGANIZATION).await;
    let call = server.post("/keys").bearer(&management_key);
    let answer = call.json(&json!({ "name": "n" })).send().await;
    assert_eq!(answer.status, 201);
    has(&answer.headers, &REST);
}

async fn description_sets_its_own_security_headers(server: TestServer) {
    for path in ["/docs", "/openapi.json"] {
        let answer = server.get(path).send().await;
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        let policies: Vec<_> = answer
            .headers
            .get_all("content-security-policy")
            .iter()
            .collect();
        assert_eq!(policies.len(), 1);
        assert_eq!(answer.header("strict-transport-security"), None);
        reveals_nothing(&answer.headers);
    }
}

async fn grpc_web_is_not_kept_and_not_guessed(server: TestServer) {
    let token = server.token(User::Owner);
    for flavor in WebFlavor::ALL {
        for (token, code) in [
            (Some(token.as_str()), "0"),
            (Some("garbage"), "16"),
            (None, "16"),
        ] {
            let request = ListApiKeysRequest::default();
            let answer = server.grpc_web(flavor, LIST, token, &request).await;
            assert_eq!(answer.code(), code);
            has(&answer.headers, &REST[..2]);
        }
    }
}

async fn native_grpc_has_no_security_headers(server: TestServer) {
    for (token, code) in [
        (server.token(User::Owner), Code::Ok),
        ("x".to_owned(), Code::Unauthenticated),
    ] {
        let call = server.http2.post(server.url(LIST)).bearer_auth(token);
        let call = call
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let answer = call
            .body(grpc_frame(&ListApiKeysRequest::default()))
            .send()
            .await
            .unwrap();
        let rejected = answer
            .headers()
            .get("grpc-status")
            .map(|code| code.to_str().unwrap());
        assert_eq!(rejected.unwrap_or("0"), (code as i32).to_string());
        has(answer.headers(), &[]);
    }
}

each_engine! {
    rest_responses_have_security_headers
    plaintext_key_is_not_stored
    description_sets_its_own_security_headers
    grpc_web_is_not_kept_and_not_guessed
    native_grpc_has_no_security_headers
}
