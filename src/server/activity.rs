//! What goes on over one connection: which version of HTTP it is, how many calls are under way, and
//! since when it waits for its client.
//!
//! The stream tells of bytes, the service of calls and answers; `connection.rs` looks, and decides.

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
use tokio::sync::Notify;
use tokio::time::Instant;

use super::executor::current_stream;
use super::unread::{Held, Unread};
use crate::budget::Owner;
use crate::metrics::{self, Refused};

/// What a client of HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much of an answer HTTP is given at once: the client has `write_timeout` for each piece.
const PIECE_BYTES: usize = 16 * 1024;

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
    /// The calls whose answers wait for the client to take them.
    waiting: BTreeMap<u64, Untaken>,
    /// Whether a call of this connection has shown a good token, or the connection a good certificate.
    is_proven: bool,
    /// The owner of the last call that has.
    owner: Option<Owner>,
    /// Whether the connection is read at the pace of its owners.
    is_paced: bool,
    /// The calls to pay for before more is read, by owner; negative where more is given back.
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

/// An answer, or a part of it, that waits for the client.
struct Untaken {
    /// Since when nothing of it was taken. `None` while there is nothing to take.
    since: Option<Instant>,
    /// How many pieces of it HTTP has, which are not yet written.
    pieces: usize,
    /// Whether all of it was handed to HTTP.
    is_over: bool,
    /// Resets its stream.
    stream: Option<AbortHandle>,
    /// Whether there is nothing to take now, as in a stream that waits.
    is_idle: bool,
    /// Its charge, until it is idle: a stream is bounded elsewhere.
    held: Option<Held>,
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
    /// Whether the connection cannot go on, since its client does not take what would have to be shed.
    pub(super) is_condemned: bool,
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
            is_condemned: false,
            is_told_off: false,
        };
        Arc::new(Self {
            state: Mutex::new(State {
                seen,
                preface: 0,
                waiting: BTreeMap::new(),
                is_proven: false,
                owner: None,
                is_paced: false,
                owed: Vec::new(),
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
            waiting_since: state.waiting.values().filter_map(|it| it.since).min(),
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
            is_answered: false,
        }
    }

    /// Notes that the client has shown a good token or certificate.
    pub(super) fn prove(&self, owner: Option<&Owner>) {
        let mut state = self.state();
        state.is_proven = true;
        if owner.is_some() {
            state.owner = owner.cloned();
        }
    }

    /// Whether it has.
    pub(super) fn is_proven(&self) -> bool {
        self.state().is_proven
    }

    /// Returns the owner of the last call that has shown a good token.
    pub(super) fn owner(&self) -> Option<Owner> {
        self.state().owner.clone()
    }

    /// Has the connection pay for calls.
    pub(super) fn owe(&self, owner: &Owner, calls: i32) {
        self.change_owed(owner, calls);
    }

    /// Gives back what a call has cost.
    pub(super) fn refund(&self, owner: &Owner) {
        self.change_owed(owner, -1);
    }

    fn change_owed(&self, owner: &Owner, change: i32) {
        self.state().change_owed(owner, change);
    }

    /// Has the connection pay for its calls.
    pub(super) fn set_paced(&self) {
        self.state().is_paced = true;
    }

    /// The calls to pay for now, by owner.
    pub(super) fn owed(&self) -> Vec<(Owner, i32)> {
        std::mem::take(&mut self.state().owed)
    }

    /// Gives up the answer of a call that was not taken: by resetting its stream, or, where HTTP has all of
    /// it already or there are no streams, by ending the connection.
    pub(super) fn shed(&self, call: u64) {
        let mut state = self.state();
        let Some(untaken) = state.waiting.get_mut(&call) else {
            return;
        };
        match untaken.stream.take() {
            Some(stream) => {
                untaken.since = None;
                drop(state);
                stream.abort();
            }
            None => {
                state.seen.is_condemned = true;
                drop(state);
                self.told_off.notify_one();
            }
        }
    }

    /// Gives up every answer of which nothing was taken for so long.
    pub(super) fn shed_untaken(&self, patience: Duration) {
        let state = self.state();
        let untaken = state.waiting.iter();
        let old = untaken.filter(|(_, it)| it.since.is_some_and(|at| at.elapsed() >= patience));
        let old: Vec<u64> = old.map(|(call, _)| *call).collect();
        drop(state);
        for call in old {
            metrics::refused(Refused::UntakenAnswer);
            self.shed(call);
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

    /// Whether the next read is to ask the system.
    pub(super) fn is_looking_again(&self) -> bool {
        self.look_again.load(Ordering::Relaxed)
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
    is_answered: bool,
}

impl Call {
    /// Returns true for the first call of its connection.
    pub(super) fn is_first(&self) -> bool {
        self.id == 0
    }

    /// The answer with this body is the client's to take; the call ends with it.
    pub(super) fn answer(mut self, body: Body, owner: Owner, unread: &Arc<Unread>) -> Answer {
        let bytes = body.size_hint().upper().unwrap_or(PIECE_BYTES as u64);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.is_answered = true;
        let held = unread.hold(owner, bytes, &self.activity, self.id);
        let mut state = self.activity.state();
        state.waiting.insert(
            self.id,
            Untaken {
                since: Some(Instant::now()),
                pieces: 0,
                is_over: false,
                stream: current_stream(),
                is_idle: false,
                held: Some(held),
            },
        );
        drop(state);
        Answer {
            body,
            rest: Bytes::new(),
            call: self,
        }
    }

    /// HTTP asks for more of the answer, and there is something, or nothing for now.
    fn asked(&self, is_there: bool) {
        let mut state = self.activity.state();
        let Some(untaken) = state.waiting.get_mut(&self.id) else {
            return;
        };
        untaken.is_idle = !is_there;
        if is_there {
            untaken.since = Some(Instant::now());
        } else if untaken.pieces == 0 {
            untaken.since = None;
            let held = untaken.held.take();
            drop(state);
            drop(held);
        }
    }

    /// A piece of the answer, which waits for the client until it is dropped.
    fn piece(&self, bytes: Bytes) -> Bytes {
        if let Some(untaken) = self.activity.state().waiting.get_mut(&self.id) {
            untaken.pieces += 1;
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
            Entry::Occupied(untaken) if untaken.get().pieces == 0 => Some(untaken.remove()),
            Entry::Occupied(mut untaken) => {
                let untaken = untaken.get_mut();
                untaken.is_over = true;
                untaken.stream = None;
                untaken.since = Some(Instant::now());
                None
            }
            Entry::Vacant(_) => None,
        };
        state.seen.calls -= 1;
        state.seen.idle_since = Instant::now();
        // A call that its client cancels has cost as much as one that is rejected.
        if !self.is_answered
            && let Some(owner) = state.owner.clone().filter(|it| !it.is_service())
        {
            state.change_owed(&owner, 1);
        }
        drop(state);
        drop(removed);
    }
}

/// A part of an answer that HTTP has.
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
        let Entry::Occupied(mut untaken) = state.waiting.entry(self.call) else {
            return;
        };
        let found = untaken.get_mut();
        found.pieces -= 1;
        found.since = (found.pieces > 0).then(Instant::now);
        let mut held = None;
        if found.pieces == 0 {
            if found.is_over {
                held = untaken.remove().held;
            } else if found.is_idle {
                held = found.held.take();
            }
        }
        drop(state);
        drop(held);
    }
}

/// The body of an answer, whose call is under way until it is taken or given up.
pub(super) struct Answer {
    body: Body,
    /// What is left of a frame that is longer than a piece.
    rest: Bytes,
    call: Call,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let polled = Pin::new(&mut this.body).poll_frame(context);
            this.call.asked(matches!(polled, Poll::Ready(Some(_))));
            let frame = match polled {
                Poll::Ready(Some(Ok(frame))) => frame,
                other => return other,
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        } else {
            this.call.asked(true);
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
