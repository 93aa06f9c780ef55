//! Callers that each send a request as soon as they have the previous response.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::Outcome;
use crate::call::{Call, Protocol, Step};
use crate::process::cpu_seconds;

/// Maximum number of HTTP/2 connections.
const HTTP2_CONNECTIONS: usize = 8;
/// Maximum number of HTTP/1.1 connections, for which further callers wait. A server limits the rate of new ones.
const HTTP1_CONNECTIONS: usize = 64;
/// Maximum difference of two responses to the same request, in bytes: numbers in it change.
const MAX_DIFFERENCE: usize = 64;
/// Maximum latency that is recorded exactly, in microseconds.
const MAX_MICROS: u64 = 60_000_000;

/// Figures of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Requests, or sequences of requests, per second.
    pub(crate) rate: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    /// CPU time of the server for each of them.
    pub(crate) cpu_micros: f64,
}

/// A connection.
enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Sends requests for a time, and returns the figures without the warm-up.
///
/// # Errors
/// A request fails, or a response is not the expected one.
pub(crate) async fn run(
    call: &Call,
    address: SocketAddr,
    process: u32,
    callers: usize,
    time: Duration,
) -> Outcome<Figures> {
    let connections = match call.protocol {
        Protocol::Grpc => callers.min(HTTP2_CONNECTIONS),
        Protocol::Rest => callers.min(HTTP1_CONNECTIONS),
    };
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(Arc::new(Mutex::new(connect(address, call.protocol).await?)));
    }
    let (is_counted, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let calling = (0..callers).map(|caller| {
        let connection = Arc::clone(&open[caller % open.len()]);
        let (is_counted, is_over) = (&is_counted, &is_over);
        async move {
            let origin = format!("http://{address}");
            let mut times = Histogram::<u64>::new_with_bounds(1, MAX_MICROS, 3)?;
            while !is_over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let mut step = call.first();
                loop {
                    let answer = exchange(call, &origin, &connection, &step).await?;
                    match call.next(&step, &answer)? {
                        Some(next) => step = next,
                        None => break,
                    }
                }
                if is_counted.load(Ordering::Relaxed) {
                    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(MAX_MICROS);
                    times.saturating_record(micros.clamp(1, MAX_MICROS));
                }
            }
            Outcome::Ok(times)
        }
    });
    let timing = async {
        tokio::time::sleep(time / 3).await;
        let (begun, cpu) = (Instant::now(), cpu_seconds(process)?);
        is_counted.store(true, Ordering::Relaxed);
        tokio::time::sleep(time).await;
        is_counted.store(false, Ordering::Relaxed);
        let figures = (begun.elapsed(), cpu_seconds(process)? - cpu);
        is_over.store(true, Ordering::Relaxed);
        Outcome::Ok(figures)
    };
    let calling = futures_util::future::try_join_all(calling);
    let (all, (took, cpu)) = tokio::try_join!(calling, timing)?;
    let mut times = Histogram::<u64>::new_with_bounds(1, MAX_MICROS, 3)?;
    for of_one in all {
        times.add(of_one)?;
    }
    #[allow(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    let (count, of) = (times.len() as f64, |quantile| {
        times.value_at_quantile(quantile) as f64
    });
    Ok(Figures {
        rate: count / took.as_secs_f64(),
        p50_micros: of(0.5),
        p99_micros: of(0.99),
        cpu_micros: cpu * 1e6 / count.max(1.0),
    })
}

/// Makes one request on a connection of its own, and returns the response.
///
/// # Errors
/// The request fails, or the response is an error.
pub(crate) async fn once(call: &Call, address: SocketAddr) -> Outcome<Bytes> {
    let connection = Mutex::new(connect(address, call.protocol).await?);
    exchange(
        call,
        &format!("http://{address}"),
        &connection,
        &call.first(),
    )
    .await
}

async fn connect(address: SocketAddr, protocol: Protocol) -> Outcome<Connection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let stream = TokioIo::new(stream);
    Ok(match protocol {
        Protocol::Grpc => {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            Connection::Http2(sender)
        }
        Protocol::Rest => {
            let (sender, connection) = http1::handshake(stream).await?;
            tokio::spawn(connection);
            Connection::Http1(sender)
        }
    })
}

async fn exchange(
    call: &Call,
    origin: &str,
    connection: &Mutex<Connection>,
    step: &Step,
) -> Outcome<Bytes> {
    let request: Request<Full<Bytes>> = call.request(origin, step)?;
    let mut connection = connection.lock().await;
    let response = match &mut *connection {
        // The next request waits for the response.
        Connection::Http1(sender) => {
            sender.ready().await?;
            return read(call, sender.send_request(request).await?).await;
        }
        Connection::Http2(sender) => {
            sender.ready().await?;
            sender.send_request(request)
        }
    };
    drop(connection);
    read(call, response.await?).await
}

async fn read(call: &Call, response: http::Response<hyper::body::Incoming>) -> Outcome<Bytes> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?;
    let status = |headers: &HeaderMap| headers.get("grpc-status").cloned();
    let is_good = head.status == StatusCode::OK
        && match call.protocol {
            Protocol::Grpc => body
                .trailers()
                .and_then(status)
                .is_some_and(|code| code == "0"),
            Protocol::Rest => true,
        };
    if !is_good {
        let code = status(&head.headers).or_else(|| body.trailers().and_then(status));
        return Err(format!("{}: {} {code:?}", call.name, head.status).into());
    }
    let answer = body.to_bytes();
    match call.answer() {
        Some(expected) if expected.len().abs_diff(answer.len()) > MAX_DIFFERENCE => {
            Err(format!("{}: the response has another size", call.name).into())
        }
        _ => Ok(answer),
    }
}
