//! Operations listener: metrics and probes in plain HTTP, and `grpc.health.v1` for probes without TLS. It
//! serves nothing else, and needs no token.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use crate::http::client_ip::TrustedProxies;
use crate::http::health_service::HealthGrpc;
use crate::http::probes::{self, HEALTHZ, METRICS, READYZ};
use crate::http::readiness::Health;
use crate::http::unauthenticated::{UnauthenticatedLimits, UnauthenticatedStreams};
use crate::telemetry::Exposition;

/// Returns the router of the operations listener.
pub(crate) fn router(
    health: &Health,
    limits: &UnauthenticatedLimits,
    proxies: &TrustedProxies,
    exposition: Exposition,
) -> Router {
    let checks = HealthGrpc::new(health.clone(), UnauthenticatedStreams::new(limits, proxies));
    let checks = HealthServer::new(checks).max_decoding_message_size(limits.max_message_bytes);
    let grpc = Routes::new(checks).into_axum_router().reset_fallback();
    let plain = Router::new()
        .route(READYZ, get(ready))
        .with_state(health.clone())
        .route(HEALTHZ, get(|| async { probes::liveness() }))
        .route(
            METRICS,
            get(move || async move { probes::metrics(&exposition) }),
        );
    grpc.merge(plain).fallback(not_found)
}

async fn ready(State(health): State<Health>) -> Response {
    probes::readiness(&health).await
}

async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}
