//! What the listener is told at start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::rate::Rate;

/// How many connections there may be to the listener for operations.
const MAX_OPERATIONS_CONNECTIONS: usize = 64;

/// What connections are held to, and how it ends.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many connections may be open; further ones wait to be accepted.
    pub max_connections: usize,
    /// How many of them one address may have. Zero limits nothing.
    pub max_connections_per_address: usize,
    /// How often one address may connect, if that is limited.
    pub connection_rate: Option<Rate>,
    /// Rate of the calls of one owner that are rejected or need no token; beyond it the owner's connections
    /// are read more slowly. `None` is no limit.
    pub rejected_call_rate: Option<Rate>,
    /// How large a request's headers may be together, in bytes.
    pub max_header_bytes: u32,
    /// How long a client may take to send a request's headers, and a new one to say anything at all.
    pub header_timeout: Duration,
    /// How long a client may leave the connection full.
    pub write_timeout: Duration,
    /// How often a silent client is asked whether it is there.
    pub keep_alive_interval: Duration,
    /// How long it may take to say so.
    pub keep_alive_timeout: Duration,
    /// How long a connection may be without a call under way.
    pub idle_timeout: Duration,
    /// How old a connection may grow before its client is asked to make another.
    pub max_age: Option<Duration>,
    /// How long a connection that is asked to end may take.
    pub grace: Duration,
    /// What HTTP/2 is held to.
    pub http2: Http2Bounds,
    /// Maximum memory of answers that their clients have not taken, in bytes; the oldest ones beyond it are
    /// given up.
    pub max_unread_bytes: usize,
    /// How long to go on serving everything when asked to end.
    pub shutdown_delay: Duration,
    /// How long calls under way may take to finish after that.
    pub drain: Duration,
}

impl Settings {
    /// The same where all clients have one address, that of a proxy that is not named.
    #[must_use]
    pub fn without_address_limits(self) -> Self {
        Self {
            max_connections_per_address: 0,
            connection_rate: None,
            ..self
        }
    }

    /// The same for the listener of those who run the process, who are few, may all call from one
    /// address, and are asked to go nowhere else.
    #[must_use]
    pub fn for_operations(self) -> Self {
        Self {
            max_connections: MAX_OPERATIONS_CONNECTIONS,
            max_connections_per_address: 0,
            connection_rate: None,
            rejected_call_rate: None,
            max_age: None,
            ..self
        }
    }
}

/// What one HTTP/2 connection is held to.
#[derive(Debug, Clone)]
pub struct Http2Bounds {
    /// How many calls may be under way.
    pub max_concurrent_streams: u32,
    /// How many calls may be taken back before anything has looked at them.
    pub max_pending_resets: usize,
    /// How much of one call's request may wait to be read, in bytes.
    pub stream_window_bytes: u32,
    /// How much of all calls' requests may wait to be read, in bytes.
    pub connection_window_bytes: u32,
    /// How much of one call's answer may wait for its client, in bytes.
    pub send_buffer_bytes: usize,
}

/// How TLS is spoken.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The certificate and its chain, in PEM.
    pub cert_file: PathBuf,
    /// The certificate's key, in PEM.
    pub key_file: PathBuf,
    /// Who issues the certificates of clients, in PEM.
    pub client_ca_file: Option<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub client_certificates: ClientCertificates,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How often to look whether a file has changed.
    pub reload_interval: Duration,
    /// The service that each name in a client's certificate stands for.
    pub services: BTreeMap<String, String>,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// They are not asked.
    None,
    /// They may have one; a wrong one is refused.
    Optional,
    /// They must have one.
    Required,
}
