//! Controls which origins may call from a browser and which response headers their pages can read (the Fetch
//! standard's CORS protocol). Preflights are handled here, since they have no token; every other response gets
//! the same headers regardless of its status, so that pages can read rejections.
//!
//! Credentials such as cookies are not allowed: callers authenticate with a token.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    ACCEPT, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE,
    ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, Method, Uri};
use tower::{Layer, ServiceExt};
use tower_http::cors::CorsLayer;

use super::request_id;

/// Time that a browser may cache a preflight. Chromium caps it at this.
const MAX_AGE: Duration = Duration::from_secs(2 * 60 * 60);
/// Methods of REST; gRPC-Web uses POST only.
const METHODS: [Method; 6] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];
/// Request headers that pages may send: the token, the content type, headers of gRPC-Web and Connect clients,
/// and headers that are passed through.
const SENT: [HeaderName; 18] = [
    ACCEPT,
    AUTHORIZATION,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    HeaderName::from_static("baggage"),
    HeaderName::from_static("connect-protocol-version"),
    HeaderName::from_static("connect-timeout-ms"),
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-timeout"),
    // Sent by the official SDKs of OpenRouter.
    HeaderName::from_static("http-referer"),
    HeaderName::from_static("x-openrouter-title"),
    HeaderName::from_static("x-openrouter-categories"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    request_id::HEADER,
];
/// Response headers that pages may read, in addition to the CORS-safelisted ones.
const SEEN: [HeaderName; 10] = [
    ALLOW,
    CONTENT_ENCODING,
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-status-details-bin"),
    RETRY_AFTER,
    WWW_AUTHENTICATE,
    request_id::HEADER,
];

/// Origins whose pages may call from a browser. Empty by default.
#[derive(Debug, Clone, Default)]
pub struct AllowedOrigins(Vec<HeaderValue>);

/// Error for a text that is not an origin as browsers send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnOrigin;

impl fmt::Display for NotAnOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "must hold origins as browsers send them: a scheme and a host in lower case and, if it \
             is not the scheme's own, a port, such as \"https://app.example.com\"",
        )
    }
}

impl std::error::Error for NotAnOrigin {}

impl AllowedOrigins {
    /// Parses exact origins. `*` and `null` are rejected: `*` would restrict nothing, and `null` is the origin of
    /// any sandboxed page.
    ///
    /// # Errors
    /// An entry could never equal the origin that a browser sends.
    pub fn parse<T: AsRef<str>>(origins: &[T]) -> Result<Self, NotAnOrigin> {
        let origins = origins.iter().map(|origin| parse(origin.as_ref()));
        Ok(Self(origins.collect::<Result<_, _>>()?))
    }
}

/// Parses an origin in the serialized form of the `origin` header (RFC 6454, section 6.2).
fn parse(text: &str) -> Result<HeaderValue, NotAnOrigin> {
    let (scheme, rest) = text.split_once("://").ok_or(NotAnOrigin)?;
    let own_port = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let uri: Uri = text.parse().map_err(|_| NotAnOrigin)?;
    let authority = uri.authority().ok_or(NotAnOrigin)?;
    let (host, port) = (authority.host(), authority.port_u16());
    let exact = match port {
        None => rest == host,
        Some(port) => rest == format!("{host}:{port}") && own_port != Some(port),
    };
    if !exact || host.contains('*') || text.to_ascii_lowercase() != text {
        return Err(NotAnOrigin);
    }
    HeaderValue::from_str(text).map_err(|_| NotAnOrigin)
}

/// Handles preflights and lets pages read responses. Does nothing without allowed origins.
#[derive(Clone)]
pub(super) struct Cors(Option<CorsLayer>);

impl Cors {
    pub(super) fn new(allowed: &AllowedOrigins) -> Self {
        let AllowedOrigins(origins) = allowed;
        let layer = || {
            CorsLayer::new()
                .allow_origin(origins.clone())
                .allow_methods(METHODS)
                .allow_headers(SENT)
                .expose_headers(SEEN)
                .max_age(MAX_AGE)
                // A cache must not serve the response to a page of another origin.
                .vary([ORIGIN])
        };
        Self((!origins.is_empty()).then(layer))
    }
}

pub(super) async fn layer(State(cors): State<Cors>, request: Request, next: Next) -> Response {
    // Without the header it is not a preflight but a plain OPTIONS request.
    let plain_options = request.method() == Method::OPTIONS
        && !request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    match cors.0 {
        Some(cors) if !plain_options => {
            let response: Result<_, Infallible> = cors.layer(next).oneshot(request).await;
            response.unwrap_or_else(|never| match never {})
        }
        _ => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_taken_as_browsers_send_it() {
        for origin in [
            "https://app.example.com",
            "https://app.example.com:8443",
            "http://localhost:3000",
            "http://127.0.0.1:5173",
            "http://[::1]:5173",
            "https://xn--bcher-kva.example",
            "http://example.com:443",
            "tauri://localhost",
            "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb",
        ] {
            let parsed = AllowedOrigins::parse(&[origin]);
            assert_eq!(
                parsed.map(|origins| origins.0),
                Ok(vec![origin.parse().unwrap()])
            );
        }
    }

    #[test]
    fn origin_that_no_browser_sends_is_rejected() {
        for text in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://*",
            "https://*.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://app.example.com?query",
            "https://app.example.com#fragment",
            "https://App.example.com",
            "HTTPS://app.example.com",
            "https://user@app.example.com",
            "https://app.example.com:443",
            "http://app.example.com:80",
            "https://app.example.com:",
            "https://app.example.com:65536",
            "https://app.example.com:08443x",
            "https://app.example.com https://other.example.com",
            "https://app.example.com,https://other.example.com",
            " https://app.example.com",
            "https://bücher.example",
            "//app.example.com",
            "http://app\n.example.com",
        ] {
            assert_eq!(
                AllowedOrigins::parse(&[text]).map(|_| ()),
                Err(NotAnOrigin),
                "{text:?}"
            );
        }
        let mixed = AllowedOrigins::parse(&["https://app.example.com", "*"]);
        assert_eq!(mixed.map(|_| ()), Err(NotAnOrigin));
    }
}
