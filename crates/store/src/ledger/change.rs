//! Changes of keys' accounts, and the callers that wait for them.

use keyward_core::id::{OrganizationId, ReservationId, WorkspaceId};
use keyward_core::ledger::{Recorded, Reserved};
use keyward_core::policy::{Grant, Serve};
use keyward_core::ports::{AdmitReservation, MakeCharge, MakeReservation, MakeSettlement};
use keyward_core::{Error, Noun};
use keyward_crypto::KeyHash;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Span;

use crate::entity::issued_key::Model;
use crate::per_key_queue::Waiter;

/// A key, by its hash.
pub(super) type Key = [u8; 32];

/// A change of a key's account.
pub(super) enum Change {
    Record(MakeCharge),
    Reserve(MakeReservation, AdmitReservation),
    Settle(ReservationId, MakeSettlement),
    /// Releases a reservation, with the service that releases it.
    Release(ReservationId, String),
}

/// Outcome of a change that was applied.
pub(super) enum Outcome {
    Recorded(Recorded),
    Reserved(Reserved),
    Released,
}

/// Workspace of a grant.
pub(super) struct Scope {
    workspace: WorkspaceId,
    organization: OrganizationId,
}

/// A change that a caller waits for.
pub(super) struct PendingChange {
    pub(super) hash: KeyHash,
    pub(super) scope: Scope,
    pub(super) change: Change,
    /// Deadline of the caller.
    pub(super) until: Option<Instant>,
    pub(super) decided: oneshot::Sender<Result<Outcome, Error>>,
    pub(super) span: Span,
    /// Slot among the waiting changes.
    pub(super) waiter: Waiter,
}

impl Scope {
    pub(super) fn of(grant: &Grant<Serve>) -> Self {
        Self {
            workspace: grant.workspace().clone(),
            organization: grant.organization().clone(),
        }
    }
}

impl Change {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Record(_) => "record",
            Self::Reserve(..) => "reserve",
            Self::Settle(..) => "settle",
            Self::Release(..) => "release",
        }
    }

    /// Resource that is not found if the grant does not cover it.
    pub(super) fn noun(&self) -> Noun {
        match self {
            Self::Record(_) | Self::Reserve(..) => Noun::IssuedKey,
            Self::Settle(..) | Self::Release(..) => Noun::Reservation,
        }
    }
}

impl PendingChange {
    pub(super) fn key(&self) -> Key {
        *self.hash.as_bytes()
    }

    /// Returns true if the caller no longer waits.
    pub(super) fn is_abandoned(&self) -> bool {
        self.decided.is_closed()
    }

    /// Sends the decision to the caller. The slot is free before the caller can send its next change.
    pub(super) fn answer(self, decision: Result<Outcome, Error>) {
        drop(self.waiter);
        // The caller may have given up.
        let _ = self.decided.send(decision);
    }

    /// Returns true if the grant covers this key. The workspace is compared together with its organization, because a
    /// deleted key may outlive it and another organization may reuse the id. Only a live key takes reservations.
    pub(super) fn covers(&self, key: &Model) -> bool {
        let is_live = key.live_workspace_id.is_some();
        key.workspace_id == self.scope.workspace.as_str()
            && key.organization_id == self.scope.organization.as_str()
            && (is_live || !matches!(self.change, Change::Reserve(..)))
    }
}

/// Returns a change of the key whose hash begins with this byte.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
pub(super) fn test_change(
    slots: &std::sync::Arc<crate::per_key_queue::PerKeyQueue>,
    key: u8,
) -> PendingChange {
    let mut bytes = [0; 32];
    bytes[0] = key;
    let hash = KeyHash::from_bytes(bytes);
    PendingChange {
        hash,
        scope: Scope {
            workspace: WorkspaceId::parse("a").unwrap(),
            organization: OrganizationId::parse("org").unwrap(),
        },
        change: Change::Record(Box::new(|_| Err(Error::Denied))),
        until: None,
        decided: oneshot::channel().0,
        span: Span::none(),
        waiter: slots.join(&hash).unwrap(),
    }
}
