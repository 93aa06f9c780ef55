//! Configuration as text has it: a struct for each section, before any value is checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use keyward_crypto::Secret;
use keyward_listener::ClientCertificates;
use serde::{Deserialize, Deserializer};

use super::{BindSecrets, LogSettings, UnknownFields};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) server: Server,
    pub(super) operations: Operations,
    pub(super) requests: Requests,
    pub(super) limits: Limits,
    pub(super) cors: Cors,
    pub(super) gateway: Gateway,
    pub(super) database: Database,
    pub(super) cache: Cache,
    pub(super) vault: Vault,
    pub(super) auth: Auth,
    pub(super) ledger: Ledger,
    pub(super) audit: Audit,
    pub(super) log: LogSettings,
    pub(super) providers: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) listen: SocketAddr,
    pub(super) tls_terminated_by_proxy: bool,
    pub(super) max_connections: u32,
    pub(super) max_connections_per_address: u32,
    pub(super) new_connections_per_address_per_second: u32,
    pub(super) rejected_calls_per_second: u32,
    pub(super) max_unread_bytes: u64,
    pub(super) max_header_bytes: u32,
    pub(super) header_timeout_ms: u64,
    pub(super) write_timeout_ms: u64,
    pub(super) keep_alive_interval_ms: u64,
    pub(super) keep_alive_timeout_ms: u64,
    pub(super) idle_timeout_ms: u64,
    pub(super) max_connection_age_ms: u64,
    pub(super) shutdown_delay_ms: u64,
    pub(super) drain_timeout_ms: u64,
    pub(super) reflection: bool,
    pub(super) http2: Http2,
    pub(super) tls: Tls,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http2 {
    pub(super) max_concurrent_streams: u32,
    pub(super) max_pending_resets: u32,
    pub(super) stream_window_bytes: u32,
    pub(super) connection_window_bytes: u32,
    pub(super) send_buffer_bytes: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) client_ca_file: Option<PathBuf>,
    pub(super) client_certificates: ClientCertificates,
    pub(super) handshake_timeout_ms: u64,
    pub(super) reload_interval_ms: u64,
    pub(super) services: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operations {
    pub(super) listen: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Requests {
    pub(super) default_deadline_ms: u64,
    pub(super) max_deadline_ms: u64,
    pub(super) max_body_bytes: u64,
    pub(super) body_timeout_ms: u64,
    pub(super) min_body_bytes_per_second: u32,
    pub(super) max_total_memory_bytes: u64,
    pub(super) max_in_flight: u32,
    pub(super) max_in_flight_per_organization: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) caller_requests_per_second: u32,
    pub(super) caller_burst: u32,
    pub(super) address_requests_per_second: u32,
    pub(super) address_burst: u32,
    pub(super) failed_authentications_per_minute: u32,
    pub(super) failed_authentications_burst: u32,
    pub(super) max_unauthenticated_streams: u32,
    pub(super) max_unauthenticated_streams_per_address: u32,
    pub(super) max_unauthenticated_message_bytes: u32,
    pub(super) reflection_stream_timeout_ms: u64,
    pub(super) max_page_size: u32,
    pub(super) max_provider_keys_per_workspace: u32,
    pub(super) max_ai_keys_per_repo: u32,
    pub(super) trusted_proxies: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cors {
    pub(super) allowed_origins: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    pub(super) unknown_fields: UnknownFields,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Database {
    #[serde(default, deserialize_with = "secret")]
    pub(super) url: Option<Secret<String>>,
    pub(super) url_file: Option<PathBuf>,
    pub(super) max_connections: u32,
    pub(super) acquire_timeout_ms: u64,
    pub(super) busy_timeout_ms: u64,
    pub(super) allow_unverified_tls: bool,
    pub(super) max_clock_difference_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vault {
    pub(super) keyring_file: Option<PathBuf>,
    pub(super) endpoint_change_needs_secret: bool,
    pub(super) bind_secrets: BindSecrets,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    pub(super) clock_skew_seconds: u64,
    pub(super) token_cache_entries: u64,
    pub(super) jwks_min_refresh_ms: u64,
    pub(super) jwks_max_age_ms: u64,
    pub(super) max_token_seconds: u64,
    pub(super) allow_insecure_jwks: bool,
    pub(super) session: SessionIssuer,
    pub(super) service: Option<ServiceIssuer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionIssuer {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) jwks: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceIssuer {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) jwks: Option<String>,
    pub(super) max_token_seconds: Option<u64>,
    #[serde(default)]
    pub(super) subjects: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cache {
    pub(super) max_entries: u32,
    pub(super) lifetime_ms: u64,
    pub(super) max_staleness_ms: u64,
    pub(super) poll_interval_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    pub(super) reservation_ttl_ms: u64,
    pub(super) max_reservation_ttl_ms: u64,
    pub(super) charge_retention_days: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Audit {
    pub(super) retention_days: u32,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret<String>>, D::Error> {
    Ok(Some(Secret::new(String::deserialize(deserializer)?)))
}
