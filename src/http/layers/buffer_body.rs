//! Reads the whole request body before the call is processed: within a time limit, at a minimum rate, and from
//! a memory budget. While the client sends the body, the call holds no permit that others need. The inner
//! services find the whole body.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::BytesMut;
use futures_util::FutureExt as _;
use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt;
use keyward_gateway::{Rejection, Resolution};
use keyward_throttle::Payer;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};

use super::pending_health_calls::PendingHealthCalls;
use super::{RejectionSpec, RequestLimits};
use crate::admission::budget::{Budget, Charge};
use crate::admission::permits::unoccupied;
use crate::api::status;
use crate::http::route::{Endpoint, RouteTarget};
use crate::http::unauthenticated::UnauthenticatedLimits;
use crate::telemetry::metrics::{self, RejectReason};

const REJECTION: RejectionSpec = RejectionSpec {
    counted: RejectReason::RequestMemory,
    code: Code::Unavailable,
    reason: "OVERLOADED",
    message: "Too much of other requests is being read",
};
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Charge for a call whose body has not arrived yet: its own structures and a short body.
const CALL_BYTES: usize = 16 * 1024;
/// Number of copies of a body in memory: the bytes received, and the message decoded from them.
const COPIES: usize = 2;

/// Time that a client has to send a request's body: `timeout`, and a second more for each
/// `min_bytes_per_second` bytes received.
#[derive(Debug, Clone, Copy)]
pub struct BodyTime {
    /// Time before the minimum rate applies.
    pub timeout: Duration,
    /// Minimum rate after that.
    pub min_bytes_per_second: u32,
}

impl BodyTime {
    fn limit(self, received: usize) -> Duration {
        let seconds = received as f64 / f64::from(self.min_bytes_per_second.max(1));
        self.timeout + Duration::from_secs_f64(seconds)
    }
}

/// Reads bodies.
#[derive(Clone)]
pub(super) struct BodyReader {
    time: BodyTime,
    max_bytes: u64,
    max_unauthenticated_message_bytes: u64,
    /// Maximum charge of a call that needs no token. The service itself bounds the message.
    max_unauthenticated_bytes: usize,
    budget: Arc<Budget>,
    pending: PendingHealthCalls,
}

impl BodyReader {
    pub(super) fn new(requests: &RequestLimits, unauthenticated: &UnauthenticatedLimits) -> Self {
        let max_message_bytes = unauthenticated.max_message_bytes;
        Self {
            time: requests.body_time,
            max_bytes: requests.max_body_bytes,
            max_unauthenticated_message_bytes: max_message_bytes as u64,
            max_unauthenticated_bytes: max_message_bytes * 2 * COPIES + CALL_BYTES,
            budget: Budget::new(requests.max_total_memory_bytes),
            pending: PendingHealthCalls::new(unauthenticated),
        }
    }

    /// Maximum size of a body, as reported to the client.
    fn max_bytes_of(&self, target: &RouteTarget) -> u64 {
        match target.needs_token() {
            true => self.max_bytes,
            false => self.max_unauthenticated_message_bytes,
        }
    }

    /// Reads a body and charges its owner. A call without an owner may send a short body, and is given up if it
    /// is among the oldest of too many.
    async fn read(&self, mut body: Body, charge: Option<&mut Charge>) -> Result<Bytes, BodyError> {
        let is_unauthenticated = charge.is_none();
        let reading = self.collect(&mut body, charge);
        if !is_unauthenticated {
            return reading.await;
        }
        let given_up = self.pending.begin();
        tokio::select! {
            biased;
            read = reading => read,
            _ = given_up => Err(BodyError::GivenUp),
        }
    }

    async fn collect(
        &self,
        body: &mut Body,
        mut charge: Option<&mut Charge>,
    ) -> Result<Bytes, BodyError> {
        let began = Instant::now();
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        loop {
            let received = first.len() + rest.len();
            let frame = match body.frame().now_or_never() {
                Some(frame) => frame,
                None => {
                    // From here on the client decides how long the call takes.
                    self.draw(&mut charge, received.saturating_mul(COPIES) + CALL_BYTES)?;
                    let until = began + self.time.limit(received);
                    timeout_at(until, body.frame())
                        .await
                        .map_err(|_| BodyError::Slow)?
                }
            };
            let Some(frame) = frame else { break };
            let Ok(data) = frame.map_err(|error| BodyError::of(&error))?.into_data() else {
                continue;
            };
            let received = received + data.len();
            if received > CALL_BYTES {
                self.draw(&mut charge, received.saturating_mul(COPIES) + CALL_BYTES)?;
            }
            if first.is_empty() {
                first = data;
            } else {
                rest.extend_from_slice(&data);
            }
        }
        if rest.is_empty() {
            return Ok(first);
        }
        let mut whole = BytesMut::with_capacity(first.len() + rest.len());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&rest);
        Ok(whole.freeze())
    }

    /// Raises the charge to this total. Without an owner, only checks the maximum.
    fn draw(&self, charge: &mut Option<&mut Charge>, bytes: usize) -> Result<(), BodyError> {
        match charge {
            None if bytes <= self.max_unauthenticated_bytes => Ok(()),
            None => Err(BodyError::TooLarge),
            Some(charge) => match charge.draw(bytes.saturating_sub(charge.bytes())) {
                true => Ok(()),
                false => Err(BodyError::Budget),
            },
        }
    }
}

/// Reason why the body is incomplete.
enum BodyError {
    /// It did not arrive in time.
    Slow,
    /// Its owner's share of the budget is used up.
    Budget,
    /// It is larger than allowed.
    TooLarge,
    /// Too many calls that need no token wait for their bodies.
    GivenUp,
    /// The client has closed the request.
    Gone,
    /// It is malformed as HTTP.
    Malformed,
}

impl BodyError {
    /// Classifies an error of the body. The layer that bounds the size reports it by a status. Only downcasts
    /// show the kind, because axum's body erases the types of the errors of hyper and of the layers.
    fn of(error: &axum::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if error.is::<Status>() {
                return Self::TooLarge;
            }
            if error.is::<h2::Error>() {
                return Self::Gone;
            }
            if let Some(error) = error.downcast_ref::<hyper::Error>()
                && (error.is_incomplete_message() || error.is_canceled() || error.is_closed())
            {
                return Self::Gone;
            }
            if let Some(error) = error.downcast_ref::<std::io::Error>()
                && error.kind() != std::io::ErrorKind::InvalidData
                && error.kind() != std::io::ErrorKind::InvalidInput
                && error.kind() != std::io::ErrorKind::Other
            {
                return Self::Gone;
            }
            cause = error.source();
        }
        Self::Malformed
    }

    fn response(self, target: &RouteTarget, max_bytes: u64) -> Response {
        let rejection = match self {
            Self::Budget => return super::reject_with_retry(target, &REJECTION, RETRY_AFTER),
            Self::TooLarge => Rejection::body_too_large(max_bytes),
            Self::GivenUp => {
                metrics::rejected(RejectReason::UnauthenticatedStreams);
                status::too_many_streams().into()
            }
            Self::Slow => {
                metrics::rejected(RejectReason::SlowBody);
                let message = "The request body has come too slowly";
                let status = status::plain(Code::DeadlineExceeded, "BODY_TIMEOUT", message);
                Rejection::new(status).with_http_status(StatusCode::REQUEST_TIMEOUT)
            }
            Self::Gone => {
                let message = "The client closed the request";
                status::plain(Code::Cancelled, "CLIENT_CLOSED_REQUEST", message).into()
            }
            Self::Malformed => {
                let message = "The request body cannot be read";
                status::plain(Code::InvalidArgument, "BODY_MALFORMED", message).into()
            }
        };
        super::reject(target, rejection)
    }
}

/// Returns true if an inner service reads the call's body to its end.
fn has_message(target: &RouteTarget) -> bool {
    let calls_method = matches!(
        target.endpoint,
        Endpoint::Rest(Resolution::Matched(_)) | Endpoint::Grpc
    );
    calls_method || target.is_probe()
}

pub(super) async fn layer(
    State(reader): State<BodyReader>,
    request: Request,
    next: Next,
) -> Response {
    let target = super::target(&request);
    if request.body().is_end_stream() || !has_message(&target) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let payer = parts.extensions.get::<Payer>().cloned();
    let mut charge = payer.map(|payer| reader.budget.charge(payer));
    let read = reader.read(body, charge.as_mut());
    let body = match unoccupied(read).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return error.response(&target, reader.max_bytes_of(&target)),
        Err(_) => return super::concurrency_limit::overloaded(&target),
    };
    // The charge lasts as long as the data decoded from the body.
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    drop(charge);
    response
}
