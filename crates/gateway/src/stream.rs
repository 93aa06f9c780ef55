//! Server-streaming methods in REST: a response is sent message by message.
//!
//! Lines of JSON follow grpc-gateway: `{"result":…}` for each message, and `{"error":…}` with a
//! `google.rpc.Status` at the end of a stream that fails. With the bare message as a line, as Envoy
//! writes it, a client could not distinguish an error from a message. Server-sent events have names
//! instead: an event without a name is a message, and an error is an `error`. The last event is an
//! `end`, also after an error: a client of server-sent events reconnects when a response ends,
//! unless the stream has ended explicitly.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Response};
use tonic::Status;

use crate::body::Body;
use crate::error_json;
use crate::finish_error::finish_error;
use crate::headers::copy_custom_headers;
use crate::json::JsonMessage;
use crate::preference::Preferences;
use crate::rejection::Rejection;
use crate::reply::{encode_body, success_status};
use crate::settings::Settings;
use crate::spec::RouteSpec;

/// Framing of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON text per line.
    Lines,
    /// Server-sent events.
    Events,
}

const LINES: &str = "application/x-ndjson";
const EVENTS: &str = "text/event-stream";
/// Last event of a stream.
const END: &str = "event: end\ndata: {}\n\n";

impl Format {
    /// Returns the format that the client prefers. Lines are the default, also for a client that
    /// accepts neither format: responses of one message ignore `Accept` too, as in Envoy and
    /// grpc-gateway.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let Some(list) = Preferences::of(headers.get_all(ACCEPT).iter()) else {
            return Self::Lines;
        };
        let lines = list.named(LINES).or_else(|| {
            let json = list.media_type("application/json");
            json.max(list.media_type(LINES))
        });
        let events = list.media_type(EVENTS).unwrap_or(0);
        if events > lines.unwrap_or(0) {
            Self::Events
        } else {
            Self::Lines
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Lines => LINES,
            Self::Events => EVENTS,
        }
    }

    fn message(self, json: &[u8]) -> Bytes {
        match self {
            Self::Lines => [br#"{"result":"#, json, b"}\n"].concat().into(),
            Self::Events => [b"data: ", json, b"\n\n"].concat().into(),
        }
    }

    fn error(self, json: &str) -> Bytes {
        match self {
            Self::Lines => format!("{{\"error\":{json}}}\n").into(),
            Self::Events => format!("event: error\ndata: {json}\n\n{END}").into(),
        }
    }

    /// Returns the text after the last message of a stream that does not fail.
    fn end(self) -> Option<Bytes> {
        match self {
            Self::Lines => None,
            Self::Events => Some(Bytes::from_static(END.as_bytes())),
        }
    }
}

/// Responds with the stream. An error that is ready at once, before the first message, fails as in
/// any other call; this does not wait for the stream.
pub(crate) async fn reply<M, S>(
    spec: &'static RouteSpec,
    format: Format,
    settings: Arc<Settings>,
    response: tonic::Response<S>,
) -> Result<Response<Body>, Rejection>
where
    M: JsonMessage + 'static,
    S: Stream<Item = Result<M, Status>> + Send + 'static,
{
    let (metadata, messages, extensions) = response.into_parts();
    let mut pieces = Pieces {
        messages: Some(Box::pin(messages)),
        first: None,
        spec,
        format,
        settings,
    };
    let first = std::future::poll_fn(|context| Poll::Ready(pieces.poll_message(context))).await;
    match first {
        Poll::Pending => {}
        Poll::Ready(None) => {
            pieces.messages = None;
            pieces.first = format.end();
        }
        Poll::Ready(Some(message)) => {
            pieces.first = Some(format.message(&message?));
        }
    }
    let mut reply = Response::new(Body::stream(pieces));
    *reply.status_mut() = success_status(spec);
    *reply.extensions_mut() = extensions;
    let headers = reply.headers_mut();
    copy_custom_headers(metadata, headers);
    let content_type = HeaderValue::from_static(format.content_type());
    headers.insert(CONTENT_TYPE, content_type);
    headers.append(VARY, HeaderValue::from_static("accept"));
    if format == Format::Events {
        // Required by the specification of server-sent events.
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }
    Ok(reply)
}

/// Chunks of the body.
struct Pieces<S> {
    /// `None` after the stream has ended.
    messages: Option<Pin<Box<S>>>,
    /// Data that was ready at once: a message, or the end.
    first: Option<Bytes>,
    spec: &'static RouteSpec,
    format: Format,
    settings: Arc<Settings>,
}

impl<M, S> Pieces<S>
where
    M: JsonMessage,
    S: Stream<Item = Result<M, Status>>,
{
    /// Polls the next message as JSON.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, Status>>> {
        let Some(messages) = &mut self.messages else {
            return Poll::Ready(None);
        };
        let next = messages.as_mut().poll_next(context);
        next.map(|next| {
            Some(next?.and_then(|message| encode_body(self.spec, &message, &self.settings)))
        })
    }
}

impl<M, S> Stream for Pieces<S>
where
    M: JsonMessage,
    S: Stream<Item = Result<M, Status>>,
{
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let next = std::task::ready!(self.poll_message(context));
        let piece = match next {
            Some(Ok(json)) => Some(self.format.message(&json)),
            Some(Err(status)) => {
                self.messages = None;
                let status = finish_error(self.spec.method, status);
                let json = error_json::status(&status, &self.settings.json);
                Some(self.format.error(&json))
            }
            None => {
                let had_more = self.messages.take().is_some();
                had_more.then(|| self.format.end()).flatten()
            }
        };
        Poll::Ready(piece.map(Ok))
    }
}
