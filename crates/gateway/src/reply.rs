//! Success responses of REST calls.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use tonic::Status;

use crate::body::Body;
use crate::headers::copy_custom_headers;
use crate::json::{self, JsonMessage};
use crate::rejection::Rejection;
use crate::settings::Settings;
use crate::spec::RouteSpec;

/// Creates the response with one message.
pub(crate) fn reply<M: JsonMessage>(
    spec: &RouteSpec,
    response: tonic::Response<M>,
    settings: &Settings,
) -> Result<Response<Body>, Rejection> {
    let (metadata, message, extensions) = response.into_parts();
    let mut reply = Response::default();
    *reply.status_mut() = success_status(spec);
    *reply.extensions_mut() = extensions;
    copy_custom_headers(metadata, reply.headers_mut());
    // These have no content, regardless of the message.
    if !matches!(spec.method.success_status, 204 | 205) {
        *reply.body_mut() = Body::full(encode_body(spec, &message, settings)?);
        let json = HeaderValue::from_static("application/json");
        reply.headers_mut().insert(CONTENT_TYPE, json);
    }
    Ok(reply)
}

/// Returns the HTTP status of success of the method.
pub(crate) fn success_status(spec: &RouteSpec) -> StatusCode {
    StatusCode::from_u16(spec.method.success_status).unwrap_or(StatusCode::OK)
}

/// Writes a response, or the one member of it that is the route's body.
pub(crate) fn encode_body<M: JsonMessage>(
    spec: &RouteSpec,
    message: &M,
    settings: &Settings,
) -> Result<Vec<u8>, Status> {
    let text = match spec.response_body {
        Some(member) => json::encode_member(message, member, &settings.json),
        None => json::encode(message, &settings.json),
    };
    text.map_err(|error| {
        let mut status = Status::internal("The response cannot be written as JSON");
        status.set_source(Arc::new(error));
        status
    })
}
