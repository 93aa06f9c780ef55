//! Layers that every call passes, in this order. REST, gRPC and gRPC-Web share the chain, and no protocol can
//! bypass a layer.

mod auth_failure_limit;
mod authenticate;
mod body_limit;
mod buffer_body;
mod catch_panic;
mod client_ip;
mod concurrency_limit;
mod cors;
mod deadline;
mod fair_queue;
mod ip_rate_limit;
mod pending_health_calls;
mod policy;
mod principal_rate_limit;
mod request_id;
mod route;
mod security_headers;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use keyward_gateway::RestRouter;
use keyward_listener::Limited;
use keyward_throttle::{Rate, RateLimiter};
use tonic::Code;
use tower::ServiceBuilder;

use crate::admission::fair_queue::FairQueue;
use crate::api::status;
use crate::auth::Authenticator;
use crate::http::client_ip::TrustedProxies;
use crate::http::route::{RouteTable, RouteTarget, reject, target};
use crate::http::unauthenticated::UnauthenticatedLimits;
use crate::telemetry::metrics::{self, RejectReason};

pub use buffer_body::BodyTime;
pub use cors::{AllowedOrigins, NotAnOrigin};
pub(crate) use deadline::StreamDeadline;

/// Limits for requests, which the layers apply.
#[derive(Debug, Clone)]
pub struct RequestLimits {
    /// Deadline of a call whose client sets none.
    pub default_deadline: Duration,
    /// Maximum deadline of a call.
    pub max_deadline: Duration,
    /// Maximum size of a request body.
    pub max_body_bytes: u64,
    /// Maximum rate of calls of one principal. `None` means no limit.
    pub caller_rate: Option<Rate>,
    /// Maximum rate of calls from one address. `None` means no limit.
    pub address_rate: Option<Rate>,
    /// Maximum rate of failed authentications from one address. `None` means no limit.
    pub failed_authentications: Option<Rate>,
    /// Maximum number of calls under way; 0 means no limit.
    pub max_in_flight: usize,
    /// Maximum number of calls under way by the users and keys of one organization; 0 means no limit.
    pub max_in_flight_per_organization: usize,
    /// Maximum number of authenticated calls that run together; further ones wait for their turn.
    pub max_running: usize,
    /// Maximum memory of all requests whose body is being read, in bytes.
    pub max_total_memory_bytes: usize,
    /// Time that a client has to send a request's body.
    pub body_time: BodyTime,
}

/// Dependencies and settings of the layers.
pub(crate) struct LayerState {
    /// Finds the route of a call.
    pub(crate) rest: RestRouter,
    /// True if metrics are served here.
    pub(crate) has_metrics: bool,
    /// Authenticates callers.
    pub(crate) authenticator: Arc<Authenticator>,
    /// Limits for requests.
    pub(crate) requests: RequestLimits,
    /// Limits for calls that need no token.
    pub(crate) unauthenticated: UnauthenticatedLimits,
    /// Proxies trusted to report client addresses.
    pub(crate) trusted_proxies: TrustedProxies,
    /// Origins whose pages may call from a browser.
    pub(crate) origins: AllowedOrigins,
}

/// Generates the chain and the list of its names from one list. A layer is the function `layer` of the module
/// with its name, with its state in parentheses if it has any.
macro_rules! chain {
    ($all:ident: $($name:ident $(($state:expr))?,)*) => {
        /// Names of the layers, outermost first.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// Wraps the router in the layers.
        pub(crate) fn apply(inner: Router, $all: &LayerState) -> Router {
            inner.layer(ServiceBuilder::new()$(.layer(chain!(@$name $($state)?)))*)
        }
    };
    (@$name:ident) => { from_fn($name::layer) };
    (@$name:ident $state:expr) => { from_fn_with_state($state.clone(), $name::layer) };
}

chain! { state:
    // First, so that every log line and every response has it.
    request_id,
    // Before all layers that reject, since a rejection is rendered for the client's protocol.
    route(RouteTable {
        rest: state.rest.clone(),
        has_metrics: state.has_metrics,
    }),
    // Before all layers that use the client address, including the span.
    client_ip(state.trusted_proxies),
    // Around authentication, so that rejected calls have a span too.
    trace,
    // Around all responses, including rejections and preflights.
    security_headers,
    // Around all layers that reject, so that pages can read rejections; before authentication, since preflights
    // have no token.
    cors(cors::Cors::new(&state.origins)),
    // Inside the span, so that a panic is recorded in it and rendered like any failure.
    catch_panic,
    // Before any costly work: an address with too many calls takes no permit from others.
    ip_rate_limit(RateLimiter::new(state.requests.address_rate)),
    // Around everything that waits, so that no call that needs a token waits without having been admitted; before
    // authentication, so that a rejection is cheap.
    concurrency_limit(concurrency_limit::InFlight::new(
        state.requests.max_in_flight,
        state.requests.max_in_flight_per_organization,
    )),
    // Around everything that waits, including the lookups of authentication.
    deadline(state.requests),
    // Before the body is read.
    body_limit(state.requests.max_body_bytes),
    // The layers inside have an authenticated caller.
    authenticate(authenticate::Authentication::new(
        &state.authenticator,
        state.requests.failed_authentications,
        &state.trusted_proxies,
    )),
    // Needs the principal.
    principal_rate_limit(RateLimiter::new(state.requests.caller_rate)),
    // After the rate limit, so that its rejections do not use up the share.
    fair_queue(FairQueue::new(state.requests.max_running)),
    // Before the body is read: the method and the kind of principal decide.
    policy,
    // Innermost: the services inside have the whole body, and do not wait for the client.
    buffer_body(buffer_body::BodyReader::new(&state.requests, &state.unauthenticated)),
}

/// Rejection of a limit: its metric and its message.
struct RejectionSpec {
    counted: RejectReason,
    code: Code,
    /// Stable reason in the ErrorInfo.
    reason: &'static str,
    message: &'static str,
}

/// Renders a rejection like [`reject`], with the time to retry after.
fn reject_with_retry(target: &RouteTarget, spec: &RejectionSpec, wait: Duration) -> Response {
    metrics::rejected(spec.counted);
    let status = status::with_retry(spec.code, spec.reason, spec.message, wait);
    let mut response = reject(target, status.into());
    response.extensions_mut().insert(Limited);
    response
}
