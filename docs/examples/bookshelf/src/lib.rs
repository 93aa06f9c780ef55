//! Example of a tonic service with a REST API. `docs/gateway.md` explains it step by step.

mod shelf;

use std::sync::Arc;

use axum::Router;
use keyward_gateway::{AmbiguousRoute, RestRouter};
use tonic::service::Routes;

pub use shelf::Shelf;

/// Code generated from the proto file.
#[allow(missing_docs, clippy::all, reason = "it is generated")]
pub mod v1 {
    tonic::include_proto!("bookshelf.v1");
}

// `OPENAPI`, and `DOCS`, an HTML page of it.
include!(concat!(env!("OUT_DIR"), "/openapi.rs"));

/// Returns both protocols of one service on one port: gRPC for its own paths, REST for all others.
///
/// # Errors
///
/// Two routes match the same requests; never among those of one build.
pub fn app(shelf: Arc<Shelf>) -> Result<Router, AmbiguousRoute> {
    let rest = RestRouter::builder()
        .routes(v1::bookshelf_service_routes(Arc::clone(&shelf)))
        .types(v1::TYPES)
        .build()?;
    let grpc = v1::bookshelf_service_server::BookshelfServiceServer::new(
        v1::ValidatedBookshelfService(shelf),
    );
    let router = Routes::new(grpc).into_axum_router().reset_fallback();
    Ok(router
        .route_service("/openapi.json", &OPENAPI)
        .route_service("/docs", &DOCS)
        .fallback_service(rest))
}
