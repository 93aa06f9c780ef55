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
    /// To something that needs no token: a probe, health or reflection.
    Open,
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
            Kind::Rest(Resolution::NotFound { .. } | Resolution::Options { .. })
            | Kind::Open
            | Kind::Description(_)
            | Kind::Unknown => false,
            Kind::Rest(_) | Kind::Grpc => true,
        }
    }
}

/// The paths of probes, which answer without a token.
pub(crate) const HEALTHZ: &str = "/healthz";
/// See [`HEALTHZ`].
pub(crate) const READYZ: &str = "/readyz";
/// How the paths of services begin that answer without a token.
const OPEN_SERVICES: [&str; 3] = [
    "/grpc.health.v1.",
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
    let path = request.uri().path();
    // gRPC knows no other verb: whoever sends one speaks HTTP.
    let posts = request.method() == Method::POST;
    let face = if posts {
        Face::of(request.headers())
    } else {
        Face::Rest
    };
    let kind = match METHODS.get(path) {
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
        _ if face != Face::Rest && OPEN_SERVICES.iter().any(|open| path.starts_with(open)) => {
            Kind::Open
        }
        _ if face != Face::Rest => Kind::Unknown,
        _ if path == HEALTHZ || path == READYZ => Kind::Open,
        _ => match Description::at(path) {
            Some(description) => Kind::Description(description),
            None => Kind::Rest(rest.resolve(request.method(), path)),
        },
    };
    let spec = match &kind {
        Kind::Rest(resolution) => resolution.method(),
        _ => proto::UNKNOWN,
    };
    Target { face, spec, kind }
}
