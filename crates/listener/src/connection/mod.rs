//! Serves one connection, from the handshake to its end.
//!
//! A call is never cut off when the server ends a connection by its own choice. HTTP/2 has GOAWAY for that.
//! Over HTTP/1.1 a response announces that it is the last one, and a connection without a call is closed only
//! if no part of a request has arrived.

mod calls;
mod lifetime;
mod shared;

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use calls::CallHandler;
use futures_util::poll;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use keyward_throttle::{Owner, Payer, client_network};
use lifetime::{FINAL_READ_TIMEOUT, Step, Times, decide};
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::activity::{Activity, Version};
use crate::paced_stream::PacedStream;
use crate::peer::{Peer, PeerService, Secure};
use crate::phase::Phase;
use crate::settings::Settings;
use crate::stream::{Socket, Stream, TrackedStream};

pub(crate) use shared::Shared;

/// Serves one connection until it ends.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    activity: Arc<Activity>,
    is_exempt: bool,
) {
    let settings = &shared.settings;
    // Responses are small; waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    // Unread responses fill the system's memory, and the system then slows down every connection.
    let _ = sockopt::set_socket_send_buffer_size(&stream, settings.http2.send_buffer_bytes);
    // Best effort: without these, a client that vanished is detected later, but no call fails.
    let _ = sockopt::set_socket_keepalive(&stream, true);
    let _ = sockopt::set_tcp_keepidle(&stream, settings.keep_alive_interval);
    let _ = sockopt::set_tcp_keepintvl(&stream, settings.keep_alive_timeout);
    let socket = Socket::new(stream, Arc::clone(&activity), settings.write_timeout);
    let (stream, service): (Box<dyn Stream>, _) = match &shared.tls {
        None => (Box::new(socket), None),
        Some(tls) => {
            let handshake = tls.accept(socket);
            let Some(stream) = within_final_read(handshake, shared.phase.clone())
                .await
                .flatten()
            else {
                return;
            };
            let (_, session) = stream.get_ref();
            match session.alpn_protocol() {
                Some(b"h2") => activity.set_version(Version::Http2),
                Some(_) => activity.set_version(Version::Http1),
                None => {}
            }
            let service = tls.service(session).map(PeerService);
            (Box::new(stream), service)
        }
    };
    let times = Times {
        opened: Instant::now(),
        old: settings.max_age.map(|age| Instant::now() + jittered(age)),
        closing: None,
    };
    let tracked = TrackedStream::new(stream, Arc::clone(&activity));
    let address = || Payer::from(Owner::Address(client_network(peer.ip())));
    let pacer = shared.pacer.clone().filter(|_| !is_exempt);
    let payer = pacer.map(|pacer| (pacer, address()));
    let paced = PacedStream::new(tracked, Arc::clone(&activity), payer);
    let io = TokioIo::new(paced);
    let builder = shared.builders.of(activity.snapshot().version);
    let calls = CallHandler {
        shared: Arc::clone(&shared),
        activity: Arc::clone(&activity),
        peer: Peer(peer),
        service,
        is_exempt,
        secure: shared.tls.is_some().then_some(Secure),
        old: times.old,
    };
    if calls.service.is_some() {
        calls.set_authenticated(None);
    }
    let connection =
        builder.serve_connection(io, service_fn(move |request| calls.clone().begin(request)));
    let phase = shared.phase.clone();
    if let Err(error) = supervise(connection, &activity, settings, times, phase).await {
        tracing::debug!(
            cause = error.as_ref() as &dyn std::error::Error,
            "connection ended"
        );
    }
}

async fn supervise<C>(
    connection: C,
    activity: &Activity,
    settings: &Settings,
    mut times: Times,
    mut phase: watch::Receiver<Phase>,
) -> Result<(), C::Error>
where
    C: GracefulConnection,
{
    let mut connection = pin!(connection);
    loop {
        if times.closing.is_none() && *phase.borrow_and_update() == Phase::Closing {
            times.closing = Some(Instant::now());
        }
        let step = || decide(&activity.snapshot(), settings, &times, Instant::now());
        match step() {
            Step::Wait(until) => tokio::select! {
                biased;
                ended = &mut connection => return ended,
                () = sleep_until(until) => {}
                () = activity.close_requested() => {}
                Ok(()) = phase.changed() => {}
            },
            Step::Cut => return Ok(()),
            Step::Shed if !activity.is_authenticated() => return Ok(()),
            Step::Shed => activity.shed_unread(settings.write_timeout),
            Step::End => {
                // Requests that have arrived but were not yet read are still served.
                activity.request_recheck();
                if let std::task::Poll::Ready(ended) = poll!(&mut connection) {
                    return ended;
                }
                if step() == Step::End {
                    break;
                }
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    finish(connection, activity, settings).await
}

/// Waits for the calls in flight, and for the client to read the last response. A client that has neither and
/// does not react to GOAWAY is gone.
async fn finish<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    settings: &Settings,
) -> Result<(), C::Error> {
    let begun = Instant::now();
    loop {
        let (snapshot, now) = (activity.snapshot(), Instant::now());
        if snapshot.must_close {
            return Ok(());
        }
        activity.shed_unread(settings.write_timeout);
        let quiet_since = match snapshot.calls {
            0 => snapshot.idle_since.max(begun),
            _ => now,
        };
        let until = (quiet_since + settings.write_timeout).min(begun + settings.grace);
        if until <= now {
            return Ok(());
        }
        if let Ok(ended) = timeout_at(until, &mut connection).await {
            return ended;
        }
    }
}

/// Waits for the future, but for at most `FINAL_READ_TIMEOUT` once `Phase::Closing` has begun.
async fn within_final_read<T>(
    future: impl Future<Output = T>,
    mut phase: watch::Receiver<Phase>,
) -> Option<T> {
    let mut future: Pin<&mut _> = pin!(future);
    tokio::select! {
        done = &mut future => return Some(done),
        Ok(_) = phase.wait_for(|phase| *phase == Phase::Closing) => {}
    }
    timeout_at(Instant::now() + FINAL_READ_TIMEOUT, future)
        .await
        .ok()
}

/// Returns the time, plus or minus up to a tenth, so that connections that began together do not end
/// together.
fn jittered(age: Duration) -> Duration {
    // Each state has keys of its own, from the system's random source.
    let random = RandomState::new().hash_one(0) % 2001;
    age.mul_f64(0.9 + random as f64 / 10_000.0)
}

#[cfg(test)]
pub(crate) mod tests;
