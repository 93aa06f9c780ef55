//! Response body whose parts are each produced within a time: the pages of a list after the first, which is read before
//! the response begins.
//!
//! A part that takes longer fails the body, so that the client does not take the parts before it for the complete
//! response: over HTTP/1.1 the connection is closed without the last chunk, over HTTP/2 the stream is reset. The time
//! runs while HTTP waits for a part. While HTTP waits for the client, the listener's `write_timeout` applies.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use keyward_store::deadline;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::api::status;

/// Body with a time for each of its parts.
pub(super) struct TimedBody {
    body: Body,
    /// Time to produce a part.
    time: Duration,
    /// End of that time for the part that HTTP waits for.
    end: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    pub(super) fn new(body: Body, time: Duration) -> Self {
        Self {
            body,
            time,
            end: None,
        }
    }
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let time = this.time;
        let end = this
            .end
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + time)));
        let body = &mut this.body;
        let poll = || Pin::new(body).poll_frame(context);
        let polled = deadline::poll_scope(end.deadline(), poll);
        if polled.is_ready() {
            this.end = None;
            return polled;
        }
        ready!(end.as_mut().poll(context));
        // Ends the work on the part now; HTTP may keep a failed body for a while.
        this.body = Body::empty();
        this.end = None;
        let error = axum::Error::new(status::deadline_exceeded());
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]

    use futures_util::{StreamExt as _, stream};
    use http_body_util::BodyExt as _;

    use super::*;

    const TIME: Duration = Duration::from_secs(5);

    /// Returns a body with a part after each of these times, in seconds.
    fn body(seconds: &'static [u64]) -> TimedBody {
        let parts = stream::iter(seconds).then(|seconds| async move {
            tokio::time::sleep(Duration::from_secs(*seconds)).await;
            Ok::<_, axum::Error>("part")
        });
        TimedBody::new(Body::from_stream(parts), TIME)
    }

    #[tokio::test(start_paused = true)]
    async fn each_part_has_the_time_for_itself() {
        let read = body(&[0, 4, 4, 4]).collect().await.unwrap();
        assert_eq!(read.to_bytes(), "partpartpartpart");
    }

    #[tokio::test(start_paused = true)]
    async fn part_that_takes_longer_fails_the_body() {
        let started = Instant::now();
        let mut body = body(&[0, 1, 6, 1]);
        for _ in 0..2 {
            body.frame().await.unwrap().unwrap();
        }
        body.frame().await.unwrap().unwrap_err();
        assert_eq!(started.elapsed().as_secs(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_does_not_read_takes_no_time() {
        let mut body = body(&[0, 4, 4]);
        while let Some(frame) = body.frame().await {
            frame.unwrap();
            tokio::time::sleep(10 * TIME).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn store_calls_of_a_part_have_its_deadline() {
        let parts = stream::iter([(), ()]).then(|()| async {
            assert_eq!(deadline::remaining(), Some(TIME));
            tokio::time::sleep(Duration::from_secs(4)).await;
            assert_eq!(deadline::remaining(), Some(Duration::from_secs(1)));
            Ok::<_, axum::Error>("part")
        });
        let body = TimedBody::new(Body::from_stream(parts), TIME);
        body.collect().await.unwrap();
    }
}
