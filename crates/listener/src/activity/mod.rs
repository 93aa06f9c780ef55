//! State of one connection: the version of HTTP, the number of calls under way, and the time since which it
//! waits for its client.
//!
//! The stream reports bytes, and the service reports calls and responses; `connection.rs` reads the state and
//! decides.

mod call;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::AbortHandle;
use keyward_throttle::Payer;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::metrics;
use crate::unread::{Shed, UnreadCharge};

pub(crate) use call::{ActiveCall, ResponseBody};

/// Maximum number of calls of an HTTP/2 connection that are under way, up to their response head, until the client
/// has presented a valid token or certificate.
const MAX_UNKNOWN_CALLS: usize = 10;
/// Minimum time between two reports that a valid token was shown, so that calls do not contend for what all
/// connections share.
const REPORT_INTERVAL: Duration = Duration::from_secs(30);

/// Connection preface of HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Version of HTTP on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// Too few bytes were received to determine it.
    Unknown,
    Http1,
    Http2,
}

/// State of one connection.
pub(crate) struct Activity {
    state: Mutex<State>,
    /// Slots of such calls; closed once the client has presented a valid token.
    unknown_calls: Semaphore,
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
    /// Time at which that was last reported.
    reported: Option<Instant>,
    /// Caller of the last such call.
    payer: Option<Payer>,
    /// True if the connection is read at the pace of its callers.
    is_paced: bool,
    /// Calls to charge before more is read, by caller. Negative if charges are refunded.
    owed: Vec<(Payer, i32)>,
    next_call: u64,
}

impl State {
    fn change_owed(&mut self, payer: &Payer, change: i32) {
        if !self.is_paced {
            return;
        }
        match self.owed.iter_mut().find(|(found, _)| found == payer) {
            Some((_, calls)) => *calls = calls.saturating_add(change),
            None => self.owed.push((payer.clone(), change)),
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
pub(crate) struct Snapshot {
    pub(crate) version: Version,
    /// True if the client has sent anything.
    pub(crate) has_received: bool,
    /// Number of calls under way.
    pub(crate) calls: usize,
    /// Time since which no call is under way.
    pub(crate) idle_since: Instant,
    /// Time since which the headers of a request arrive over HTTP/1.1.
    pub(crate) head_since: Option<Instant>,
    /// Time since which a response waits for the client, if any does.
    pub(crate) waiting_since: Option<Instant>,
    /// True if the connection must end because the client does not read a response that cannot be shed by
    /// itself.
    pub(crate) must_close: bool,
    /// True if a response announced that the connection will end.
    pub(crate) close_requested: bool,
}

impl Activity {
    /// Returns the state of a new connection.
    pub(crate) fn new(now: Instant) -> Arc<Self> {
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
                reported: None,
                payer: None,
                is_paced: false,
                owed: Vec::new(),
                next_call: 0,
            }),
            unknown_calls: Semaphore::new(MAX_UNKNOWN_CALLS),
            recheck: AtomicBool::new(false),
            close_requested: Notify::new(),
        })
    }

    /// Returns a snapshot.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            waiting_since: state.waiting.values().filter_map(|it| it.since).min(),
            ..state.snapshot
        }
    }

    /// Records the version that was negotiated before the first byte.
    pub(crate) fn set_version(&self, version: Version) {
        self.state().snapshot.version = version;
    }

    /// Records bytes that the client sent.
    pub(crate) fn on_bytes(&self, bytes: &[u8]) {
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

    /// Records that the client has presented a valid token or certificate. Returns true if its address must be
    /// recorded as known: at first, and then at most once in `REPORT_INTERVAL`.
    pub(crate) fn set_authenticated(&self, payer: Option<&Payer>) -> bool {
        let mut state = self.state();
        state.is_authenticated = true;
        if payer.is_some() {
            state.payer = payer.cloned();
        }
        let is_recent = |at: Instant| at.elapsed() < REPORT_INTERVAL;
        let is_due = !state.reported.is_some_and(is_recent);
        if is_due {
            state.reported = Some(Instant::now());
        }
        drop(state);
        self.unknown_calls.close();
        is_due
    }

    /// Waits until a further call may begin, in the order of the calls. Returns the slot that the call holds up to its
    /// response head, or `None` once the client has presented a valid token or certificate.
    pub(crate) async fn call_slot(&self) -> Option<SemaphorePermit<'_>> {
        self.unknown_calls.acquire().await.ok()
    }

    /// Returns true if the client has presented a valid token or certificate.
    pub(crate) fn is_authenticated(&self) -> bool {
        self.state().is_authenticated
    }

    /// Returns the caller of the last call that has presented a valid token.
    pub(crate) fn payer(&self) -> Option<Payer> {
        self.state().payer.clone()
    }

    /// Charges the connection for calls.
    pub(crate) fn owe(&self, payer: &Payer, calls: i32) {
        self.change_owed(payer, calls);
    }

    /// Refunds the charge of a call.
    pub(crate) fn refund(&self, payer: &Payer) {
        self.change_owed(payer, -1);
    }

    fn change_owed(&self, payer: &Payer, change: i32) {
        self.state().change_owed(payer, change);
    }

    /// Marks the connection as paced, so that its calls are charged.
    pub(crate) fn set_paced(&self) {
        self.state().is_paced = true;
    }

    /// Takes the calls to charge now, by caller.
    pub(crate) fn owed(&self) -> Vec<(Payer, i32)> {
        std::mem::take(&mut self.state().owed)
    }

    /// Sheds every response of which the client has read nothing for `patience`.
    pub(crate) fn shed_unread(&self, patience: Duration) {
        let state = self.state();
        let old = (state.waiting.iter())
            .filter(|(_, it)| it.since.is_some_and(|at| at.elapsed() >= patience));
        let old: Vec<u64> = old.map(|(call, _)| *call).collect();
        drop(state);
        for call in old {
            metrics::response_shed();
            self.shed(call);
        }
    }

    /// Records that a response announced the end of the connection.
    pub(crate) fn request_close(&self) {
        self.state().snapshot.close_requested = true;
        self.close_requested.notify_one();
    }

    /// Waits until a response announces the end of the connection.
    pub(crate) async fn close_requested(&self) {
        self.close_requested.notified().await;
    }

    /// Makes the next read query the system, because the readiness cached by the runtime may be stale.
    pub(crate) fn request_recheck(&self) {
        self.recheck.store(true, Ordering::Relaxed);
    }

    /// Returns true if the next read will query the system.
    pub(crate) fn is_recheck_requested(&self) -> bool {
        self.recheck.load(Ordering::Relaxed)
    }

    /// Returns true if this read must query the system, and clears the flag.
    pub(crate) fn take_recheck(&self) -> bool {
        self.recheck.load(Ordering::Relaxed) && self.recheck.swap(false, Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shed for Activity {
    /// Sheds the response of a call that the client has not read: resets its stream, or ends the connection if
    /// HTTP already has the whole response or there are no streams.
    fn shed(&self, call: u64) {
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
}

#[cfg(test)]
mod tests;
