//! What goes on over one connection: which version of HTTP it is, how many calls are under way, and
//! since when it waits for its client.
//!
//! The stream tells of bytes, the service of calls and answers; `connection.rs` looks, and decides.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a client of HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Too little was said to know.
    Unknown,
    Http1,
    Http2,
}

/// What goes on over one connection.
pub(super) struct Activity {
    state: Mutex<State>,
    look_again: AtomicBool,
    told_off: Notify,
}

struct State {
    seen: Seen,
    /// How many bytes of HTTP/2's preface were heard, while it may be that.
    preface: usize,
    /// The calls whose answers wait for the client to take them, and since when.
    waiting: BTreeMap<u64, Instant>,
    next_call: u64,
}

/// What can be seen of a connection at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) version: Version,
    /// Whether the client has said anything.
    pub(super) heard: bool,
    /// How many calls are under way.
    pub(super) calls: usize,
    /// Since when none was.
    pub(super) idle_since: Instant,
    /// Since when the headers of a request come over HTTP/1.1.
    pub(super) head_since: Option<Instant>,
    /// Since when an answer waits for the client, if any does.
    pub(super) waiting_since: Option<Instant>,
    /// Whether an answer said that the connection is to end.
    pub(super) is_told_off: bool,
}

impl Activity {
    /// A connection that has just been made.
    pub(super) fn new(now: Instant) -> Arc<Self> {
        let seen = Seen {
            version: Version::Unknown,
            heard: false,
            calls: 0,
            idle_since: now,
            head_since: Some(now),
            waiting_since: None,
            is_told_off: false,
        };
        Arc::new(Self {
            state: Mutex::new(State {
                seen,
                preface: 0,
                waiting: BTreeMap::new(),
                next_call: 0,
            }),
            look_again: AtomicBool::new(false),
            told_off: Notify::new(),
        })
    }

    /// What can be seen now.
    pub(super) fn seen(&self) -> Seen {
        let state = self.state();
        Seen {
            waiting_since: state.waiting.values().min().copied(),
            ..state.seen
        }
    }

    /// Notes what was agreed upon before the first byte.
    pub(super) fn agree(&self, version: Version) {
        self.state().seen.version = version;
    }

    /// Notes what the client said.
    pub(super) fn hear(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state();
        state.seen.heard = true;
        if state.seen.version == Version::Unknown {
            let expected = &PREFACE[state.preface..];
            let compared = expected.len().min(bytes.len());
            if bytes[..compared] != expected[..compared] {
                state.seen.version = Version::Http1;
            } else if compared == expected.len() {
                state.seen.version = Version::Http2;
            } else {
                state.preface += compared;
            }
        }
        let seen = &mut state.seen;
        if seen.version == Version::Http1 && seen.calls == 0 && seen.head_since.is_none() {
            seen.head_since = Some(Instant::now());
        }
    }

    /// A call begins.
    pub(super) fn begin(self: &Arc<Self>) -> Call {
        let mut state = self.state();
        state.seen.calls += 1;
        state.seen.head_since = None;
        let id = state.next_call;
        state.next_call += 1;
        drop(state);
        Call {
            activity: Arc::clone(self),
            id,
        }
    }

    /// Notes that an answer said that the connection is to end.
    pub(super) fn tell_off(&self) {
        self.state().seen.is_told_off = true;
        self.told_off.notify_one();
    }

    /// Waits until an answer says so.
    pub(super) async fn told_off(&self) {
        self.told_off.notified().await;
    }

    /// Has the next read ask the system, and not what the runtime knows of it, which may be older.
    pub(super) fn look_again(&self) {
        self.look_again.store(true, Ordering::Relaxed);
    }

    /// Whether this read is to ask the system.
    pub(super) fn is_to_look_again(&self) -> bool {
        self.look_again.load(Ordering::Relaxed) && self.look_again.swap(false, Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is under way until this is dropped.
pub(super) struct Call {
    activity: Arc<Activity>,
    id: u64,
}

impl Call {
    /// The answer with this body is the client's to take; the call ends with it.
    pub(super) fn answer(self, body: Body) -> Answer {
        self.waits();
        Answer { body, call: self }
    }

    fn waits(&self) {
        self.activity
            .state()
            .waiting
            .insert(self.id, Instant::now());
    }

    fn goes_on(&self) {
        self.activity.state().waiting.remove(&self.id);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.waiting.remove(&self.id);
        state.seen.calls -= 1;
        state.seen.idle_since = Instant::now();
    }
}

/// The body of an answer, whose call is under way until it is taken or given up.
pub(super) struct Answer {
    body: Body,
    call: Call,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Whoever asks has room for more. What is given then waits until they ask again.
        self.call.goes_on();
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(Some(_))) {
            self.call.waits();
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn the_version_is_known_as_soon_as_it_can_be() {
        for (said, version) in [
            (&b"GET"[..], Version::Http1),
            (b"P", Version::Unknown),
            (b"PUT /", Version::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", Version::Unknown),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Version::Http2),
        ] {
            let whole = Activity::new(Instant::now());
            whole.hear(said);
            assert_eq!(whole.seen().version, version);
            let in_parts = Activity::new(Instant::now());
            for byte in said {
                in_parts.hear(&[*byte]);
            }
            assert_eq!(in_parts.seen().version, version);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_under_way_until_its_answer_is_taken() {
        let activity = Activity::new(Instant::now());
        activity.hear(b"GET / HTTP/1.1\r\n\r\n");
        let call = activity.begin();
        assert_eq!(activity.seen().calls, 1);
        assert_eq!(activity.seen().head_since, None);
        assert_eq!(activity.seen().waiting_since, None);
        let answered = Instant::now();
        let mut answer = call.answer(Body::from("text"));
        assert_eq!(activity.seen().waiting_since, Some(answered));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        answer.frame().await.unwrap().unwrap();
        assert_eq!(activity.seen().waiting_since, Some(Instant::now()));
        assert!(answer.frame().await.is_none());
        assert_eq!(activity.seen().waiting_since, None);
        assert_eq!(activity.seen().calls, 1);
        drop(answer);
        assert_eq!(activity.seen().calls, 0);
        assert_eq!(activity.seen().idle_since, Instant::now());
        // The next one begins with its first byte.
        assert_eq!(activity.seen().head_since, None);
        activity.hear(b"G");
        assert_eq!(activity.seen().head_since, Some(Instant::now()));
    }
}
