//! The listener: HTTP/1.1 and HTTP/2 on one port, in plaintext or over TLS, with graceful shutdown.
//!
//! The server of tonic supports only HTTP/2 over TLS, so it could not serve every protocol there. This module
//! replaces it: it records the peer's address and drains connections at shutdown.

mod activity;
mod call_counter;
mod connection;
mod eviction;
mod executor;
mod paced_stream;
mod pacer;
mod settings;
mod stream;
mod tls;
mod unread;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use activity::Activity;
use axum::Router;
use connection::{Builders, Shared};
use eviction::OpenConnections;
use keyward_core::principal::ServiceName;
use keyward_throttle::{Exempt, PerIpSlots, RateLimiter, Slot, client_network};
use pacer::ReadPacer;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use unread::UnreadResponses;

use crate::metrics::{self, ConnectionRejected};

pub use settings::{ClientCertificates, Http2Bounds, Settings, TlsSettings};
pub use tls::{Tls, TlsError};

/// Number of open files reserved for the database, the collector and the issuers.
const RESERVED_FILES: usize = 128;
/// Pause after the system could not accept a connection, such as for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Address of the connection's peer, in the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Service that the verified certificate of the connection's client names, in the extensions of its requests.
#[derive(Debug, Clone)]
pub(crate) struct PeerService(pub(crate) ServiceName);

/// Marks a request, in its extensions, as received over TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secure;

/// Marks a response, in its extensions, as sent to a client that has presented a valid token or certificate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Authenticated;

/// Marks a response, in its extensions, as a rejection by a limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limited;

/// Phase of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Shutdown was not requested.
    Serving,
    /// All requests are served, and clients are asked to reconnect.
    Draining,
    /// No new requests are served.
    Closing,
}

/// Listener: its settings, TLS, and the exempt addresses.
pub struct Server {
    settings: Settings,
    tls: Option<Arc<Tls>>,
    exempt: Exempt,
}

impl Server {
    /// Returns a plaintext server that limits connections from every address.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            tls: None,
            exempt: Arc::new(|_| false),
        }
    }

    /// Enables TLS if `tls` is `Some`.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// Exempts addresses that many clients share, such as a proxy's, from the limits on the number and the rate
    /// of connections.
    #[must_use]
    pub fn with_exempt(self, exempt: Exempt) -> Self {
        Self { exempt, ..self }
    }

    /// Serves until `shutdown` completes and for the configured delay after that, then drains the calls under
    /// way.
    pub async fn serve(
        self,
        listener: TcpListener,
        router: Router,
        shutdown: impl Future<Output = ()>,
    ) {
        let Settings {
            shutdown_delay,
            drain,
            ..
        } = self.settings;
        // Outlives the connections that watch it.
        let (phase, _) = watch::channel(Phase::Serving);
        let mut acceptor = self.acceptor(router, phase.subscribe());
        acceptor.admit_until(&listener, shutdown).await;
        phase.send_replace(Phase::Draining);
        if !shutdown_delay.is_zero() {
            tracing::info!(
                delay_ms = shutdown_delay.as_millis() as u64,
                "asked to end; serving on until it is noticed"
            );
            acceptor.admit_until(&listener, sleep(shutdown_delay)).await;
        }
        acceptor.admit_last(listener);
        phase.send_replace(Phase::Closing);
        tracing::info!("draining connections");
        let finished = async { while acceptor.connections.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, finished).await.is_err() {
            tracing::warn!("some calls did not finish in time");
        }
        // Dropping the acceptor aborts the remaining connections.
    }

    fn acceptor(self, router: Router, phase: watch::Receiver<Phase>) -> Acceptor {
        let slots = Arc::new(Semaphore::new(max_connections(
            self.settings.max_connections,
        )));
        let max = self.settings.max_connections_per_address;
        Acceptor {
            slots,
            ip_slots: PerIpSlots::new(max, Arc::clone(&self.exempt)),
            rate: RateLimiter::new(self.settings.connection_rate),
            exempt: self.exempt,
            connections: JoinSet::new(),
            open: Arc::default(),
            accepted: None,
            shared: Arc::new(Shared {
                unread: UnreadResponses::new(self.settings.max_unread_bytes),
                pacer: self
                    .settings
                    .rejected_call_rate
                    .map(|rate| Arc::new(ReadPacer::new(rate))),
                builders: Builders::new(&self.settings),
                settings: self.settings,
                router,
                tls: self.tls,
                phase,
            }),
        }
    }
}

/// Accepts connections.
struct Acceptor {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    ip_slots: PerIpSlots,
    rate: RateLimiter<IpAddr>,
    exempt: Exempt,
    connections: JoinSet<()>,
    open: Arc<OpenConnections>,
    /// An accepted connection that waits for a slot.
    accepted: Option<(TcpStream, SocketAddr)>,
}

impl Acceptor {
    async fn admit_until(&mut self, listener: &TcpListener, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(listener) => accepted,
                () = &mut end => return,
            };
            match accepted {
                Ok((stream, peer, slot)) => self.admit(stream, peer, slot),
                Err(error) => pause_unless_aborted(&error).await,
            }
        }
    }

    /// Returns the next connection once it has a slot. If every slot is taken, evicts a connection.
    /// Cancel-safe: an accepted connection is kept.
    async fn accept(
        &mut self,
        listener: &TcpListener,
    ) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        if self.accepted.is_none() {
            self.accepted = Some(listener.accept().await?);
            if self.slots.available_permits() == 0 {
                match self.open.evict() {
                    true => metrics::connection_rejected(ConnectionRejected::Evicted),
                    false => tracing::warn!("every connection is in use; new ones wait"),
                }
            }
        }
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(io::Error::other)?;
        let (stream, peer) = self.accepted.take().ok_or(io::ErrorKind::WouldBlock)?;
        Ok((stream, peer, slot))
    }

    /// Admits the clients that have already connected, and closes the listener.
    fn admit_last(&mut self, listener: TcpListener) {
        // The system may have connections that the runtime has not seen yet.
        let Ok(listener) = listener.into_std() else {
            return;
        };
        while let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            if let Some((stream, peer)) = self.accepted.take() {
                self.admit(stream, peer, slot);
                continue;
            }
            let Ok((stream, peer)) = listener.accept() else {
                return;
            };
            if let Ok(stream) = stream
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(stream))
            {
                self.admit(stream, peer, slot);
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr, slot: OwnedSemaphorePermit) {
        // A dual-stack socket reports IPv4 addresses in their IPv6-mapped form.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(ip_slot) = self.ip_slots.take(peer.ip()) else {
            return reject_connection(ConnectionRejected::PerIpLimit);
        };
        // The cost of a connection, mainly the handshake, comes before the client is authenticated, and a
        // client that is cut off could reconnect at once.
        let is_exempt = (self.exempt)(peer.ip());
        if !is_exempt && self.rate.admit(client_network(peer.ip())).is_err() {
            return reject_connection(ConnectionRejected::PerIpRate);
        }
        let guard = ConnectionGuard::new(slot, ip_slot);
        let shared = Arc::clone(&self.shared);
        let activity = Activity::new(Instant::now());
        let (open, number) = (Arc::clone(&self.open), self.open.number());
        let serving = Arc::clone(&activity);
        let task = self.connections.spawn(async move {
            let _guard = guard;
            let _open_guard = open.guard(number);
            connection::serve(shared, stream, peer, serving, is_exempt).await;
        });
        if !is_exempt {
            self.open.insert(number, task, activity);
        }
        // The set keeps finished connections until they are joined.
        while self.connections.try_join_next().is_some() {}
    }
}

/// Counts a connection that is closed at once.
fn reject_connection(reason: ConnectionRejected) {
    metrics::connection_rejected(reason);
    tracing::debug!(reason = reason.name(), "rejected a connection");
}

/// Resources that a connection holds until it ends.
struct ConnectionGuard {
    _slot: OwnedSemaphorePermit,
    _ip_slot: Slot<IpAddr>,
}

impl ConnectionGuard {
    fn new(slot: OwnedSemaphorePermit, ip_slot: Slot<IpAddr>) -> Self {
        metrics::connections(1);
        Self {
            _slot: slot,
            _ip_slot: ip_slot,
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        metrics::connections(-1);
    }
}

/// Raises the limit on open files to the maximum that the system allows, since each connection uses a file, and
/// returns the number of connections that fit.
fn max_connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // If the system rejects this, the limit stays as it was.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    let files = getrlimit(Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    });
    let connections = wanted.min(files.saturating_sub(RESERVED_FILES)).max(1);
    if connections < wanted {
        tracing::warn!(
            files,
            connections,
            "lowered the maximum of connections to fit the limit on open files"
        );
    }
    connections.min(Semaphore::MAX_PERMITS)
}

/// Pauses after an error of `accept`, unless the client aborted the connection: other errors persist for a
/// while.
async fn pause_unless_aborted(error: &io::Error) {
    if !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ) {
        tracing::warn!(cause = %error, "failed to accept a connection");
        sleep(ACCEPT_PAUSE).await;
    }
}
