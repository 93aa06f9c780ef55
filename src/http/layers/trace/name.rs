//! Names of calls, from a fixed set.

use axum::extract::Request;
use keyward_gateway::{Protocol, Resolution};

use crate::http::route::{self, Endpoint, RouteTarget};

/// Name of a call's target, from a fixed set.
#[derive(Debug, Clone, Copy)]
pub(super) enum CallName {
    /// Over gRPC or gRPC-Web: the method, or `_OTHER`.
    Rpc(&'static str),
    /// Over plain HTTP: the template of the path, if it is known.
    Http(Option<&'static str>),
}

/// Replacement for names outside the fixed set.
const OTHER: &str = "_OTHER";

impl CallName {
    /// Returns the name of a request with this target.
    pub(super) fn of(request: &Request, target: &RouteTarget) -> Self {
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

    /// Returns the name of the span, which the log line has too.
    pub(super) fn text(self, method: &'static str) -> String {
        match self {
            Self::Rpc(OTHER) => "grpc".to_owned(),
            Self::Rpc(name) => name.to_owned(),
            Self::Http(route) => {
                let method = if method == OTHER { "HTTP" } else { method };
                match route {
                    Some(route) => format!("{method} {route}"),
                    None => method.to_owned(),
                }
            }
        }
    }

    /// Returns the method or the template of the path, if it is known.
    pub(super) fn route(self) -> Option<&'static str> {
        match self {
            Self::Rpc(name) => Some(name),
            Self::Http(route) => route,
        }
    }
}

/// Returns the HTTP method, or `_OTHER`.
pub(super) fn method(request: &Request) -> &'static str {
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
