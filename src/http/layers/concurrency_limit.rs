//! Bounds the number of calls under way. Further calls are rejected at once and cheaply, so that admitted calls
//! complete in time. Calls that need no token are not counted: they wait for nothing, and the listener bounds
//! their unread responses.
//!
//! A call is under way until the end of its response is passed on. Three kinds of calls release the permit when
//! the response begins: streams, since they may last for days while idle; responses to clients without a valid
//! token, which could otherwise hold permits by reading slowly; and rejections.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use keyward_listener::{Authenticated, Limited, is_rejected};
use tonic::Code;

use super::RejectionSpec;
use crate::admission::permits::{Permit, Permits, with_permit};
use crate::http::body::{End, Observer, OnEnd};
use crate::http::route::RouteTarget;
use crate::telemetry::metrics::RejectReason;

const REJECTION: RejectionSpec = RejectionSpec {
    counted: RejectReason::Overload,
    code: Code::Unavailable,
    reason: "OVERLOADED",
    message: "Too many requests are under way",
};

/// `retry-after` of a rejected call. Calls under way end much sooner.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Returns the response to a call if no permit is free.
pub(super) fn overloaded(target: &RouteTarget) -> Response {
    super::reject_with_retry(target, &REJECTION, RETRY_AFTER)
}

pub(super) async fn layer(
    State(in_flight): State<InFlight>,
    request: Request,
    next: Next,
) -> Response {
    let target = super::target(&request);
    let Some(permits) = in_flight.0.filter(|_| target.needs_token()) else {
        return next.run(request).await;
    };
    let Some(permit) = permits.enter() else {
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
    response.map(|body| Body::new(OnEnd::new(body, ResponsePermit(permit))))
}

/// Calls under way, if they are limited.
#[derive(Clone)]
pub(super) struct InFlight(Option<Arc<Permits>>);

impl InFlight {
    /// Allows `max` calls, and `max_per_organization` of one organization; 0 means no limit.
    pub(super) fn new(max: usize, max_per_organization: usize) -> Self {
        Self((max > 0).then(|| Permits::new(max, max_per_organization)))
    }
}

/// Permit that a response holds until its end.
struct ResponsePermit(Arc<Permit>);

impl Observer for ResponsePermit {
    fn polled(&mut self, is_ready: bool) {
        match is_ready {
            true => self.0.answered(),
            false => self.0.working(),
        }
    }

    fn ended(self, _: End<'_>) {}
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn response(permits: &Arc<Permits>, body: Body) -> OnEnd<ResponsePermit> {
        let permit = permits.enter().unwrap();
        permit.answered();
        OnEnd::new(body, ResponsePermit(permit))
    }

    #[tokio::test(start_paused = true)]
    async fn permit_is_held_to_the_end_of_the_response() {
        let permits = Permits::new(1, 0);
        let pieces = [Ok::<_, axum::Error>("a"), Ok("b")];
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        let mut body = response(&permits, body);
        for _ in 0..2 {
            assert!(body.frame().await.is_some());
            assert!(permits.enter().is_none());
        }
        assert!(body.frame().await.is_none());
        assert!(permits.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn permit_is_free_before_the_last_frame_is_sent() {
        let permits = Permits::new(1, 0);
        let mut body = response(&permits, Body::from("whole"));
        assert!(permits.enter().is_none());
        assert!(body.frame().await.is_some());
        assert!(permits.enter().is_some());
        let empty = response(&permits, Body::empty());
        assert!(permits.enter().is_some());
        assert!(http_body::Body::is_end_stream(&empty));
    }

    #[tokio::test(start_paused = true)]
    async fn failed_or_dropped_response_releases_its_permit() {
        let permits = Permits::new(1, 0);
        let failing = [Err::<&str, _>(axum::Error::new(std::fmt::Error))];
        let body = Body::from_stream(futures_util::stream::iter(failing));
        let mut body = response(&permits, body);
        assert!(body.frame().await.unwrap().is_err());
        assert!(permits.enter().is_some());
        drop(response(&permits, Body::from("unread")));
        assert!(permits.enter().is_some());
    }
}
