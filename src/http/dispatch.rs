//! Innermost service: dispatches every call to its protocol.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::StreamExt as _;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Version};
use keyward_gateway::{
    BodyTooLarge, DOCUMENT_METHODS, Protocol, Rejection, RestRouter, allowed, finish_error_headers,
};
use tonic::{Code, Status};
use tower::ServiceExt;

use crate::api::status::{self, ERROR_DOMAIN};
use crate::http::api_docs::Descriptions;
use crate::http::body::OnEnd;
use crate::http::probes;
use crate::http::readiness::Health;
use crate::http::route::{self, Endpoint, RouteTarget};
use crate::http::unauthenticated::{UnauthenticatedLimits, UnauthenticatedStreams};
use crate::telemetry::Exposition;

/// Services inside the layers, and the settings of their dispatch.
#[derive(Clone)]
pub(crate) struct DispatchState {
    /// Routes of REST.
    pub(crate) rest: RestRouter,
    /// Services of gRPC and gRPC-Web.
    pub(crate) grpc: Router,
    /// Descriptions of the API.
    pub(crate) descriptions: Descriptions,
    /// Maximum size of a gRPC message.
    pub(crate) max_body_bytes: u64,
    /// Readiness.
    pub(crate) health: Health,
    /// Streams that need no token.
    pub(crate) streams: UnauthenticatedStreams,
    /// Limits for calls that need no token.
    pub(crate) unauthenticated: UnauthenticatedLimits,
    /// Exposition of metrics, if they are served here.
    pub(crate) exposition: Option<Exposition>,
}

/// Dispatches a call to its protocol.
pub(crate) async fn call(State(state): State<DispatchState>, request: Request) -> Response {
    let target = route::target(&request);
    match target.endpoint.clone() {
        Endpoint::Rest(resolution) => state.rest.call(resolution, request).await.map(Body::new),
        Endpoint::Description(description) => {
            state.descriptions.answer(description, &target, &request)
        }
        Endpoint::LivenessProbe => match request.method().as_str() {
            "GET" | "HEAD" => probes::liveness(),
            _ => document_method(&target, &request),
        },
        Endpoint::ReadinessProbe => match request.method().as_str() {
            "GET" | "HEAD" => probes::readiness(&state.health).await,
            _ => document_method(&target, &request),
        },
        Endpoint::Metrics => match (request.method().as_str(), state.exposition) {
            ("GET" | "HEAD", Some(exposition)) => probes::metrics(&exposition),
            _ => document_method(&target, &request),
        },
        Endpoint::Reflection => call_reflection(state, &target, request).await,
        Endpoint::GrpcHealth | Endpoint::GrpcHealthWatch | Endpoint::Grpc | Endpoint::Unknown => {
            call_grpc(state, &target, request).await
        }
    }
}

/// Responds to OPTIONS with the methods of a document, and rejects all other methods.
fn document_method(target: &RouteTarget, request: &Request) -> Response {
    match request.method() {
        &Method::OPTIONS => allowed(DOCUMENT_METHODS),
        _ => route::reject(target, Rejection::method_not_allowed(DOCUMENT_METHODS)),
    }
}

/// Returns the status that tonic would, with the error details of this API.
pub(crate) async fn unknown_method(request: Request) -> Response {
    let status = Status::unimplemented("Unknown method");
    route::reject(&route::target(&request), status.into())
}

/// Calls reflection. Its streams last for as long as clients wish, so they are counted here, and input ends
/// after a maximum time or at shutdown, as if the client had closed its side.
async fn call_reflection(state: DispatchState, target: &RouteTarget, request: Request) -> Response {
    let stream = match state.streams.open(request.extensions()) {
        Ok(stream) => stream,
        Err(status) => return route::reject(target, status.into()),
    };
    let health = state.health.clone();
    let max_duration = state.unauthenticated.reflection_stream_timeout;
    let end = async move {
        let _ = tokio::time::timeout(max_duration, health.ended()).await;
    };
    let request = request.map(|body| {
        let input = body.into_data_stream().take_until(Box::pin(end));
        Body::from_stream(input)
    });
    let response = call_grpc(state, target, request).await;
    response.map(|body| Body::new(OnEnd::new(body, stream)))
}

/// Encodings of gRPC messages that tonic's services support.
const ENCODINGS: [&str; 3] = ["gzip", "zstd", "identity"];
/// The same encodings, as a header value.
const ACCEPTED_ENCODINGS: HeaderValue = HeaderValue::from_static("gzip,zstd,identity");

async fn call_grpc(state: DispatchState, target: &RouteTarget, mut request: Request) -> Response {
    if target.protocol == Protocol::Grpc && request.version() != Version::HTTP_2 {
        let status = Status::unimplemented("gRPC needs HTTP/2; over HTTP/1.1 there is gRPC-Web");
        return route::reject(target, status.into());
    }
    // tonic would reject it too, but repeat the header's value.
    let encoding = request.headers().get("grpc-encoding");
    if encoding.is_some_and(|encoding| !ENCODINGS.iter().any(|known| encoding == known)) {
        let status = Status::unimplemented("Message encoding not supported");
        let mut response = route::reject(target, status.into());
        response
            .headers_mut()
            .insert("grpc-accept-encoding", ACCEPTED_ENCODINGS);
        return response;
    }
    normalize_content_type(target.protocol, request.headers_mut());
    let response = state.grpc.oneshot(request).await;
    let mut response = response.unwrap_or_else(|infallible| match infallible {});
    let limit = match target.endpoint {
        Endpoint::GrpcHealth | Endpoint::GrpcHealthWatch | Endpoint::Reflection => {
            state.unauthenticated.max_message_bytes as u64
        }
        _ => state.max_body_bytes,
    };
    if let Some(rejection) = undecodable(response.headers(), limit) {
        return route::reject(target, rejection.into());
    }
    finish_error_headers(response.headers_mut(), Some(target.spec), ERROR_DOMAIN);
    response
}

/// Sets the content type of the request: tonic-web matches four content types exactly, and responds in binary
/// unless text is accepted by name. The response has the form of the request.
fn normalize_content_type(protocol: Protocol, headers: &mut HeaderMap) {
    let media_type = match protocol {
        Protocol::GrpcWeb => HeaderValue::from_static("application/grpc-web+proto"),
        Protocol::GrpcWebText => HeaderValue::from_static("application/grpc-web-text+proto"),
        Protocol::Grpc | Protocol::Rest => return,
    };
    headers.insert(CONTENT_TYPE, media_type.clone());
    headers.insert(ACCEPT, media_type);
}

/// Prefix of tonic's error for a message that is flagged as compressed without a `grpc-encoding` header.
const COMPRESSED_WITHOUT_ENCODING: &str =
    "protocol error: received message with compressed-flag but no grpc-encoding";

/// Replaces tonic's error for a message that cannot be decoded, which is the client's fault. This API's own
/// errors differ from tonic's by their details.
fn undecodable(headers: &HeaderMap, limit_bytes: u64) -> Option<Status> {
    if headers.contains_key("grpc-status-details-bin") {
        return None;
    }
    let status = Status::from_header_map(headers)?;
    match status.code() {
        // Stays INTERNAL, as gRPC's compression.md requires.
        Code::Internal if status.message().starts_with(COMPRESSED_WITHOUT_ENCODING) => None,
        Code::Internal => {
            let message = "The request message cannot be decoded";
            Some(status::plain(
                Code::InvalidArgument,
                "MESSAGE_MALFORMED",
                message,
            ))
        }
        // The former is for a message that is too large after decompression.
        Code::ResourceExhausted | Code::OutOfRange => {
            Some(Status::from(BodyTooLarge { limit_bytes }))
        }
        _ => None,
    }
}
