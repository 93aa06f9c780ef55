//! Configuration: embedded defaults, then the file, then the environment; parsed before a port opens.
//!
//! An error names the field and the expected value, and never the actual value, since a misplaced secret could
//! be in any field.

mod audit;
mod limits;
mod operations;
mod problem;
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use audit::AuditConfig;
use figment::Figment;
use figment::providers::{Env, Format, Toml};
use keyward_core::provider::{Capabilities, ProviderRegistry};
use keyward_core::services::{LedgerSettings, ProviderKeySettings, SecretBinding};
use keyward_crypto::{GroupAccess, Secret, read_private_file};
use keyward_store::StoreOptions;
use limits::LimitsConfig;
use problem::describe;
use serde::{Deserialize, Deserializer};

use crate::authn::{AuthnSettings, Issuer, JwksSettings, JwksSource};
use crate::layers::AllowedOrigins;
use crate::telemetry::LogFormat;

pub use operations::OperationsConfig;
pub use problem::ConfigError;
pub use server::ServerConfig;

/// Defaults, which are also the example for operators.
pub const DEFAULTS: &str = include_str!("../deploy/keyward.example.toml");
/// Prefix of environment variables; two underscores separate sections and fields.
const ENV_PREFIX: &str = "KEYWARD_";

/// Maximum size of the file with the database's URL, in bytes.
const MAX_URL_BYTES: usize = 64 * 1024;

/// Complete configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Listener and limits for calls.
    pub server: ServerConfig,
    /// Operations listener.
    pub operations: OperationsConfig,
    /// Limits for callers.
    pub limits: LimitsConfig,
    /// Origins whose pages may call from a browser.
    pub cors: CorsConfig,
    /// Reading of REST requests.
    pub gateway: GatewayConfig,
    /// Database.
    pub database: DatabaseConfig,
    /// Key-encryption keys.
    pub vault: VaultConfig,
    /// Trusted issuers of tokens.
    pub auth: AuthConfig,
    /// Ledger.
    pub ledger: LedgerConfig,
    /// Audit trail.
    pub audit: AuditConfig,
    /// Log lines.
    pub log: LogConfig,
    /// Further providers and their capabilities.
    pub providers: BTreeMap<String, u32>,
}

/// Origins whose pages may call from a browser.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorsConfig {
    allowed_origins: Vec<String>,
}

/// Reading of REST requests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Treatment of unknown members and query parameters.
    pub unknown_fields: UnknownFields,
}

/// Treatment of unknown members of JSON bodies and unknown query parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// Rejects the request with 400 and the name.
    Reject,
    /// Ignores them.
    Ignore,
}

/// Database.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    #[serde(default, deserialize_with = "secret")]
    url: Option<Secret<String>>,
    url_file: Option<PathBuf>,
    max_connections: u32,
    acquire_timeout_ms: u64,
    busy_timeout_ms: u64,
    allow_unverified_tls: bool,
    max_clock_difference_ms: u64,
}

/// Key-encryption keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    keyring_file: Option<PathBuf>,
    endpoint_change_needs_secret: bool,
    /// Binding of secrets to their provider, key and endpoint.
    pub bind_secrets: BindSecrets,
}

/// Binding of secrets to their provider, key and endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BindSecrets {
    /// New secrets are bound if the database holds no unbound secret when the process starts.
    Auto,
    /// New secrets are not bound.
    Off,
    /// New secrets are bound. Unbound ones open.
    On,
    /// New secrets are bound. Unbound ones do not open.
    Required,
}

impl VaultConfig {
    /// Returns the rules for provider keys.
    #[must_use]
    pub fn provider_key_settings(&self, binding: SecretBinding) -> ProviderKeySettings {
        ProviderKeySettings {
            binding,
            endpoint_change_needs_secret: self.endpoint_change_needs_secret,
        }
    }
}

/// Trusted issuers of tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    clock_skew_seconds: u64,
    token_cache_entries: u64,
    jwks_min_refresh_ms: u64,
    jwks_max_age_ms: u64,
    max_token_seconds: u64,
    allow_insecure_jwks: bool,
    session: IssuerConfig,
    service: Option<ServiceIssuerConfig>,
}

/// Issuer of tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    issuer: Option<String>,
    audience: Option<String>,
    jwks: Option<String>,
}

/// Issuer of service tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceIssuerConfig {
    issuer: Option<String>,
    audience: Option<String>,
    jwks: Option<String>,
    max_token_seconds: Option<u64>,
    #[serde(default)]
    subjects: BTreeMap<String, String>,
}

/// Ledger.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerConfig {
    reservation_ttl_ms: u64,
    max_reservation_ttl_ms: u64,
    charge_retention_days: u32,
}

/// Log lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// For humans or machines.
    pub format: LogFormat,
    /// A level, or targets with levels.
    pub filter: String,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret<String>>, D::Error> {
    Ok(Some(Secret::new(String::deserialize(deserializer)?)))
}

impl Config {
    /// Reads defaults, file and environment, and checks everything that can be checked without opening other
    /// files.
    ///
    /// # Errors
    /// The invalid fields.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let text = file.map(read_file).transpose()?;
        Self::from_layers(text.as_deref(), environment())
    }

    /// Reads defaults and this text, without the environment.
    ///
    /// # Errors
    /// The invalid fields.
    pub fn from_text(text: &str) -> Result<Self, ConfigError> {
        Self::from_layers(Some(text), Env::raw().only(&[]))
    }

    /// Reads defaults, this text, and the logging and CORS settings of the environment.
    ///
    /// # Errors
    /// The invalid fields.
    pub fn for_dev(text: &str) -> Result<Self, ConfigError> {
        let taken = environment().filter(|key| key.starts_with("log.") || key.starts_with("cors."));
        Self::from_layers(Some(text), taken)
    }

    fn from_layers(text: Option<&str>, environment: Env) -> Result<Self, ConfigError> {
        let mut figment = Figment::new().merge(Toml::string(DEFAULTS));
        if let Some(text) = text {
            figment = figment.merge(Toml::string(text));
        }
        let config: Self = figment.merge(environment).extract().map_err(describe)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.server.check()?;
        let positive = [
            (
                "database.max_connections",
                u64::from(self.database.max_connections),
            ),
            (
                "database.acquire_timeout_ms",
                self.database.acquire_timeout_ms,
            ),
            (
                "database.max_clock_difference_ms",
                self.database.max_clock_difference_ms,
            ),
            ("auth.token_cache_entries", self.auth.token_cache_entries),
            ("ledger.reservation_ttl_ms", self.ledger.reservation_ttl_ms),
            // Otherwise clients could make Keyward call the issuer as often as they call Keyward.
            ("auth.jwks_min_refresh_ms", self.auth.jwks_min_refresh_ms),
        ];
        if let Some((field, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::field(field, "must be greater than 0"));
        }
        if self.auth.jwks_min_refresh_ms > self.auth.jwks_max_age_ms {
            let problem = "must not be greater than `auth.jwks_max_age_ms`";
            return Err(ConfigError::field("auth.jwks_min_refresh_ms", problem));
        }
        if self.ledger.reservation_ttl_ms > self.ledger.max_reservation_ttl_ms {
            let problem = "must not be greater than `ledger.max_reservation_ttl_ms`";
            return Err(ConfigError::field("ledger.reservation_ttl_ms", problem));
        }
        self.limits.check()?;
        self.operations.listen()?;
        self.origins()?;
        self.authn()?;
        self.providers()?;
        if self.vault.keyring_file.is_none() {
            return Err(ConfigError::field("vault.keyring_file", "is required"));
        }
        if self.database.url.is_some() == self.database.url_file.is_some() {
            return Err(ConfigError::field(
                "database.url",
                "or `database.url_file` is required, and not both",
            ));
        }
        Ok(())
    }

    /// Returns the origins whose pages may call from a browser.
    ///
    /// # Errors
    /// An entry is not an origin.
    pub fn origins(&self) -> Result<AllowedOrigins, ConfigError> {
        AllowedOrigins::parse(&self.cors.allowed_origins)
            .map_err(|problem| ConfigError::field("cors.allowed_origins", problem))
    }

    /// Returns the options for the store.
    ///
    /// # Errors
    /// The file with the URL cannot be read.
    pub fn store(&self) -> Result<StoreOptions, ConfigError> {
        let database = &self.database;
        let url = match (&database.url, &database.url_file) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => {
                let field = "database.url_file";
                let bytes = read_private_file(path, MAX_URL_BYTES, GroupAccess::Read)
                    .map_err(|defect| ConfigError::field(field, defect))?;
                let text = std::str::from_utf8(&bytes)
                    .map_err(|_| ConfigError::field(field, "is not UTF-8"))?;
                Secret::new(text.trim().to_owned())
            }
            (None, None) => return Err(ConfigError::field("database.url", "is required")),
        };
        let mut options = StoreOptions::new(url);
        options.max_connections = database.max_connections;
        options.acquire_timeout = Duration::from_millis(database.acquire_timeout_ms);
        options.busy_timeout = Duration::from_millis(database.busy_timeout_ms);
        options.bounds = self.limits.key_bounds();
        options.allow_unverified_tls = database.allow_unverified_tls;
        options.max_clock_difference = Duration::from_millis(database.max_clock_difference_ms);
        Ok(options)
    }

    /// Returns the settings for the ledger.
    #[must_use]
    pub fn ledger(&self) -> LedgerSettings {
        let ledger = &self.ledger;
        let days = u64::from(ledger.charge_retention_days);
        LedgerSettings {
            default_reservation_ttl: Duration::from_millis(ledger.reservation_ttl_ms),
            max_reservation_ttl: Duration::from_millis(ledger.max_reservation_ttl_ms),
            charge_retention: (days > 0).then(|| Duration::from_secs(days * 24 * 60 * 60)),
        }
    }

    /// Returns the path of the key-encryption keys.
    #[must_use]
    pub fn keyring_file(&self) -> &Path {
        self.vault.keyring_file.as_deref().unwrap_or(Path::new(""))
    }

    /// Returns the settings for authentication.
    ///
    /// # Errors
    /// A required field is missing.
    pub fn authn(&self) -> Result<AuthnSettings, ConfigError> {
        let auth = &self.auth;
        let session = &auth.session;
        let session = auth.issuer(
            "auth.session",
            [&session.issuer, &session.audience, &session.jwks],
            auth.max_token_seconds,
        )?;
        let service = match &auth.service {
            None => None,
            Some(service) => {
                let named = auth.issuer(
                    "auth.service",
                    [&service.issuer, &service.audience, &service.jwks],
                    service.max_token_seconds.unwrap_or(auth.max_token_seconds),
                )?;
                if named.issuer == session.issuer && named.audience == session.audience {
                    let problem = "must differ from `auth.session.audience` for the same issuer";
                    return Err(ConfigError::field("auth.service.audience", problem));
                }
                Some((named, service.subjects.clone()))
            }
        };
        Ok(AuthnSettings {
            session,
            service,
            clock_skew_seconds: auth.clock_skew_seconds,
            token_cache_entries: auth.token_cache_entries,
            jwks: JwksSettings {
                min_refresh: Duration::from_millis(auth.jwks_min_refresh_ms),
                max_age: Duration::from_millis(auth.jwks_max_age_ms),
            },
        })
    }

    /// Returns the providers that keys can be for. Names are converted to upper case, since the environment
    /// does not preserve the case.
    ///
    /// # Errors
    /// A name is invalid or taken, or a provider has no capabilities.
    pub fn providers(&self) -> Result<ProviderRegistry, ConfigError> {
        let mut registry = ProviderRegistry::built_in();
        for (name, capabilities) in &self.providers {
            registry
                .register(&name.to_ascii_uppercase(), Capabilities(*capabilities))
                .map_err(|problem| ConfigError::field("providers", format!("has a {problem}")))?;
        }
        Ok(registry)
    }
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::file(path, &error))
}

/// Returns the variables that have a section: Kubernetes sets `KEYWARD_PORT` and similar variables in every pod
/// next to a service of that name.
fn environment() -> Env {
    Env::prefixed(ENV_PREFIX)
        .filter(|key| key.as_str().contains("__"))
        .split("__")
}

impl AuthConfig {
    /// Returns an issuer by its name, audience and source of keys.
    fn issuer(
        &self,
        section: &str,
        [issuer, audience, jwks]: [&Option<String>; 3],
        max_token_seconds: u64,
    ) -> Result<Issuer, ConfigError> {
        let required = |name: &str, value: &Option<String>| {
            let given = value.clone().filter(|value| !value.is_empty());
            given.ok_or_else(|| ConfigError::field(&format!("{section}.{name}"), "is required"))
        };
        let jwks = required("jwks", jwks)?;
        let jwks = JwksSource::parse(&jwks, self.allow_insecure_jwks)
            .map_err(|problem| ConfigError::field(&format!("{section}.jwks"), problem))?;
        Ok(Issuer {
            issuer: required("issuer", issuer)?,
            audience: required("audience", audience)?,
            jwks,
            max_token_seconds,
        })
    }
}
