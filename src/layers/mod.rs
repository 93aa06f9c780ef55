//! What every call passes, whatever its face, in this order. REST, gRPC and gRPC-Web share the one
//! chain; none of them can go around a link of it.

mod address_rate;
mod authn;
mod body;
mod body_limit;
mod client;
mod cors;
mod deadline;
mod failed_authn;
mod headers;
mod in_flight;
mod panic;
mod policy;
mod rate_limit;
mod request_id;
mod share;
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
use tonic::Code;
use tower::ServiceBuilder;

use crate::authn::Authenticator;
use crate::error;
use crate::fair_queue::FairQueue;
use crate::metrics::{self, Refused};
use crate::rate::{Limiter, Rate};
use crate::server::Limited;

pub use body::BodyTime;
pub(crate) use client::Client;
pub use client::{NotANetwork, TrustedProxies};
pub use cors::{AllowedOrigins, NotAnOrigin};
pub(crate) use deadline::StreamDeadline;
pub(crate) use target::{HEALTHZ, Kind, METRICS, READYZ, Target};

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
    pub caller_rate: Option<Rate>,
    /// How many calls may come from one address, if that is limited.
    pub address_rate: Option<Rate>,
    /// How many authentications may fail from one address, if that is limited.
    pub failed_authentications: Option<Rate>,
    /// How many calls may be under way together; 0 is no limit.
    pub max_in_flight: usize,
    /// How many of them may be made by the users and keys of one organization; 0 is no limit.
    pub max_in_flight_per_organization: usize,
    /// Maximum number of calls of known callers that run together; further ones wait for their turn.
    pub max_running: usize,
    /// Maximum memory of requests whose body is being read, in bytes.
    pub max_request_bytes: usize,
    /// The time that a client has to send a request's body.
    pub body_time: BodyTime,
    /// How many streams may be open without a token.
    pub max_open_streams: usize,
    /// How many of them one address may have; 0 is no limit.
    pub max_open_streams_per_address: usize,
    /// The largest message of who needs no token, in bytes, compressed or not.
    pub max_open_message_bytes: usize,
    /// How long a stream of reflection may last.
    pub max_reflection: Duration,
    /// How many items a page of a list may have, from 1 to `MAX_PAGE_ITEMS`.
    pub max_page_items: u32,
    /// The proxies that are believed about whom they call for.
    pub trusted_proxies: TrustedProxies,
}

/// What the layers work with.
pub(crate) struct Given {
    /// Finds the route of a call.
    pub(crate) rest: RestRouter,
    /// Whether what the process measures is told here.
    pub(crate) has_metrics: bool,
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
    target(target::Map {
        rest: given.rest.clone(),
        has_metrics: given.has_metrics,
    }),
    // Before whatever tells callers apart by their address, the span's included.
    client(given.limits.trusted_proxies),
    // Around authentication, so that refused calls have a span too.
    trace,
    // Around all that answers, refusals and preflights included.
    headers,
    // Around all that may refuse, so that a page can read every refusal; before authentication, since
    // a preflight has no token.
    cors(cors::Cors::new(&given.origins)),
    // Inside the span, so that a panic is reported in it, and answered like any failure.
    panic,
    // Before anything that costs: who calls too often from one address takes no place from others.
    address_rate(Limiter::new(given.limits.address_rate)),
    // Around everything that waits, so that nothing does without a place; and before authentication, or
    // it would cost as much to be refused as to be answered.
    in_flight(in_flight::InFlight::new(
        given.limits.max_in_flight,
        given.limits.max_in_flight_per_organization,
    )),
    // Around everything that waits, authentication's look-ups included.
    deadline(given.limits),
    // Before anything reads the body.
    body_limit(given.limits.max_body_bytes),
    // Whatever runs inside has a caller.
    authn(authn::Gate::new(&given.authenticator, &given.limits)),
    // It counts callers, whom only authentication knows.
    rate_limit(Limiter::new(given.limits.caller_rate)),
    // After the rate, so that a refusal for it leaves the share alone.
    share(FairQueue::new(given.limits.max_running)),
    // Before the body is read: the method and the kind of principal decide.
    policy,
    // Innermost: whatever runs inside has the whole body, and waits for no client.
    body(body::Bodies::new(&given.limits)),
}

/// Words a refusal for the face of the request's caller.
pub(crate) fn refuse(target: &Target, refusal: Refusal) -> Response {
    refusal.render(target.face, target.spec).map(Body::new)
}

/// How a limit refuses: what is counted, and what callers are told.
struct Limit {
    counted: Refused,
    code: Code,
    /// The stable reason in the ErrorInfo.
    reason: &'static str,
    message: &'static str,
}

/// As [`refuse`], for one of the limits: the caller is told when to come again.
fn refuse_for_now(target: &Target, limit: &Limit, wait: Duration) -> Response {
    metrics::refused(limit.counted);
    let status = error::for_now(limit.code, limit.reason, limit.message, wait);
    let mut response = refuse(target, status.into());
    response.extensions_mut().insert(Limited);
    response
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
