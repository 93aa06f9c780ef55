//! Puts the house together: stores, use cases, services, and the layers around them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keyward_core::clock::Clock;
use keyward_core::directory::Directory;
use keyward_core::provider::ProviderRegistry;
use keyward_core::provider_key::ProviderKeys;
use keyward_core::store::StoreHealth;
use keyward_core::vault::Vault;
use keyward_crypto::Kek;
use keyward_gateway::{Face, RestRouter, complete_grpc_error};
use keyward_store::Store;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::authn::{Authenticator, AuthnSettings};
use crate::error::ERROR_DOMAIN;
use crate::grpc::{ApiKeys, DirectoryEntries, Later};
use crate::layers::{self, Kind, Limits, Target};
use crate::proto::{self, v1};

/// What the house is built of.
pub struct Parts {
    /// Keeps everything.
    pub store: Store,
    /// Wraps the data keys.
    pub kek: Arc<dyn Kek>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The providers that keys can be for.
    pub providers: ProviderRegistry,
    /// Whose tokens are taken.
    pub authn: AuthnSettings,
    /// What every call is held to.
    pub limits: Limits,
}

/// The use cases, for those who are inside already.
#[derive(Clone)]
pub struct UseCases {
    /// The directory.
    pub directory: Directory,
    /// The provider keys.
    pub provider_keys: ProviderKeys,
}

/// A house that is ready to answer.
pub struct App {
    /// Answers every call on every face.
    pub router: Router,
    /// What the services call.
    pub use_cases: UseCases,
}

impl App {
    /// Builds the house; nothing is fetched or listened to yet.
    ///
    /// # Errors
    /// Authentication or reflection cannot be set up.
    pub fn build(parts: Parts) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let store = Arc::new(parts.store);
        let vault = Vault::new(parts.kek, Arc::clone(&store) as _, Arc::clone(&parts.clock));
        let use_cases = UseCases {
            directory: Directory::new(Arc::clone(&store) as _, Arc::clone(&parts.clock)),
            provider_keys: ProviderKeys::new(
                Arc::clone(&store) as _,
                Arc::clone(&store) as _,
                vault,
                Arc::new(parts.providers),
                Arc::clone(&parts.clock),
            ),
        };
        let authenticator = Authenticator::new(
            parts.authn,
            Arc::clone(&store) as _,
            Arc::clone(&parts.clock),
        )?;
        let (rest, grpc) = faces(&use_cases)?;
        let inner = Router::new().fallback(dispatch).with_state(Inside {
            rest: rest.clone(),
            grpc,
            health: store as Arc<dyn StoreHealth>,
        });
        let router = layers::apply(inner, rest, Arc::new(authenticator), &parts.limits);
        Ok(Self { router, use_cases })
    }
}

/// What is inside the layers.
#[derive(Clone)]
struct Inside {
    rest: RestRouter,
    grpc: Router,
    health: Arc<dyn StoreHealth>,
}

/// Both faces of the same services.
fn faces(use_cases: &UseCases) -> Result<(RestRouter, Router), tonic_reflection::server::Error> {
    let api_keys = Arc::new(ApiKeys::new(use_cases.provider_keys.clone()));
    let directory = Arc::new(DirectoryEntries::new(use_cases.directory.clone()));
    let later = Arc::new(Later);

    let mut rest = v1::api_key_service_routes(Arc::clone(&api_keys));
    rest.extend(v1::repo_ai_key_service_routes(Arc::clone(&later)));
    rest.extend(v1::management_key_service_routes(Arc::clone(&later)));
    let rest = RestRouter::new(rest, proto::UNKNOWN);

    use v1::api_key_service_server::ApiKeyServiceServer;
    use v1::audit_service_server::AuditServiceServer;
    use v1::directory_service_server::DirectoryServiceServer;
    use v1::management_key_service_server::ManagementKeyServiceServer;
    use v1::repo_ai_key_service_server::RepoAiKeyServiceServer;
    let mut grpc = Routes::builder();
    grpc.add_service(ApiKeyServiceServer::new(v1::DeclaredApiKeyService(
        api_keys,
    )))
    .add_service(RepoAiKeyServiceServer::new(v1::DeclaredRepoAiKeyService(
        Arc::clone(&later),
    )))
    .add_service(ManagementKeyServiceServer::new(
        v1::DeclaredManagementKeyService(Arc::clone(&later)),
    ))
    .add_service(AuditServiceServer::new(v1::DeclaredAuditService(later)))
    .add_service(DirectoryServiceServer::new(v1::DeclaredDirectoryService(
        directory,
    )))
    .add_service(reflection()?.build_v1()?)
    .add_service(reflection()?.build_v1alpha()?);
    let grpc = grpc.routes().into_axum_router().reset_fallback();
    Ok((
        rest,
        grpc.fallback(unknown_method)
            .layer(tonic_web::GrpcWebLayer::new()),
    ))
}

fn reflection()
-> Result<tonic_reflection::server::Builder<'static>, tonic_reflection::server::Error> {
    Ok(tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTOR))
}

/// What tonic would answer, with the details that every error of ours has.
async fn unknown_method(request: Request) -> Response {
    let target = layers::target(&request);
    let status = tonic::Status::unimplemented("Unknown method");
    layers::refuse(&target, status.into())
}

/// Sends a call to its face.
async fn dispatch(State(inside): State<Inside>, request: Request) -> Response {
    let target = layers::target(&request);
    match target.kind.clone() {
        Kind::Rest(resolution) => inside.rest.call(resolution, request).await.map(Body::new),
        Kind::Open if target.face == Face::Rest => {
            probe(&inside, request.uri().path() == layers::HEALTHZ).await
        }
        Kind::Grpc | Kind::Open | Kind::Unknown => call_grpc(inside.grpc, &target, request).await,
    }
}

async fn call_grpc(grpc: Router, target: &Target, request: Request) -> Response {
    let response = grpc.oneshot(request).await;
    let mut response = response.unwrap_or_else(|infallible| match infallible {});
    complete_grpc_error(response.headers_mut(), Some(target.spec), ERROR_DOMAIN);
    response
}

/// Liveness never touches the store; readiness asks it.
async fn probe(inside: &Inside, liveness: bool) -> Response {
    let ready = liveness || inside.health.ping().await.is_ok();
    let (status, body) = if ready {
        (StatusCode::OK, r#"{"status":"ok"}"#)
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"status":"unavailable"}"#,
        )
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    response
}
