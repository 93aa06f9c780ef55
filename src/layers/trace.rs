//! A server span for every call, named by OpenTelemetry's HTTP and RPC conventions, continuing the
//! caller's `traceparent`; and one log line when it ends.
//!
//! The span has the route, never the path or the query, since a caller may put anything there.

use std::time::Instant;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use keyward_gateway::{Face, Resolution};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::client::Client;
use super::request_id::RequestId;
use super::target::{Kind, Target};

pub(super) async fn layer(request: Request, next: Next) -> Response {
    let span = span(&request, &super::target(&request));
    let parent = TraceContextPropagator::new().extract(&Carrier(request.headers()));
    // Without an exporter there is no OpenTelemetry layer, and so nothing to continue.
    let _ = span.set_parent(parent);
    let started = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let _entered = span.enter();
    record(&span, &response);
    tracing::info!(duration_us = started.elapsed().as_micros() as u64, "call");
    drop(_entered);
    response
}

fn span(request: &Request, target: &Target) -> Span {
    let id = request
        .extensions()
        .get::<RequestId>()
        .map(|id| id.0.as_str());
    let client = request
        .extensions()
        .get::<Client>()
        .map(|client| client.0.to_string());
    let span = tracing::info_span!(
        "call",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %method(request),
        http.route = Empty,
        http.response.status_code = Empty,
        rpc.system = Empty,
        rpc.service = Empty,
        rpc.method = Empty,
        rpc.grpc.status_code = Empty,
        client.address = client,
        request_id = id,
    );
    match &target.kind {
        Kind::Rest(Resolution::Matched(matched)) => {
            let route = matched.spec();
            span.record(
                "otel.name",
                format!("{} {}", route.http_method, route.template),
            );
            span.record("http.route", route.template);
        }
        Kind::Grpc => {
            let spec = target.spec;
            span.record("otel.name", format!("{}/{}", spec.service, spec.method));
            span.record("rpc.system", "grpc");
            span.record("rpc.service", spec.service);
            span.record("rpc.method", spec.method);
        }
        _ => {
            span.record("otel.name", method(request));
        }
    }
    if target.face != Face::Rest {
        span.record("rpc.system", "grpc");
    }
    span
}

/// The HTTP method, if it is one that the standard knows: another could be any text.
fn method(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}

/// A server span is in error when the server is at fault, not when the caller is.
fn record(span: &Span, response: &Response) {
    let http = response.status();
    // As an i64: a number of any other type is exported as text.
    span.record("http.response.status_code", i64::from(http.as_u16()));
    let grpc = response
        .headers()
        .get("grpc-status")
        .and_then(|value| value.to_str().ok());
    let is_grpc = response
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        // A unary answer without the status among its headers has it, as OK, in its trailers.
        let code = grpc.and_then(|code| code.parse::<i64>().ok());
        span.record("rpc.grpc.status_code", code.unwrap_or(0));
    }
    // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
    let grpc_fault = grpc.is_some_and(|code| matches!(code, "2" | "4" | "12" | "13" | "14" | "15"));
    if http >= StatusCode::INTERNAL_SERVER_ERROR || grpc_fault {
        span.record("otel.status_code", "ERROR");
    }
}

/// The `traceparent` alone: its form leaves no room for anything else, while `tracestate` may hold any
/// text and would go into every span.
struct Carrier<'a>(&'a HeaderMap);

const TRACEPARENT: &str = "traceparent";

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let value = self.0.get(key).filter(|_| key == TRACEPARENT);
        value.and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}
