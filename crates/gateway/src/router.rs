//! Routes requests by path and method.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use tonic::Status;

use crate::body::Body;
use crate::builder::RestRouterBuilder;
use crate::compression::{self, Accepted, Coding};
use crate::protocol::Protocol;
use crate::rejection::{Rejection, allowed};
use crate::route::{RestCall, Route};
use crate::settings::Settings;
use crate::spec::{BodyBinding, MethodSpec, RouteSpec};
use crate::trie::{self, Node};

/// All routes of a server. As a [`tower_service::Service`] it handles every request; gRPC requests
/// get UNIMPLEMENTED. Layers that need the route before the handler runs call
/// [`RestRouter::resolve`] and [`RestRouter::call`] themselves.
#[derive(Debug, Clone)]
pub struct RestRouter {
    pub(crate) root: Arc<Node>,
    pub(crate) routes: Arc<[Route]>,
    pub(crate) unknown: &'static MethodSpec,
    pub(crate) settings: Arc<Settings>,
}

/// Result of looking up a method and a path. It can be stored in a request's extensions, so that
/// outer layers have the route before the handler runs.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// A route.
    Matched(Matched),
    /// OPTIONS request for the methods of this path.
    Options {
        /// Methods of the path, as the `Allow` header lists them; empty for the whole server.
        allow: String,
        /// Error format of the path.
        method: &'static MethodSpec,
    },
    /// Only other HTTP methods have a route here.
    MethodNotAllowed {
        /// Methods of the path, as the `Allow` header lists them.
        allow: String,
        /// Error format of the path.
        method: &'static MethodSpec,
    },
    /// The path has a malformed escape.
    Malformed {
        /// Error format of the nearest known paths.
        method: &'static MethodSpec,
    },
    /// The content type is a form of gRPC that is not supported, such as gRPC with JSON.
    UnsupportedGrpc {
        /// Error format of the path.
        method: &'static MethodSpec,
    },
    /// The path has no route.
    NotFound {
        /// Error format of the nearest known paths.
        method: &'static MethodSpec,
    },
}

impl Resolution {
    /// Returns the error format of the request.
    pub fn method(&self) -> &'static MethodSpec {
        match self {
            Self::Matched(matched) => matched.spec().method,
            Self::Options { method, .. }
            | Self::MethodNotAllowed { method, .. }
            | Self::Malformed { method }
            | Self::UnsupportedGrpc { method }
            | Self::NotFound { method } => method,
        }
    }
}

impl From<Matched> for Resolution {
    fn from(matched: Matched) -> Self {
        Self::Matched(matched)
    }
}

/// Route and the values of its variables.
#[derive(Debug, Clone)]
pub struct Matched {
    route: Route,
    variables: Arc<[String]>,
}

impl Matched {
    /// Returns the declaration of the route.
    pub fn spec(&self) -> &'static RouteSpec {
        self.route.spec()
    }

    /// Returns the values of the template's variables, in order.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }
}

impl RestRouter {
    /// Returns a builder without routes.
    pub fn builder() -> RestRouterBuilder {
        RestRouterBuilder::new()
    }

    /// Looks up a method and a path (without its query).
    ///
    /// HEAD resolves to a route for GET and OPTIONS to the list of methods, unless a route is
    /// declared for them. OPTIONS of `*` applies to the server as a whole (RFC 9110, 9.3.7), which
    /// has no such list.
    pub fn resolve(&self, method: &Method, path: &str) -> Resolution {
        if path == "*" && method == Method::OPTIONS {
            return Resolution::Options {
                allow: String::new(),
                method: self.unknown,
            };
        }
        let Some(mut segments) = trie::split(path) else {
            return Resolution::NotFound {
                method: self.unknown,
            };
        };
        if trie::is_malformed(&segments) {
            let service_defaults = self.root.near(&mut segments).service_defaults;
            return Resolution::Malformed {
                method: service_defaults.unwrap_or(self.unknown),
            };
        }
        let found = self.root.find(method.as_str(), &mut segments);
        if let Some(route) = found.and_then(|index| self.routes.get(index)) {
            let keep = self.settings.keep_in_segments;
            return Resolution::Matched(Matched {
                variables: trie::values(route.spec(), &segments, keep).into(),
                route: route.clone(),
            });
        }
        let near = self.root.near(&mut segments);
        let service_defaults = near.service_defaults.unwrap_or(self.unknown);
        match near.allow_header() {
            None => Resolution::NotFound {
                method: service_defaults,
            },
            Some(allow) if method == Method::OPTIONS => Resolution::Options {
                allow,
                method: service_defaults,
            },
            Some(allow) => Resolution::MethodNotAllowed {
                allow,
                method: service_defaults,
            },
        }
    }

    /// Handles a request that was resolved before; also accepts a [`Matched`].
    pub async fn call<B>(
        &self,
        resolution: impl Into<Resolution>,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let resolution = resolution.into();
        let spec = resolution.method();
        let is_head = request.method() == Method::HEAD;
        let accepted = Accepted::of(request.headers());
        let result = match resolution {
            Resolution::Matched(matched) => self.call_route(matched, request).await,
            Resolution::Options { allow, .. } => Ok(allowed(&allow)),
            Resolution::MethodNotAllowed { allow, .. } => {
                Err(Rejection::method_not_allowed(&allow))
            }
            Resolution::Malformed { .. } => Err(Rejection::malformed_path()),
            Resolution::UnsupportedGrpc { .. } => Err(Rejection::unsupported_grpc()),
            Resolution::NotFound { .. } => Err(Rejection::not_found()),
        };
        let mut response = result.unwrap_or_else(|rejection| self.render(rejection, spec));
        if self.settings.compresses {
            compression::compress(&accepted, &mut response);
        }
        if is_head {
            take_body(&mut response);
        }
        response
    }

    /// Renders a rejection for REST clients as this router renders its own, including details of its
    /// types.
    pub fn render(&self, rejection: Rejection, spec: &MethodSpec) -> Response<Body> {
        rejection.render_with(Protocol::Rest, spec, &self.settings.json)
    }

    /// Returns the response for a gRPC method that no server next to this router has.
    fn unknown_method(&self, protocol: Protocol) -> Response<Body> {
        let rejection = Rejection::new(Status::unimplemented("Unknown method"));
        rejection.render_with(protocol, self.unknown, &self.settings.json)
    }

    /// Reads the body and calls the route.
    async fn call_route<B>(
        &self,
        matched: Matched,
        request: Request<B>,
    ) -> Result<Response<Body>, Rejection>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let spec = matched.spec();
        let body = match spec.body {
            BodyBinding::None => Bytes::new(),
            BodyBinding::All | BodyBinding::Member(_) => {
                let coding = Coding::of(&parts.headers)?;
                compression::read(body, coding, self.settings.max_body_bytes).await?
            }
        };
        let call = RestCall {
            spec,
            parts,
            variables: matched.variables,
            body,
            settings: Arc::clone(&self.settings),
        };
        matched.route.call(call).await
    }
}

impl<B> tower_service::Service<Request<B>> for RestRouter
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let router = self.clone();
        Box::pin(async move {
            // gRPC uses POST only: any other method is plain HTTP.
            if *request.method() == Method::POST {
                if Protocol::is_unsupported_grpc(request.headers()) {
                    let method = router.unknown;
                    let resolution = Resolution::UnsupportedGrpc { method };
                    return Ok(RestRouter::call(&router, resolution, request).await);
                }
                let protocol = Protocol::of(request.headers());
                if protocol != Protocol::Rest {
                    return Ok(router.unknown_method(protocol));
                }
            }
            let resolution = router.resolve(request.method(), request.uri().path());
            Ok(RestRouter::call(&router, resolution, request).await)
        })
    }
}

/// Removes the body for HEAD and keeps the headers and the length that the body would have.
fn take_body(response: &mut Response<Body>) {
    let body = std::mem::take(response.body_mut());
    let length = body.size_hint().exact();
    if let Some(length) = length.filter(|_| response.status() != StatusCode::NO_CONTENT) {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}
