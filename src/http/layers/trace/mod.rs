//! Records every call: a server span, named and attributed by OpenTelemetry's conventions for HTTP and RPC
//! (version 1.42, as in the crate `opentelemetry-semantic-conventions`), that continues the client's
//! `traceparent`; a metric; and one log line when the call ends, with or without a response.
//!
//! A span has the route, never the path or the query, since they may contain any text. For the same reason
//! `url.path`, which the conventions require, is omitted.

mod ending;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, Version};
use keyward_core::principal::Actor;
use keyward_gateway::{Protocol, Resolution};
use keyward_listener::Secure;
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use super::request_id::RequestId;
use crate::http::client_ip::ClientIp;
use crate::http::route::{self, Endpoint, RouteTarget};
use crate::telemetry::metrics;
use ending::{Ending, at_end_of};

/// Slot in a request's extensions for the call's principal, which the authentication layer fills. It outlives
/// the request, so that the access log and the span of a rejected call name the principal too.
#[derive(Debug, Clone, Default)]
pub(super) struct PrincipalSlot(Arc<OnceLock<Actor>>);

impl PrincipalSlot {
    /// Sets the principal. A call has one principal: a second one is ignored.
    pub(super) fn fill(&self, actor: Actor) {
        let _ = self.0.set(actor);
    }
}

pub(super) async fn layer(mut request: Request, next: Next) -> Response {
    let call = Call::begin(&request, &super::target(&request));
    request.extensions_mut().insert(call.principal.clone());
    let (span, lines) = (call.span.clone(), call.lines.clone());
    let response = next.run(request).instrument(span).instrument(lines).await;
    at_end_of(response, call)
}

/// A call under way. Dropping it ends the call.
struct Call {
    /// HTTP method if it is a standard one, since another could be any text.
    method: &'static str,
    /// `http` or `https`.
    scheme: &'static str,
    kind: CallName,
    /// Exported span.
    span: Span,
    /// Span that identifies the call in its log lines.
    lines: Span,
    started: Instant,
    /// Principal, once the call is authenticated.
    principal: PrincipalSlot,
    ending: Ending,
}

/// Name of a call's target, from a fixed set.
#[derive(Debug, Clone, Copy)]
enum CallName {
    /// Over gRPC or gRPC-Web: the method, or `_OTHER`.
    Rpc(&'static str),
    /// Over plain HTTP: the template of the path, if it is known.
    Http(Option<&'static str>),
}

/// Replacement for names outside the fixed set.
const OTHER: &str = "_OTHER";

impl Call {
    fn begin(request: &Request, target: &RouteTarget) -> Self {
        let (method, kind) = (method(request), CallName::of(request, target));
        let request_id = request.extensions().get::<RequestId>();
        let request_id = request_id.map(|id| id.0.as_str());
        let span = span(request, method, kind, request_id);
        let parent = TraceContextPropagator::new().extract(&Carrier(request.headers()));
        let caller = parent.clone();
        // Without an exporter, OpenTelemetry has no layer and no trace to continue.
        let _ = span.set_parent(parent);
        let lines = tracing::error_span!(
            target: "keyward::request",
            parent: None,
            "request",
            request_id,
            trace_id = trace_id(&span.context(), &caller),
        );
        let scheme = scheme(request);
        metrics::call_begins(method, scheme);
        Self {
            method,
            scheme,
            kind,
            span,
            lines,
            started: Instant::now(),
            principal: PrincipalSlot::default(),
            ending: Ending::default(),
        }
    }
}

impl CallName {
    fn of(request: &Request, target: &RouteTarget) -> Self {
        if target.protocol != Protocol::Rest {
            return Self::Rpc(match &target.endpoint {
                Endpoint::Grpc => target.spec.grpc_path.trim_start_matches('/'),
                Endpoint::GrpcHealth | Endpoint::GrpcHealthWatch | Endpoint::Reflection => {
                    route::unauthenticated_method(request.uri().path()).unwrap_or(OTHER)
                }
                _ => OTHER,
            });
        }
        Self::Http(match &target.endpoint {
            Endpoint::Rest(Resolution::Matched(matched)) => Some(matched.spec().template),
            Endpoint::LivenessProbe
            | Endpoint::ReadinessProbe
            | Endpoint::Metrics
            | Endpoint::Description(_) => route::unauthenticated_path(request.uri().path()),
            _ => None,
        })
    }
}

/// Returns the scheme of the connection, which the request cannot change.
fn scheme(request: &Request) -> &'static str {
    match request.extensions().get::<Secure>() {
        Some(Secure) => "https",
        None => "http",
    }
}

fn span(request: &Request, method: &'static str, kind: CallName, request_id: Option<&str>) -> Span {
    let client = request.extensions().get::<ClientIp>();
    let span = tracing::info_span!(
        parent: None,
        "call",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        error.type = Empty,
        http.request.method = Empty,
        http.route = Empty,
        http.response.status_code = Empty,
        rpc.system.name = Empty,
        rpc.method = Empty,
        rpc.response.status_code = Empty,
        url.scheme = scheme(request),
        network.protocol.name = "http",
        network.protocol.version = version(request.version()),
        client.address = client.map(|client| client.0.to_string()),
        keyward.error.reason = Empty,
        keyward.principal.kind = Empty,
        keyward.principal.id = Empty,
        request_id,
    );
    span.record("otel.name", name(method, kind));
    match kind {
        CallName::Rpc(name) => {
            span.record("rpc.system.name", "grpc");
            span.record("rpc.method", name);
        }
        CallName::Http(route) => {
            span.record("http.request.method", method);
            if let Some(route) = route {
                span.record("http.route", route);
            }
        }
    }
    span
}

/// Returns the name of the span, which the log line has too.
fn name(method: &'static str, kind: CallName) -> String {
    match kind {
        CallName::Rpc(OTHER) => "grpc".to_owned(),
        CallName::Rpc(name) => name.to_owned(),
        CallName::Http(route) => {
            let method = if method == OTHER { "HTTP" } else { method };
            match route {
                Some(route) => format!("{method} {route}"),
                None => method.to_owned(),
            }
        }
    }
}

/// Returns the ID of the call's trace: that of its span or, if none is exported, the client's or a new one, so
/// that every call has one.
fn trace_id(span: &Context, caller: &Context) -> String {
    let valid = |context: &Context| {
        let context = context.span().span_context().clone();
        context.is_valid().then(|| context.trace_id().to_string())
    };
    valid(span)
        .or_else(|| valid(caller))
        .unwrap_or_else(|| Uuid::new_v4().simple().to_string())
}

fn method(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        _ => OTHER,
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// Extracts only `traceparent`, since its format bounds its content; `tracestate` may hold any text and would
/// go into every span. `baggage` may too, and is neither read nor passed on.
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
