//! What a browser is told of every answer but a description, which says it of itself: that it is
//! what its type says and nothing to run or to frame, that it is not to be kept, since it may hold a
//! secret, and that nobody is to be told where it was. Over TLS also that there is no way back to
//! plain HTTP.
//!
//! Native gRPC has none of this: no browser speaks it, and no cache keeps what is posted. A page reads
//! gRPC-Web with a script of its own and never shows it, so all it needs is that nothing keeps it or
//! guesses what it is.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, RETRY_AFTER,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use keyward_gateway::Face;

use crate::server::Secure;

/// Seconds that a client waits before it repeats a call that nothing else says the time of.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("1");
/// One year, and for this host alone: what else runs beside it is not ours to say.
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// For every answer that a browser can read.
const READABLE: [(HeaderName, HeaderValue); 2] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];
/// For every answer that a browser can show.
const SHOWABLE: [(HeaderName, HeaderValue); 2] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

pub(super) async fn layer(request: Request, next: Next) -> Response {
    let face = super::target(&request).face;
    let secure = request.extensions().get::<Secure>().is_some();
    let mut response = next.run(request).await;
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        // Every 503 says when to try again (RFC 9110, 10.2.3), a probe's too.
        let headers = response.headers_mut();
        headers.entry(RETRY_AFTER).or_insert(UNAVAILABLE);
    }
    if face == Face::Grpc {
        return response;
    }
    let headers = response.headers_mut();
    // Where the answer says it itself, it knows better.
    for (name, value) in READABLE {
        headers.entry(name).or_insert(value);
    }
    if face == Face::Rest {
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
    use crate::layers::Target;

    /// The value of that header in an answer on that face, over TLS or not.
    async fn header(face: Face, secure: bool, name: HeaderName) -> Option<HeaderValue> {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(Target {
            face,
            ..Target::unknown()
        });
        if secure {
            request.extensions_mut().insert(Secure);
        }
        let router = Router::new().fallback(|| async {}).layer(from_fn(layer));
        let response = router.oneshot(request).await.unwrap();
        response.headers().get(name).cloned()
    }

    #[tokio::test]
    async fn only_who_came_over_tls_is_told_to_stay_there() {
        let name = STRICT_TRANSPORT_SECURITY;
        assert_eq!(header(Face::Rest, true, name.clone()).await, Some(TLS_ONLY));
        assert_eq!(header(Face::Rest, false, name.clone()).await, None);
        assert_eq!(header(Face::GrpcWeb, true, name.clone()).await, None);
        assert_eq!(header(Face::Grpc, true, name).await, None);
    }
}
