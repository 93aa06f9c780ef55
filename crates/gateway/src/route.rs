//! Routes: an HTTP binding and its handler.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Response};
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::bind::{bind_path, bind_query};
use crate::body::Body;
use crate::json::{self, JsonMessage};
use crate::mask::{fill_mask, masked};
use crate::pages::{self, PagedRequest, PagedResponse};
use crate::rejection::Rejection;
use crate::reply::reply;
use crate::settings::Settings;
use crate::spec::{BodyBinding, RouteSpec};
use crate::stream::{self, Format};

type Handler = dyn Fn(RestCall) -> Responding + Send + Sync;

/// Future of the response to a REST call.
type Responding = Pin<Box<dyn Future<Output = Result<Response<Body>, Rejection>> + Send>>;

/// HTTP binding of a method and its handler.
#[derive(Clone)]
pub struct Route {
    spec: &'static RouteSpec,
    handler: Arc<Handler>,
}

impl Route {
    /// Creates a route of a method with one request and one response. `call` calls the method
    /// inside the process.
    pub fn unary<S, Req, Res, F, Fut>(spec: &'static RouteSpec, service: Arc<S>, call: F) -> Self
    where
        S: Send + Sync + 'static,
        Req: JsonMessage + Send,
        Res: JsonMessage,
        F: Fn(Arc<S>, tonic::Request<Req>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<tonic::Response<Res>, Status>> + Send + 'static,
    {
        let handler = move |rest: RestCall| {
            let settings = rest.settings.clone();
            let called = rest
                .into_request::<Req>()
                .map(|request| call(service.clone(), request));
            let response = async move {
                let response = called?.await?;
                reply(spec, response, &settings)
            };
            Box::pin(response) as Responding
        };
        Self {
            spec,
            handler: Arc::new(handler),
        }
    }

    /// Creates a route of a method with one request and a stream of responses, which is sent as it
    /// arrives. Dropping the response drops the stream.
    pub fn server_streaming<S, Req, Res, St, F, Fut>(
        spec: &'static RouteSpec,
        service: Arc<S>,
        call: F,
    ) -> Self
    where
        S: Send + Sync + 'static,
        Req: JsonMessage + Send,
        Res: JsonMessage + 'static,
        St: Stream<Item = Result<Res, Status>> + Send + 'static,
        F: Fn(Arc<S>, tonic::Request<Req>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<tonic::Response<St>, Status>> + Send + 'static,
    {
        let handler = move |rest: RestCall| {
            let settings = rest.settings.clone();
            let format = Format::accepted(&rest.parts.headers);
            let called = rest
                .into_request::<Req>()
                .map(|request| call(service.clone(), request));
            let response = async move {
                let response = called?.await?;
                stream::reply(spec, format, settings, response).await
            };
            Box::pin(response) as Responding
        };
        Self {
            spec,
            handler: Arc::new(handler),
        }
    }

    /// Creates a route of a method whose list is paginated; the REST response is the complete list.
    pub fn whole_list<S, Req, Res, F, Fut>(
        spec: &'static RouteSpec,
        service: Arc<S>,
        call: F,
    ) -> Self
    where
        S: Send + Sync + 'static,
        Req: PagedRequest + 'static,
        Res: PagedResponse + 'static,
        F: Fn(Arc<S>, tonic::Request<Req>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<tonic::Response<Res>, Status>> + Send + 'static,
    {
        let call = Arc::new(call);
        let handler = move |rest: RestCall| {
            let settings = rest.settings.clone();
            let (service, call) = (service.clone(), call.clone());
            let request = rest.into_request::<Req>();
            let response = async move {
                let caller = pages::Caller::new(request?, move |request| {
                    Box::pin(call(service.clone(), request))
                });
                pages::whole_list(spec, settings, caller).await
            };
            Box::pin(response) as Responding
        };
        Self {
            spec,
            handler: Arc::new(handler),
        }
    }

    /// Returns the declaration of the route.
    pub fn spec(&self) -> &'static RouteSpec {
        self.spec
    }

    /// Calls the method and renders its result.
    pub(crate) fn call(&self, call: RestCall) -> Responding {
        (self.handler)(call)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("spec", self.spec)
            .finish_non_exhaustive()
    }
}

/// REST request whose route is known and whose body has been read.
pub(crate) struct RestCall {
    pub(crate) spec: &'static RouteSpec,
    pub(crate) parts: http::request::Parts,
    pub(crate) variables: Arc<[String]>,
    pub(crate) body: Bytes,
    pub(crate) settings: Arc<Settings>,
}

impl RestCall {
    /// Builds the request of the method. Headers become metadata; extensions are kept. The path
    /// takes precedence over body and query. A PATCH without a mask gets one with the members of
    /// its body.
    ///
    /// # Errors
    ///
    /// A rejection that names the invalid member or parameter.
    fn into_request<M: JsonMessage>(mut self) -> Result<tonic::Request<M>, Rejection> {
        let settings = &*self.settings;
        let domain = self.spec.method.error_domain;
        let malformed = |error: json::DecodeError| error.into_status("JSON_MALFORMED", domain);
        let mut message = M::default();
        if !self.body.is_empty() && self.spec.body != BodyBinding::None {
            if !is_json(&self.parts.headers) {
                return Err(Rejection::unsupported_media_type());
            }
            let read = match self.spec.body {
                BodyBinding::Member(member) => {
                    json::decode_member_into(&mut message, member, &self.body, &settings.json)
                }
                _ => {
                    let masked = masked(M::INFO, self.spec);
                    json::read_body(&mut message, &self.body, &settings.json, masked)
                }
            };
            read.map_err(malformed)?;
        }
        if let Some(query) = self.parts.uri.query() {
            bind_query(&mut message, query, self.spec, settings)?;
        }
        fill_mask(&mut message, &self.parts.method, &self.body, self.spec).map_err(malformed)?;
        bind_path(&mut message, &self.variables, self.spec, settings)?;
        // The body is decoded.
        self.parts.headers.remove(CONTENT_ENCODING);
        let metadata = MetadataMap::from_headers(self.parts.headers);
        Ok(tonic::Request::from_parts(
            metadata,
            self.parts.extensions,
            message,
        ))
    }
}

/// Returns true if the body may be JSON: its content type is JSON or absent. The types that a page
/// of another origin may send without a preflight (the Fetch standard's `text/plain`,
/// `application/x-www-form-urlencoded` and `multipart/form-data`) are not JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let Ok(value) = value.to_str() else {
        return false;
    };
    let media_type = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}
