//! Client of a connection, in the extensions of every request.

use std::net::SocketAddr;

/// Address of the connection's peer, in the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Name of the service that the verified certificate of the connection's client maps to, in the extensions of
/// its requests.
#[derive(Debug, Clone)]
pub struct PeerService(pub String);

/// Marks a request, in its extensions, as received over TLS.
#[derive(Debug, Clone, Copy)]
pub struct Secure;
