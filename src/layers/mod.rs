//! What every call passes, whatever its face, in this order. REST, gRPC and gRPC-Web share the one
//! chain; none of them can go around a link of it.

mod authn;
mod body_limit;
mod deadline;
mod panic;
mod request_id;
mod target;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use http::Request;
use keyward_gateway::{Refusal, RestRouter};
use tower::ServiceBuilder;

use crate::authn::Authenticator;

pub(crate) use target::{HEALTHZ, Kind, Target};

/// The names of the layers, outermost first.
pub const NAMES: [&str; 7] = [
    "request_id",
    "target",
    "trace",
    "panic",
    "deadline",
    "body_limit",
    "authn",
];

/// What the layers are told at start.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a call may take when its caller does not say.
    pub default_deadline: Duration,
    /// How long a call may take whatever its caller says.
    pub max_deadline: Duration,
    /// The largest request body.
    pub max_body_bytes: u64,
}

/// Puts the layers around what answers the calls.
pub(crate) fn apply(
    inner: Router,
    rest: RestRouter,
    authenticator: Arc<Authenticator>,
    limits: &Limits,
) -> Router {
    inner.layer(
        ServiceBuilder::new()
            // First, so that every log line and every response has it.
            .layer(from_fn(request_id::layer))
            // Before all that may refuse: a refusal must be worded for its caller's face.
            .layer(from_fn_with_state(rest, target::layer))
            // Around authentication, so that refused calls have a span too.
            .layer(from_fn(trace::layer))
            // Inside the span, so that a panic is reported in it, and answered like any failure.
            .layer(from_fn(panic::layer))
            // Around everything that waits, authentication's look-ups included.
            .layer(from_fn_with_state(limits.clone(), deadline::layer))
            // Before anything reads the body.
            .layer(from_fn_with_state(limits.max_body_bytes, body_limit::layer))
            // Innermost: whatever runs inside has a caller.
            .layer(from_fn_with_state(authenticator, authn::layer)),
    )
}

/// Words a refusal for the face of the request's caller.
pub(crate) fn refuse(target: &Target, refusal: Refusal) -> Response {
    refusal.render(target.face, target.spec).map(Body::new)
}

/// The target that the layer of that name found.
pub(crate) fn target<B>(request: &Request<B>) -> Target {
    // The layer is part of the chain above; without it nothing is known and nothing is open.
    request
        .extensions()
        .get::<Target>()
        .cloned()
        .unwrap_or_else(Target::unknown)
}
