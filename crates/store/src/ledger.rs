//! Stores the ledger: charges, their sums, and reservations.
//!
//! Every change locks the key's row first and holds the lock until the commit. Of two concurrent changes, the later one
//! thus sees the result of the earlier one: a reservation is checked against every earlier reservation, and a charge
//! finds an earlier identical charge. The clock is read under the lock too: a time from before the wait could belong to
//! a window that has ended, and a replica's own clock could misjudge a reservation of another replica. Sums are updated
//! in the transaction of the change, so they always equal the sums of the charges.
//!
//! A request id identifies one charge and one reservation of its key. A charge that is recorded under the id of an open
//! reservation does not end it: the client that reserved settles or releases it, and settling finds that charge.

mod charge;
mod reservation;
mod roll_up;

use async_trait::async_trait;
use keyward_core::clock::{Clock as _, Timestamp};
use keyward_core::id::ReservationId;
use keyward_core::ledger::{Charge, Recorded, Reservation, Reserved, RolledUp};
use keyward_core::policy::{Grant, Serve};
use keyward_core::ports::{
    AdmitReservation, LedgerStore, MakeCharge, MakeReservation, MakeSettlement,
};
use keyward_core::retention::Retention;
use keyward_core::tenancy::Workspace;
use keyward_core::{Ending, Error, Noun};
use keyward_crypto::KeyHash;
use sea_orm::{ColumnTrait, QueryFilter, Select};

use crate::Store;
use crate::entity::issued_key::{Column, Entity, Model};
use crate::error::Failure;
use crate::instrumented::Txn;
use crate::issued_key::{live, metered, not_found, with_hash, workspace_and_hash_of, workspace_of};
use crate::ledger::reservation::State;
use crate::locked_row::lock_with_time;
use crate::retention::{Kind, advance};
use crate::time::StoreTime;

#[async_trait]
impl LedgerStore for Store {
    async fn locate_key(&self, hash: &KeyHash) -> Result<Option<Workspace>, Error> {
        self.read("locate_key", |db| async move {
            workspace_of(&db, with_hash(hash)).await
        })
        .await
    }

    async fn locate_reservation(
        &self,
        id: ReservationId,
    ) -> Result<Option<(Workspace, KeyHash)>, Error> {
        self.read("locate_reservation", |db| async move {
            workspace_and_hash_of(&db, reservation::key_of(id)).await
        })
        .await
    }

    async fn record(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        charge: &MakeCharge<'_>,
    ) -> Result<Recorded, Error> {
        self.write_key(hash, "record", |txn| async move {
            let key = granted(grant, with_hash(hash));
            let (key, now) = lock_key(&txn, &self.time, key).await?;
            let id = key.id;
            let charge = charge(now)?;
            let duplicate = append_once(&txn, key, &charge).await?;
            let metered = metered(&txn, id, charge.recorded_at).await?;
            Ok(Recorded { duplicate, metered })
        })
        .await
    }

    async fn reserve(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        reservation: &MakeReservation<'_>,
        admit: &AdmitReservation<'_>,
    ) -> Result<Reserved, Error> {
        self.write_key(hash, "reserve", |txn| async move {
            let key = granted(grant, live(hash));
            let (Model { id: key, .. }, now) = lock_key(&txn, &self.time, key).await?;
            let reservation = reservation(now);
            let now = reservation.created_at;
            if let Some(earlier) = reservation::find(&txn, key, &reservation.request_id).await? {
                let reservation = earlier.again(&reservation)?;
                let metered = metered(&txn, key, now).await?;
                return Ok(Reserved {
                    reservation,
                    metered,
                });
            }
            if charge::find(&txn, key, &reservation.request_id)
                .await?
                .is_some()
            {
                let earlier = "a charge";
                return Err(Error::RequestIdConflict { earlier }.into());
            }
            let before = metered(&txn, key, now).await?;
            admit(&before, &reservation)?;
            reservation::insert(&txn, key, &reservation).await?;
            Ok(Reserved {
                reservation,
                metered: metered(&txn, key, now).await?,
            })
        })
        .await
    }

    async fn settle(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        id: ReservationId,
        charge: &MakeSettlement<'_>,
    ) -> Result<Recorded, Error> {
        self.write_key(hash, "settle", |txn| async move {
            let (key, found, now) = lock_reservation(&txn, &self.time, grant, id).await?;
            let key_id = key.id;
            let charge = charge(&found.reservation, now);
            check_settlement(&found.reservation, &charge)?;
            let duplicate = match found.state {
                State::Released => return Err(Error::ReservationEnded(Ending::Released).into()),
                State::Settled(cost) if cost == charge.amount => true,
                State::Settled(_) => return Err(charge::of_another_cost().into()),
                State::Held => {
                    let duplicate = append_once(&txn, key, &charge).await?;
                    reservation::settle(&txn, id, &charge).await?;
                    duplicate
                }
            };
            let metered = metered(&txn, key_id, charge.recorded_at).await?;
            Ok(Recorded { duplicate, metered })
        })
        .await
    }

    async fn release(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        id: ReservationId,
        by: &str,
    ) -> Result<(), Error> {
        self.write_key(hash, "release", |txn| async move {
            let (_key, found, now) = lock_reservation(&txn, &self.time, grant, id).await?;
            match found.state {
                State::Held => reservation::release(&txn, id, now, by).await,
                State::Released => Ok(()),
                State::Settled(_) => Err(Error::ReservationEnded(Ending::Settled).into()),
            }
        })
        .await
    }

    async fn held(&self, now: Timestamp) -> Result<u64, Error> {
        self.read("held", |db| async move {
            reservation::count_held(&db, now).await
        })
        .await
    }

    async fn advance_ledger_cutoff(
        &self,
        retention: Retention,
    ) -> Result<Option<Timestamp>, Error> {
        self.write("advance_ledger_cutoff", |txn| async move {
            let expired_before = self.time.now().minus(retention.kept_for);
            let Some(rows) = roll_up::recorded(&*txn, expired_before).await? else {
                return Ok(None);
            };
            let before = advance(&txn, &self.time, Kind::Ledger, retention, rows).await?;
            Ok(Some(before))
        })
        .await
    }

    async fn roll_up(&self, before: Timestamp, limit: u64) -> Result<RolledUp, Error> {
        self.write("roll_up", |txn| async move {
            Ok(RolledUp {
                charges: roll_up::charges(&txn, before, limit).await?,
                reservations: roll_up::reservations(&txn, before, limit).await?,
            })
        })
        .await
    }
}

/// Filters keys of the granted workspace. The workspace is matched together with its organization, because a deleted
/// key may outlive it and another organization may reuse the id.
fn granted(grant: &Grant<Serve>, keys: Select<Entity>) -> Select<Entity> {
    keys.filter(Column::WorkspaceId.eq(grant.workspace().as_str()))
        .filter(Column::OrganizationId.eq(grant.organization().as_str()))
}

/// Appends a charge to a locked key, unless the same charge exists. Returns true if it existed.
async fn append_once(txn: &Txn, key: Model, charge: &Charge) -> Result<bool, Failure> {
    if let Some(earlier) = charge::find(txn, key.id, &charge.request_id).await? {
        charge::check_same(&earlier, charge)?;
        return Ok(true);
    }
    charge::append(txn, key, charge).await?;
    Ok(false)
}

/// Locks a reservation and its key until the transaction ends. The key is locked first, as in every change.
async fn lock_reservation(
    txn: &Txn,
    time: &StoreTime,
    grant: &Grant<Serve>,
    id: ReservationId,
) -> Result<(Model, reservation::Stored, Timestamp), Failure> {
    let not_found = || Error::NotFound(Noun::Reservation);
    let key = granted(grant, reservation::key_of(id));
    let key = lock_with_time(txn, time, key).await?;
    let (key, now) = key.ok_or_else(not_found)?;
    let found = reservation::lock(txn, id).await?;
    // It may have been rolled up since.
    Ok((key, found.ok_or_else(not_found)?, now))
}

/// Locks a key's row until the transaction ends, and returns the time after the lock was acquired.
async fn lock_key(
    txn: &Txn,
    time: &StoreTime,
    key: Select<Entity>,
) -> Result<(Model, Timestamp), Failure> {
    lock_with_time(txn, time, key).await?.ok_or_else(not_found)
}

/// Checks that the charge has the reservation's request id and its side of the account.
fn check_settlement(reservation: &Reservation, charge: &Charge) -> Result<(), Error> {
    if (&charge.request_id, charge.byok) == (&reservation.request_id, reservation.byok) {
        Ok(())
    } else {
        Err(Error::internal(
            "a reservation was to become another one's charge",
        ))
    }
}
