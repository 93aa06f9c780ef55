//! Bounds the number of calls under way. Further calls are rejected at once and cheaply, so that admitted calls
//! complete in time. Calls that need no token are not counted: they wait for nothing, and the listener bounds
//! their unread responses.
//!
//! A call is under way until the end of its response is passed on. Three kinds of calls release the permit when
//! the response begins: streams, since they may last for days while idle; responses to clients without a valid
//! token, which could otherwise hold permits by reading slowly; and rejections.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use tonic::Code;

use super::RejectionSpec;
use crate::error::is_rejected;
use crate::in_flight::{Calls, Permit, with_permit};
use crate::metrics::RejectReason;
use crate::server::{Authenticated, Limited};

const REJECTION: RejectionSpec = RejectionSpec {
    counted: RejectReason::Overload,
    code: Code::Unavailable,
    reason: "OVERLOADED",
    message: "Too many requests are under way",
};

/// `retry-after` of a rejected call. Calls under way end much sooner.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Returns the response to a call if no permit is free.
pub(super) fn overloaded(target: &super::Target) -> Response {
    super::reject_with_retry(target, &REJECTION, RETRY_AFTER)
}

pub(super) async fn layer(State(calls): State<InFlight>, request: Request, next: Next) -> Response {
    let target = super::target(&request);
    let Some(calls) = calls.0.filter(|_| target.needs_token()) else {
        return next.run(request).await;
    };
    let Some(permit) = calls.enter() else {
        return overloaded(&target);
    };
    let mut response = with_permit(Arc::clone(&permit), next.run(request)).await;
    if permit.is_limited() {
        response.extensions_mut().insert(Limited);
    }
    let is_authenticated = response.extensions().get::<Authenticated>().is_some();
    if target.is_stream() || !is_authenticated || is_rejected(&response) {
        return response;
    }
    permit.answered();
    response.map(|body| Body::new(Answer::new(body, permit)))
}

/// Calls under way, if they are limited.
#[derive(Clone)]
pub(super) struct InFlight(Option<Arc<Calls>>);

impl InFlight {
    /// Allows `max` calls, and `max_per_organization` of one organization; 0 means no limit.
    pub(super) fn new(max: usize, max_per_organization: usize) -> Self {
        Self((max > 0).then(|| Calls::new(max, max_per_organization)))
    }
}

/// Response body that holds a permit until its end.
struct Answer {
    body: Body,
    permit: Option<Arc<Permit>>,
}

impl Answer {
    fn new(body: Body, permit: Arc<Permit>) -> Self {
        let mut answer = Self {
            body,
            permit: Some(permit),
        };
        answer.leave_at_end();
        answer
    }

    /// Releases the permit before the last part is sent, so that a client that has read the response finds it
    /// free.
    fn leave_at_end(&mut self) {
        if http_body::Body::is_end_stream(&self.body) {
            self.permit = None;
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Ready(None | Some(Err(_))) => self.permit = None,
            Poll::Ready(Some(Ok(_))) => {
                self.leave_at_end();
                self.permit.iter().for_each(|permit| permit.answered());
            }
            Poll::Pending => self.permit.iter().for_each(|permit| permit.working()),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn answer(calls: &Arc<Calls>, body: Body) -> Answer {
        let permit = calls.enter().unwrap();
        permit.answered();
        Answer::new(body, permit)
    }

    #[tokio::test(start_paused = true)]
    async fn slot_is_held_to_the_end_of_the_response() {
        let calls = Calls::new(1, 0);
        let pieces = [Ok::<_, axum::Error>("a"), Ok("b")];
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        let mut body = answer(&calls, body);
        for _ in 0..2 {
            assert!(body.frame().await.is_some());
            assert!(calls.enter().is_none());
        }
        assert!(body.frame().await.is_none());
        assert!(calls.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn slot_is_free_before_the_last_frame() {
        let calls = Calls::new(1, 0);
        let mut body = answer(&calls, Body::from("whole"));
        assert!(calls.enter().is_none());
        assert!(body.frame().await.is_some());
        assert!(calls.enter().is_some());
        let empty = answer(&calls, Body::empty());
        assert!(calls.enter().is_some());
        assert!(http_body::Body::is_end_stream(&empty));
    }

    #[tokio::test(start_paused = true)]
    async fn failed_or_unread_response_frees_its_slot() {
        let calls = Calls::new(1, 0);
        let failing = [Err::<&str, _>(axum::Error::new(std::fmt::Error))];
        let body = Body::from_stream(futures_util::stream::iter(failing));
        let mut body = answer(&calls, body);
        assert!(body.frame().await.unwrap().is_err());
        assert!(calls.enter().is_some());
        drop(answer(&calls, Body::from("unread")));
        assert!(calls.enter().is_some());
    }
}
