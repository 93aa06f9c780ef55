//! Failure that is rendered for the client's protocol.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tonic::{Code, Status};

use crate::body::Body;
use crate::details;
use crate::error_json;
use crate::finish_error::{UNAVAILABLE_RETRY_S, finish_error};
use crate::headers::copy_custom_headers;
use crate::json::JsonOptions;
use crate::protocol::Protocol;
use crate::spec::MethodSpec;

/// Failed request: the status for gRPC clients and, where HTTP is more specific than the gRPC code,
/// the HTTP status and headers for REST clients.
#[derive(Debug, Clone)]
pub struct Rejection {
    status: Status,
    http: Option<StatusCode>,
    headers: HeaderMap,
}

impl Rejection {
    /// Creates a rejection with `status`; REST clients get the HTTP status of its code.
    pub fn new(status: Status) -> Self {
        Self {
            status,
            http: None,
            headers: HeaderMap::new(),
        }
    }

    /// Sets the HTTP status for REST clients, regardless of the code.
    #[must_use]
    pub fn with_http_status(mut self, status: StatusCode) -> Self {
        self.http = Some(status);
        self
    }

    /// Adds a header for REST clients.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Rejects a body that is larger than `limit_bytes`.
    pub fn body_too_large(limit_bytes: u64) -> Self {
        Self::new(BodyTooLarge { limit_bytes }.into())
            .with_http_status(StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// Rejects a body that is not JSON.
    pub fn unsupported_media_type() -> Self {
        let status = Status::invalid_argument("The content type must be application/json");
        Self::new(status).with_http_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    }

    /// Rejects a gRPC content type whose messages are not protobuf.
    pub fn unsupported_grpc() -> Self {
        let status = Status::invalid_argument(
            "The content type of gRPC must be application/grpc, application/grpc-web or \
             application/grpc-web-text, with +proto or without",
        );
        Self::new(status).with_http_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    }

    /// Rejects a body with an unknown content coding.
    pub fn unsupported_encoding() -> Self {
        let status = Status::invalid_argument("The content encoding must be gzip, zstd or none");
        Self::new(status)
            .with_http_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            .with_header(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"))
    }

    /// Rejects a body that does not match its content coding.
    pub(crate) fn corrupt_body() -> Self {
        let text = "The request body is not what its content encoding says";
        Self::new(Status::invalid_argument(text))
    }

    /// Rejects an HTTP method that the path does not have; `allow` lists those that it has.
    pub fn method_not_allowed(allow: &str) -> Self {
        let rejection = Self::new(Status::unimplemented("Method not allowed"))
            .with_http_status(StatusCode::METHOD_NOT_ALLOWED);
        match HeaderValue::from_str(allow) {
            Ok(value) => rejection.with_header(ALLOW, value),
            Err(_) => rejection,
        }
    }

    /// Rejects a path with a malformed escape.
    pub fn malformed_path() -> Self {
        Self::new(Status::invalid_argument(
            "The path must be percent-encoded UTF-8",
        ))
    }

    /// Rejects an unknown path.
    pub fn not_found() -> Self {
        Self::new(Status::not_found("Not found")).with_http_status(StatusCode::NOT_FOUND)
    }

    /// Returns the status for gRPC clients, before the method's declaration finishes it.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Creates the response. The finished status is in its extensions, for the log. The JSON has the
    /// details of `google.rpc`; a router's [`render`](crate::RestRouter::render) also has the types
    /// of the router.
    pub fn render(self, protocol: Protocol, spec: &MethodSpec) -> Response<Body> {
        self.render_with(protocol, spec, &JsonOptions::default())
    }

    /// Like [`Rejection::render`], with additional types for the details.
    pub(crate) fn render_with(
        self,
        protocol: Protocol,
        spec: &MethodSpec,
        options: &JsonOptions,
    ) -> Response<Body> {
        let status = finish_error(spec, self.status);
        match protocol {
            Protocol::Grpc => grpc(status, "application/grpc"),
            Protocol::GrpcWeb => grpc(status, "application/grpc-web+proto"),
            Protocol::GrpcWebText => grpc(status, "application/grpc-web-text+proto"),
            Protocol::Rest => rest(status, self.http, self.headers, spec, options),
        }
    }
}

impl From<Status> for Rejection {
    fn from(status: Status) -> Self {
        Self::new(status)
    }
}

/// Creates a response without a body, whose headers are the trailers.
fn grpc(status: Status, content_type: &'static str) -> Response<Body> {
    let mut response = status.into_http::<Body>();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn rest(
    status: Status,
    http: Option<StatusCode>,
    headers: HeaderMap,
    spec: &MethodSpec,
    options: &JsonOptions,
) -> Response<Body> {
    let code = status.code();
    let declared = spec
        .status_of(code)
        .unwrap_or_else(|| details::http_status(code));
    let http = http
        .or_else(|| StatusCode::from_u16(declared).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);

    let body = match spec.body_of(code) {
        Some(template) => error_json::envelope(template, status.message(), http),
        None => error_json::aip_193(&status, http, options),
    };
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = http;
    copy_custom_headers(status.metadata().clone(), response.headers_mut());
    if let Some(seconds) = details::retry_after_s(&details::decode(&status).details) {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response.headers_mut().extend(headers);
    if http == StatusCode::SERVICE_UNAVAILABLE {
        // A code that a declaration maps to this status has no `RetryInfo` of its own.
        response
            .headers_mut()
            .entry(RETRY_AFTER)
            .or_insert(HeaderValue::from(UNAVAILABLE_RETRY_S));
    }
    if http == StatusCode::UNAUTHORIZED {
        // RFC 9110, 11.6.1, requires a challenge; the service's own takes precedence.
        response
            .headers_mut()
            .entry(WWW_AUTHENTICATE)
            .or_insert(HeaderValue::from_static("Bearer"));
    }
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.extensions_mut().insert(status);
    response
}

/// Responds to OPTIONS with the methods, as the `Allow` header lists them.
pub fn allowed<B: Default>(methods: &str) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(value) = HeaderValue::from_str(methods)
        && !value.is_empty()
    {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}

/// Error for a request body that is larger than allowed.
///
/// A layer that limits bodies puts this, or the [`Status`] made from it, into the stream as its
/// error; REST clients then get 413 and gRPC clients RESOURCE_EXHAUSTED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyTooLarge {
    /// Maximum size of a body in bytes.
    pub limit_bytes: u64,
}

impl fmt::Display for BodyTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "The request body is larger than {} bytes",
            self.limit_bytes
        )
    }
}

impl Error for BodyTooLarge {}

impl From<BodyTooLarge> for Status {
    fn from(error: BodyTooLarge) -> Self {
        let (code, message) = (Code::ResourceExhausted, error.to_string());
        let limit = ("limitBytes", error.limit_bytes.to_string());
        // [`finish_error`] sets the domain of the service.
        let info = details::error_info(details::code_name(code), "", vec![limit]);
        let bytes = details::encode(code, &message, vec![info]);
        let mut status = Status::with_details(code, message, bytes);
        status.set_source(Arc::new(error));
        status
    }
}

/// Returns the rejection for a body that could not be read, by the type of its error or of one of
/// the sources. The body's type belongs to the caller, which boxes its error.
pub(crate) fn body_rejection(error: &(dyn Error + 'static)) -> Rejection {
    if let Some(found) = find::<BodyTooLarge>(error) {
        return Rejection::body_too_large(found.limit_bytes);
    }
    match find::<Status>(error) {
        Some(status) if status.code() == Code::ResourceExhausted => {
            Rejection::new(status.clone()).with_http_status(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Some(status) => Rejection::new(status.clone()),
        None => Rejection::new(Status::invalid_argument(
            "The request body could not be read",
        )),
    }
}

/// Returns the first error of a type among an error and its sources.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // `source` of an I/O error skips the error that it wraps.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}
