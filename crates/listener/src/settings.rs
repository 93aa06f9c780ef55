//! Settings of the listener.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use keyward_throttle::Rate;
use serde::Deserialize;

/// Maximum number of connections to the operations listener.
const MAX_OPERATIONS_CONNECTIONS: usize = 64;
/// Rate at which the operations listener accepts connections of all addresses. As many clients as the system queues,
/// 1024, are accepted within a second, the shortest timeout of common probes.
const OPERATIONS_ACCEPT_RATE: Rate = Rate {
    interval: Duration::from_micros(500),
    burst: NonZeroU32::MIN.saturating_add(7),
};

/// Limits for connections, and the timing of shutdown.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Maximum number of open connections; further ones wait to be accepted.
    pub max_connections: usize,
    /// Maximum number of connections per address. Zero means no limit.
    pub max_connections_per_address: usize,
    /// Maximum rate of new connections per address. `None` means no limit.
    pub connection_rate: Option<Rate>,
    /// Maximum rate of new connections of all addresses; further ones wait to be accepted. `None` means no limit.
    pub accept_rate: Option<Rate>,
    /// Rate of the calls of one owner that are rejected or need no token; beyond it the owner's connections are
    /// read more slowly. `None` means no limit.
    pub rejected_call_rate: Option<Rate>,
    /// Maximum total size of a request's headers, in bytes.
    pub max_header_bytes: u32,
    /// Timeout for a request's headers, and for the first byte of a new connection.
    pub header_timeout: Duration,
    /// Timeout for a write that the client does not read.
    pub write_timeout: Duration,
    /// Interval between keep-alive pings to a silent client.
    pub keep_alive_interval: Duration,
    /// Timeout for the response to a ping.
    pub keep_alive_timeout: Duration,
    /// Maximum time that a connection may have no call under way.
    pub idle_timeout: Duration,
    /// Age at which the client of a connection is asked to reconnect.
    pub max_age: Option<Duration>,
    /// Time that a connection may take to end once asked to.
    pub grace: Duration,
    /// Limits for HTTP/2.
    pub http2: Http2Bounds,
    /// Maximum memory for responses that clients have not read, in bytes; beyond it the oldest ones are shed.
    pub max_unread_bytes: usize,
    /// Time to continue serving after shutdown is requested.
    pub shutdown_delay: Duration,
    /// Time for the calls under way to finish after that.
    pub drain: Duration,
}

impl Settings {
    /// Removes the per-address limits, for when all clients share the address of an untrusted proxy.
    #[must_use]
    pub fn without_address_limits(self) -> Self {
        Self {
            max_connections_per_address: 0,
            connection_rate: None,
            ..self
        }
    }

    /// Settings for the operations listener. Its clients are few, may share one address, and are not asked to
    /// reconnect. Since nothing limits a single address, new connections of all together have a rate.
    #[must_use]
    pub fn for_operations(self) -> Self {
        Self {
            max_connections: MAX_OPERATIONS_CONNECTIONS,
            max_connections_per_address: 0,
            connection_rate: None,
            accept_rate: Some(OPERATIONS_ACCEPT_RATE),
            rejected_call_rate: None,
            max_age: None,
            ..self
        }
    }
}

/// Limits for one HTTP/2 connection.
#[derive(Debug, Clone)]
pub struct Http2Bounds {
    /// Maximum number of concurrent streams.
    pub max_concurrent_streams: u32,
    /// Maximum number of streams that the client resets before the server has processed them.
    pub max_pending_resets: usize,
    /// Maximum unread request bytes per stream.
    pub stream_window_bytes: u32,
    /// Maximum unread request bytes per connection.
    pub connection_window_bytes: u32,
    /// Maximum response bytes buffered per stream until the client reads them.
    pub send_buffer_bytes: usize,
}

/// Settings for TLS.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// Certificate and its chain, in PEM.
    pub cert_file: PathBuf,
    /// Private key of the certificate, in PEM.
    pub key_file: PathBuf,
    /// CA certificates that issue client certificates, in PEM.
    pub client_ca_file: Option<PathBuf>,
    /// Requirement for client certificates.
    pub client_certificates: ClientCertificates,
    /// Timeout for the handshake.
    pub handshake_timeout: Duration,
    /// Interval between checks of the files for changes.
    pub reload_interval: Duration,
    /// Service by the name in a client's certificate.
    pub services: BTreeMap<String, String>,
}

/// Requirement for client certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Not requested.
    None,
    /// Optional; an invalid one is rejected.
    Optional,
    /// Required.
    Required,
}
