//! `[server]`: the listener, TLS, limits for connections and calls, and graceful shutdown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use crate::layers::BodyTime;
use crate::rate::Rate;
use crate::server::{ClientCertificates, Http2Bounds, Settings, TlsSettings};

/// Minimum limit that the HTTP/1.1 parser supports, in bytes.
const MIN_HEADER_BYTES: u32 = 8 * 1024;
/// Maximum that a proxy would send, in bytes.
const MAX_HEADER_BYTES: u32 = 1024 * 1024;
/// Initial window of every HTTP/2 connection (RFC 9113, section 6.9.2), in bytes.
const MIN_WINDOW_BYTES: u32 = 65_535;
/// Maximum window of HTTP/2, in bytes.
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// Listener and limits for calls.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    tls_terminated_by_proxy: bool,
    pub(super) default_deadline_ms: u64,
    pub(super) max_deadline_ms: u64,
    pub(super) max_body_bytes: u64,
    max_connections: u32,
    max_connections_per_address: u32,
    new_connections_per_address_per_second: u32,
    rejected_calls_per_second: u32,
    max_concurrent_streams: u32,
    max_unread_bytes: u64,
    body_timeout_ms: u64,
    min_body_bytes_per_second: u32,
    max_header_bytes: u32,
    header_timeout_ms: u64,
    write_timeout_ms: u64,
    keep_alive_interval_ms: u64,
    keep_alive_timeout_ms: u64,
    idle_timeout_ms: u64,
    max_connection_age_ms: u64,
    max_pending_resets: u32,
    stream_window_bytes: u32,
    connection_window_bytes: u32,
    send_buffer_bytes: u32,
    shutdown_delay_ms: u64,
    drain_ms: u64,
    /// True if clients may use reflection.
    pub reflection: bool,
    tls: TlsConfig,
}

/// TLS, which is enabled if a certificate is configured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsConfig {
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
    client_certificates: ClientCertificates,
    handshake_timeout_ms: u64,
    reload_interval_ms: u64,
    services: BTreeMap<String, String>,
}

impl ServerConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("default_deadline_ms", self.default_deadline_ms),
            ("max_deadline_ms", self.max_deadline_ms),
            ("max_body_bytes", self.max_body_bytes),
            ("max_connections", u64::from(self.max_connections)),
            (
                "max_concurrent_streams",
                u64::from(self.max_concurrent_streams),
            ),
            ("max_unread_bytes", self.max_unread_bytes),
            ("body_timeout_ms", self.body_timeout_ms),
            (
                "min_body_bytes_per_second",
                u64::from(self.min_body_bytes_per_second),
            ),
            ("header_timeout_ms", self.header_timeout_ms),
            ("write_timeout_ms", self.write_timeout_ms),
            ("keep_alive_interval_ms", self.keep_alive_interval_ms),
            ("keep_alive_timeout_ms", self.keep_alive_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("max_pending_resets", u64::from(self.max_pending_resets)),
            ("send_buffer_bytes", u64::from(self.send_buffer_bytes)),
            ("tls.handshake_timeout_ms", self.tls.handshake_timeout_ms),
            ("tls.reload_interval_ms", self.tls.reload_interval_ms),
        ];
        if let Some((field, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(problem(field, "must be greater than 0"));
        }
        if self.default_deadline_ms > self.max_deadline_ms {
            let text = "must not be greater than `server.max_deadline_ms`";
            return Err(problem("default_deadline_ms", text));
        }
        let ranges = [
            (
                "max_header_bytes",
                self.max_header_bytes,
                MIN_HEADER_BYTES,
                MAX_HEADER_BYTES,
            ),
            (
                "stream_window_bytes",
                self.stream_window_bytes,
                1,
                MAX_WINDOW_BYTES,
            ),
            (
                "connection_window_bytes",
                self.connection_window_bytes,
                MIN_WINDOW_BYTES,
                MAX_WINDOW_BYTES,
            ),
        ];
        for (field, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let text = format!("must be from {least} to {most}");
                return Err(problem(field, &text));
            }
        }
        self.tls.check()
    }

    /// Rejects a listener whose traffic could be read in transit: the port is reachable from other machines,
    /// TLS is disabled here, and no proxy terminates TLS.
    ///
    /// # Errors
    /// The traffic could be read.
    pub fn check_exposure(&self) -> Result<(), ConfigError> {
        let is_safe = self.listen.ip().is_loopback()
            || self.tls.cert_file.is_some()
            || self.tls_terminated_by_proxy;
        if is_safe {
            return Ok(());
        }
        let text = "is not a loopback address, and tokens and secrets would cross the network in the \
                    clear: give `server.tls.cert_file` and `server.tls.key_file`, or set \
                    `server.tls_terminated_by_proxy` to true where a proxy terminates TLS and nothing \
                    else reaches this port";
        Err(problem("listen", text))
    }

    /// Returns true if a proxy terminates TLS.
    #[must_use]
    pub fn is_behind_proxy(&self) -> bool {
        self.tls_terminated_by_proxy
    }

    /// Returns the settings of the listener.
    #[must_use]
    pub fn listener(&self) -> Settings {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Settings {
            max_connections: count(self.max_connections),
            max_connections_per_address: count(self.max_connections_per_address),
            // A client may open all connections that it is allowed at once.
            connection_rate: Rate::per_second(
                self.new_connections_per_address_per_second,
                self.max_connections_per_address,
            ),
            rejected_call_rate: Rate::per_second(self.rejected_calls_per_second, 0),
            max_header_bytes: self.max_header_bytes,
            header_timeout: millis(self.header_timeout_ms),
            write_timeout: millis(self.write_timeout_ms),
            keep_alive_interval: millis(self.keep_alive_interval_ms),
            keep_alive_timeout: millis(self.keep_alive_timeout_ms),
            idle_timeout: millis(self.idle_timeout_ms),
            max_age: (self.max_connection_age_ms > 0).then(|| millis(self.max_connection_age_ms)),
            // Maximum duration of a call.
            grace: millis(self.max_deadline_ms),
            http2: Http2Bounds {
                max_concurrent_streams: self.max_concurrent_streams,
                max_pending_resets: count(self.max_pending_resets),
                stream_window_bytes: self.stream_window_bytes,
                connection_window_bytes: self.connection_window_bytes,
                send_buffer_bytes: count(self.send_buffer_bytes),
            },
            max_unread_bytes: usize::try_from(self.max_unread_bytes).unwrap_or(usize::MAX),
            shutdown_delay: millis(self.shutdown_delay_ms),
            drain: millis(self.drain_ms),
        }
    }

    /// Returns the time that a client has to send a request's body.
    #[must_use]
    pub(super) fn body_time(&self) -> BodyTime {
        BodyTime {
            timeout: millis(self.body_timeout_ms),
            min_bytes_per_second: self.min_body_bytes_per_second.max(1),
        }
    }

    /// Returns the settings for TLS, if it is enabled.
    #[must_use]
    pub fn tls(&self) -> Option<TlsSettings> {
        let tls = &self.tls;
        Some(TlsSettings {
            cert_file: tls.cert_file.clone()?,
            key_file: tls.key_file.clone()?,
            client_ca_file: tls.client_ca_file.clone(),
            client_certificates: tls.client_certificates,
            handshake_timeout: millis(tls.handshake_timeout_ms),
            reload_interval: millis(tls.reload_interval_ms),
            services: tls.services.clone(),
        })
    }
}

impl TlsConfig {
    fn check(&self) -> Result<(), ConfigError> {
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => {
                return Err(problem(
                    "tls.key_file",
                    "is required with `server.tls.cert_file`",
                ));
            }
            (None, Some(_)) => {
                return Err(problem(
                    "tls.cert_file",
                    "is required with `server.tls.key_file`",
                ));
            }
            _ => {}
        }
        let asks = self.client_certificates != ClientCertificates::None;
        if asks && self.cert_file.is_none() {
            let text = "needs `server.tls.cert_file`";
            return Err(problem("tls.client_certificates", text));
        }
        if asks && self.client_ca_file.is_none() {
            let text = "is required where `server.tls.client_certificates` is not \"none\"";
            return Err(problem("tls.client_ca_file", text));
        }
        // The file would be ignored, contrary to the operator's intent.
        if !asks && self.client_ca_file.is_some() {
            let text = "needs `server.tls.client_certificates` to be \"optional\" or \"required\"";
            return Err(problem("tls.client_ca_file", text));
        }
        if !asks && !self.services.is_empty() {
            let text = "needs `server.tls.client_certificates` to be \"optional\" or \"required\"";
            return Err(problem("tls.services", text));
        }
        let is_unfit = |(name, service): (&String, &String)| {
            name.is_empty() || name.contains('*') || service.is_empty()
        };
        if self.services.iter().any(is_unfit) {
            let text = "must map whole names, without `*`, to names of services";
            return Err(problem("tls.services", text));
        }
        Ok(())
    }
}

fn problem(field: &str, text: &str) -> ConfigError {
    ConfigError::field(&format!("server.{field}"), text)
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}
