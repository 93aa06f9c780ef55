//! Response body that reports its end, which may come long after the response.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

/// End of a body.
pub(crate) enum End<'a> {
    /// HTTP takes the last frame, with the trailers that it holds.
    Complete(Option<&'a HeaderMap>),
    /// The body failed, so the client does not receive the rest.
    Failed,
    /// HTTP dropped the body before its end, because the client is gone.
    Dropped,
}

/// Observer of a body.
pub(crate) trait Observer: Send + Unpin + 'static {
    /// Called when HTTP has asked for a frame and the body has not ended. `is_ready` is false while the frame is
    /// still being produced.
    fn polled(&mut self, is_ready: bool) {
        let _ = is_ready;
    }

    /// Called once, before HTTP receives the last frame: a client that has read the response finds that its end
    /// was observed.
    fn ended(self, end: End<'_>);
}

/// Body that reports its end to an observer.
pub(crate) struct OnEnd<O: Observer> {
    body: Body,
    observer: Option<O>,
}

impl<O: Observer> OnEnd<O> {
    /// Observes this body. An empty one has ended.
    pub(crate) fn new(body: Body, observer: O) -> Self {
        let mut body = Self {
            body,
            observer: Some(observer),
        };
        if body.is_end_stream() {
            body.end(End::Complete(None));
        }
        body
    }

    fn end(&mut self, end: End<'_>) {
        if let Some(observer) = self.observer.take() {
            observer.ended(end);
        }
    }
}

impl<O: Observer> HttpBody for OnEnd<O> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => this.end(End::Complete(None)),
            Poll::Ready(Some(Err(_))) => this.end(End::Failed),
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() || this.body.is_end_stream() => {
                this.end(End::Complete(frame.trailers_ref()));
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {
                if let Some(observer) = &mut this.observer {
                    observer.polled(polled.is_ready());
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<O: Observer> Drop for OnEnd<O> {
    fn drop(&mut self) {
        self.end(End::Dropped);
    }
}
