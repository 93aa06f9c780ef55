//! Resolves the target of a call once, before any layer needs it.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use keyward_gateway::{MethodSpec, Protocol, Resolution, RestRouter};

use crate::api::proto;
use crate::docs::Description;

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
    pub(super) fn is_probe(&self) -> bool {
        matches!(
            self.endpoint,
            Endpoint::LivenessProbe
                | Endpoint::ReadinessProbe
                | Endpoint::GrpcHealth
                | Endpoint::GrpcHealthWatch
        )
    }

    /// Returns true if the response is a stream.
    pub(super) fn is_stream(&self) -> bool {
        match &self.endpoint {
            Endpoint::Rest(Resolution::Matched(_)) | Endpoint::Grpc => self.spec.server_streaming,
            Endpoint::Reflection | Endpoint::GrpcHealthWatch => true,
            _ => false,
        }
    }
}

/// Paths of probes, which need no token.
pub(crate) const HEALTHZ: &str = "/healthz";
/// See [`HEALTHZ`].
pub(crate) const READYZ: &str = "/readyz";
/// Path prefix of the health service.
const HEALTH: &str = "/grpc.health.v1.";
/// Path of its stream.
const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// Path prefixes of reflection.
const REFLECTION: [&str; 2] = ["/grpc.reflection.v1.", "/grpc.reflection.v1alpha."];
/// Path of the metrics, which need no token.
pub(crate) const METRICS: &str = "/metrics";

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
pub(super) fn unauthenticated_method(path: &str) -> Option<&'static str> {
    let name = path.strip_prefix('/')?;
    UNAUTHENTICATED_METHODS
        .into_iter()
        .find(|known| *known == name)
}

/// Returns a path that needs no token. `None` for other paths.
pub(super) fn unauthenticated_path(path: &str) -> Option<&'static str> {
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
pub(super) struct RouteTable {
    /// Routes of REST.
    pub(super) rest: RestRouter,
    /// True if metrics are served here.
    pub(super) has_metrics: bool,
}

pub(super) async fn layer(
    State(table): State<RouteTable>,
    mut request: Request,
    next: Next,
) -> Response {
    let target = table.resolve(&request);
    request.extensions_mut().insert(target);
    next.run(request).await
}

impl RouteTable {
    /// Returns the target of a request.
    fn resolve(&self, request: &Request) -> RouteTarget {
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
