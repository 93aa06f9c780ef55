//! Calls to measure: their requests, and the check of their responses.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, Request, Uri, header};
use http_body_util::Full;
use prost::Message;

use crate::Outcome;
use crate::proto::{
    RecordUsageRequest, ReserveSpendRequest, ReserveSpendResponse, SettleSpendRequest,
};

/// Protocol of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    Rest,
}

/// A call to measure.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    token: String,
    kind: Kind,
    /// Response to the first request, with its framing; the yardstick answers with it.
    answer: Option<Bytes>,
    number: AtomicU64,
}

enum Kind {
    /// The same request each time.
    Same { path: &'static str, body: Bytes },
    /// Charges of these keys in turn, each with its own id.
    Charge { hashes: Vec<String> },
    /// Reservations of these keys in turn, each followed by its settlement.
    Spend { hashes: Vec<String> },
}

/// A request, and the request that follows from its response.
pub(crate) struct Step {
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
}

const RECORD: &str = "/keyward.v1.ManagementKeyService/RecordUsage";
const RESERVE: &str = "/keyward.v1.ManagementKeyService/ReserveSpend";
const SETTLE: &str = "/keyward.v1.ManagementKeyService/SettleSpend";

impl Call {
    pub(crate) fn grpc(
        name: &'static str,
        path: &'static str,
        token: &str,
        message: &impl Message,
    ) -> Self {
        let body = framed(message);
        Self::new(name, Protocol::Grpc, token, Kind::Same { path, body })
    }

    pub(crate) fn rest(name: &'static str, path: &'static str, token: &str) -> Self {
        let body = Bytes::new();
        Self::new(name, Protocol::Rest, token, Kind::Same { path, body })
    }

    pub(crate) fn charges(name: &'static str, token: &str, hashes: Vec<String>) -> Self {
        Self::new(name, Protocol::Grpc, token, Kind::Charge { hashes })
    }

    pub(crate) fn spending(name: &'static str, token: &str, hashes: Vec<String>) -> Self {
        Self::new(name, Protocol::Grpc, token, Kind::Spend { hashes })
    }

    fn new(name: &'static str, protocol: Protocol, token: &str, kind: Kind) -> Self {
        Self {
            name,
            protocol,
            token: format!("Bearer {token}"),
            kind,
            answer: None,
            number: AtomicU64::new(0),
        }
    }

    /// Sets the response that the yardstick gives.
    pub(crate) fn with_answer(mut self, answer: Bytes) -> Self {
        self.answer = matches!(self.kind, Kind::Same { .. }).then_some(answer);
        self
    }

    /// Returns the response that the yardstick gives; `None` if a bare server would do no comparable work.
    pub(crate) fn answer(&self) -> Option<Bytes> {
        self.answer.clone()
    }

    /// Returns the next request.
    pub(crate) fn first(&self) -> Step {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let of = |hashes: &[String]| {
            let index = usize::try_from(number).unwrap_or_default() % hashes.len();
            hashes[index].clone()
        };
        let request_id = format!("{}-{number}", self.name);
        match &self.kind {
            Kind::Same { path, body } => Step {
                path,
                body: body.clone(),
            },
            Kind::Charge { hashes } => Step {
                path: RECORD,
                body: framed(&RecordUsageRequest {
                    hash: of(hashes),
                    cost_nanos: 1,
                    request_id,
                    ..Default::default()
                }),
            },
            Kind::Spend { hashes } => Step {
                path: RESERVE,
                body: framed(&ReserveSpendRequest {
                    hash: of(hashes),
                    amount_nanos: 2,
                    request_id,
                    ..Default::default()
                }),
            },
        }
    }

    /// Returns the request that follows a response.
    ///
    /// # Errors
    /// The response is not of this call.
    pub(crate) fn next(&self, step: &Step, answer: &[u8]) -> Outcome<Option<Step>> {
        if !matches!(self.kind, Kind::Spend { .. }) || step.path != RESERVE {
            return Ok(None);
        }
        let message = answer.get(5..).ok_or("the response has no frame")?;
        let reserved = ReserveSpendResponse::decode(message)?;
        Ok(Some(Step {
            path: SETTLE,
            body: framed(&SettleSpendRequest {
                reservation_id: reserved.reservation_id,
                cost_nanos: 1,
            }),
        }))
    }

    /// Builds the HTTP request of a step.
    ///
    /// # Errors
    /// The address or the token fits no request.
    pub(crate) fn request(&self, origin: &str, step: &Step) -> Outcome<Request<Full<Bytes>>> {
        let uri: Uri = format!("{origin}{}", step.path).parse()?;
        let request = Request::builder()
            .uri(uri)
            .header(header::AUTHORIZATION, &self.token);
        let request = match self.protocol {
            Protocol::Grpc => request
                .method(Method::POST)
                .header(header::CONTENT_TYPE, "application/grpc")
                .header(header::TE, "trailers"),
            Protocol::Rest => request.header(header::HOST, "127.0.0.1"),
        };
        Ok(request.body(Full::new(step.body.clone()))?)
    }
}

/// Returns a message with the prefix of gRPC: no compression, and the length.
fn framed(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let mut body = BytesMut::with_capacity(5 + message.len());
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put_slice(&message);
    body.freeze()
}
