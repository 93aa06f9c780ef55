//! Bounds the calls that need no token and wait for their message. A further call is admitted and the oldest is
//! given up, so that a prober is not rejected because of other clients.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::http::unauthenticated::UnauthenticatedLimits;

/// Most recent calls of the health service and of the probes, some of which still wait for their message.
#[derive(Clone)]
pub(super) struct PendingHealthCalls(Arc<Pending>);

struct Pending {
    /// Maximum number of calls.
    max: usize,
    /// Oldest first. Dropping a sender notifies the call that it is given up, if it still waits.
    calls: Mutex<VecDeque<oneshot::Sender<Infallible>>>,
}

impl PendingHealthCalls {
    /// Uses the maximum number of streams.
    pub(super) fn new(limits: &UnauthenticatedLimits) -> Self {
        Self(Arc::new(Pending {
            max: limits.max_streams,
            calls: Mutex::default(),
        }))
    }

    /// Begins a call that waits for its message. The returned receiver completes when the call is given up
    /// because the maximum number of later calls have begun before it ended.
    pub(super) fn begin(&self) -> oneshot::Receiver<Infallible> {
        let (call, given_up) = oneshot::channel();
        let mut calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push_back(call);
        if calls.len() > self.0.max {
            calls.pop_front();
        }
        given_up
    }
}
