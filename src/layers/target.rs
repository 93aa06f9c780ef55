//! What a call is for, found once and before anything else needs it.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use keyward_gateway::{Face, MethodSpec, Resolution, RestRouter};

use crate::docs::Description;
use crate::proto;

/// What a call is for, in the request's extensions.
#[derive(Clone)]
pub(crate) struct Target {
    /// The protocol that the caller speaks.
    pub(crate) face: Face,
    /// The method, or the one whose error bodies unknown paths share.
    pub(crate) spec: &'static MethodSpec,
    /// Where the call goes.
    pub(crate) kind: Kind,
}

/// Where a call goes.
#[derive(Clone)]
pub(crate) enum Kind {
    /// To REST: a route, or a refusal.
    Rest(Resolution),
    /// To a method of one of our services.
    Grpc,
    /// To a probe, or to the service that tells our health; neither needs a token.
    Open,
    /// To the stream that tells changes of our health, which needs no token either.
    Watch,
    /// To what the process measures, which needs no token either.
    Metrics,
    /// To reflection, which needs no token either.
    Reflection,
    /// To a description of the API, which needs no token either.
    Description(Description),
    /// Nowhere.
    Unknown,
}

impl Target {
    /// What is known of a call that nothing has looked at.
    pub(crate) fn unknown() -> Self {
        Self {
            face: Face::Rest,
            spec: proto::UNKNOWN,
            kind: Kind::Unknown,
        }
    }

    /// Whether the call needs a token. Unknown paths need none, so that they look the same with and
    /// without one.
    pub(crate) fn needs_token(&self) -> bool {
        match &self.kind {
            // Who asks for the methods of a path is not told who may call them.
            Kind::Rest(
                Resolution::NotFound { .. }
                | Resolution::Options { .. }
                | Resolution::Malformed { .. }
                | Resolution::UnsupportedGrpc { .. },
            )
            | Kind::Open
            | Kind::Watch
            | Kind::Metrics
            | Kind::Reflection
            | Kind::Description(_)
            | Kind::Unknown => false,
            Kind::Rest(_) | Kind::Grpc => true,
        }
    }

    /// Whether the call asks how we are. It is let in whatever else there is to do, or who sees to us
    /// would end us for being busy.
    pub(super) fn is_probe(&self) -> bool {
        matches!(self.kind, Kind::Open | Kind::Watch)
    }

    /// Whether the call is answered with a stream.
    pub(super) fn is_stream(&self) -> bool {
        match &self.kind {
            Kind::Rest(Resolution::Matched(_)) | Kind::Grpc => self.spec.server_streaming,
            Kind::Reflection | Kind::Watch => true,
            _ => false,
        }
    }
}

/// The paths of probes, which answer without a token.
pub(crate) const HEALTHZ: &str = "/healthz";
/// See [`HEALTHZ`].
pub(crate) const READYZ: &str = "/readyz";
/// How the paths of the service begin that tells our health.
const HEALTH: &str = "/grpc.health.v1.";
/// The path of its stream.
const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// How the paths of reflection begin.
const REFLECTION: [&str; 2] = ["/grpc.reflection.v1.", "/grpc.reflection.v1alpha."];
/// The path of what the process measures, which answers without a token.
pub(crate) const METRICS: &str = "/metrics";

/// The methods of those services.
const OPEN_METHODS: [&str; 4] = [
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
/// The paths that no proto file declares.
const OPEN_PATHS: [&str; 5] = [HEALTHZ, READYZ, METRICS, "/openapi.json", "/docs"];

/// The name of a method that answers without a token, if it is one of those.
pub(super) fn open_method(path: &str) -> Option<&'static str> {
    let name = path.strip_prefix('/')?;
    OPEN_METHODS.into_iter().find(|known| *known == name)
}

/// A path that answers without a token, if it is one of those.
pub(super) fn open_path(path: &str) -> Option<&'static str> {
    OPEN_PATHS.into_iter().find(|known| *known == path)
}

static METHODS: LazyLock<HashMap<&'static str, &'static MethodSpec>> = LazyLock::new(|| {
    proto::METHODS
        .iter()
        .map(|spec| (spec.grpc_path, *spec))
        .collect()
});

/// What is found where.
#[derive(Clone)]
pub(super) struct Map {
    /// The routes of REST.
    pub(super) rest: RestRouter,
    /// Whether what the process measures is here too.
    pub(super) has_metrics: bool,
}

pub(super) async fn layer(State(map): State<Map>, mut request: Request, next: Next) -> Response {
    let target = find(&map, &request);
    request.extensions_mut().insert(target);
    next.run(request).await
}

fn find(map: &Map, request: &Request) -> Target {
    let path = request.uri().path();
    // gRPC knows no other verb: whoever sends one speaks HTTP.
    let posts = request.method() == Method::POST;
    let face = if posts {
        Face::of(request.headers())
    } else {
        Face::Rest
    };
    let kind = match METHODS.get(path) {
        known if posts && Face::is_unsupported_grpc(request.headers()) => {
            let method = known.copied().unwrap_or(proto::UNKNOWN);
            Kind::Rest(Resolution::UnsupportedGrpc { method })
        }
        Some(spec) if face != Face::Rest => {
            return Target {
                face,
                spec,
                kind: Kind::Grpc,
            };
        }
        Some(spec) if !posts => {
            let allow = "OPTIONS, POST".to_owned();
            let method = *spec;
            Kind::Rest(match *request.method() {
                Method::OPTIONS => Resolution::Options { allow, method },
                _ => Resolution::MethodNotAllowed { allow, method },
            })
        }
        _ if face != Face::Rest && path == WATCH => Kind::Watch,
        _ if face != Face::Rest && path.starts_with(HEALTH) => Kind::Open,
        _ if face != Face::Rest && REFLECTION.iter().any(|begin| path.starts_with(begin)) => {
            Kind::Reflection
        }
        _ if face != Face::Rest => Kind::Unknown,
        _ if path == HEALTHZ || path == READYZ => Kind::Open,
        _ if path == METRICS && map.has_metrics => Kind::Metrics,
        _ => match Description::at(path) {
            Some(description) => Kind::Description(description),
            None => Kind::Rest(map.rest.resolve(request.method(), path)),
        },
    };
    let spec = match &kind {
        Kind::Rest(resolution) => resolution.method(),
        _ => proto::UNKNOWN,
    };
    Target { face, spec, kind }
}
