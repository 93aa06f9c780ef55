//! There are no more calls under way than the operator allows: the further ones are refused at once
//! and cheaply, so that those that are let in are answered in time. Probes, and
//! who asks what was measured, are let in always.
//!
//! A call is under way until the last of its answer is taken. A stream counts until it begins, since
//! it may last for days and do nothing; and so does an answer to who has shown no good token, or
//! anyone could hold places by reading slowly. Whoever has one, and reads slower than any need, gives
//! up the place to who needs it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::Code;

use super::Limit;
use super::authn::Authenticated;
use crate::authn::Permit;
use crate::metrics::Refused;

const LIMIT: Limit = Limit {
    counted: Refused::Overload,
    code: Code::Unavailable,
    reason: "OVERLOADED",
    message: "Too many requests are under way",
};

/// When a caller who was refused may come again. What is under way ends much sooner.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long an answer may be read before its place is given to others.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked for such answers, while every place is taken.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

pub(super) async fn layer(
    State(calls): State<InFlight>,
    mut request: Request,
    next: Next,
) -> Response {
    let InFlight(Some(calls)) = calls else {
        return next.run(request).await;
    };
    let target = super::target(&request);
    if target.is_always_let_in() {
        return next.run(request).await;
    }
    let Some(place) = calls.enter() else {
        return super::refuse_for_now(&target, &LIMIT, RETRY_AFTER);
    };
    let held = Held(Arc::new(Mutex::new(Some(place))), calls);
    request.extensions_mut().insert(held.clone());
    let response = next.run(request).await;
    // A call that gave its permit back, and found none afterwards, was refused.
    let Some(place) = held.lock().take() else {
        return response;
    };
    if target.is_stream() || response.extensions().get::<Authenticated>().is_none() {
        return response;
    }
    place.answered();
    response.map(|body| Body::new(Answer::new(body, place)))
}

/// The permit of a call, in the extensions of its request until authentication takes it from there. A call
/// gives it to others while it waits for an issuer of tokens.
#[derive(Clone)]
pub(super) struct Held(Arc<Mutex<Option<Place>>>, Arc<Calls>);

impl Held {
    fn lock(&self) -> MutexGuard<'_, Option<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit for Held {
    fn release(&self) {
        *self.lock() = None;
    }

    fn acquire(&self) -> bool {
        let place = self.1.enter();
        let mut held = self.lock();
        *held = place;
        held.is_some()
    }
}

/// The calls under way, if they are limited.
#[derive(Clone)]
pub(super) struct InFlight(Option<Arc<Calls>>);

impl InFlight {
    /// At most so many; 0 is no limit.
    pub(super) fn new(max: usize) -> Self {
        Self((max > 0).then(|| Arc::new(Calls::new(max))))
    }
}

struct Calls {
    max: usize,
    taken: Mutex<Taken>,
}

struct Taken {
    /// Each place, and since when its answer is being read.
    places: HashMap<u64, Option<Instant>>,
    next: u64,
    looked: Instant,
}

impl Calls {
    fn new(max: usize) -> Self {
        let taken = Mutex::new(Taken {
            places: HashMap::new(),
            next: 0,
            looked: Instant::now(),
        });
        Self { max, taken }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, if one is free.
    fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.lock();
        if taken.places.len() >= self.max {
            taken.clear_slow();
        }
        if taken.places.len() >= self.max {
            return None;
        }
        let number = taken.next;
        taken.next = number.wrapping_add(1);
        taken.places.insert(number, None);
        Some(Place {
            calls: Arc::clone(self),
            number,
        })
    }
}

impl Taken {
    /// Takes the places of those who read too slowly.
    fn clear_slow(&mut self) {
        if self.looked.elapsed() < LOOK_INTERVAL {
            return;
        }
        self.looked = Instant::now();
        self.places
            .retain(|_, read| read.is_none_or(|since| since.elapsed() < READ_PATIENCE));
    }
}

/// One of the places, until it is dropped.
struct Place {
    calls: Arc<Calls>,
    number: u64,
}

impl Place {
    /// There is nothing left to do but to be read.
    fn answered(&self) {
        if let Some(since) = self.calls.lock().places.get_mut(&self.number) {
            *since = Some(Instant::now());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.calls.lock().places.remove(&self.number);
    }
}

/// The body of an answer, which has a place until its end.
struct Answer {
    body: Body,
    place: Option<Place>,
}

impl Answer {
    fn new(body: Body, place: Place) -> Self {
        let mut answer = Self {
            body,
            place: Some(place),
        };
        answer.leave_at_end();
        answer
    }

    /// Before the last of it is sent, so that who has read it finds the place free.
    fn leave_at_end(&mut self) {
        if http_body::Body::is_end_stream(&self.body) {
            self.place = None;
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
            Poll::Ready(None | Some(Err(_))) => self.place = None,
            Poll::Ready(Some(Ok(_))) => self.leave_at_end(),
            Poll::Pending => {}
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

    fn calls(max: usize) -> Arc<Calls> {
        Arc::new(Calls::new(max))
    }

    fn taken(calls: &Arc<Calls>) -> usize {
        calls.lock().places.len()
    }

    fn answer(calls: &Arc<Calls>, body: Body) -> Answer {
        let place = calls.enter().unwrap();
        place.answered();
        Answer::new(body, place)
    }

    #[tokio::test(start_paused = true)]
    async fn exactly_so_many_are_let_in_and_who_leaves_makes_room() {
        let calls = calls(3);
        let mut places: Vec<Place> = (0..3).map(|_| calls.enter().unwrap()).collect();
        for _ in 0..3 {
            assert!(calls.enter().is_none());
            drop(places.remove(0));
            places.push(calls.enter().unwrap());
        }
        drop(places);
        assert_eq!(taken(&calls), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_kept_to_the_end_of_the_answer() {
        let calls = calls(1);
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
    async fn the_place_is_free_before_the_last_piece_is_sent() {
        let calls = calls(1);
        let mut body = answer(&calls, Body::from("whole"));
        assert_eq!(taken(&calls), 1);
        assert!(body.frame().await.is_some());
        assert_eq!(taken(&calls), 0);
        let empty = answer(&calls, Body::empty());
        assert_eq!(
            (taken(&calls), http_body::Body::is_end_stream(&empty)),
            (0, true)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_fails_or_is_not_read_leaves_its_place() {
        let calls = calls(1);
        let failing = [Err::<&str, _>(axum::Error::new(std::fmt::Error))];
        let body = Body::from_stream(futures_util::stream::iter(failing));
        let mut body = answer(&calls, body);
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(taken(&calls), 0);
        drop(answer(&calls, Body::from("unread")));
        assert_eq!(taken(&calls), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_too_slowly_gives_way_and_who_works_does_not() {
        let calls = calls(2);
        let _working = calls.enter().unwrap();
        let reading = answer(&calls, Body::from("whole"));
        tokio::time::advance(READ_PATIENCE - LOOK_INTERVAL).await;
        assert!(calls.enter().is_none());
        tokio::time::advance(LOOK_INTERVAL).await;
        let next = calls.enter().unwrap();
        assert!(calls.enter().is_none());
        // The place is another's now.
        drop(reading);
        assert!(calls.enter().is_none());
        drop(next);
        assert!(calls.enter().is_some());
    }
}
