//! Use cases of the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyward_crypto::KeyHash;

use crate::error::{Error, Noun};
use crate::metrics::{self, ReservationOutcome};
use crate::model::account::{self, MeteredKey};
use crate::model::clock::{Clock, Timestamp};
use crate::model::id::{RequestId, ReservationId};
use crate::model::ledger::{Charge, NewReservation, Recorded, Reservation, Reserved, RolledUp};
use crate::model::money::Nanos;
use crate::model::principal::Caller;
use crate::model::retention::Retention;
use crate::policy::{self, Action, Grant, Serve};
use crate::ports::LedgerStore;

/// Maximum number of charges that a transaction rolls up.
const ROLL_UP_BATCH: u64 = 1000;

/// Maximum time by which a caller's `occurred_at` may be ahead of the server's clock.
pub const MAX_AHEAD: Duration = Duration::from_secs(5 * 60);

/// Settings for the ledger.
#[derive(Debug, Clone, Copy)]
pub struct LedgerSettings {
    /// Lifetime of a reservation if the caller does not set one.
    pub default_reservation_ttl: Duration,
    /// Maximum lifetime of a reservation.
    pub max_reservation_ttl: Duration,
    /// Time for which single charges are kept; afterwards only their sums remain. `None` keeps them forever.
    pub charge_retention: Option<Duration>,
}

/// Use cases of the ledger, for internal services only.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn LedgerStore>,
    settings: LedgerSettings,
    clock: Arc<dyn Clock>,
}

impl Ledger {
    /// Returns the use cases on a store.
    #[must_use]
    pub fn new(
        store: Arc<dyn LedgerStore>,
        settings: LedgerSettings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            settings,
            clock,
        }
    }

    /// Records a charge of a key, even if the key is disabled, expired or deleted, or the charge exceeds its
    /// limit: the money was spent. Repeating a charge under the same request id has no effect.
    ///
    /// # Errors
    /// Denied for all callers but services; the key is not found; the charge is further than [`MAX_AHEAD`] in
    /// the future; the request id was used for another charge.
    pub async fn record(
        &self,
        caller: &Caller,
        hash: Option<KeyHash>,
        request_id: RequestId,
        amount: Nanos,
        byok: bool,
        occurred_at: Option<Timestamp>,
    ) -> Result<Recorded, Error> {
        let (hash, grant) = self.find(caller, hash, policy::RECORD_USAGE).await?;
        let by = caller.principal.actor().id;
        let charge = move |now: Timestamp| {
            let occurred_at = occurred_at.unwrap_or(now);
            if occurred_at > now.plus(MAX_AHEAD) {
                let message = "Time of the charge must not be in the future";
                return Err(Error::invalid("occurredAt", message));
            }
            Ok(Charge {
                request_id: request_id.clone(),
                amount,
                byok,
                occurred_at,
                recorded_at: now,
                recorded_by: by.clone(),
            })
        };
        let recorded = self.store.record(&grant, &hash, Box::new(charge)).await?;
        count(&recorded, byok);
        Ok(recorded)
    }

    /// Reserves an estimated amount of a key's limit. Repeating a reservation under the same request id
    /// returns the first one.
    ///
    /// # Errors
    /// Denied for all callers but services; the lifetime is invalid; the key is not found, disabled or
    /// expired; the available amount is too small; the request id was used for another operation, or for a
    /// reservation that has ended.
    pub async fn reserve(
        &self,
        caller: &Caller,
        hash: Option<KeyHash>,
        new: NewReservation,
    ) -> Result<Reserved, Error> {
        let ttl = self.ttl(new.ttl)?;
        let (hash, grant) = self.find(caller, hash, policy::RESERVE_SPEND).await?;
        let by = caller.principal.actor().id;
        let reservation = move |now: Timestamp| Reservation {
            id: ReservationId::generate(now),
            request_id: new.request_id.clone(),
            amount: new.amount,
            byok: new.byok,
            created_at: now,
            expires_at: now.plus(ttl),
            reserved_by: by.clone(),
        };
        let admit = |metered: &MeteredKey, reservation: &Reservation| {
            let Reservation {
                amount,
                byok,
                created_at,
                ..
            } = reservation;
            account::check_hold(metered, *amount, *byok, *created_at)
        };
        let reserved = self
            .store
            .reserve(&grant, &hash, Box::new(reservation), Box::new(admit))
            .await;
        match &reserved {
            Ok(_) => metrics::reservation(ReservationOutcome::Held),
            Err(Error::LimitExceeded { .. }) => {
                metrics::reservation(ReservationOutcome::LimitExceeded);
            }
            Err(_) => {}
        }
        reserved
    }

    fn ttl(&self, wanted: Option<Duration>) -> Result<Duration, Error> {
        let ttl = wanted.unwrap_or(self.settings.default_reservation_ttl);
        let max = self.settings.max_reservation_ttl;
        if ttl < Duration::from_millis(1) || ttl > max {
            let millis = max.as_millis();
            let message = format!("TTL must be from 1 to {millis} milliseconds");
            return Err(Error::invalid("ttl", message));
        }
        Ok(ttl)
    }

    /// Turns a reservation into a charge of the true cost, in full even if it exceeds the reservation or the
    /// reservation has expired: the money was spent.
    ///
    /// # Errors
    /// Denied for all callers but services; the reservation is not found, or was released; it was settled
    /// with another cost.
    pub async fn settle(
        &self,
        caller: &Caller,
        id: Option<ReservationId>,
        cost: Nanos,
    ) -> Result<Recorded, Error> {
        let (id, hash, grant) = self
            .find_reservation(caller, id, policy::SETTLE_SPEND)
            .await?;
        let (by, byok) = (
            caller.principal.actor().id,
            Arc::new(AtomicBool::new(false)),
        );
        let is_byok = Arc::clone(&byok);
        let charge = move |reservation: &Reservation, now: Timestamp| {
            is_byok.store(reservation.byok, Ordering::Relaxed);
            Charge {
                request_id: reservation.request_id.clone(),
                amount: cost,
                byok: reservation.byok,
                occurred_at: now,
                recorded_at: now,
                recorded_by: by.clone(),
            }
        };
        let charge = Box::new(charge);
        let recorded = self.store.settle(&grant, &hash, id, charge).await?;
        metrics::reservation(ReservationOutcome::Settled);
        count(&recorded, byok.load(Ordering::Relaxed));
        Ok(recorded)
    }

    /// Releases a reservation. Releasing it again, or after it has expired, changes nothing.
    ///
    /// # Errors
    /// Denied for all callers but services; the reservation is not found, or was settled.
    pub async fn release(&self, caller: &Caller, id: Option<ReservationId>) -> Result<(), Error> {
        let (id, hash, grant) = self
            .find_reservation(caller, id, policy::RELEASE_SPEND)
            .await?;
        let by = caller.principal.actor().id;
        self.store.release(&grant, &hash, id, &by).await?;
        metrics::reservation(ReservationOutcome::Released);
        Ok(())
    }

    /// Deletes single charges that are older than the retention, and reservations that ended before that
    /// time; the sums of the charges remain. `passed` is the time since this process's last run, by a monotonic
    /// clock: [`Retention::advance`] deletes in proportion to it.
    ///
    /// # Errors
    /// The store cannot be reached; rows that were deleted until then stay deleted.
    pub async fn roll_up(&self, passed: Duration) -> Result<RolledUp, Error> {
        let mut dropped = RolledUp::default();
        let Some(kept_for) = self.settings.charge_retention else {
            return Ok(dropped);
        };
        let retention = Retention { kept_for, passed };
        let Some(before) = self.store.advance_ledger_cutoff(retention).await? else {
            return Ok(dropped);
        };
        loop {
            let batch = self.store.roll_up(before, ROLL_UP_BATCH).await?;
            dropped.charges += batch.charges;
            dropped.reservations += batch.reservations;
            if batch.charges.max(batch.reservations) < ROLL_UP_BATCH {
                return Ok(dropped);
            }
        }
    }

    /// Returns the number of open reservations of all processes.
    ///
    /// # Errors
    /// The store cannot be reached.
    pub async fn held(&self) -> Result<u64, Error> {
        self.store.held(self.clock.now()).await
    }

    async fn find(
        &self,
        caller: &Caller,
        hash: Option<KeyHash>,
        action: Action<Serve>,
    ) -> Result<(KeyHash, Grant<Serve>), Error> {
        policy::precheck(&caller.principal, action)?;
        let noun = Noun::IssuedKey;
        let hash = hash.ok_or(Error::NotFound(noun))?;
        let workspace = self.store.locate_key(&hash).await?;
        let workspace = workspace.as_ref();
        let grant = policy::authorize_found(&caller.principal, action, workspace, noun)?;
        Ok((hash, grant))
    }

    async fn find_reservation(
        &self,
        caller: &Caller,
        id: Option<ReservationId>,
        action: Action<Serve>,
    ) -> Result<(ReservationId, KeyHash, Grant<Serve>), Error> {
        policy::precheck(&caller.principal, action)?;
        let noun = Noun::Reservation;
        let id = id.ok_or(Error::NotFound(noun))?;
        let found = self.store.locate_reservation(id).await?;
        let (workspace, hash) = found.ok_or(Error::NotFound(noun))?;
        let workspace = Some(&workspace);
        let grant = policy::authorize_found(&caller.principal, action, workspace, noun)?;
        Ok((id, hash, grant))
    }
}

/// Counts a charge, unless it is a duplicate.
fn count(recorded: &Recorded, byok: bool) {
    if !recorded.duplicate {
        metrics::charge(byok);
    }
}
