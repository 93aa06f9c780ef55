//! Charges, their sums, and reservations.

use async_trait::async_trait;
use keyward_crypto::KeyHash;

use crate::clock::Timestamp;
use crate::directory::Workspace;
use crate::error::Error;
use crate::id::ReservationId;
use crate::ledger::{Charge, Recorded, Reservation, Reserved, RolledUp};
use crate::limit::MeteredKey;
use crate::policy::{Grant, Serve};
use crate::retention::Extent;

/// Builds a charge from the time that the store read while it holds the key's row. The store may call it more
/// than once.
pub type Charging<'a> = dyn Fn(Timestamp) -> Result<Charge, Error> + Send + Sync + 'a;
/// Builds a reservation from the time that the store read while it holds the key's row. The store may call it
/// more than once.
pub type Holding<'a> = dyn Fn(Timestamp) -> Reservation + Send + Sync + 'a;
/// Decides whether a hold fits. The store may call it more than once.
pub type Admission<'a> = dyn Fn(&MeteredKey, &Reservation) -> Result<(), Error> + Send + Sync + 'a;
/// Builds the charge that settles a reservation, from the time that the store read while it holds the key's row.
/// The store may call it more than once.
pub type Settlement<'a> = dyn Fn(&Reservation, Timestamp) -> Charge + Send + Sync + 'a;

/// Keeps charges, their sums, and reservations.
///
/// Whoever changes a key's account holds the key's row until the commit, so that one decides after
/// another; nothing about it, the time included, is read before that. The time is the database
/// server's where there is one, so that replicas whose clocks differ decide alike. The rows of the
/// ledger name the service that recorded, held or ended an amount, and the time, so that its methods take
/// no audit event.
#[async_trait]
pub trait LedgerStore: Send + Sync {
    /// The workspace of a key, also of a deleted one, as input of the policy.
    async fn locate_key(&self, hash: &KeyHash) -> Result<Option<Workspace>, Error>;

    /// A reservation's key and its workspace, as input of the policy.
    async fn locate_reservation(
        &self,
        id: ReservationId,
    ) -> Result<Option<(Workspace, KeyHash)>, Error>;

    /// Appends a charge to a key of the workspace, live or deleted, and adds it to the key's sums,
    /// unless the same charge is there: not found, or request id conflict.
    async fn record(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        charge: &Charging<'_>,
    ) -> Result<Recorded, Error>;

    /// Stores a reservation on a live key of the workspace if `admit` lets it, or finds the same
    /// one under its request id, still open at its `created_at`: not found, request id conflict, or
    /// what `admit` answers.
    async fn reserve(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        hold: &Holding<'_>,
        admit: &Admission<'_>,
    ) -> Result<Reserved, Error>;

    /// Ends a reservation of that key by the charge that it becomes, also an expired one, unless the same
    /// charge is there: not found, ended by release, or request id conflict.
    async fn settle(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        id: ReservationId,
        charge: &Settlement<'_>,
    ) -> Result<Recorded, Error>;

    /// Ends a reservation of that key, unless it is released already: not found, or ended by settlement.
    async fn release(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        id: ReservationId,
        by: &str,
    ) -> Result<(), Error>;

    /// How many reservations hold something then. Without a grant, since no caller asks for it.
    async fn held(&self, now: Timestamp) -> Result<u64, Error>;

    /// Times of the newest charge or reservation and of the oldest: when a charge was recorded, when a
    /// reservation was made, and when one that expired before a moment ended. Without a grant, since no
    /// caller asks for it.
    async fn recorded(&self, expired_before: Timestamp) -> Result<Option<Extent>, Error>;

    /// Drops at most `limit` charges that were recorded before a moment, and as many reservations
    /// that ended and expired before it. The charges' sums stay. Without a grant, since no caller
    /// asks for it.
    async fn roll_up(&self, before: Timestamp, limit: u64) -> Result<RolledUp, Error>;
}
