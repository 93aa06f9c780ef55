//! Service for the tests of the gateway, compiled from `proto` by the gateway's own generator.
//!
//! It returns its requests, or fails as the request demands. The response metadata reflects the
//! request: `x-seen` is the client's `user-agent`, `x-extension` a text in the request's
//! extensions.

mod outcome;

use std::sync::Arc;

use keyward_gateway::{RestRouter, RestRouterBuilder, Route};
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

pub use outcome::Dropped;

/// Generated code, in modules that are named after the packages.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    rustdoc::all,
    reason = "the code and its comments are generated"
)]
mod generated {
    pub mod probe {
        pub mod v1 {
            tonic::include_proto!("probe.v1");
        }
    }
    pub mod google {
        pub mod rpc {
            tonic::include_proto!("google.rpc");
        }
    }
}

pub use generated::google::rpc;
pub use generated::probe::v1;

include!(concat!(env!("OUT_DIR"), "/openapi.rs"));

use v1::{Everything, Nested, Plan, Row, UpdateBookRequest, UpdateFlatRequest};

/// All services of the probe.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// Counter of dropped streams.
    pub dropped: Dropped,
}

impl Probe {
    /// Returns a builder of a router for all services of the probe, which accepts further settings.
    pub fn rest(&self) -> RestRouterBuilder {
        RestRouter::builder().routes(self.routes()).types(v1::TYPES)
    }

    /// Returns the routes of all services of the probe.
    pub fn routes(&self) -> Vec<Route> {
        let probe = Arc::new(self.clone());
        let mut routes = v1::paths_routes(Arc::clone(&probe));
        routes.extend(v1::echo_routes(Arc::clone(&probe)));
        routes.extend(v1::library_routes(Arc::clone(&probe)));
        routes.extend(v1::outcomes_routes(Arc::clone(&probe)));
        routes.extend(v1::enveloped_routes(Arc::clone(&probe)));
        routes.extend(v1::awkward_routes(Arc::clone(&probe)));
        routes.extend(v1::rows_routes(probe));
        routes
    }

    /// Returns the same services for gRPC.
    pub fn grpc(&self) -> Routes {
        let probe = Arc::new(self.clone());
        let mut routes = Routes::builder();
        routes
            .add_service(v1::echo_server::EchoServer::new(v1::ValidatedEcho(
                Arc::clone(&probe),
            )))
            .add_service(v1::outcomes_server::OutcomesServer::new(
                v1::ValidatedOutcomes(Arc::clone(&probe)),
            ))
            .add_service(v1::enveloped_server::EnvelopedServer::new(
                v1::ValidatedEnveloped(probe),
            ));
        routes.routes()
    }
}

/// Returns the request as the response.
fn echo<M>(request: Request<M>) -> Result<Response<M>, Status> {
    let user_agent = request.metadata().get("user-agent").cloned();
    let extension = request.extensions().get::<&str>().copied();
    let mut response = Response::new(request.into_inner());
    let metadata = response.metadata_mut();
    if let Some(value) = user_agent {
        metadata.insert("x-seen", value);
    }
    if let Some(value) = extension.and_then(|value| value.parse().ok()) {
        metadata.insert("x-extension", value);
    }
    if let Ok(value) = "1".parse() {
        metadata.insert("grpc-hidden", value);
    }
    Ok(response)
}

/// Implements methods that return their request.
macro_rules! echoes {
    ($service:path { $($method:ident: $message:ty),* $(,)? }) => {
        #[tonic::async_trait]
        impl $service for Probe {
            $(async fn $method(
                &self,
                request: Request<$message>,
            ) -> Result<Response<$message>, Status> {
                echo(request)
            })*
        }
    };
}

echoes!(v1::paths_server::Paths {
    rest: Everything,
    one: Everything,
    literal: Everything,
    pattern: Everything,
    back: Everything,
    post: Everything,
    any: Everything,
});

echoes!(v1::echo_server::Echo {
    query: Everything,
    body: Everything,
    field: Everything,
    member: Everything,
    create: Everything,
    nothing: (),
    gone: (),
});

echoes!(v1::rows_server::Rows { put: Row });

echoes!(v1::library_server::Library {
    update_book: UpdateBookRequest,
    update_flat: UpdateFlatRequest,
});

#[tonic::async_trait]
impl v1::awkward_server::Awkward for Probe {
    async fn r#do(&self, request: Request<v1::Option>) -> Result<Response<v1::Option>, Status> {
        echo(request)
    }
}

#[tonic::async_trait]
impl v1::outcomes_server::Outcomes for Probe {
    async fn fail(&self, request: Request<Plan>) -> Result<Response<Everything>, Status> {
        outcome::end(request.get_ref())?;
        let mut response = Response::new(outcome::filled(request.get_ref()));
        if request.get_ref().uncompressed {
            response.disable_compression();
        }
        Ok(response)
    }

    async fn watch(&self, request: Request<Plan>) -> Result<Response<BoxStream<Nested>>, Status> {
        outcome::stream(request.into_inner(), &self.dropped)
    }
}

#[tonic::async_trait]
impl v1::enveloped_server::Enveloped for Probe {
    async fn fail_plainly(&self, request: Request<Plan>) -> Result<Response<Everything>, Status> {
        outcome::end(request.get_ref())?;
        Ok(Response::new(outcome::filled(request.get_ref())))
    }

    async fn watch_plainly(
        &self,
        request: Request<Plan>,
    ) -> Result<Response<BoxStream<Nested>>, Status> {
        outcome::stream(request.into_inner(), &self.dropped)
    }
}
