//! Operations listener: metrics and probes in plain HTTP, and `grpc.health.v1` for probes without TLS. It
//! serves nothing else, and needs no token.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::{StatusCode, header};
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use crate::dispatch::probe;
use crate::health::Health;
use crate::http::health_service::HealthGrpc;
use crate::http::unauthenticated::{UnauthenticatedLimits, UnauthenticatedStreams};
use crate::layers::{HEALTHZ, METRICS, READYZ, TrustedProxies};
use crate::telemetry::Exposition;

/// Returns the router of the operations listener.
pub fn router(
    health: &Health,
    limits: &UnauthenticatedLimits,
    proxies: &TrustedProxies,
    exposition: Exposition,
) -> Router {
    let checks = HealthGrpc::new(health.clone(), UnauthenticatedStreams::new(limits, proxies));
    let checks = HealthServer::new(checks).max_decoding_message_size(limits.max_message_bytes);
    let grpc = Routes::new(checks).into_axum_router().reset_fallback();
    let ours = Router::new()
        .route(HEALTHZ, get(|State(health)| alive(health, true)))
        .route(READYZ, get(|State(health)| alive(health, false)))
        .with_state(health.clone())
        .route(METRICS, get(move || measurements(exposition.clone())));
    grpc.merge(ours).fallback(nothing)
}

async fn alive(health: Health, liveness: bool) -> Response {
    probe(&health, liveness).await
}

async fn measurements(exposition: Exposition) -> Response {
    measured(&exposition)
}

async fn nothing() -> StatusCode {
    StatusCode::NOT_FOUND
}

/// Returns the response with the metrics.
pub(crate) fn measured(exposition: &Exposition) -> Response {
    let mut response = Response::new(Body::empty());
    match exposition.text() {
        Ok(text) => {
            *response.body_mut() = Body::from(text);
            let kind = header::HeaderValue::from_static(Exposition::CONTENT_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        Err(error) => {
            tracing::error!(cause = %error, "failed to encode the metrics");
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
    }
    response
}
