//! What a call is for, found once and before anything else needs it.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use keyward_gateway::{Face, MethodSpec, Resolution, RestRouter};

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
    /// To something that needs no token: a probe, health or reflection.
    Open,
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
            Kind::Rest(Resolution::NotFound { .. }) | Kind::Open | Kind::Unknown => false,
            Kind::Rest(_) | Kind::Grpc => true,
        }
    }
}

/// The paths of probes, which answer without a token.
pub(crate) const HEALTHZ: &str = "/healthz";
/// See [`HEALTHZ`].
pub(crate) const READYZ: &str = "/readyz";
/// The services that answer without a token.
const OPEN_SERVICES: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.",
    "/grpc.reflection.v1alpha.",
];

static METHODS: LazyLock<HashMap<&'static str, &'static MethodSpec>> = LazyLock::new(|| {
    proto::METHODS
        .iter()
        .map(|spec| (spec.grpc_path, *spec))
        .collect()
});

pub(super) async fn layer(
    State(rest): State<RestRouter>,
    mut request: Request,
    next: Next,
) -> Response {
    let target = find(&rest, &request);
    request.extensions_mut().insert(target);
    next.run(request).await
}

fn find(rest: &RestRouter, request: &Request) -> Target {
    let face = Face::of(request.headers());
    let path = request.uri().path();
    if face != Face::Rest {
        return match METHODS.get(path) {
            Some(spec) => Target {
                face,
                spec,
                kind: Kind::Grpc,
            },
            None if OPEN_SERVICES
                .iter()
                .any(|service| path.starts_with(service)) =>
            {
                Target {
                    face,
                    spec: proto::UNKNOWN,
                    kind: Kind::Open,
                }
            }
            None => Target {
                face,
                ..Target::unknown()
            },
        };
    }
    if path == HEALTHZ || path == READYZ {
        return Target {
            face,
            spec: proto::UNKNOWN,
            kind: Kind::Open,
        };
    }
    let resolution = rest.resolve(request.method(), path);
    Target {
        face,
        spec: resolution.method(),
        kind: Kind::Rest(resolution),
    }
}
