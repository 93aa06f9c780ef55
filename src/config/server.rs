//! `[server]` and `[server.http2]`: the listener, limits for connections, and graceful shutdown.

use std::time::Duration;

use keyward_listener::{Http2Bounds, Settings};
use keyward_throttle::Rate;

use super::value::{in_range, positive, positive_millis, size};
use super::{Config, ConfigError, raw};

/// Minimum limit that the HTTP/1.1 parser supports, in bytes.
const MIN_HEADER_BYTES: u32 = 8 * 1024;
/// Maximum that a proxy would send, in bytes.
const MAX_HEADER_BYTES: u32 = 1024 * 1024;
/// Initial window of every HTTP/2 connection (RFC 9113, section 6.9.2), in bytes.
const MIN_WINDOW_BYTES: u32 = 65_535;
/// Maximum window of HTTP/2, in bytes.
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// Returns the settings of the listener. `grace` is the maximum duration of a call.
pub(super) fn listener(server: &raw::Server, grace: Duration) -> Result<Settings, ConfigError> {
    let max_age = server.max_connection_age_ms;
    Ok(Settings {
        max_connections: size(positive("server.max_connections", server.max_connections)?),
        max_connections_per_address: size(server.max_connections_per_address),
        // A client may open all connections that it is allowed at once.
        connection_rate: Rate::per_second(
            server.new_connections_per_address_per_second,
            server.max_connections_per_address,
        ),
        accept_rate: None,
        rejected_call_rate: Rate::per_second(server.rejected_calls_per_second, 0),
        max_unread_bytes: size(positive(
            "server.max_unread_bytes",
            server.max_unread_bytes,
        )?),
        header_timeout: positive_millis("server.header_timeout_ms", server.header_timeout_ms)?,
        write_timeout: positive_millis("server.write_timeout_ms", server.write_timeout_ms)?,
        keep_alive_interval: positive_millis(
            "server.keep_alive_interval_ms",
            server.keep_alive_interval_ms,
        )?,
        keep_alive_timeout: positive_millis(
            "server.keep_alive_timeout_ms",
            server.keep_alive_timeout_ms,
        )?,
        idle_timeout: positive_millis("server.idle_timeout_ms", server.idle_timeout_ms)?,
        max_age: (max_age > 0).then(|| Duration::from_millis(max_age)),
        grace,
        http2: http2(&server.http2)?,
        max_header_bytes: in_range(
            "server.max_header_bytes",
            server.max_header_bytes,
            MIN_HEADER_BYTES..=MAX_HEADER_BYTES,
        )?,
        shutdown_delay: Duration::from_millis(server.shutdown_delay_ms),
        drain: Duration::from_millis(server.drain_timeout_ms),
    })
}

fn http2(http2: &raw::Http2) -> Result<Http2Bounds, ConfigError> {
    Ok(Http2Bounds {
        max_concurrent_streams: positive(
            "server.http2.max_concurrent_streams",
            http2.max_concurrent_streams,
        )?,
        max_pending_resets: size(positive(
            "server.http2.max_pending_resets",
            http2.max_pending_resets,
        )?),
        stream_window_bytes: in_range(
            "server.http2.stream_window_bytes",
            http2.stream_window_bytes,
            1..=MAX_WINDOW_BYTES,
        )?,
        connection_window_bytes: in_range(
            "server.http2.connection_window_bytes",
            http2.connection_window_bytes,
            MIN_WINDOW_BYTES..=MAX_WINDOW_BYTES,
        )?,
        send_buffer_bytes: size(positive(
            "server.http2.send_buffer_bytes",
            http2.send_buffer_bytes,
        )?),
    })
}

impl Config {
    /// Rejects a listener whose traffic could be read in transit: the port is reachable from other machines,
    /// TLS is disabled here, and no proxy terminates TLS. Only `keyward serve` opens the port.
    ///
    /// # Errors
    /// The traffic could be read.
    pub fn check_exposure(&self) -> Result<(), ConfigError> {
        let is_safe =
            self.listen.ip().is_loopback() || self.tls.is_some() || self.tls_terminated_by_proxy;
        if is_safe {
            return Ok(());
        }
        let text = "is not a loopback address, and tokens and secrets would cross the network in the \
                    clear: give `server.tls.cert_file` and `server.tls.key_file`, or set \
                    `server.tls_terminated_by_proxy` to true where a proxy terminates TLS and nothing \
                    else reaches this port";
        Err(ConfigError::field("server.listen", text))
    }
}
