//! What every call passes, whatever its face, in this order. REST, gRPC and gRPC-Web share the one
//! chain; none of them can go around a link of it.

mod authn;
mod body_limit;
mod cors;
mod deadline;
mod panic;
mod rate_limit;
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

pub use cors::{AllowedOrigins, NotAnOrigin};
pub(crate) use deadline::StreamDeadline;
pub use rate_limit::CallerRate;
pub(crate) use target::{HEALTHZ, Kind, Target};

/// What the layers are told at start.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a call may take when its caller does not say.
    pub default_deadline: Duration,
    /// How long a call may take whatever its caller says.
    pub max_deadline: Duration,
    /// The largest request body.
    pub max_body_bytes: u64,
    /// How many calls one principal may make, if that is limited.
    pub caller_rate: Option<CallerRate>,
}

/// What the layers work with.
pub(crate) struct Given {
    /// Finds the route of a call.
    pub(crate) rest: RestRouter,
    /// Finds who calls.
    pub(crate) authenticator: Arc<Authenticator>,
    /// What every call is held to.
    pub(crate) limits: Limits,
    /// Whose pages may call from a browser.
    pub(crate) origins: AllowedOrigins,
}

/// Makes the chain and the list of its names out of one list: a layer is the function `layer` of the
/// module that it is named after, with its state in parentheses if it has one.
macro_rules! chain {
    ($given:ident: $($name:ident $(($state:expr))?,)*) => {
        /// The names of the layers, outermost first.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// Puts the layers around what answers the calls.
        pub(crate) fn apply(inner: Router, $given: &Given) -> Router {
            inner.layer(ServiceBuilder::new()$(.layer(chain!(@$name $($state)?)))*)
        }
    };
    (@$name:ident) => { from_fn($name::layer) };
    (@$name:ident $state:expr) => { from_fn_with_state($state.clone(), $name::layer) };
}

chain! { given:
    // First, so that every log line and every response has it.
    request_id,
    // Before all that may refuse: a refusal must be worded for its caller's face.
    target(given.rest),
    // Around authentication, so that refused calls have a span too.
    trace,
    // Around all that may refuse, so that a page can read every refusal; before authentication, since
    // a preflight has no token.
    cors(cors::Cors::new(&given.origins)),
    // Inside the span, so that a panic is reported in it, and answered like any failure.
    panic,
    // Around everything that waits, authentication's look-ups included.
    deadline(given.limits),
    // Before anything reads the body.
    body_limit(given.limits.max_body_bytes),
    // Whatever runs inside has a caller.
    authn(given.authenticator),
    // Innermost: it counts callers, whom only authentication knows.
    rate_limit(rate_limit::Limiter::new(given.limits.caller_rate)),
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
