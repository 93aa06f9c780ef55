//! A server inside the test process, on a store of its own.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Once};
use std::time::Duration;

use keyward::app::{App, AppConfig, UseCases};
use keyward::auth::{self, AuthSettings, Authenticator, JwksSettings, JwksSource};
use keyward::config::{Config, UnknownFields};
use keyward::http::client_ip::TrustedProxies;
use keyward::http::layers::{AllowedOrigins, BodyTime, RequestLimits};
use keyward::http::readiness::Health;
use keyward::http::unauthenticated::UnauthenticatedLimits;
use keyward_core::clock::{Clock, Timestamp};
use keyward_core::ledger::RolledUp;
use keyward_core::page::MAX_PAGE_ITEMS;
use keyward_core::provider::{Capabilities, ProviderRegistry};
use keyward_core::retention::MAX_PASSED;
use keyward_core::services::{AuditSettings, LedgerSettings, ProviderKeySettings, SecretBinding};
use keyward_crypto::{Kek, Keyring, Secret};
use keyward_listener::{Server, Settings};
use keyward_store::{CacheSettings, KeyBounds, Store, StoreLimits, StoreOptions, TimeSource};
use keyward_testkit::fixtures::NOON;
use keyward_testkit::{ManualClock, TestDatabase};
use keyward_throttle::Rate;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::issuer::key_set;
use super::people::{self, AUDIENCE, ISSUER, SERVICE_AUDIENCE, SERVICE_ISSUER, SERVICE_SUBJECT};
use super::{Algorithm, Issuer};

/// Time that no test reaches.
const LONG: Duration = Duration::from_secs(3600);
/// Time for which a request waits for a connection before the store counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// The database under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A fixture for each engine; `None` where the engine is missing.
pub trait OnEngine: Sized {
    fn on(engine: Engine) -> impl Future<Output = Option<Self>> + Send;
}

/// Publication of the keys of session tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jwks {
    Url,
    File,
}

/// Settings with which a server starts; tests change the ones under test.
pub struct Setup {
    pub engine: Engine,
    pub database: TestDatabase,
    /// URL at which the store reaches the database; the database's own URL if `None`.
    pub store_url: Option<String>,
    pub kek: Arc<dyn Kek>,
    pub algorithm: Algorithm,
    pub jwks: Jwks,
    pub caller_rate: Option<Rate>,
    pub address_rate: Option<Rate>,
    pub failed_authentications: Option<Rate>,
    pub max_in_flight: usize,
    pub max_in_flight_per_organization: usize,
    pub body_time: BodyTime,
    pub max_page_items: u32,
    pub bounds: KeyBounds,
    pub trusted_proxies: TrustedProxies,
    pub jwks_min_refresh: Duration,
    pub jwks_max_age: Duration,
    pub max_service_token_seconds: u64,
    pub max_deadline: Duration,
    pub max_body_bytes: u64,
    pub charge_retention: Option<Duration>,
    pub audit_retention: Option<Duration>,
    pub endpoint_change_needs_secret: bool,
    pub binding: SecretBinding,
    /// Origins whose pages may call from a browser.
    pub origins: AllowedOrigins,
    pub unknown_fields: UnknownFields,
    pub reflection: bool,
    /// Clock that decides on PostgreSQL.
    pub time_source: TimeSource,
    /// Time of the machine's clock until the test moves it.
    pub machine_time: Timestamp,
}

impl OnEngine for Setup {
    async fn on(engine: Engine) -> Option<Self> {
        let database = match engine {
            Engine::Sqlite => TestDatabase::sqlite(),
            Engine::Postgres => TestDatabase::postgres().await?,
        };
        Some(Self {
            engine,
            database,
            store_url: None,
            kek: Arc::new(Keyring::generate().unwrap()),
            algorithm: Algorithm::ES256,
            jwks: Jwks::Url,
            caller_rate: None,
            // Most tests call from the same address, many of them with invalid tokens.
            address_rate: None,
            failed_authentications: None,
            max_in_flight: 1000,
            max_in_flight_per_organization: 0,
            body_time: BodyTime {
                timeout: Duration::from_secs(30),
                min_bytes_per_second: 16 * 1024,
            },
            max_page_items: MAX_PAGE_ITEMS,
            bounds: KeyBounds {
                provider_keys_per_workspace: 10_000,
                ai_keys_per_repo: 10_000,
            },
            trusted_proxies: TrustedProxies::default(),
            jwks_min_refresh: LONG,
            jwks_max_age: LONG,
            max_service_token_seconds: 86_400,
            max_deadline: Duration::from_secs(60),
            max_body_bytes: 1024 * 1024,
            charge_retention: None,
            audit_retention: None,
            endpoint_change_needs_secret: false,
            binding: SecretBinding::default(),
            origins: AllowedOrigins::default(),
            unknown_fields: UnknownFields::Reject,
            reflection: true,
            time_source: TimeSource::Machine,
            machine_time: NOON,
        })
    }
}

impl OnEngine for TestServer {
    async fn on(engine: Engine) -> Option<Self> {
        Some(Setup::on(engine).await?.start().await)
    }
}

/// A running server. It stops when it is dropped.
pub struct TestServer {
    pub engine: Engine,
    pub address: SocketAddr,
    pub store: Store,
    pub use_cases: UseCases,
    pub health: Health,
    pub clock: Arc<ManualClock>,
    pub authenticator: Arc<Authenticator>,
    /// Issuer of session tokens.
    pub issuer: Issuer,
    /// Issuer of service tokens.
    pub cluster: Issuer,
    /// File that publishes the session issuer's keys.
    pub jwks_file: NamedTempFile,
    pub http: reqwest::Client,
    /// Client that uses HTTP/2 from the first byte.
    pub http2: reqwest::Client,
    /// Follows the changes of other servers.
    following: JoinHandle<()>,
    _shutdown: oneshot::Sender<()>,
    // Last, because all of the above depends on it.
    pub database: TestDatabase,
}

impl Setup {
    pub async fn start(self) -> TestServer {
        prepare_process();
        let url = self
            .store_url
            .clone()
            .unwrap_or_else(|| self.database.url().to_owned());
        let limits = StoreLimits {
            max_connections: 16,
            acquire_timeout: ACQUIRE_TIMEOUT,
            busy_timeout: Duration::from_secs(5),
            max_clock_difference: Duration::from_secs(5),
            bounds: self.bounds,
            cache: CacheSettings {
                max_entries: 1000,
                lifetime: Duration::from_secs(30),
                max_staleness: Duration::from_secs(2),
                poll_interval: Duration::from_millis(250),
            },
        };
        let mut options = StoreOptions::new(Secret::new(url), limits);
        let clock = Arc::new(ManualClock::new(self.machine_time));
        options.machine_clock = Arc::clone(&clock) as _;
        options.time_source = self.time_source;
        let store = Store::connect(&options).await.unwrap();
        store.migrate().await.unwrap();
        // Another server of the test may have the file.
        let _ = store.claim();

        let issuer = Issuer::start(self.algorithm).await;
        let cluster = Issuer::start(Algorithm::ES256).await;
        let jwks_file = NamedTempFile::new().unwrap();
        std::fs::write(jwks_file.path(), key_set(&[&issuer.key])).unwrap();
        let app = App::build(AppConfig {
            exposition: None,
            store: store.clone(),
            kek: Arc::clone(&self.kek),
            clock: Arc::clone(&clock) as _,
            providers: providers(),
            auth: self.auth_settings(&issuer, &cluster, &jwks_file),
            requests: RequestLimits {
                default_deadline: self.max_deadline.min(Duration::from_secs(30)),
                max_deadline: self.max_deadline,
                max_body_bytes: self.max_body_bytes,
                caller_rate: self.caller_rate,
                address_rate: self.address_rate,
                failed_authentications: self.failed_authentications,
                max_in_flight: self.max_in_flight,
                max_in_flight_per_organization: self.max_in_flight_per_organization,
                max_running: 16,
                max_total_memory_bytes: 64 * 1024 * 1024,
                body_time: self.body_time,
            },
            unauthenticated: UnauthenticatedLimits {
                max_streams: 1000,
                max_streams_per_address: 100,
                max_message_bytes: 4096,
                reflection_stream_timeout: Duration::from_secs(60),
            },
            max_page_items: self.max_page_items,
            trusted_proxies: self.trusted_proxies.clone(),
            origins: self.origins.clone(),
            unknown_fields: self.unknown_fields,
            reflection: self.reflection,
            ledger: LedgerSettings {
                default_reservation_ttl: Duration::from_secs(600),
                max_reservation_ttl: Duration::from_secs(24 * 3600),
                charge_retention: self.charge_retention,
            },
            audit: AuditSettings {
                retention: self.audit_retention,
            },
            provider_keys: ProviderKeySettings {
                endpoint_change_needs_secret: self.endpoint_change_needs_secret,
                binding: self.binding,
            },
        })
        .unwrap();
        people::seed(&app.use_cases).await;

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, ended) = oneshot::channel::<()>();
        let ended = async move { drop(ended.await) };
        let follower = store.clone();
        let following = tokio::spawn(async move { follower.follow_changes().await });
        tokio::spawn(Server::new(listener_settings()).serve(listener, app.router, ended));
        TestServer {
            engine: self.engine,
            address,
            store,
            use_cases: app.use_cases,
            health: app.health,
            authenticator: app.authenticator,
            clock,
            issuer,
            cluster,
            jwks_file,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            http2: reqwest::Client::builder()
                .no_proxy()
                .http2_prior_knowledge()
                .build()
                .unwrap(),
            following,
            _shutdown: shutdown,
            database: self.database,
        }
    }

    fn auth_settings(
        &self,
        issuer: &Issuer,
        cluster: &Issuer,
        file: &NamedTempFile,
    ) -> AuthSettings {
        let jwks = match self.jwks {
            Jwks::Url => JwksSource::Url(issuer.server.url()),
            Jwks::File => JwksSource::File(file.path().to_owned()),
        };
        let service = auth::Issuer {
            issuer: SERVICE_ISSUER.to_owned(),
            audience: SERVICE_AUDIENCE.to_owned(),
            jwks: JwksSource::Url(cluster.server.url()),
            max_token_seconds: self.max_service_token_seconds,
        };
        let subjects = BTreeMap::from([(SERVICE_SUBJECT.to_owned(), "ai-gateway".to_owned())]);
        AuthSettings {
            session: auth::Issuer {
                issuer: ISSUER.to_owned(),
                audience: AUDIENCE.to_owned(),
                jwks,
                max_token_seconds: 86_400,
            },
            service: Some((service, subjects)),
            clock_skew_seconds: 60,
            token_cache_entries: 1000,
            jwks: JwksSettings {
                min_refresh: self.jwks_min_refresh,
                max_age: self.jwks_max_age,
            },
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl TestServer {
    /// Ends the use of the caches, so that every call reads the database.
    pub async fn stop_caching(&self) {
        self.following.abort();
        while !self.following.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    /// Returns the server's time, in seconds.
    pub fn now_seconds(&self) -> i64 {
        self.clock.now().unix_millis() / 1000
    }

    /// Rolls up old charges and reservations as in so many hours, without a change of the clock.
    pub async fn roll_up_for(&self, hours: u32) -> RolledUp {
        let mut dropped = RolledUp::default();
        for _ in 0..hours {
            self.forget_last_run().await;
            let ledger = &self.use_cases.ledger;
            let run = ledger.roll_up(MAX_PASSED).await.unwrap();
            dropped.charges += run.charges;
            dropped.reservations += run.reservations;
        }
        dropped
    }

    /// Deletes old audit events as in so many hours, without a change of the clock.
    pub async fn expire_for(&self, hours: u32) -> u64 {
        let mut dropped = 0;
        for _ in 0..hours {
            self.forget_last_run().await;
            let trail = &self.use_cases.audit;
            dropped += trail.expire(MAX_PASSED).await.unwrap();
        }
        dropped
    }

    async fn forget_last_run(&self) {
        let long_ago = "UPDATE retention_runs SET ran_at = 0";
        self.database.execute(long_ago).await;
    }

    /// Replaces the file of the session issuer's keys.
    pub fn write_jwks_file(&self, keys: &[&super::SigningKey]) {
        std::fs::write(self.jwks_file.path(), key_set(keys)).unwrap();
    }
}

/// Returns the default settings, except that a shutdown has no delay and lasts as long as the requests do.
fn listener_settings() -> Settings {
    let text = r#"
        server = { shutdown_delay_ms = 0 }
        database.url = "sqlite:unused"
        vault.keyring_file = "unused"
        auth.session = { issuer = "unused", audience = "unused", jwks = "unused" }
    "#;
    let settings = Config::from_text(text).unwrap().listener;
    Settings {
        rejected_call_rate: None,
        drain: LONG,
        ..settings
    }
}

/// Returns the built-in providers, and a provider added by the operator.
fn providers() -> ProviderRegistry {
    let mut registry = ProviderRegistry::built_in();
    registry.register("MINIO", Capabilities(1)).unwrap();
    registry
}

/// Initializes the process as the program does, and records spans for the tests.
fn prepare_process() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        super::spans::record();
    });
}
