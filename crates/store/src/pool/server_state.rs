//! State of the database server, as the outcomes of its connections show it: connections that are not used again,
//! recent rejections, and recent successes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sea_orm::DbErr;
use tokio::time::Instant;

use crate::connection::{Connection, unavailable};
use crate::error::{self, DiscardReason};

/// Time after a rejected connection in which the pool opens no other.
const COOL_DOWN: Duration = Duration::from_millis(250);
/// Time after a successful call for which the database counts as usable.
const RECENT: Duration = Duration::from_secs(1);
/// Minimum time for which a database counts as unwritable, so that it does not alternate while only some writes fail.
const UNWRITABLE: Duration = Duration::from_secs(2);
/// Minimum time between two log lines about lost connections.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// State of the server.
#[derive(Default)]
pub(super) struct ServerState(Mutex<State>);

#[derive(Default)]
struct State {
    /// Connections opened before this time are not used again: the server was replaced or its schema changed.
    stale: Option<Instant>,
    /// Connections without a response since this time are not used again: the network may have lost them.
    suspect: Option<Instant>,
    /// Last rejection by the server.
    rejection: Option<(Instant, String)>,
    /// Time at which a transaction last began on a server that accepts writes.
    began: Option<Instant>,
    /// Time at which a transaction was last committed.
    committed: Option<Instant>,
    /// Time at which a write last failed because the database could not accept it (no space, read-only, I/O error,
    /// corrupt file), unless a probe has written since.
    unwritable: Option<Instant>,
    /// Time of the last log line about lost connections.
    logged: Option<Instant>,
}

impl ServerState {
    /// Returns true if a connection may be used in spite of the reasons for which others were discarded.
    pub(super) fn allows(&self, connection: &Connection) -> bool {
        let state = self.state();
        state.stale.is_none_or(|at| connection.opened > at)
            && state.suspect.is_none_or(|at| connection.last_response > at)
    }

    /// Records the effect of a discarded connection on the others.
    pub(super) fn note_discarded(&self, reason: DiscardReason) {
        let now = Instant::now();
        let mut state = self.state();
        match reason {
            DiscardReason::Connection => return,
            DiscardReason::Silent => state.suspect = Some(now),
            DiscardReason::Server | DiscardReason::ReadOnly => state.stale = Some(now),
        }
        let is_quiet = state.logged.is_some_and(|at| at.elapsed() < LOG_INTERVAL);
        if !is_quiet {
            state.logged = Some(now);
        }
        drop(state);
        if !is_quiet {
            tracing::warn!(
                reason = reason.name(),
                "lost a database connection, replacing older ones"
            );
        }
    }

    /// Records that a transaction has begun on a server that accepts writes.
    pub(super) fn note_begun(&self) {
        self.state().began = Some(Instant::now());
    }

    /// Records the outcome of a commit.
    pub(super) fn note_commit(&self, outcome: &Result<(), DbErr>) {
        match outcome {
            Ok(()) => self.state().committed = Some(Instant::now()),
            Err(error) => self.note_failure(error),
        }
    }

    /// Records an error that shows that the database accepts no writes.
    pub(super) fn note_failure(&self, error: &DbErr) {
        if error::is_unwritable(error) {
            self.state().unwritable = Some(Instant::now());
        }
    }

    /// Records that the server rejects connections.
    pub(super) fn note_rejection(&self, error: &DbErr) {
        let text = error::cause(error).to_string();
        self.state().rejection = Some((Instant::now(), text));
    }

    /// Records that the server accepts connections.
    pub(super) fn note_accepted(&self) {
        self.state().rejection = None;
    }

    /// Fails with the server's last rejection if it is recent.
    pub(super) fn recently_rejected(&self) -> Result<(), DbErr> {
        match &self.state().rejection {
            Some((at, text)) if at.elapsed() < COOL_DOWN => Err(unavailable(text)),
            _ => Ok(()),
        }
    }

    /// Returns true if a transaction began recently.
    pub(super) fn began_recently(&self) -> bool {
        self.state().began.is_some_and(is_recent)
    }

    /// Returns true if a transaction was committed recently.
    pub(super) fn committed_recently(&self) -> bool {
        self.state().committed.is_some_and(is_recent)
    }

    /// Returns the time at which a write last failed because the database accepts no writes, unless a probe has
    /// written since.
    pub(super) fn unwritable(&self) -> Option<Instant> {
        self.state().unwritable
    }

    /// Records that a probe has written after the failure at this time. Recent and later failures stay recorded.
    pub(super) fn note_written(&self, failed: Instant) {
        let mut state = self.state();
        state.unwritable = state
            .unwritable
            .filter(|at| *at != failed || at.elapsed() < UNWRITABLE);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(at: Instant) -> bool {
    at.elapsed() < RECENT
}
