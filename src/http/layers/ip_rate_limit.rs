//! Limits the rate of calls per client address, regardless of caller and token. The check runs before any
//! lookup. Probes are exempt.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use keyward_throttle::RateLimiter;
use tonic::Code;

use super::RejectionSpec;
use crate::http::client_ip::ClientIp;
use crate::telemetry::metrics::RejectReason;

const REJECTION: RejectionSpec = RejectionSpec {
    counted: RejectReason::AddressRate,
    code: Code::ResourceExhausted,
    reason: "ADDRESS_RATE_LIMITED",
    message: "Too many requests from this address",
};

pub(super) async fn layer(
    State(limiter): State<RateLimiter<IpAddr>>,
    request: Request,
    next: Next,
) -> Response {
    let client = request.extensions().get::<ClientIp>().copied();
    let Some(client) = client.filter(|_| limiter.is_on()) else {
        return next.run(request).await;
    };
    let target = super::target(&request);
    if target.is_probe() {
        return next.run(request).await;
    }
    match limiter.admit(client.network()) {
        Ok(()) => next.run(request).await,
        Err(wait) => super::reject_with_retry(&target, &REJECTION, wait),
    }
}
