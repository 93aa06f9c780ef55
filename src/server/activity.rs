//! State of one connection: the version of HTTP, the number of calls under way, and the time since which it
//! waits for its client.
//!
//! The stream reports bytes, and the service reports calls and responses; `connection.rs` reads the state and
//! decides.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use futures_util::future::AbortHandle;
use hyper::body::{Frame, SizeHint};
use keyward_throttle::Owner;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::executor::current_stream;
use super::unread::{UnreadCharge, UnreadResponses};
use crate::metrics::{self, RejectReason};

/// Connection preface of HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Size of the pieces of a response that are passed to HTTP. The client has `write_timeout` for each of them.
const PIECE_BYTES: usize = 16 * 1024;

/// Version of HTTP on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Too few bytes were received to determine it.
    Unknown,
    Http1,
    Http2,
}

/// State of one connection.
pub(super) struct Activity {
    state: Mutex<State>,
    recheck: AtomicBool,
    close_requested: Notify,
}

struct State {
    snapshot: Snapshot,
    /// Number of bytes of the HTTP/2 preface that were received, while the version is unknown.
    preface: usize,
    /// Calls whose responses wait for the client to read them.
    waiting: BTreeMap<u64, PendingResponse>,
    /// True if a call of this connection has presented a valid token, or the connection a valid certificate.
    is_authenticated: bool,
    /// Owner of the last such call.
    owner: Option<Owner>,
    /// True if the connection is read at the pace of its owners.
    is_paced: bool,
    /// Calls to charge before more is read, by owner. Negative if charges are refunded.
    owed: Vec<(Owner, i32)>,
    next_call: u64,
}

impl State {
    fn change_owed(&mut self, owner: &Owner, change: i32) {
        if !self.is_paced {
            return;
        }
        match self.owed.iter_mut().find(|(found, _)| found == owner) {
            Some((_, calls)) => *calls = calls.saturating_add(change),
            None => self.owed.push((owner.clone(), change)),
        }
    }
}

/// A response, or a part of it, that waits for the client.
struct PendingResponse {
    /// Time since which the client has read none of it. `None` while there is nothing to read.
    since: Option<Instant>,
    /// Number of pieces passed to HTTP and not yet written.
    pieces: usize,
    /// True if all of it was passed to HTTP.
    is_over: bool,
    /// Resets its stream.
    stream: Option<AbortHandle>,
    /// True if there is nothing to read now, as in a stream that waits for events.
    is_idle: bool,
    /// Charge for its memory until it is idle. Idle streams are bounded elsewhere.
    charge: Option<UnreadCharge>,
}

/// Snapshot of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot {
    pub(super) version: Version,
    /// True if the client has sent anything.
    pub(super) has_received: bool,
    /// Number of calls under way.
    pub(super) calls: usize,
    /// Time since which no call is under way.
    pub(super) idle_since: Instant,
    /// Time since which the headers of a request arrive over HTTP/1.1.
    pub(super) head_since: Option<Instant>,
    /// Time since which a response waits for the client, if any does.
    pub(super) waiting_since: Option<Instant>,
    /// True if the connection must end because the client does not read a response that cannot be shed by
    /// itself.
    pub(super) must_close: bool,
    /// True if a response announced that the connection will end.
    pub(super) close_requested: bool,
}

impl Activity {
    /// Returns the state of a new connection.
    pub(super) fn new(now: Instant) -> Arc<Self> {
        let snapshot = Snapshot {
            version: Version::Unknown,
            has_received: false,
            calls: 0,
            idle_since: now,
            head_since: Some(now),
            waiting_since: None,
            must_close: false,
            close_requested: false,
        };
        Arc::new(Self {
            state: Mutex::new(State {
                snapshot,
                preface: 0,
                waiting: BTreeMap::new(),
                is_authenticated: false,
                owner: None,
                is_paced: false,
                owed: Vec::new(),
                next_call: 0,
            }),
            recheck: AtomicBool::new(false),
            close_requested: Notify::new(),
        })
    }

    /// Returns a snapshot.
    pub(super) fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            waiting_since: state.waiting.values().filter_map(|it| it.since).min(),
            ..state.snapshot
        }
    }

    /// Records the version that was negotiated before the first byte.
    pub(super) fn set_version(&self, version: Version) {
        self.state().snapshot.version = version;
    }

    /// Records bytes that the client sent.
    pub(super) fn on_bytes(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state();
        state.snapshot.has_received = true;
        if state.snapshot.version == Version::Unknown {
            let expected = &PREFACE[state.preface..];
            let compared = expected.len().min(bytes.len());
            if bytes[..compared] != expected[..compared] {
                state.snapshot.version = Version::Http1;
            } else if compared == expected.len() {
                state.snapshot.version = Version::Http2;
            } else {
                state.preface += compared;
            }
        }
        let snapshot = &mut state.snapshot;
        if snapshot.version == Version::Http1
            && snapshot.calls == 0
            && snapshot.head_since.is_none()
        {
            snapshot.head_since = Some(Instant::now());
        }
    }

    /// Begins a call.
    pub(super) fn begin(self: &Arc<Self>) -> Call {
        let mut state = self.state();
        state.snapshot.calls += 1;
        state.snapshot.head_since = None;
        let id = state.next_call;
        state.next_call += 1;
        drop(state);
        Call {
            activity: Arc::clone(self),
            id,
            has_response: false,
        }
    }

    /// Records that the client has presented a valid token or certificate.
    pub(super) fn set_authenticated(&self, owner: Option<&Owner>) {
        let mut state = self.state();
        state.is_authenticated = true;
        if owner.is_some() {
            state.owner = owner.cloned();
        }
    }

    /// Returns true if the client has presented a valid token or certificate.
    pub(super) fn is_authenticated(&self) -> bool {
        self.state().is_authenticated
    }

    /// Returns the owner of the last call that has presented a valid token.
    pub(super) fn owner(&self) -> Option<Owner> {
        self.state().owner.clone()
    }

    /// Charges the connection for calls.
    pub(super) fn owe(&self, owner: &Owner, calls: i32) {
        self.change_owed(owner, calls);
    }

    /// Refunds the charge of a call.
    pub(super) fn refund(&self, owner: &Owner) {
        self.change_owed(owner, -1);
    }

    fn change_owed(&self, owner: &Owner, change: i32) {
        self.state().change_owed(owner, change);
    }

    /// Marks the connection as paced, so that its calls are charged.
    pub(super) fn set_paced(&self) {
        self.state().is_paced = true;
    }

    /// Takes the calls to charge now, by owner.
    pub(super) fn owed(&self) -> Vec<(Owner, i32)> {
        std::mem::take(&mut self.state().owed)
    }

    /// Sheds the response of a call that the client has not read: resets its stream, or ends the connection if
    /// HTTP already has the whole response or there are no streams.
    pub(super) fn shed(&self, call: u64) {
        let mut state = self.state();
        let Some(pending) = state.waiting.get_mut(&call) else {
            return;
        };
        match pending.stream.take() {
            Some(stream) => {
                pending.since = None;
                drop(state);
                stream.abort();
            }
            None => {
                state.snapshot.must_close = true;
                drop(state);
                self.close_requested.notify_one();
            }
        }
    }

    /// Sheds every response of which the client has read nothing for `patience`.
    pub(super) fn shed_unread(&self, patience: Duration) {
        let state = self.state();
        let old = (state.waiting.iter())
            .filter(|(_, it)| it.since.is_some_and(|at| at.elapsed() >= patience));
        let old: Vec<u64> = old.map(|(call, _)| *call).collect();
        drop(state);
        for call in old {
            metrics::rejected(RejectReason::UntakenAnswer);
            self.shed(call);
        }
    }

    /// Records that a response announced the end of the connection.
    pub(super) fn request_close(&self) {
        self.state().snapshot.close_requested = true;
        self.close_requested.notify_one();
    }

    /// Waits until a response announces the end of the connection.
    pub(super) async fn close_requested(&self) {
        self.close_requested.notified().await;
    }

    /// Makes the next read query the system, because the readiness cached by the runtime may be stale.
    pub(super) fn request_recheck(&self) {
        self.recheck.store(true, Ordering::Relaxed);
    }

    /// Returns true if the next read will query the system.
    pub(super) fn is_recheck_requested(&self) -> bool {
        self.recheck.load(Ordering::Relaxed)
    }

    /// Returns true if this read must query the system, and clears the flag.
    pub(super) fn take_recheck(&self) -> bool {
        self.recheck.load(Ordering::Relaxed) && self.recheck.swap(false, Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is under way until this guard is dropped.
pub(super) struct Call {
    activity: Arc<Activity>,
    id: u64,
    has_response: bool,
}

impl Call {
    /// Returns true for the first call of its connection.
    pub(super) fn is_first(&self) -> bool {
        self.id == 0
    }

    /// Wraps the body of the response. The call ends when HTTP drops the body; pieces not yet written continue to
    /// wait for the client.
    pub(super) fn respond(
        mut self,
        body: Body,
        owner: Owner,
        unread: &Arc<UnreadResponses>,
    ) -> ResponseBody {
        let bytes = body.size_hint().upper().unwrap_or(PIECE_BYTES as u64);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.has_response = true;
        let charge = unread.charge(owner, bytes, &self.activity, self.id);
        let mut state = self.activity.state();
        state.waiting.insert(
            self.id,
            PendingResponse {
                since: Some(Instant::now()),
                pieces: 0,
                is_over: false,
                stream: current_stream(),
                is_idle: false,
                charge: Some(charge),
            },
        );
        drop(state);
        ResponseBody {
            body,
            rest: Bytes::new(),
            call: self,
        }
    }

    /// Records that HTTP asked for more of the response, and that there is more or nothing for now.
    fn on_poll(&self, is_ready: bool) {
        let mut state = self.activity.state();
        let Some(pending) = state.waiting.get_mut(&self.id) else {
            return;
        };
        pending.is_idle = !is_ready;
        if is_ready {
            pending.since = Some(Instant::now());
        } else if pending.pieces == 0 {
            pending.since = None;
            let charge = pending.charge.take();
            drop(state);
            drop(charge);
        }
    }

    /// Wraps a piece of the response, which waits for the client until it is dropped.
    fn piece(&self, bytes: Bytes) -> Bytes {
        if let Some(pending) = self.activity.state().waiting.get_mut(&self.id) {
            pending.pieces += 1;
        }
        Bytes::from_owner(Piece {
            bytes,
            activity: Arc::clone(&self.activity),
            call: self.id,
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        let removed = match state.waiting.entry(self.id) {
            Entry::Occupied(pending) if pending.get().pieces == 0 => Some(pending.remove()),
            Entry::Occupied(mut pending) => {
                let pending = pending.get_mut();
                pending.is_over = true;
                pending.stream = None;
                pending.since = Some(Instant::now());
                None
            }
            Entry::Vacant(_) => None,
        };
        state.snapshot.calls -= 1;
        state.snapshot.idle_since = Instant::now();
        // A call that its client cancels costs as much as a rejected one.
        if !self.has_response
            && let Some(owner) = state.owner.clone().filter(|it| !it.is_service())
        {
            state.change_owed(&owner, 1);
        }
        drop(state);
        drop(removed);
    }
}

/// Part of a response that HTTP has.
struct Piece {
    bytes: Bytes,
    activity: Arc<Activity>,
    call: u64,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        let Entry::Occupied(mut pending) = state.waiting.entry(self.call) else {
            return;
        };
        let found = pending.get_mut();
        found.pieces -= 1;
        found.since = (found.pieces > 0).then(Instant::now);
        let mut charge = None;
        if found.pieces == 0 {
            if found.is_over {
                charge = pending.remove().charge;
            } else if found.is_idle {
                charge = found.charge.take();
            }
        }
        drop(state);
        drop(charge);
    }
}

/// Body of a response. Its call is under way until HTTP has taken all of it or drops it.
pub(super) struct ResponseBody {
    body: Body,
    /// Rest of a frame that is longer than a piece.
    rest: Bytes,
    call: Call,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let polled = Pin::new(&mut this.body).poll_frame(context);
            this.call.on_poll(matches!(polled, Poll::Ready(Some(_))));
            let frame = match polled {
                Poll::Ready(Some(Ok(frame))) => frame,
                other => return other,
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        } else {
            this.call.on_poll(true);
        }
        let piece = this.rest.split_to(PIECE_BYTES.min(this.rest.len()));
        Poll::Ready(Some(Ok(Frame::data(this.call.piece(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests;
