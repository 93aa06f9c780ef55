//! Adds security headers to every response that a browser can read. Descriptions set their own. The headers
//! disable content sniffing, scripts and framing, disable caching, since a response may contain a secret, and
//! suppress the referrer. Over TLS they also enable HSTS.
//!
//! Native gRPC needs none of them: browsers do not support it, and caches do not store POST responses. A page
//! reads gRPC-Web by script and never displays it, so its responses only disable caching and sniffing.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, RETRY_AFTER,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use keyward_gateway::Protocol;
use keyward_listener::Secure;

use crate::http::probes::UNAVAILABLE_RETRY_S;

/// One year, for this host only: the server has no control over other hosts.
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// Headers for every response that a browser can read.
const READABLE: [(HeaderName, HeaderValue); 2] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];
/// Headers for every response that a browser can display.
const SHOWABLE: [(HeaderName, HeaderValue); 2] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

pub(super) async fn layer(request: Request, next: Next) -> Response {
    let protocol = super::target(&request).protocol;
    let secure = request.extensions().get::<Secure>().is_some();
    let mut response = next.run(request).await;
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        // Every 503 has `retry-after` (RFC 9110, section 10.2.3).
        let headers = response.headers_mut();
        headers.entry(RETRY_AFTER).or_insert(UNAVAILABLE_RETRY_S);
    }
    if protocol == Protocol::Grpc {
        return response;
    }
    let headers = response.headers_mut();
    // A header that the response sets itself takes precedence.
    for (name, value) in READABLE {
        headers.entry(name).or_insert(value);
    }
    if protocol == Protocol::Rest {
        for (name, value) in SHOWABLE {
            headers.entry(name).or_insert(value);
        }
        if secure {
            headers.insert(STRICT_TRANSPORT_SECURITY, TLS_ONLY);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use tower::ServiceExt;

    use super::*;
    use crate::http::route::RouteTarget;

    /// Returns the value of the header in a response over that protocol, with or without TLS.
    async fn header(protocol: Protocol, secure: bool, name: HeaderName) -> Option<HeaderValue> {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(RouteTarget {
            protocol,
            ..RouteTarget::unknown()
        });
        if secure {
            request.extensions_mut().insert(Secure);
        }
        let router = Router::new().fallback(|| async {}).layer(from_fn(layer));
        let response = router.oneshot(request).await.unwrap();
        response.headers().get(name).cloned()
    }

    #[tokio::test]
    async fn hsts_is_sent_over_tls_alone() {
        let name = STRICT_TRANSPORT_SECURITY;
        assert_eq!(
            header(Protocol::Rest, true, name.clone()).await,
            Some(TLS_ONLY)
        );
        assert_eq!(header(Protocol::Rest, false, name.clone()).await, None);
        assert_eq!(header(Protocol::GrpcWeb, true, name.clone()).await, None);
        assert_eq!(header(Protocol::Grpc, true, name).await, None);
    }
}
