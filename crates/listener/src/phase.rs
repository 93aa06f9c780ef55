//! Phases of the server.

/// Phase of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Shutdown was not requested.
    Serving,
    /// All requests are served, and clients are asked to reconnect.
    Draining,
    /// No new requests are served.
    Closing,
}
