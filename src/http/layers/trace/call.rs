//! A call under way: its spans, and their end with the response.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, Version};
use keyward_core::principal::Actor;
use keyward_gateway::code_name;
use keyward_listener::Secure;
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::Status;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use super::ending::{Ending, is_fault};
use super::name::{CallName, method};
use crate::http::body::{End, Observer, OnEnd};
use crate::http::client_ip::ClientIp;
use crate::http::layers::request_id::RequestId;
use crate::http::route::RouteTarget;
use crate::telemetry::metrics::{self, HttpCall};

/// Slot in a request's extensions for the call's principal, which the authentication layer fills. It outlives
/// the request, so that the access log and the span of a rejected call name the principal too.
#[derive(Debug, Clone, Default)]
pub(crate) struct PrincipalSlot(Arc<OnceLock<Actor>>);

impl PrincipalSlot {
    /// Sets the principal. A call has one principal: a second one is ignored.
    pub(crate) fn fill(&self, actor: Actor) {
        let _ = self.0.set(actor);
    }
}

/// A call under way. Dropping it ends the call.
pub(super) struct TracedCall {
    /// HTTP method if it is a standard one, since another could be any text.
    method: &'static str,
    /// `http` or `https`.
    scheme: &'static str,
    kind: CallName,
    /// Exported span.
    pub(super) span: Span,
    /// Span that identifies the call in its log lines.
    pub(super) lines: Span,
    started: Instant,
    /// Principal, once the call is authenticated.
    pub(super) principal: PrincipalSlot,
    ending: Ending,
}

impl TracedCall {
    /// Begins the spans of a call.
    pub(super) fn begin(request: &Request, target: &RouteTarget) -> Self {
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

/// Ends the call with the end of this response.
pub(super) fn at_end_of(response: Response, mut call: TracedCall) -> Response {
    call.ending.status = Some(response.status());
    let status = match call.kind {
        CallName::Http(_) => response.extensions().get::<Status>().cloned(),
        CallName::Rpc(_) => Status::from_header_map(response.headers()),
    };
    call.ending.take(status);
    response.map(|body| Body::new(OnEnd::new(body, call)))
}

impl Observer for TracedCall {
    fn ended(mut self, end: End<'_>) {
        let End::Complete(trailers) = end else { return };
        self.ending.complete = true;
        if let Some(trailers) = trailers {
            self.ending.take(Status::from_header_map(trailers));
        }
    }
}

impl Drop for TracedCall {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        metrics::call_ends(self.method, self.scheme);
        let span = &self.span;
        let (status, code, error) = match self.kind {
            CallName::Http(route) => {
                let status = self.ending.status.map(|status| status.as_u16());
                let error = status.filter(|it| *it >= 500).map(|it| it.to_string());
                if let Some(status) = status {
                    // As an i64: numbers of other types are exported as text.
                    span.record("http.response.status_code", i64::from(status));
                }
                let call = HttpCall {
                    method: self.method,
                    scheme: self.scheme,
                    route,
                    status,
                    error: error.clone(),
                };
                metrics::http_call(call, took);
                (status, None, error)
            }
            CallName::Rpc(method) => {
                let code = self.ending.code();
                let name = code_name(code);
                let error = is_fault(code).then_some(name);
                span.record("rpc.response.status_code", name);
                metrics::rpc_call(method, name, error, took);
                (None, Some(name), error.map(str::to_owned))
            }
        };
        if let Some(error) = &error {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", error);
        }
        let reason = self.ending.reason.as_deref();
        if let Some(reason) = reason {
            span.record("keyward.error.reason", reason);
        }
        let principal = self.principal.0.get();
        if let Some(actor) = principal {
            span.record("keyward.principal.kind", actor.kind);
            span.record("keyward.principal.id", actor.id.as_str());
        }
        let name = self.kind.text(self.method);
        let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let cancelled = self.ending.status.is_none().then_some(true);
        self.lines.in_scope(|| {
            tracing::info!(
                target: "keyward::access",
                method = self.method,
                route = self.kind.route(),
                status,
                code,
                reason,
                principal_kind = principal.map(|actor| actor.kind),
                principal_id = principal.map(|actor| actor.id.as_str()),
                cancelled,
                duration_us,
                "{name}"
            );
        });
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
    span.record("otel.name", kind.text(method));
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
