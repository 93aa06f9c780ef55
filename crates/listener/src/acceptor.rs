//! Accepts connections, and rejects those beyond the limits of their address.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use keyward_throttle::{Exempt, PerIpSlots, RateLimiter, Slot, client_network};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::activity::Activity;
use crate::connection::{self, Shared};
use crate::eviction::OpenConnections;
use crate::metrics::{self, ConnectionRejected};

/// Number of open files reserved for the database, the collector and the issuers.
const RESERVED_FILES: usize = 128;
/// Pause after the system could not accept a connection, such as for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Accepts connections.
pub(crate) struct Acceptor {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    ip_slots: PerIpSlots,
    rate: RateLimiter<IpAddr>,
    accept_rate: RateLimiter<()>,
    exempt: Exempt,
    connections: JoinSet<()>,
    open: Arc<OpenConnections>,
    /// An accepted connection that waits for a slot.
    accepted: Option<(TcpStream, SocketAddr)>,
}

impl Acceptor {
    /// Accepts connections that share this state. Does not limit exempt addresses.
    pub(crate) fn new(shared: Arc<Shared>, exempt: Exempt) -> Self {
        let settings = &shared.settings;
        let max_per_ip = settings.max_connections_per_address;
        Self {
            slots: Arc::new(Semaphore::new(max_connections(settings.max_connections))),
            ip_slots: PerIpSlots::new(max_per_ip, Arc::clone(&exempt)),
            rate: RateLimiter::new(settings.connection_rate),
            accept_rate: RateLimiter::new(settings.accept_rate),
            exempt,
            connections: JoinSet::new(),
            open: Arc::default(),
            accepted: None,
            shared,
        }
    }

    /// Admits connections until `end` completes.
    pub(crate) async fn admit_until(
        &mut self,
        listener: &TcpListener,
        end: impl Future<Output = ()>,
    ) {
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
            while let Err(wait) = self.accept_rate.admit(()) {
                sleep(wait).await;
            }
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
    pub(crate) fn admit_last(&mut self, listener: TcpListener) {
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

    /// Waits until every connection has ended.
    pub(crate) async fn finished(&mut self) {
        while self.connections.join_next().await.is_some() {}
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
