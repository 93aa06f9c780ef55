//! Builder of the router.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::json::{AnyType, JsonOptions};
use crate::percent::Keep;
use crate::route::Route;
use crate::router::RestRouter;
use crate::settings::Settings;
use crate::spec::{MethodSpec, RouteSpec};
use crate::trie::Node;

/// Error format of a router that has no routes and no other setting.
pub(crate) static UNDECLARED: MethodSpec = MethodSpec {
    service: "",
    method: "",
    grpc_path: "",
    success_status: 200,
    error_body: None,
    error_domain: "",
    errors: &[],
    server_streaming: false,
};

/// Builds a [`RestRouter`].
#[derive(Debug)]
pub struct RestRouterBuilder {
    routes: Vec<Route>,
    unknown: Option<&'static MethodSpec>,
    settings: Settings,
    types: Vec<&'static [AnyType]>,
}

/// Error for two routes that match the same requests.
#[derive(Debug, Clone, Copy)]
pub struct AmbiguousRoute {
    route: &'static RouteSpec,
    other: &'static RouteSpec,
}

impl fmt::Display for AmbiguousRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |spec: &RouteSpec| format!("{}.{}", spec.method.service, spec.method.method);
        write!(
            f,
            "{}: the route {} {} matches the same requests as {}'s",
            name(self.route),
            self.route.http_method,
            self.route.template,
            name(self.other),
        )
    }
}

impl Error for AmbiguousRoute {}

impl RestRouterBuilder {
    pub(crate) fn new() -> Self {
        Self {
            routes: Vec::new(),
            unknown: None,
            settings: Settings::default(),
            types: Vec::new(),
        }
    }

    /// Adds the routes of a service, which its generated function returns.
    #[must_use]
    pub fn routes(mut self, routes: impl IntoIterator<Item = Route>) -> Self {
        self.routes.extend(routes);
        self
    }

    /// Sets the error format for paths that are not near a route: the format of this service. The
    /// default is the format of the first route's service.
    #[must_use]
    pub fn unknown(mut self, service: &'static MethodSpec) -> Self {
        self.unknown = Some(service);
        self
    }

    /// Adds types that an `Any` and the details of an error may contain: the generated `TYPES` of a
    /// package.
    #[must_use]
    pub fn types(mut self, types: &'static [AnyType]) -> Self {
        self.types.push(types);
        self
    }

    /// Sets the options for reading and writing JSON, such as without default values.
    /// [`types`](Self::types) and [`reject_unknown_members`](Self::reject_unknown_members) add to
    /// the options, in any order. The option for unknown members applies to bodies only.
    #[must_use]
    pub fn json(mut self, options: JsonOptions) -> Self {
        self.settings.json = options;
        self
    }

    /// Rejects with 400 members of bodies and query parameters that lead to no field, and query
    /// parameters of fields that the body sets. The error has the name and the nearest known name.
    /// By default they are ignored.
    #[must_use]
    pub fn reject_unknown_members(mut self) -> Self {
        self.settings.rejects_unknown = true;
        self
    }

    /// Sets how a path variable of several segments, such as `{name=**}`, is decoded. By default,
    /// and with `true`, each escape is decoded except that of a slash, as the comments of
    /// `google/api/http.proto` specify for `HttpRule`. With `false` every escaped character that
    /// RFC 6570 reserves (`:/?#[]@!$&'()*+,;=`) stays escaped, as in Envoy's transcoder when its
    /// own `fully_decode_reserved_expansion` is not set.
    #[must_use]
    pub fn fully_decode_reserved_expansion(mut self, fully: bool) -> Self {
        self.settings.keep_in_segments = if fully { Keep::Slash } else { Keep::Reserved };
        self
    }

    /// Sets the maximum size of a request body, before and after decompression. The default is 4
    /// MiB.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_body_bytes = bytes;
        self
    }

    /// Disables compression of responses, for servers behind a proxy that compresses. Compressed
    /// requests are still accepted.
    #[must_use]
    pub fn without_compression(mut self) -> Self {
        self.settings.compresses = false;
        self
    }

    /// Builds the router.
    ///
    /// # Errors
    ///
    /// Two routes match the same requests. The generator ensures that services generated together
    /// have no such routes.
    pub fn build(self) -> Result<RestRouter, AmbiguousRoute> {
        let mut root = Node::default();
        for (index, route) in self.routes.iter().enumerate() {
            if let Err(known) = root.insert(route.spec(), index)
                && let Some(other) = self.routes.get(known)
            {
                return Err(AmbiguousRoute {
                    route: route.spec(),
                    other: other.spec(),
                });
            }
        }
        let mut settings = self.settings;
        let types = self.types.into_iter();
        settings.json = types.fold(settings.json, JsonOptions::with_types);
        if settings.rejects_unknown {
            settings.json = settings.json.reject_unknown_members();
        }
        let first = self
            .routes
            .first()
            .map(|route| route.spec().service_defaults);
        Ok(RestRouter {
            root: Arc::new(root),
            routes: self.routes.into(),
            unknown: self.unknown.or(first).unwrap_or(&UNDECLARED),
            settings: Arc::new(settings),
        })
    }
}
