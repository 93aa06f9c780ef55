//! Server-streaming methods in REST: a response that comes message by message.
//!
//! Lines of JSON are those of grpc-gateway: `{"result":…}` for each message, and
//! `{"error":…}` with a `google.rpc.Status` for the end of a stream that fails. A
//! line that were the message itself, as Envoy writes it, could not tell an error
//! from a message. Server-sent events have their own names for the two: what is not
//! named is a message, and an error is an `error`. The last is an `end`, also behind an
//! error: whoever reads events asks anew when a response ends, unless it is told that
//! there is no more.

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
use crate::json::JsonMessage;
use crate::preference::Preferences;
use crate::refine::refine;
use crate::route::{Answer, copy_custom_headers, encode, success};
use crate::settings::Settings;
use crate::spec::RouteSpec;

/// How messages are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON text a line.
    Lines,
    /// Server-sent events.
    Events,
}

const LINES: &str = "application/x-ndjson";
const EVENTS: &str = "text/event-stream";
/// The last of all events.
const END: &str = "event: end\ndata: {}\n\n";

impl Format {
    /// The format that the caller likes best. Lines are what it gets who does not
    /// say, and who accepts neither: responses of one message do not look at
    /// `Accept` either, as in Envoy and grpc-gateway.
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

    /// What stands behind the last message of a stream that does not fail.
    fn end(self) -> Option<Bytes> {
        match self {
            Self::Lines => None,
            Self::Events => Some(Bytes::from_static(END.as_bytes())),
        }
    }
}

/// Answers with the stream. What fails at once, before the first message, fails as
/// any other call does; the stream is not waited for.
pub(crate) async fn reply<M, S>(
    spec: &'static RouteSpec,
    format: Format,
    settings: Arc<Settings>,
    response: tonic::Response<S>,
) -> Answer
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
    *reply.status_mut() = success(spec);
    *reply.extensions_mut() = extensions;
    let headers = reply.headers_mut();
    copy_custom_headers(metadata, headers);
    let content_type = HeaderValue::from_static(format.content_type());
    headers.insert(CONTENT_TYPE, content_type);
    headers.append(VARY, HeaderValue::from_static("accept"));
    if format == Format::Events {
        // As the specification of server-sent events wants it.
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }
    Ok(reply)
}

/// The pieces of the body.
struct Pieces<S> {
    /// None once the stream has ended.
    messages: Option<Pin<Box<S>>>,
    /// What was there at once: a message, or the end.
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
    /// The next message as JSON.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, Status>>> {
        let Some(messages) = &mut self.messages else {
            return Poll::Ready(None);
        };
        let next = messages.as_mut().poll_next(context);
        next.map(|next| Some(next?.and_then(|message| encode(self.spec, &message, &self.settings))))
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
                let status = refine(self.spec.method, status);
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
