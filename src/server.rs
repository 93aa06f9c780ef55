//! The listener: HTTP/1.1 and HTTP/2 on one port, in the clear or over TLS, and an orderly end.
//!
//! tonic's own server speaks HTTP/2 alone over TLS, so that it could not carry every face there; what
//! it would do for us is done here: the peer's address, and connections that finish what they have
//! begun.

mod activity;
mod addresses;
mod calls_read;
mod connection;
mod eviction;
mod executor;
mod pace;
mod paced;
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
use connection::{Builders, House};
use eviction::Open;
use keyward_core::principal::ServiceName;
use pace::Pace;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use unread::Unread;

use crate::metrics::{self, NotAdmitted};
use crate::rate::Limiter;

pub use addresses::Exempt;
pub(crate) use addresses::{PerAddress, Place, counted};
pub use settings::{ClientCertificates, Http2Bounds, Settings, TlsSettings};
pub use tls::{Tls, TlsError};

/// How many open files are left to the database, the collector and the issuers.
const RESERVED_FILES: usize = 128;
/// How long to wait after the system could not accept, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The address at the other end of the connection, in every request's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The service that the connection's client is by its verified certificate, in its requests'
/// extensions.
#[derive(Debug, Clone)]
pub(crate) struct PeerService(pub(crate) ServiceName);

/// Marks, in a request's extensions, that it came over TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secure;

/// Marks, in a response's extensions, that its caller has shown a good token or certificate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proven;

/// Marks, in a response's extensions, that one of the limits has rejected the call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limited;

/// How far we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody has asked us to end.
    Serving,
    /// Everything is served, and clients are asked to connect anew.
    Leaving,
    /// Nothing new begins.
    Ending,
}

/// A listener's settings, and what it speaks.
pub struct Server {
    settings: Settings,
    tls: Option<Arc<Tls>>,
    exempt: Exempt,
}

impl Server {
    /// A server in the clear, for which every address counts.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            tls: None,
            exempt: Arc::new(|_| false),
        }
    }

    /// The same over TLS, if there is any.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// The same for addresses from which many clients come, such as a proxy's: how many connections
    /// they have, and how often they connect, is not limited.
    #[must_use]
    pub fn with_exempt(self, exempt: Exempt) -> Self {
        Self { exempt, ..self }
    }

    /// Serves until `shutdown` is done, and for the configured time after that; then finishes what is
    /// under way.
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
        // It lives longer than the connections that hear of it.
        let (phase, _) = watch::channel(Phase::Serving);
        let mut door = self.door(router, phase.subscribe());
        door.admit_until(&listener, shutdown).await;
        phase.send_replace(Phase::Leaving);
        if !shutdown_delay.is_zero() {
            tracing::info!(
                delay_ms = shutdown_delay.as_millis() as u64,
                "asked to end; serving on until it is noticed"
            );
            door.admit_until(&listener, sleep(shutdown_delay)).await;
        }
        door.admit_last(listener);
        phase.send_replace(Phase::Ending);
        tracing::info!("finishing what is under way");
        let finished = async { while door.connections.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, finished).await.is_err() {
            tracing::warn!("some calls did not finish in time");
        }
        // With the door, what is left of the connections ends.
    }

    fn door(self, router: Router, phase: watch::Receiver<Phase>) -> Door {
        let slots = Arc::new(Semaphore::new(max_connections(
            self.settings.max_connections,
        )));
        let most = self.settings.max_connections_per_address;
        Door {
            slots,
            places: PerAddress::new(most, Arc::clone(&self.exempt)),
            rate: Limiter::new(self.settings.connection_rate),
            exempt: self.exempt,
            connections: JoinSet::new(),
            open: Arc::default(),
            accepted: None,
            house: Arc::new(House {
                unread: Unread::new(self.settings.max_unread_bytes),
                pace: self
                    .settings
                    .rejected_call_rate
                    .map(|rate| Arc::new(Pace::new(rate))),
                builders: Builders::new(&self.settings),
                settings: self.settings,
                router,
                tls: self.tls,
                phase,
            }),
        }
    }
}

/// Where connections come in.
struct Door {
    house: Arc<House>,
    slots: Arc<Semaphore>,
    places: Arc<PerAddress>,
    rate: Limiter<IpAddr>,
    exempt: Exempt,
    connections: JoinSet<()>,
    open: Arc<Open>,
    /// A connection that waits for a slot.
    accepted: Option<(TcpStream, SocketAddr)>,
}

impl Door {
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

    /// The next connection, when there is a slot for it. Where every slot is taken, one is made free for it.
    /// A caller that stops polling loses none: an accepted connection is kept.
    async fn accept(
        &mut self,
        listener: &TcpListener,
    ) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        if self.accepted.is_none() {
            self.accepted = Some(listener.accept().await?);
            if self.slots.available_permits() == 0 {
                match self.open.evict() {
                    true => metrics::not_admitted(NotAdmitted::Evicted),
                    false => tracing::warn!("every connection is in use; new ones wait"),
                }
            }
        }
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(io::Error::other)?;
        let (stream, peer) = self.accepted.take().ok_or(io::ErrorKind::WouldBlock)?;
        Ok((stream, peer, slot))
    }

    /// Admits who has connected already, and closes the door.
    fn admit_last(&mut self, listener: TcpListener) {
        // The system is asked, since it may know of some that the runtime does not.
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
        // A socket for both versions of IP has addresses of the older one in the newer one's form.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(place) = self.places.take(peer.ip()) else {
            return turn_away(NotAdmitted::TooMany);
        };
        // What a connection costs, a handshake above all, is paid before anything is known of its
        // client; and one that is cut off would otherwise come again at once.
        let is_exempt = (self.exempt)(peer.ip());
        if !is_exempt && self.rate.admit(counted(peer.ip())).is_err() {
            return turn_away(NotAdmitted::TooOften);
        }
        let held = Held::new(slot, place);
        let house = Arc::clone(&self.house);
        let activity = Activity::new(Instant::now());
        let (opened, number) = (Arc::clone(&self.open), self.open.number());
        let serving = Arc::clone(&activity);
        let task = self.connections.spawn(async move {
            let _held = held;
            let _open = opened.guard(number);
            connection::serve(house, stream, peer, serving, is_exempt).await;
        });
        if !is_exempt {
            self.open.insert(number, task, activity);
        }
        // Those that have ended; the set would keep them.
        while self.connections.try_join_next().is_some() {}
    }
}

/// Counts a connection that is closed at once.
fn turn_away(reason: NotAdmitted) {
    metrics::not_admitted(reason);
    tracing::debug!(reason = reason.name(), "a connection was closed at once");
}

/// What a connection takes up until it ends.
struct Held {
    _slot: OwnedSemaphorePermit,
    _place: Place,
}

impl Held {
    fn new(slot: OwnedSemaphorePermit, place: Place) -> Self {
        metrics::connections(1);
        Self {
            _slot: slot,
            _place: place,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        metrics::connections(-1);
    }
}

/// Asks the system for as many open files as it allows, since each connection is one, and tells how
/// many connections they suffice for.
fn max_connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Another limit than the hard one stays what it was if the system refuses.
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
            "few files may be open, and so few connections"
        );
    }
    connections.min(Semaphore::MAX_PERMITS)
}

/// A connection that ended before it was accepted is its client's affair; anything else will not
/// pass at once.
async fn pause_unless_aborted(error: &io::Error) {
    if !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ) {
        tracing::warn!(cause = %error, "cannot accept");
        sleep(ACCEPT_PAUSE).await;
    }
}
