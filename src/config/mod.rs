//! Configuration: embedded defaults, then the file, then the environment; parsed before a port opens.
//!
//! An error names the field and the expected value, and never the actual value, since a misplaced secret could
//! be in any field.

mod audit;
mod auth;
mod bind_secrets;
mod cache;
mod database;
mod ledger;
mod limits;
mod operations;
mod problem;
mod providers;
mod raw;
mod renamed;
mod requests;
mod server;
mod tls;
mod value;
mod vault;

use std::net::SocketAddr;
use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use keyward_core::provider::ProviderRegistry;
use keyward_core::services::{AuditSettings, LedgerSettings};
use keyward_listener::{Settings, TlsSettings};
use serde::Deserialize;

use self::problem::describe;
use crate::auth::AuthSettings;
use crate::http::client_ip::TrustedProxies;
use crate::http::layers::{AllowedOrigins, RequestLimits};
use crate::http::unauthenticated::UnauthenticatedLimits;
use crate::telemetry::LogFormat;

pub use bind_secrets::BindSecrets;
pub use database::DatabaseSettings;
pub use problem::ConfigError;
pub use renamed::RENAMED;
pub use vault::VaultSettings;

/// Defaults, which are also the example for operators.
pub const DEFAULTS: &str = include_str!("../../deploy/keyward.example.toml");
/// Prefix of environment variables; two underscores separate sections and fields.
const ENV_PREFIX: &str = "KEYWARD_";

/// Complete configuration. Every value is parsed; only files that it names are read later.
pub struct Config {
    /// Address of the API's listener.
    pub listen: SocketAddr,
    /// Settings of the API's listener.
    pub listener: Settings,
    /// TLS on the API's listener; `None` if it is disabled.
    pub tls: Option<TlsSettings>,
    tls_terminated_by_proxy: bool,
    /// True if clients may use reflection.
    pub reflection: bool,
    /// Address of the operations listener; `None` if it is disabled.
    pub operations: Option<SocketAddr>,
    /// Limits for requests.
    pub requests: RequestLimits,
    /// Limits for calls that need no token.
    pub unauthenticated: UnauthenticatedLimits,
    /// Proxies trusted to report client addresses.
    pub trusted_proxies: TrustedProxies,
    /// True if a proxy is in front and its address is not configured: then all clients appear to have the same
    /// address, and the limits for each address are off, since they would apply to all clients together.
    pub has_unnamed_proxy: bool,
    /// Maximum number of items in a page of a list.
    pub max_page_items: u32,
    /// Origins whose pages may call from a browser.
    pub origins: AllowedOrigins,
    /// Treatment of unknown members and query parameters of REST requests.
    pub unknown_fields: UnknownFields,
    /// Database.
    pub database: DatabaseSettings,
    /// Key-encryption keys, and rules for stored secrets.
    pub vault: VaultSettings,
    /// Trusted issuers of tokens.
    pub auth: AuthSettings,
    /// Ledger.
    pub ledger: LedgerSettings,
    /// Audit trail.
    pub audit: AuditSettings,
    /// Log lines.
    pub log: LogSettings,
    /// Providers that keys can be for.
    pub providers: ProviderRegistry,
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

/// Log lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// For humans or machines.
    pub format: LogFormat,
    /// A level, or targets with levels.
    pub filter: String,
}

impl Config {
    /// Reads defaults, file and environment.
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
        let figment = figment.merge(environment);
        renamed::reject(&figment)?;
        Self::parse(figment.extract().map_err(describe)?)
    }

    fn parse(raw: raw::Config) -> Result<Self, ConfigError> {
        let has_unnamed_proxy =
            raw.server.tls_terminated_by_proxy && raw.limits.trusted_proxies.is_empty();
        let requests = requests::parse(
            &raw.requests,
            &raw.limits,
            raw.database.max_connections,
            !has_unnamed_proxy,
        )?;
        let listener = server::listener(&raw.server, requests.max_deadline)?;
        Ok(Self {
            listen: raw.server.listen,
            listener: match has_unnamed_proxy {
                true => listener.without_address_limits(),
                false => listener,
            },
            tls_terminated_by_proxy: raw.server.tls_terminated_by_proxy,
            reflection: raw.server.reflection,
            tls: tls::parse(raw.server.tls)?,
            requests,
            unauthenticated: limits::unauthenticated(&raw.limits, !has_unnamed_proxy)?,
            trusted_proxies: limits::trusted_proxies(&raw.limits)?,
            has_unnamed_proxy,
            max_page_items: limits::max_page_items(&raw.limits)?,
            operations: operations::parse(&raw.operations)?,
            origins: AllowedOrigins::parse(&raw.cors.allowed_origins)
                .map_err(|problem| ConfigError::field("cors.allowed_origins", problem))?,
            unknown_fields: raw.gateway.unknown_fields,
            auth: auth::parse(raw.auth)?,
            ledger: ledger::parse(&raw.ledger)?,
            audit: audit::parse(&raw.audit),
            log: raw.log,
            providers: providers::parse(&raw.providers)?,
            vault: VaultSettings::parse(raw.vault)?,
            database: DatabaseSettings::parse(
                raw.database,
                limits::key_bounds(&raw.limits)?,
                cache::parse(&raw.cache)?,
            )?,
        })
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
