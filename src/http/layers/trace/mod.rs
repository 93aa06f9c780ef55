//! Records every call: a server span, named and attributed by OpenTelemetry's conventions for HTTP and RPC
//! (version 1.42, as in the crate `opentelemetry-semantic-conventions`), that continues the client's
//! `traceparent`; a metric; and one log line when the call ends, with or without a response.
//!
//! A span has the route, never the path or the query, since they may contain any text. For the same reason
//! `url.path`, which the conventions require, is omitted.

mod call;
mod ending;
mod name;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

pub(super) use call::PrincipalSlot;

use call::{TracedCall, at_end_of};

pub(super) async fn layer(mut request: Request, next: Next) -> Response {
    let call = TracedCall::begin(&request, &super::target(&request));
    request.extensions_mut().insert(call.principal.clone());
    let (span, lines) = (call.span.clone(), call.lines.clone());
    let response = next.run(request).instrument(span).instrument(lines).await;
    at_end_of(response, call)
}
