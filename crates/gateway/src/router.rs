//! Which route a path belongs to.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};

use crate::face::Face;
use crate::percent;
use crate::refusal::{Refusal, body_refusal};
use crate::route::{RestCall, Route};
use crate::spec::{Binding, MethodSpec, RouteSpec, Segment};

/// All routes of a server.
#[derive(Debug, Clone)]
pub struct RestRouter {
    root: Arc<Node>,
    routes: Arc<[Route]>,
    unknown: &'static MethodSpec,
}

/// One place in the tree of templates. Literals beat the variable.
#[derive(Debug, Default)]
struct Node {
    literals: BTreeMap<&'static str, Node>,
    variable: Option<Box<Node>>,
    routes: Vec<(&'static str, usize)>,
    /// How errors look below this place.
    family: Option<&'static MethodSpec>,
}

/// What a method and a path lead to. It can sit in a request's extensions, so
/// that outer layers know the route before anything runs.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// A route.
    Matched(Matched),
    /// Other HTTP methods have a route here.
    MethodNotAllowed {
        /// Those methods, as the `Allow` header lists them.
        allow: String,
        /// How the path's errors look.
        method: &'static MethodSpec,
    },
    /// Nothing is here.
    NotFound {
        /// How errors look on the nearest known paths.
        method: &'static MethodSpec,
    },
}

impl Resolution {
    /// What errors of the request look like.
    pub fn method(&self) -> &'static MethodSpec {
        match self {
            Self::Matched(matched) => matched.spec().method,
            Self::MethodNotAllowed { method, .. } | Self::NotFound { method } => method,
        }
    }
}

impl From<Matched> for Resolution {
    fn from(matched: Matched) -> Self {
        Self::Matched(matched)
    }
}

/// A route and the values of its variables.
#[derive(Debug, Clone)]
pub struct Matched {
    route: Route,
    variables: Vec<String>,
}

impl Matched {
    /// What the declaration says of the route.
    pub fn spec(&self) -> &'static RouteSpec {
        self.route.spec()
    }

    /// The decoded values of the template's variables, in order.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }
}

impl RestRouter {
    /// Puts routes together. Of two that match the same, the first wins; the
    /// generator refuses such declarations. `unknown` says how errors look on
    /// paths that are near no route.
    pub fn new(routes: Vec<Route>, unknown: &'static MethodSpec) -> Self {
        let mut root = Node::default();
        for (index, route) in routes.iter().enumerate() {
            let spec = route.spec();
            let mut node = &mut root;
            for segment in spec.segments {
                node = match segment {
                    Segment::Literal(text) => node.literals.entry(text).or_default(),
                    Segment::Variable => node.variable.get_or_insert_default(),
                };
                node.family.get_or_insert(spec.family);
            }
            node.routes.push((spec.http_method, index));
        }
        Self {
            root: Arc::new(root),
            routes: routes.into(),
            unknown,
        }
    }

    /// Finds what a method and a path (without its query) lead to.
    pub fn resolve(&self, method: &Method, path: &str) -> Resolution {
        let mut walk = Walk {
            method: method.as_str(),
            ..Walk::default()
        };
        let segments: Option<Vec<_>> = path
            .strip_prefix('/')
            .map(|rest| {
                rest.split('/')
                    .map(|part| percent::decode(part, false))
                    .collect()
            })
            .unwrap_or_default();
        let found = segments
            .as_deref()
            .and_then(|parts| walk.descend(&self.root, parts, 0));
        if let Some(route) = found.and_then(|index| self.routes.get(index)) {
            return Resolution::Matched(Matched {
                route: route.clone(),
                variables: walk.variables,
            });
        }
        let method = walk.nearest.unwrap_or(self.unknown);
        if walk.allowed.is_empty() {
            return Resolution::NotFound { method };
        }
        walk.allowed.sort_unstable();
        walk.allowed.dedup();
        Resolution::MethodNotAllowed {
            allow: walk.allowed.join(", "),
            method,
        }
    }

    /// Answers a request that was resolved before; a [`Matched`] will do too.
    pub async fn call<B>(
        &self,
        resolution: impl Into<Resolution>,
        request: Request<B>,
    ) -> Response<Full<Bytes>>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let resolution = resolution.into();
        let spec = resolution.method();
        let answer = match resolution {
            Resolution::Matched(matched) => answer(matched, request).await,
            Resolution::MethodNotAllowed { allow, .. } => Err(Refusal::method_not_allowed(&allow)),
            Resolution::NotFound { .. } => Err(Refusal::not_found()),
        };
        answer.unwrap_or_else(|refusal| refusal.render(Face::Rest, spec))
    }
}

async fn answer<B>(matched: Matched, request: Request<B>) -> Result<Response<Full<Bytes>>, Refusal>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    let spec = matched.spec();
    let body = match spec.binding {
        Binding::Query => Bytes::new(),
        Binding::Body => match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) => return Err(body_refusal(&*error.into())),
        },
    };
    let call = RestCall {
        spec,
        parts,
        variables: matched.variables,
        body,
    };
    matched.route.answer(call).await
}

/// One search through the tree.
#[derive(Default)]
struct Walk<'a> {
    method: &'a str,
    variables: Vec<String>,
    allowed: Vec<&'static str>,
    nearest: Option<&'static MethodSpec>,
    nearest_depth: usize,
}

impl Walk<'_> {
    /// The route for the remaining segments. On the way it notes the deepest known
    /// place and the methods of routes that match but for the method.
    fn descend<S: AsRef<str>>(&mut self, node: &Node, rest: &[S], depth: usize) -> Option<usize> {
        if depth > self.nearest_depth {
            self.nearest = node.family;
            self.nearest_depth = depth;
        }
        let Some((segment, rest)) = rest.split_first() else {
            let found = node
                .routes
                .iter()
                .find(|(method, _)| *method == self.method);
            if found.is_none() {
                self.allowed
                    .extend(node.routes.iter().map(|(method, _)| *method));
            }
            return found.map(|(_, index)| *index);
        };
        let segment = segment.as_ref();
        if let Some(literal) = node.literals.get(segment)
            && let Some(found) = self.descend(literal, rest, depth + 1)
        {
            return Some(found);
        }
        let variable = node.variable.as_ref().filter(|_| !segment.is_empty())?;
        self.variables.push(segment.to_owned());
        let found = self.descend(variable, rest, depth + 1);
        if found.is_none() {
            self.variables.pop();
        }
        found
    }
}
