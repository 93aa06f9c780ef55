//! Call of a connection, and the body of its response. The body splits frames into pieces and tracks each until it
//! is written, so it is not the root package's `OnEnd`, which passes frames on unchanged.

use std::collections::btree_map::Entry;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use keyward_throttle::Payer;
use tokio::time::Instant;

use super::{Activity, PendingResponse};
use crate::executor::current_stream;
use crate::unread::UnreadResponses;

/// Size of the pieces of a response that are passed to HTTP. The client has `write_timeout` for each of them.
const PIECE_BYTES: usize = 16 * 1024;

impl Activity {
    /// Begins a call.
    pub(crate) fn begin(self: &Arc<Self>) -> ActiveCall {
        let mut state = self.state();
        state.snapshot.calls += 1;
        state.snapshot.head_since = None;
        let id = state.next_call;
        state.next_call += 1;
        drop(state);
        ActiveCall {
            activity: Arc::clone(self),
            id,
            has_response: false,
        }
    }
}

/// A call that is under way until this guard is dropped.
pub(crate) struct ActiveCall {
    activity: Arc<Activity>,
    id: u64,
    has_response: bool,
}

impl ActiveCall {
    /// Returns true for the first call of its connection.
    pub(crate) fn is_first(&self) -> bool {
        self.id == 0
    }

    /// Wraps the body of the response. The call ends when HTTP drops the body; pieces not yet written continue to
    /// wait for the client.
    pub(crate) fn respond(
        mut self,
        body: Body,
        payer: Payer,
        unread: &Arc<UnreadResponses>,
    ) -> ResponseBody {
        let bytes = body.size_hint().upper().unwrap_or(PIECE_BYTES as u64);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.has_response = true;
        let charge = unread.charge(payer, bytes, Arc::downgrade(&self.activity) as _, self.id);
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

impl Drop for ActiveCall {
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
            && let Some(payer) = state.payer.clone().filter(|it| !it.is_service())
        {
            state.change_owed(&payer, 1);
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
pub(crate) struct ResponseBody {
    body: Body,
    /// Rest of a frame that is longer than a piece.
    rest: Bytes,
    call: ActiveCall,
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
