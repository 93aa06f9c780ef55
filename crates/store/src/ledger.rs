//! Stores the ledger: charges, their sums, and reservations.
//!
//! Concurrent changes are applied in batches, each of them one transaction (`batch.rs`).
//!
//! Every change locks the key's row first and holds the lock until the commit. Of two concurrent changes, the later one
//! thus sees the result of the earlier one: a reservation is checked against every earlier reservation, and a charge
//! finds an earlier identical charge. The clock is read under the lock too: a time from before the wait could belong to
//! a window that has ended, and a replica's own clock could misjudge a reservation of another replica. Sums are updated
//! in the transaction of the change, so they always equal the sums of the charges.
//!
//! A request id identifies one charge and one reservation of its key. A charge that is recorded under the id of an open
//! reservation does not end it: the client that reserved settles or releases it, and settling finds that charge.

mod batch;
mod change;
mod charge;
mod locked_accounts;
mod queue;
mod reservation;
mod roll_up;
mod rows;

use std::sync::Arc;

use async_trait::async_trait;
use keyward_core::Error;
use keyward_core::clock::{Clock as _, Timestamp};
use keyward_core::id::ReservationId;
use keyward_core::ledger::{Recorded, Reserved, RolledUp};
use keyward_core::policy::{Grant, Serve};
use keyward_core::ports::{
    AdmitReservation, LedgerStore, MakeCharge, MakeReservation, MakeSettlement,
};
use keyward_core::retention::Retention;
use keyward_core::tenancy::Workspace;
use keyward_crypto::KeyHash;

use crate::Store;
use crate::issued_key::{with_hash, workspace_and_hash_of, workspace_of};
use crate::retention::{Kind, advance};

use change::{Change, Outcome};
pub(crate) use queue::LedgerQueue;

#[async_trait]
impl LedgerStore for Store {
    async fn locate_key(&self, hash: &KeyHash) -> Result<Option<Workspace>, Error> {
        let read = async {
            self.read("locate_key", |db| async move {
                workspace_of(&db, with_hash(hash)).await
            })
            .await
            .map(|found| found.map(Arc::new))
        };
        let cache = &self.caches.locations;
        let found = cache.get_or_read_immutable(*hash.as_bytes(), read).await?;
        Ok(found.map(Arc::unwrap_or_clone))
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
        charge: MakeCharge,
    ) -> Result<Recorded, Error> {
        let change = Change::Record(charge);
        recorded(self.change_account(grant, hash, change).await?)
    }

    async fn reserve(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        reservation: MakeReservation,
        admit: AdmitReservation,
    ) -> Result<Reserved, Error> {
        let change = Change::Reserve(reservation, admit);
        match self.change_account(grant, hash, change).await? {
            Outcome::Reserved(reserved) => Ok(reserved),
            _ => Err(other_outcome()),
        }
    }

    async fn settle(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        id: ReservationId,
        charge: MakeSettlement,
    ) -> Result<Recorded, Error> {
        let change = Change::Settle(id, charge);
        recorded(self.change_account(grant, hash, change).await?)
    }

    async fn release(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        id: ReservationId,
        by: &str,
    ) -> Result<(), Error> {
        let change = Change::Release(id, by.to_owned());
        self.change_account(grant, hash, change).await.map(drop)
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

fn recorded(outcome: Outcome) -> Result<Recorded, Error> {
    match outcome {
        Outcome::Recorded(recorded) => Ok(recorded),
        _ => Err(other_outcome()),
    }
}

fn other_outcome() -> Error {
    Error::internal("a change had the outcome of another kind of change")
}

#[cfg(test)]
mod tests;
