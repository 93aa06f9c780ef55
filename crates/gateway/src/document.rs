//! Documents that are known at build time, such as the OpenAPI document of the routes.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::body::Body;
use crate::builder::UNDECLARED;
use crate::protocol::Protocol;
use crate::rejection::{Rejection, allowed};

/// Document that is the same for every client. The generator emits statics of this type.
#[derive(Debug, Clone)]
pub struct Document {
    /// Value of the `Content-Type` header.
    pub content_type: HeaderValue,
    /// Value of the `ETag` header: a strong tag.
    pub etag: HeaderValue,
    /// Value of the `Content-Security-Policy` header.
    pub security_policy: HeaderValue,
    /// Content of the document.
    pub body: Bytes,
}

/// Methods that a document supports, as the `Allow` header lists them.
pub const DOCUMENT_METHODS: &str = "GET, HEAD, OPTIONS";

impl Document {
    /// Replaces the body of this document and computes its tag from the new bytes.
    #[must_use]
    pub fn with_body(&self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let etag = HeaderValue::from_str(&format!("\"{:016x}\"", hasher.finish()));
        Self {
            etag: etag.unwrap_or_else(|_| self.etag.clone()),
            body,
            ..self.clone()
        }
    }

    /// Returns the response to GET, HEAD or OPTIONS, or `None` for another method. A client that
    /// has the document already gets 304 (RFC 9110, section 13.1.2). Clients must revalidate each
    /// time, since the next release may change the document.
    pub fn respond(&self, method: &Method, headers: &HeaderMap) -> Option<Response<Body>> {
        if *method == Method::OPTIONS {
            return Some(allowed(DOCUMENT_METHODS));
        }
        let mut response = Response::new(Body::default());
        if *method != Method::GET && *method != Method::HEAD {
            return None;
        }
        let answered = response.headers_mut();
        answered.insert(ETAG, self.etag.clone());
        answered.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answered.insert(CONTENT_SECURITY_POLICY, self.security_policy.clone());
        answered.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answered.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if self.is_known(headers) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Some(response);
        }
        answered.insert(CONTENT_TYPE, self.content_type.clone());
        answered.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        if *method == Method::GET {
            *response.body_mut() = Body::full(self.body.clone());
        }
        Some(response)
    }

    /// Returns true if the client has the document already. Tags are compared weakly, since a proxy
    /// that compresses makes them weak.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(IF_NONE_MATCH).iter();
        let mut tags = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim);
        tags.any(|tag| tag == "*" || self.etag == tag.strip_prefix("W/").unwrap_or(tag))
    }
}

/// Serves a document at a path, such as with axum's `route_service`.
impl<B> tower_service::Service<Request<B>> for &'static Document {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let response = self.respond(request.method(), request.headers());
        ready(Ok(response.unwrap_or_else(|| {
            Rejection::method_not_allowed(DOCUMENT_METHODS).render(Protocol::Rest, &UNDECLARED)
        })))
    }
}

#[cfg(test)]
mod tests {
    use http::header::ALLOW;
    use http_body_util::BodyExt;

    use super::*;

    static DOCUMENT: Document = Document {
        content_type: HeaderValue::from_static("application/json"),
        etag: HeaderValue::from_static("\"a\""),
        security_policy: HeaderValue::from_static("default-src 'none'"),
        body: Bytes::from_static(b"{}"),
    };

    fn respond(method: Method, known: Option<&'static str>) -> Option<Response<Body>> {
        let mut headers = HeaderMap::new();
        if let Some(known) = known {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(known));
        }
        DOCUMENT.respond(&method, &headers)
    }

    #[tokio::test]
    async fn other_or_no_etag_gets_the_document() {
        for known in [None, Some("\"b\""), Some("a")] {
            let response = respond(Method::GET, known).unwrap();
            assert_eq!(response.status(), 200, "{known:?}");
            assert_eq!(response.headers()[ETAG], "\"a\"");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(&body[..], b"{}");
        }
    }

    #[tokio::test]
    async fn matching_etag_gets_not_modified() {
        for known in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            for method in [Method::GET, Method::HEAD] {
                let response = respond(method, Some(known)).unwrap();
                assert_eq!(response.status(), 304, "{known}");
                assert_eq!(response.headers()[ETAG], "\"a\"");
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert!(body.is_empty());
            }
        }
    }

    #[tokio::test]
    async fn a_head_has_the_headers_of_a_get_alone() {
        let response = respond(Method::HEAD, None).unwrap();
        assert_eq!(response.headers()[CONTENT_LENGTH], "2");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.is_empty());
    }

    #[test]
    fn another_body_has_another_tag() {
        let other = DOCUMENT.with_body("[]");
        assert_ne!(other.etag, DOCUMENT.etag);
        assert_eq!(other.etag, DOCUMENT.with_body("[]").etag);
        assert_ne!(other.etag, DOCUMENT.with_body("[1]").etag);
        assert_eq!(other.content_type, DOCUMENT.content_type);
    }

    #[test]
    fn other_methods_have_no_answer_and_options_says_so() {
        assert!(respond(Method::POST, None).is_none());
        let response = respond(Method::OPTIONS, None).unwrap();
        assert_eq!(response.status(), 204);
        assert_eq!(response.headers()[ALLOW], DOCUMENT_METHODS);
    }
}
