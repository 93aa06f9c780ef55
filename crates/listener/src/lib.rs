//! The listener: HTTP/1.1 and HTTP/2 on one port, in plaintext or over TLS, with graceful shutdown.
//!
//! The server of tonic supports only HTTP/2 over TLS, so it could not serve every protocol there. This crate
//! replaces it: it records the peer's address, bounds connections, and drains them at shutdown.
//!
//! The application is a router. It reads the connection's client in the extensions of a request ([`Peer`],
//! [`PeerService`], [`Secure`]), and tells the listener in the extensions of a response that the client is
//! [`Authenticated`], that a limit has rejected the call ([`Limited`]), and the
//! [`Payer`](keyward_throttle::Payer) that the response is charged to.

mod acceptor;
mod activity;
mod call_counter;
mod connection;
mod eviction;
mod executor;
pub mod metrics;
mod outcome;
mod paced_stream;
mod pacer;
mod peer;
mod phase;
mod server;
mod settings;
mod stream;
mod tls;
mod unread;

pub use outcome::{Authenticated, Limited, is_rejected};
pub use peer::{Peer, PeerService, Secure};
pub use server::Server;
pub use settings::{ClientCertificates, Http2Bounds, Settings, TlsSettings};
pub use tls::{Tls, TlsError};
