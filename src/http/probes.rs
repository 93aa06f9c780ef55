//! Probes and metrics over plain HTTP, which both listeners serve. They need no token.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::http::readiness::Health;
use crate::telemetry::Exposition;

/// Path of the liveness probe.
pub(crate) const HEALTHZ: &str = "/healthz";
/// Path of the readiness probe.
pub(crate) const READYZ: &str = "/readyz";
/// `retry-after` of a 503, in seconds, unless the response has its own.
pub(crate) const UNAVAILABLE_RETRY_S: HeaderValue = HeaderValue::from_static("1");

/// Path of the metrics.
pub(crate) const METRICS: &str = "/metrics";

/// Responds to a liveness probe, without the store.
pub(crate) fn liveness() -> Response {
    status(true, &[])
}

/// Responds to a readiness probe, which queries the store.
pub(crate) async fn readiness(health: &Health) -> Response {
    let is_ready = health.is_ready().await;
    status(is_ready, &health.reasons())
}

fn status(is_ok: bool, reasons: &[String]) -> Response {
    let (status, word) = match is_ok {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let body = match reasons {
        [] => format!(r#"{{"status":"{word}"}}"#),
        reasons => serde_json::json!({ "status": word, "reasons": reasons }).to_string(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    if !is_ok {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, UNAVAILABLE_RETRY_S);
    }
    response
}

/// Responds with the metrics.
pub(crate) fn metrics(exposition: &Exposition) -> Response {
    let mut response = Response::new(Body::empty());
    match exposition.text() {
        Ok(text) => {
            *response.body_mut() = Body::from(text);
            let kind = HeaderValue::from_static(Exposition::CONTENT_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        Err(error) => {
            tracing::error!(cause = %error, "failed to encode the metrics");
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
    }
    response
}
