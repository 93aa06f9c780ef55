//! Records how a call ended. A call ends when the last byte of its response is passed on, so that a client that
//! has read the response finds it measured, or when the client disconnects.
//!
//! A server fault is an error of the span. A rejection is not an error; it has its code and its reason.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use keyward_gateway::code_name;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{Call, CallName};
use crate::http::body::{End, Observer, OnEnd};
use crate::telemetry::metrics::{self, HttpCall};

/// Outcome of a call.
#[derive(Default)]
pub(super) struct Ending {
    /// HTTP status; `None` until there is a response.
    status: Option<StatusCode>,
    /// gRPC code, which may come after the body.
    code: Option<Code>,
    /// Reason of a rejection or failure.
    reason: Option<String>,
    /// True if the whole response was passed on.
    complete: bool,
}

/// Ends the call with the end of this response.
pub(super) fn at_end_of(response: Response, mut call: Call) -> Response {
    call.ending.status = Some(response.status());
    let status = match call.kind {
        CallName::Http(_) => response.extensions().get::<Status>().cloned(),
        CallName::Rpc(_) => Status::from_header_map(response.headers()),
    };
    call.ending.take(status);
    response.map(|body| Body::new(OnEnd::new(body, call)))
}

impl Observer for Call {
    fn ended(mut self, end: End<'_>) {
        let End::Complete(trailers) = end else { return };
        self.ending.complete = true;
        if let Some(trailers) = trailers {
            self.ending.take(Status::from_header_map(trailers));
        }
    }
}

impl Ending {
    fn take(&mut self, status: Option<Status>) {
        let Some(status) = status else { return };
        self.code = Some(status.code());
        if status.code() != Code::Ok {
            self.reason = status.get_details_error_info().map(|info| info.reason);
        }
    }

    /// Returns the gRPC code. Over gRPC-Web it may be inside the body; a complete response without another code
    /// counts as OK.
    fn code(&self) -> Code {
        match self.code {
            Some(code) => code,
            None if self.complete => Code::Ok,
            None => Code::Cancelled,
        }
    }
}

impl Drop for Call {
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
        let name = super::name(self.method, self.kind);
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

impl CallName {
    fn route(self) -> Option<&'static str> {
        match self {
            Self::Rpc(name) => Some(name),
            Self::Http(route) => route,
        }
    }
}

/// Returns true for codes that the conventions classify as server errors.
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
