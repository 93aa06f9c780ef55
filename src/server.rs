//! The listener: HTTP/1.1 and HTTP/2 on one port, and an orderly end.
//!
//! tonic's own server speaks HTTP/2 alone over TLS, so that it could not carry every face there; what
//! it would do for us is done here: the peer's address, and connections that finish what they have
//! begun.

mod opening;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use opening::Opening;
use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::ServiceExt;

/// How long a client may take to send a request's headers, and a new one to say anything at all.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a silent HTTP/2 client is asked whether it is there, and how long it may take to say so.
/// One on HTTP/1.1 is asked as often by the system, since a stream may have nothing to tell for days.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How many calls one HTTP/2 connection may have under way.
const MAX_CONCURRENT_STREAMS: u32 = 200;
/// How large a request's headers may be together.
const MAX_HEADER_BYTES: u32 = 32 * 1024;
/// How many connections may be open, if the system lets the process have as many files; further ones
/// wait to be accepted.
const MAX_CONNECTIONS: u64 = 1000;
/// How many open files are left to the database, the collector and the issuers.
const RESERVED_FILES: u64 = 128;
/// How long to wait after the system could not accept, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The address at the other end of the connection, in every request's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Serves until `shutdown` is done, then finishes what is under way, for at most `drain`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
    drain: Duration,
) {
    let builder = connection_builder();
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let slots = Arc::new(Semaphore::new(max_connections()));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                let serving = connection(&builder, stream, peer, router.clone(), &graceful);
                connections.spawn(async move {
                    serving.await;
                    drop(slot);
                });
                // Those that have ended; the set would keep them.
                while connections.try_join_next().is_some() {}
            }
            Err(error) => pause_unless_aborted(&error).await,
        }
    }
    drop(listener);
    tracing::info!("finishing what is under way");
    if tokio::time::timeout(drain, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some calls did not finish in time");
    }
    // With the set, what is left of the connections ends.
}

/// Asks the system for as many open files as it allows, since each connection is one, and tells how
/// many connections they suffice for.
fn max_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Another limit than the hard one stays what it was if the system refuses.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = MAX_CONNECTIONS
        .min(files.saturating_sub(RESERVED_FILES))
        .max(1);
    if connections < MAX_CONNECTIONS {
        tracing::warn!(
            files,
            connections,
            "few files may be open, and so few connections"
        );
    }
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// Waits for a free slot first: what is not accepted costs nothing.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    if slots.available_permits() == 0 {
        tracing::warn!("every connection is taken; new ones wait");
    }
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, slot))
}

fn connection_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES);
    builder
}

/// The future that serves one connection, counted by `graceful`.
fn connection(
    builder: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static {
    // Answers are small; waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    // Without these, a client that is gone without a word is missed later, and no call fails.
    let _ = sockopt::set_socket_keepalive(&stream, true);
    let _ = sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE_INTERVAL);
    let _ = sockopt::set_tcp_keepintvl(&stream, KEEP_ALIVE_TIMEOUT);
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.map(Body::new)
    });
    let (stream, opened) = Opening::new(stream);
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let connection = graceful.watch(connection.into_owned());
    async move {
        let mut connection = std::pin::pin!(connection);
        // hyper's own timer starts only when it knows which version of HTTP it hears.
        let ended = tokio::select! {
            ended = &mut connection => ended,
            opened = opened.within(HEADER_READ_TIMEOUT) => match opened {
                true => connection.await,
                false => return,
            },
        };
        if let Err(error) = ended {
            tracing::debug!(cause = %error, "connection ended");
        }
    }
}

/// A connection that ended before it was accepted is its client's affair; anything else will not
/// pass at once.
async fn pause_unless_aborted(error: &io::Error) {
    if !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ) {
        tracing::warn!(cause = %error, "cannot accept");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
