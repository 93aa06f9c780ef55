//! Assembles the application: stores, use cases, services, and the layers around them.

use std::sync::Arc;

use axum::Router;
use keyward_core::clock::Clock;
use keyward_core::provider::ProviderRegistry;
use keyward_core::services::{
    AuditSettings, AuditTrail, Directory, IssuedKeys, Ledger, LedgerSettings, ManagementKeys,
    ProviderKeySettings, ProviderKeys, RepoAiKeys, Vault,
};
use keyward_crypto::Kek;
use keyward_gateway::{AmbiguousRoute, RestRouter};
use keyward_store::Store;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use crate::admission::entrance::Entrance;
use crate::api::proto::v1::api_key_service_server::ApiKeyServiceServer;
use crate::api::proto::v1::audit_service_server::AuditServiceServer;
use crate::api::proto::v1::directory_service_server::DirectoryServiceServer;
use crate::api::proto::v1::management_key_service_server::ManagementKeyServiceServer;
use crate::api::proto::v1::repo_ai_key_service_server::RepoAiKeyServiceServer;
use crate::api::proto::{self, v1};
use crate::api::services::{
    AuditGrpc, DirectoryGrpc, IssuedKeyGrpc, Pages, ProviderKeyGrpc, RepoAiKeyGrpc,
};
use crate::auth::{AuthSettings, Authenticator};
use crate::config::UnknownFields;
use crate::http::api_docs::Descriptions;
use crate::http::client_ip::TrustedProxies;
use crate::http::dispatch::{self, DispatchState};
use crate::http::health_service::HealthGrpc;
use crate::http::layers::{self, AllowedOrigins, LayerState, RequestLimits};
use crate::http::readiness::Health;
use crate::http::unauthenticated::{UnauthenticatedLimits, UnauthenticatedStreams};
use crate::telemetry::Exposition;
use crate::telemetry::conditions::Conditions;

/// Dependencies and settings of the application.
pub struct AppConfig {
    /// Database.
    pub store: Store,
    /// Wraps the data keys.
    pub kek: Arc<dyn Kek>,
    /// The machine's clock, which tokens and certificates are checked against. Use cases use the store's clock.
    pub clock: Arc<dyn Clock>,
    /// Providers that keys can be for.
    pub providers: ProviderRegistry,
    /// Settings for authentication.
    pub auth: AuthSettings,
    /// Limits for requests.
    pub requests: RequestLimits,
    /// Limits for calls that need no token.
    pub unauthenticated: UnauthenticatedLimits,
    /// Maximum number of items in a page of a list, from 1 to `MAX_PAGE_ITEMS`.
    pub max_page_items: u32,
    /// Proxies trusted to report client addresses.
    pub trusted_proxies: TrustedProxies,
    /// Origins whose pages may call from a browser.
    pub origins: AllowedOrigins,
    /// Treatment of unknown members and query parameters of REST requests.
    pub unknown_fields: UnknownFields,
    /// True if clients may use reflection.
    pub reflection: bool,
    /// Settings for the ledger.
    pub ledger: LedgerSettings,
    /// Settings for the audit trail.
    pub audit: AuditSettings,
    /// Rules for changes of provider keys.
    pub provider_keys: ProviderKeySettings,
    /// Exposition of metrics, if they are served on the API's listener.
    pub exposition: Option<Exposition>,
}

/// Use cases, for in-process callers.
#[derive(Clone)]
pub struct UseCases {
    /// Directory.
    pub directory: Directory,
    /// Provider keys.
    pub provider_keys: ProviderKeys,
    /// Repo AI keys.
    pub repo_ai_keys: RepoAiKeys,
    /// Issued keys.
    pub issued_keys: IssuedKeys,
    /// Keys that administer issued keys.
    pub management_keys: ManagementKeys,
    /// Charges of issued keys.
    pub ledger: Ledger,
    /// Audit trail.
    pub audit: AuditTrail,
    /// Encrypts the secrets of provider keys and repo AI keys.
    pub vault: Vault,
}

impl UseCases {
    fn new(
        store: &Arc<Store>,
        kek: Arc<dyn Kek>,
        providers: ProviderRegistry,
        ledger: LedgerSettings,
        audit: AuditSettings,
        provider_keys: ProviderKeySettings,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let clock = || Arc::clone(clock);
        let vault = Vault::new(kek, Arc::clone(store) as _, clock());
        Self {
            directory: Directory::new(Arc::clone(store) as _, clock()),
            provider_keys: ProviderKeys::new(
                Arc::clone(store) as _,
                Arc::clone(store) as _,
                vault.clone(),
                Arc::new(providers),
                provider_keys,
                clock(),
            ),
            repo_ai_keys: RepoAiKeys::new(
                Arc::clone(store) as _,
                Arc::clone(store) as _,
                vault.clone(),
                clock(),
            ),
            issued_keys: IssuedKeys::new(
                Arc::clone(store) as _,
                Arc::clone(store) as _,
                Arc::clone(store) as _,
                clock(),
            ),
            management_keys: ManagementKeys::new(
                Arc::clone(store) as _,
                Arc::clone(store) as _,
                clock(),
            ),
            ledger: Ledger::new(Arc::clone(store) as _, ledger, clock()),
            audit: AuditTrail::new(Arc::clone(store) as _, audit),
            vault,
        }
    }
}

/// Assembled application.
pub struct App {
    /// Serves every call of every protocol.
    pub router: Router,
    /// Use cases that the services call.
    pub use_cases: UseCases,
    /// Readiness, which must be notified of shutdown.
    pub health: Health,
    /// Authenticates callers. The process calls it to fetch keys before the first call, and to drop them.
    pub authenticator: Arc<Authenticator>,
}

impl App {
    /// Builds the application. It does not fetch keys or listen yet.
    ///
    /// # Errors
    /// Authentication, routes or reflection cannot be set up.
    pub fn build(config: AppConfig) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let store = Arc::new(config.store);
        let descriptions = Descriptions::new(&config.providers);
        let use_cases = UseCases::new(
            &store,
            config.kek,
            config.providers,
            config.ledger,
            config.audit,
            config.provider_keys,
            &store.clock(),
        );
        let conditions = Conditions::default();
        let authenticator = Arc::new(Authenticator::new(
            config.auth,
            Arc::clone(&store) as _,
            use_cases.issued_keys.clone(),
            &Entrance::new(config.requests.max_running),
            Arc::clone(&config.clock),
            &conditions,
        )?);
        let health = Health::new(store, conditions);
        let (rest, services) = protocols(
            &use_cases,
            Pages {
                max_items: config.max_page_items,
            },
            config.requests.max_body_bytes,
            config.unknown_fields,
        )?;
        let streams = UnauthenticatedStreams::new(&config.unauthenticated, &config.trusted_proxies);
        let grpc = services.routes(
            HealthGrpc::new(health.clone(), streams.clone()),
            config.reflection,
            config.requests.max_body_bytes,
            config.unauthenticated.max_message_bytes,
        )?;
        let inner = Router::new()
            .fallback(dispatch::call)
            .with_state(DispatchState {
                rest: rest.clone(),
                grpc,
                descriptions,
                max_body_bytes: config.requests.max_body_bytes,
                health: health.clone(),
                streams,
                unauthenticated: config.unauthenticated.clone(),
                exposition: config.exposition.clone(),
            });
        let state = LayerState {
            rest,
            has_metrics: config.exposition.is_some(),
            authenticator: Arc::clone(&authenticator),
            requests: config.requests,
            unauthenticated: config.unauthenticated,
            trusted_proxies: config.trusted_proxies,
            origins: config.origins,
        };
        let router = layers::apply(inner, &state);
        Ok(Self {
            router,
            use_cases,
            health,
            authenticator,
        })
    }
}

/// Builds REST and gRPC from the same services.
fn protocols(
    use_cases: &UseCases,
    pages: Pages,
    max_body_bytes: u64,
    unknown_fields: UnknownFields,
) -> Result<(RestRouter, Services), AmbiguousRoute> {
    let services = Services {
        provider_keys: Arc::new(ProviderKeyGrpc::new(use_cases.provider_keys.clone(), pages)),
        directory: Arc::new(DirectoryGrpc::new(use_cases.directory.clone(), pages)),
        repo_ai_keys: Arc::new(RepoAiKeyGrpc::new(use_cases.repo_ai_keys.clone(), pages)),
        issued_keys: Arc::new(IssuedKeyGrpc::new(
            use_cases.issued_keys.clone(),
            use_cases.management_keys.clone(),
            use_cases.ledger.clone(),
            pages,
        )),
        audit: Arc::new(AuditGrpc::new(use_cases.audit.clone(), pages)),
    };
    let mut rest = RestRouter::builder()
        .routes(v1::api_key_service_routes(Arc::clone(
            &services.provider_keys,
        )))
        .routes(v1::repo_ai_key_service_routes(Arc::clone(
            &services.repo_ai_keys,
        )))
        .routes(v1::management_key_service_routes(Arc::clone(
            &services.issued_keys,
        )))
        .routes(v1::audit_service_routes(Arc::clone(&services.audit)))
        .unknown(proto::FALLBACK_METHOD)
        .types(v1::TYPES)
        // The layers bound the size of the body; this bounds the decompressed size.
        .max_body_bytes(max_body_bytes);
    if unknown_fields == UnknownFields::Reject {
        rest = rest.reject_unknown_members();
    }
    Ok((rest.build()?, services))
}

struct Services {
    provider_keys: Arc<ProviderKeyGrpc>,
    directory: Arc<DirectoryGrpc>,
    repo_ai_keys: Arc<RepoAiKeyGrpc>,
    issued_keys: Arc<IssuedKeyGrpc>,
    audit: Arc<AuditGrpc>,
}

impl Services {
    /// Returns the routes of gRPC.
    fn routes(
        self,
        health: HealthGrpc,
        reflection: bool,
        max_body_bytes: u64,
        max_unauthenticated_bytes: usize,
    ) -> Result<Router, tonic_reflection::server::Error> {
        // tonic's default limit is above that of the layers, whose rejection would come too late; this limit
        // applies to the decompressed message.
        let limit = usize::try_from(max_body_bytes).unwrap_or(usize::MAX);
        macro_rules! configured {
            ($server:expr, $limit:expr) => {
                $server
                    .max_decoding_message_size($limit)
                    .accept_compressed(Gzip)
                    .accept_compressed(Zstd)
                    .send_compressed(Gzip)
                    .send_compressed(Zstd)
            };
        }
        macro_rules! validated {
            ($server:path, $validated:path, $service:expr) => {
                configured!(<$server>::new($validated($service)), limit)
            };
        }
        let mut grpc = Routes::builder();
        grpc.add_service(validated!(
            ApiKeyServiceServer<_>,
            v1::ValidatedApiKeyService,
            self.provider_keys
        ))
        .add_service(validated!(
            RepoAiKeyServiceServer<_>,
            v1::ValidatedRepoAiKeyService,
            self.repo_ai_keys
        ))
        .add_service(validated!(
            ManagementKeyServiceServer<_>,
            v1::ValidatedManagementKeyService,
            self.issued_keys
        ))
        .add_service(validated!(
            AuditServiceServer<_>,
            v1::ValidatedAuditService,
            self.audit
        ))
        .add_service(validated!(
            DirectoryServiceServer<_>,
            v1::ValidatedDirectoryService,
            self.directory
        ))
        .add_service(configured!(
            HealthServer::new(health),
            max_unauthenticated_bytes
        ));
        if reflection {
            grpc.add_service(configured!(
                descriptors().build_v1()?,
                max_unauthenticated_bytes
            ))
            .add_service(configured!(
                descriptors().build_v1alpha()?,
                max_unauthenticated_bytes
            ));
        }
        let grpc = grpc.routes().into_axum_router().reset_fallback();
        let grpc = grpc.fallback(dispatch::unknown_method);
        Ok(grpc.layer(tonic_web::GrpcWebLayer::new()))
    }
}

/// Returns the descriptors for reflection.
fn descriptors() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTOR)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
