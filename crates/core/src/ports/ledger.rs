//! Charges, their sums, and reservations.

use async_trait::async_trait;
use keyward_crypto::KeyHash;

use crate::error::Error;
use crate::model::account::MeteredKey;
use crate::model::clock::Timestamp;
use crate::model::id::ReservationId;
use crate::model::ledger::{Charge, Recorded, Reservation, Reserved, RolledUp};
use crate::model::retention::Retention;
use crate::model::tenancy::Workspace;
use crate::policy::{Grant, Serve};

/// Builds a charge from the time that the store read while it locks the key's row. The store may call it more
/// than once.
pub type MakeCharge = Box<dyn Fn(Timestamp) -> Result<Charge, Error> + Send + Sync>;
/// Builds a reservation from the time that the store read while it locks the key's row. The store may call it
/// more than once.
pub type MakeReservation = Box<dyn Fn(Timestamp) -> Reservation + Send + Sync>;
/// Checks that a reservation fits. The store may call it more than once.
pub type AdmitReservation =
    Box<dyn Fn(&MeteredKey, &Reservation) -> Result<(), Error> + Send + Sync>;
/// Builds the charge that settles a reservation, from the time that the store read while it locks the key's
/// row. The store may call it more than once.
pub type MakeSettlement = Box<dyn Fn(&Reservation, Timestamp) -> Charge + Send + Sync>;

/// Stores charges, their sums, and reservations.
///
/// The store may apply concurrent changes in one transaction. Each is decided on the state that the earlier ones of the
/// transaction left, and one that is rejected has no effect on the others.
///
/// A transaction that changes a key's account locks the key's row until the commit, so that decisions are
/// serialized. It reads nothing about the account, including the time, before it has the lock. The time comes
/// from the database server if there is one, so that replicas with different clocks decide alike. The methods
/// take no audit event, since the rows of the ledger name the service that recorded, reserved or released an
/// amount, and the time.
#[async_trait]
pub trait LedgerStore: Send + Sync {
    /// Returns the workspace of a key, including a deleted key, as input of the policy.
    async fn locate_key(&self, hash: &KeyHash) -> Result<Option<Workspace>, Error>;

    /// Returns a reservation's key and its workspace, as input of the policy.
    async fn locate_reservation(
        &self,
        id: ReservationId,
    ) -> Result<Option<(Workspace, KeyHash)>, Error>;

    /// Appends a charge to a key of the workspace, live or deleted, and adds it to the key's sums, unless the
    /// same charge exists. Errors: not found, or request id conflict.
    async fn record(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        charge: MakeCharge,
    ) -> Result<Recorded, Error>;

    /// Stores a reservation on a live key of the workspace if `admit` accepts it, or returns the same
    /// reservation under its request id if it is still open at the new `created_at`. Errors: not found,
    /// request id conflict, or the error of `admit`.
    async fn reserve(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        reservation: MakeReservation,
        admit: AdmitReservation,
    ) -> Result<Reserved, Error>;

    /// Ends a reservation of that key by the charge that it becomes, even if it has expired, unless the same
    /// charge exists. Errors: not found, ended by release, or request id conflict.
    async fn settle(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        id: ReservationId,
        charge: MakeSettlement,
    ) -> Result<Recorded, Error>;

    /// Ends a reservation of that key, unless it was already released. Errors: not found, or ended by
    /// settlement.
    async fn release(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        id: ReservationId,
        by: &str,
    ) -> Result<(), Error>;

    /// Returns the number of reservations that are open at `now`. Takes no grant, since it does not serve a
    /// caller.
    async fn held(&self, now: Timestamp) -> Result<u64, Error>;

    /// Advances the cutoff of the ledger with [`Retention::advance`] and returns the time before which charges
    /// and reservations are to be deleted; `None` if there are none to delete. The time of a row is the
    /// recording of a charge, the creation of a reservation, and the end of an expired one. The store's first
    /// run only stores the cutoff. Takes no grant, since it does not serve a caller.
    async fn advance_ledger_cutoff(&self, retention: Retention)
    -> Result<Option<Timestamp>, Error>;

    /// Deletes at most `limit` charges that were recorded before a time, and as many reservations that ended
    /// and expired before it. The sums of the charges remain. Takes no grant, since it does not serve a
    /// caller.
    async fn roll_up(&self, before: Timestamp, limit: u64) -> Result<RolledUp, Error>;
}
