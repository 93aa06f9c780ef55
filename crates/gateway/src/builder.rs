//! What a router is put together of.

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

/// How errors look of a router that has no routes, and is told nothing else.
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

/// Puts a [`RestRouter`] together.
#[derive(Debug)]
pub struct RestRouterBuilder {
    routes: Vec<Route>,
    unknown: Option<&'static MethodSpec>,
    settings: Settings,
    types: Vec<&'static [AnyType]>,
}

/// Two routes match the same requests.
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
            "{}: the route {} {} cannot be told apart from {}'s",
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

    /// Adds the routes of a service, which its generated function makes.
    #[must_use]
    pub fn routes(mut self, routes: impl IntoIterator<Item = Route>) -> Self {
        self.routes.extend(routes);
        self
    }

    /// Says how errors look on paths that are near no route: as those of this
    /// service, or as those of the first route's when none is given.
    #[must_use]
    pub fn unknown(mut self, service: &'static MethodSpec) -> Self {
        self.unknown = Some(service);
        self
    }

    /// Adds types that an `Any` and an error's details may hold: the generated
    /// `TYPES` of a package.
    #[must_use]
    pub fn types(mut self, types: &'static [AnyType]) -> Self {
        self.types.push(types);
        self
    }

    /// Says how JSON is read and written, such as without default values. What
    /// [`types`](Self::types) and
    /// [`refuse_unknown_members`](Self::refuse_unknown_members) say is added,
    /// whichever comes first; what the options say of unknown members holds for
    /// bodies alone.
    #[must_use]
    pub fn json(mut self, options: JsonOptions) -> Self {
        self.settings.json = options;
        self
    }

    /// Refuses members of bodies and query parameters that lead to no field, and query
    /// parameters of fields that the body gives, with 400, the name and the nearest one that is
    /// known; by default they are ignored.
    #[must_use]
    pub fn refuse_unknown_members(mut self) -> Self {
        self.settings.refuses_unknown = true;
        self
    }

    /// Says how a path variable of several segments, such as `{name=**}`, is decoded. By default,
    /// and with `true`, each escape is decoded except that of a slash, as the comments of
    /// `google/api/http.proto` have it for `HttpRule`. With `false` every escaped character that
    /// RFC 6570 reserves (`:/?#[]@!$&'()*+,;=`) stays escaped, as Envoy's transcoder does where its
    /// own `fully_decode_reserved_expansion` is not set.
    #[must_use]
    pub fn fully_decode_reserved_expansion(mut self, fully: bool) -> Self {
        self.settings.keep_in_segments = if fully { Keep::Slash } else { Keep::Reserved };
        self
    }

    /// The largest body that is read, before and after decompression; 4 MiB when not given.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_body_bytes = bytes;
        self
    }

    /// Never compresses a response, for servers behind something that does.
    /// Compressed requests are read all the same.
    #[must_use]
    pub fn without_compression(mut self) -> Self {
        self.settings.compresses = false;
        self
    }

    /// Makes the router.
    ///
    /// # Errors
    ///
    /// Two routes match the same requests. Among services that were generated
    /// together the generator sees to it that there are none.
    pub fn build(self) -> Result<RestRouter, AmbiguousRoute> {
        let mut root = Node::default();
        for (place, route) in self.routes.iter().enumerate() {
            if let Err(known) = root.insert(route.spec(), place)
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
        if settings.refuses_unknown {
            settings.json = settings.json.refuse_unknown_members();
        }
        let first = self.routes.first().map(|route| route.spec().family);
        Ok(RestRouter {
            root: Arc::new(root),
            routes: self.routes.into(),
            unknown: self.unknown.or(first).unwrap_or(&UNDECLARED),
            settings: Arc::new(settings),
        })
    }
}
