//! Targets of calls: the protocol, the endpoint and the method, resolved once and before any layer needs them.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::Method;
use keyward_gateway::{MethodSpec, Protocol, Rejection, Resolution, RestRouter};

use crate::api::proto;
use crate::http::probes::{HEALTHZ, METRICS, READYZ};

/// Target of a call, in the request's extensions.
#[derive(Clone)]
pub(crate) struct RouteTarget {
    /// Protocol of the client.
    pub(crate) protocol: Protocol,
    /// Method, or for unknown paths the method whose error format they share.
    pub(crate) spec: &'static MethodSpec,
    /// Endpoint of the call.
    pub(crate) endpoint: Endpoint,
}

/// Endpoint of a call. Only the first two need a token.
#[derive(Clone)]
pub(crate) enum Endpoint {
    /// REST: a route, or a rejection.
    Rest(Resolution),
    /// A method of a service of the API.
    Grpc,
    /// The liveness probe over HTTP.
    LivenessProbe,
    /// The readiness probe over HTTP.
    ReadinessProbe,
    /// A call to the health service, except its stream.
    GrpcHealth,
    /// The stream of health changes.
    GrpcHealthWatch,
    /// The metrics of the process.
    Metrics,
    /// Reflection.
    Reflection,
    /// A description of the API.
    Description(Description),
    /// Unknown.
    Unknown,
}

/// Description of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Description {
    /// The OpenAPI document.
    OpenApi,
    /// The HTML page.
    Page,
}

impl Description {
    /// Returns the description at a path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path {
            "/openapi.json" => Some(Self::OpenApi),
            "/docs" => Some(Self::Page),
            _ => None,
        }
    }
}

impl RouteTarget {
    /// Returns the target of a call that was not resolved.
    pub(crate) fn unknown() -> Self {
        Self {
            protocol: Protocol::Rest,
            spec: proto::FALLBACK_METHOD,
            endpoint: Endpoint::Unknown,
        }
    }

    /// Returns true if the call needs a token. Unknown paths need none, so that they respond the same with and
    /// without one.
    pub(crate) fn needs_token(&self) -> bool {
        match &self.endpoint {
            // A request for the methods of a path does not learn which callers may use them.
            Endpoint::Rest(
                Resolution::NotFound { .. }
                | Resolution::Options { .. }
                | Resolution::Malformed { .. }
                | Resolution::UnsupportedGrpc { .. },
            )
            | Endpoint::LivenessProbe
            | Endpoint::ReadinessProbe
            | Endpoint::GrpcHealth
            | Endpoint::GrpcHealthWatch
            | Endpoint::Metrics
            | Endpoint::Reflection
            | Endpoint::Description(_)
            | Endpoint::Unknown => false,
            Endpoint::Rest(_) | Endpoint::Grpc => true,
        }
    }

    /// Returns true if the call checks health. Such calls are admitted under any load, since an orchestrator
    /// would otherwise end a busy process.
    pub(crate) fn is_probe(&self) -> bool {
        matches!(
            self.endpoint,
            Endpoint::LivenessProbe
                | Endpoint::ReadinessProbe
                | Endpoint::GrpcHealth
                | Endpoint::GrpcHealthWatch
        )
    }

    /// Returns true if the response is a stream.
    pub(crate) fn is_stream(&self) -> bool {
        match &self.endpoint {
            Endpoint::Rest(Resolution::Matched(_)) | Endpoint::Grpc => self.spec.server_streaming,
            Endpoint::Reflection | Endpoint::GrpcHealthWatch => true,
            _ => false,
        }
    }
}

/// Path prefix of the health service.
const HEALTH: &str = "/grpc.health.v1.";
/// Path of its stream.
const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// Path prefixes of reflection.
const REFLECTION: [&str; 2] = ["/grpc.reflection.v1.", "/grpc.reflection.v1alpha."];

/// Methods of those services.
const UNAUTHENTICATED_METHODS: [&str; 4] = [
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
/// Paths that no proto file declares.
const UNAUTHENTICATED_PATHS: [&str; 5] = [HEALTHZ, READYZ, METRICS, "/openapi.json", "/docs"];

/// Returns the name of a method that needs no token. `None` for other methods.
pub(crate) fn unauthenticated_method(path: &str) -> Option<&'static str> {
    let name = path.strip_prefix('/')?;
    UNAUTHENTICATED_METHODS
        .into_iter()
        .find(|known| *known == name)
}

/// Returns a path that needs no token. `None` for other paths.
pub(crate) fn unauthenticated_path(path: &str) -> Option<&'static str> {
    UNAUTHENTICATED_PATHS
        .into_iter()
        .find(|known| *known == path)
}

static METHODS: LazyLock<HashMap<&'static str, &'static MethodSpec>> = LazyLock::new(|| {
    proto::METHODS
        .iter()
        .map(|spec| (spec.grpc_path, *spec))
        .collect()
});

/// Routes that targets are resolved by.
#[derive(Clone)]
pub(crate) struct RouteTable {
    /// Routes of REST.
    pub(crate) rest: RestRouter,
    /// True if metrics are served here.
    pub(crate) has_metrics: bool,
}

impl RouteTable {
    /// Returns the target of a request.
    pub(crate) fn resolve(&self, request: &Request) -> RouteTarget {
        let path = request.uri().path();
        // gRPC uses only POST: any other method is plain HTTP.
        let posts = request.method() == Method::POST;
        let protocol = if posts {
            Protocol::of(request.headers())
        } else {
            Protocol::Rest
        };
        let endpoint = match METHODS.get(path) {
            known if posts && Protocol::is_unsupported_grpc(request.headers()) => {
                let method = known.copied().unwrap_or(proto::FALLBACK_METHOD);
                Endpoint::Rest(Resolution::UnsupportedGrpc { method })
            }
            Some(spec) if protocol != Protocol::Rest => {
                return RouteTarget {
                    protocol,
                    spec,
                    endpoint: Endpoint::Grpc,
                };
            }
            Some(spec) if !posts => {
                let allow = "OPTIONS, POST".to_owned();
                let method = *spec;
                Endpoint::Rest(match *request.method() {
                    Method::OPTIONS => Resolution::Options { allow, method },
                    _ => Resolution::MethodNotAllowed { allow, method },
                })
            }
            _ if protocol != Protocol::Rest && path == WATCH => Endpoint::GrpcHealthWatch,
            _ if protocol != Protocol::Rest && path.starts_with(HEALTH) => Endpoint::GrpcHealth,
            _ if protocol != Protocol::Rest
                && REFLECTION.iter().any(|begin| path.starts_with(begin)) =>
            {
                Endpoint::Reflection
            }
            _ if protocol != Protocol::Rest => Endpoint::Unknown,
            _ if path == HEALTHZ => Endpoint::LivenessProbe,
            _ if path == READYZ => Endpoint::ReadinessProbe,
            _ if path == METRICS && self.has_metrics => Endpoint::Metrics,
            _ => match Description::at(path) {
                Some(description) => Endpoint::Description(description),
                None => Endpoint::Rest(self.rest.resolve(request.method(), path)),
            },
        };
        let spec = match &endpoint {
            Endpoint::Rest(resolution) => resolution.method(),
            _ => proto::FALLBACK_METHOD,
        };
        RouteTarget {
            protocol,
            spec,
            endpoint,
        }
    }
}

/// Returns the target of a request, which the layer `route` has resolved.
pub(crate) fn target<B>(request: &Request<B>) -> RouteTarget {
    // The layer is part of the chain. Without it the target is unknown, which needs no token: no call would
    // be authenticated.
    request
        .extensions()
        .get::<RouteTarget>()
        .cloned()
        .unwrap_or_else(RouteTarget::unknown)
}

/// Renders a rejection for the client's protocol.
pub(crate) fn reject(target: &RouteTarget, rejection: Rejection) -> Response {
    rejection
        .render(target.protocol, target.spec)
        .map(Body::new)
}
