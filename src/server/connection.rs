//! Serves one connection, from the handshake to its end.
//!
//! A call is never cut off when the server ends a connection by its own choice. HTTP/2 has GOAWAY for that.
//! Over HTTP/1.1 a response announces that it is the last one, and a connection without a call is closed only
//! if no part of a request has arrived.

use std::convert::Infallible;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures_util::poll;
use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use keyward_throttle::{Owner, client_network};
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tower::ServiceExt;

use super::activity::{Activity, Call, ResponseBody, Snapshot, Version};
use super::executor::StreamExecutor;
use super::paced_stream::PacedStream;
use super::pacer::ReadPacer;
use super::stream::{Socket, Stream, TrackedStream};
use super::tls::Tls;
use super::unread::UnreadResponses;
use super::{Authenticated, Limited, Peer, PeerService, Phase, Secure, Settings};
use crate::error::{is_outage, is_rejected};

/// Time in which a client that has just connected must send its first bytes in `Phase::Closing`.
const FINAL_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// State that all connections share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) router: Router,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) builders: Builders,
    /// Responses that wait for their clients.
    pub(super) unread: Arc<UnreadResponses>,
    /// Rate limit of rejected calls, if any.
    pub(super) pacer: Option<Arc<ReadPacer>>,
}

/// HTTP implementations, by version.
pub(super) struct Builders {
    either: auto::Builder<StreamExecutor>,
    http1: auto::Builder<StreamExecutor>,
    http2: auto::Builder<StreamExecutor>,
}

impl Builders {
    pub(super) fn new(settings: &Settings) -> Self {
        let either = builder(settings);
        Self {
            http1: either.clone().http1_only(),
            http2: either.clone().http2_only(),
            either,
        }
    }

    fn of(&self, version: Version) -> &auto::Builder<StreamExecutor> {
        match version {
            Version::Unknown => &self.either,
            Version::Http1 => &self.http1,
            Version::Http2 => &self.http2,
        }
    }
}

fn builder(settings: &Settings) -> auto::Builder<StreamExecutor> {
    let mut builder = auto::Builder::new(StreamExecutor);
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper's timer would also run between requests; the one of `decide` does not.
        .header_read_timeout(None)
        .max_buf_size(settings.max_header_bytes as usize);
    let bounds = &settings.http2;
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(settings.keep_alive_interval)
        .keep_alive_timeout(settings.keep_alive_timeout)
        .max_concurrent_streams(bounds.max_concurrent_streams)
        .max_pending_accept_reset_streams(bounds.max_pending_resets)
        .initial_stream_window_size(bounds.stream_window_bytes)
        .initial_connection_window_size(bounds.connection_window_bytes)
        .max_send_buf_size(bounds.send_buffer_bytes)
        .max_header_list_size(settings.max_header_bytes);
    builder
}

/// Serves one connection until it ends.
pub(super) async fn serve(
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
    let address = || Owner::Address(client_network(peer.ip()));
    let pacer = shared.pacer.clone().filter(|_| !is_exempt);
    let payer = pacer.map(|pacer| (pacer, address()));
    let paced = PacedStream::new(tracked, Arc::clone(&activity), payer);
    let io = TokioIo::new(paced);
    let builder = shared.builders.of(activity.snapshot().version);
    if service.is_some() {
        activity.set_authenticated(None);
    }
    let calls = Calls {
        shared: Arc::clone(&shared),
        activity: Arc::clone(&activity),
        peer: Peer(peer),
        service,
        is_exempt,
        secure: shared.tls.is_some().then_some(Secure),
        old: times.old,
    };
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

/// State that all calls of a connection share.
#[derive(Clone)]
struct Calls {
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    peer: Peer,
    service: Option<PeerService>,
    is_exempt: bool,
    secure: Option<Secure>,
    old: Option<Instant>,
}

impl Calls {
    /// Charges a call before more is read. hyper runs this for each request that it has read, and polls the
    /// future later.
    fn begin(
        self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + use<> {
        let call = self.activity.begin();
        let is_charged = !self.is_exempt && !self.activity.is_authenticated();
        // Over HTTP/2, calls are charged when they are read.
        if is_charged && request.version() < http::Version::HTTP_2 {
            self.activity.owe(&self.address(), 1);
        }
        self.call(request, call, is_charged)
    }

    fn address(&self) -> Owner {
        Owner::Address(client_network(self.peer.0.ip()))
    }

    /// Charges a call for its outcome, unless that is the server's own failure. A service and a proxy call
    /// for many clients: the server continues to read their connections and delays only their rejected calls.
    /// Returns that delay.
    fn charge_outcome(
        &self,
        response: &Response<Body>,
        owner: &Owner,
        is_charged: bool,
    ) -> Option<Duration> {
        let is_known = response.extensions().get::<Authenticated>().is_some();
        let is_limited = response.extensions().get::<Limited>().is_some();
        let costs = is_limited || !is_outage(response) && (!is_known || is_rejected(response));
        if is_charged {
            if is_known && !costs {
                self.activity.refund(&self.address());
            }
            return None;
        }
        if !costs {
            return None;
        }
        if self.is_exempt && matches!(owner, Owner::Address(_)) {
            return None;
        }
        if owner.is_service() || self.is_exempt || !is_known && is_limited {
            return self.shared.pacer.as_ref()?.charge(owner.clone(), 1);
        }
        self.activity.owe(owner, 1);
        None
    }

    /// Waits until the client has paid for its calls. Over HTTP/1.1 the next requests may have been read with
    /// the first, so pausing the reader would delay none of them.
    async fn wait_until_paid(&self) {
        let owed = self.activity.owed();
        let pause = self
            .shared
            .pacer
            .as_ref()
            .and_then(|pacer| pacer.charge_all(owed));
        if let Some(pause) = pause {
            sleep(pause).await;
        }
    }

    async fn call(
        self,
        request: Request<Incoming>,
        call: Call,
        is_charged: bool,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let is_http1 = request.version() < http::Version::HTTP_2;
        // The first call is paid for with the connection.
        if is_http1 && !call.is_first() {
            self.wait_until_paid().await;
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.peer);
        if let Some(service) = self.service.clone() {
            request.extensions_mut().insert(service);
        }
        if let Some(secure) = self.secure {
            request.extensions_mut().insert(secure);
        }
        let router = self.shared.router.clone();
        let result = router.oneshot(request).await;
        let mut response = result.unwrap_or_else(|infallible| match infallible {});
        let is_old = self.old.is_some_and(|old| Instant::now() >= old);
        if is_http1 && (is_old || *self.shared.phase.borrow() != Phase::Serving) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        // A layer asks for the end by this header; HTTP/2 has GOAWAY instead.
        if !is_http1 && response.headers_mut().remove(CONNECTION).is_some() {
            self.activity.request_close();
        }
        let owner = response.extensions_mut().remove::<Owner>();
        if response.extensions().get::<Authenticated>().is_some() {
            self.activity.set_authenticated(owner.as_ref());
        }
        // A call that is rejected before authentication counts for the last caller of the connection.
        let payer = owner.clone().or_else(|| self.activity.owner());
        let owner = owner.unwrap_or_else(|| self.address());
        let payer = payer.unwrap_or_else(|| self.address());
        if let Some(delayed) = self.charge_outcome(&response, &payer, is_charged) {
            sleep(delayed).await;
        }
        Ok(response.map(|body| call.respond(body, owner, &self.shared.unread)))
    }
}

/// Points in time at which a connection changes state.
#[derive(Debug, Clone, Copy)]
struct Times {
    opened: Instant,
    /// Time from which the connection is old.
    old: Option<Instant>,
    /// Time at which the connection saw `Phase::Closing`, if it did.
    closing: Option<Instant>,
}

/// Next step for a connection.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Do nothing before this time.
    Wait(Instant),
    /// Reset the streams whose responses the client does not read.
    Shed,
    /// End the connection after its calls.
    End,
    /// Close the connection at once.
    Cut,
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

/// Returns the next step. No new deadline is reached before the shortest timeout has passed, so checking
/// again after that suffices.
fn decide(snapshot: &Snapshot, settings: &Settings, times: &Times, now: Instant) -> Step {
    let mut due = Vec::with_capacity(4);
    if !snapshot.has_received || snapshot.version == Version::Unknown {
        due.push((times.opened + settings.header_timeout, Step::Cut));
        if let Some(closing) = times.closing {
            due.push((closing.max(times.opened) + FINAL_READ_TIMEOUT, Step::Cut));
        }
    } else {
        let is_http2 = snapshot.version == Version::Http2;
        match snapshot.head_since {
            // The response announces that it is the last one.
            Some(since) if !is_http2 => due.push((since + settings.header_timeout, Step::Cut)),
            _ => due.extend(times.closing.map(|closing| (closing, Step::End))),
        }
        if is_http2 {
            due.extend(times.old.map(|old| (old, Step::End)));
            due.extend(snapshot.close_requested.then_some((now, Step::End)));
        }
        if snapshot.calls == 0 && (is_http2 || snapshot.head_since.is_none()) {
            due.push((snapshot.idle_since + settings.idle_timeout, Step::End));
        }
        let waiting = snapshot.waiting_since;
        // Over HTTP/1.1 there is one response, and the socket has the timeout.
        due.extend(waiting.map(|since| match is_http2 {
            true => (since + settings.write_timeout, Step::Shed),
            false => (since + settings.idle_timeout, Step::End),
        }));
    }
    due.extend(snapshot.must_close.then_some((times.opened, Step::Cut)));
    let shortest = settings
        .header_timeout
        .min(settings.idle_timeout)
        .min(settings.write_timeout);
    match due.into_iter().min_by_key(|(at, _)| *at) {
        Some((at, step)) if at <= now => step,
        Some((at, _)) => Step::Wait(at.min(now + shortest)),
        None => Step::Wait(now + shortest),
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
mod tests;
