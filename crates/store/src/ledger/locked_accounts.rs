//! The accounts, charges and reservations that a batch of changes concerns, in memory while their keys are locked.
//!
//! They are read in a few statements for all changes. Each change is decided on the state that the earlier ones left,
//! and the rows of all changes are written together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use keyward_core::account::MeteredKey;
use keyward_core::clock::Timestamp;
use keyward_core::id::{RequestId, ReservationId};
use keyward_core::ledger::{Charge, Recorded, Reservation, Reserved};
use keyward_core::money::Nanos;
use keyward_core::window::Day;
use keyward_core::{Ending, Error, Noun};
use keyward_crypto::KeyHash;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::change::{Change, Outcome, PendingChange};
use super::reservation::{State, Stored};
use super::rows::Requests;
use super::{charge, reservation, rows};
use crate::entity;
use crate::entity::issued_key::{Column, Entity, Model};
use crate::error::Failure;
use crate::instrumented::Txn;
use crate::issued_key::metered_by_id;
use crate::locked_row::lock_all_with_time;
use crate::time::StoreTime;

/// Locked keys of one batch, with their accounts, charges and reservations.
pub(super) struct LockedAccounts<'a> {
    txn: &'a Txn,
    ids: HashMap<[u8; 32], Uuid>,
    keys: BTreeMap<Uuid, Model>,
    /// Accounts at a time. They change with the decisions.
    accounts: HashMap<Uuid, MeteredKey>,
    accounts_at: Option<Timestamp>,
    charges: HashMap<(Uuid, String), entity::charge::Model>,
    reservations: HashMap<Uuid, entity::reservation::Model>,
    reserved: HashMap<(Uuid, String), Uuid>,
    unwritten: Unwritten,
}

/// Rows to write.
#[derive(Default)]
struct Unwritten {
    charges: Vec<entity::charge::Model>,
    /// Amounts to add to the sums of a key's day, own and BYOK.
    days: BTreeMap<(Uuid, i64), (i64, i64)>,
    keys: BTreeSet<Uuid>,
    reservations: Vec<Uuid>,
    ended: BTreeSet<Uuid>,
}

impl<'a> LockedAccounts<'a> {
    /// Locks the keys of the changes, and reads the charges and reservations that they name. Returns the time after
    /// the keys were locked.
    pub(super) async fn open(
        txn: &'a Txn,
        time: &StoreTime,
        items: &[PendingChange],
        skips_locked: bool,
    ) -> Result<(Self, Timestamp), Failure> {
        let hashes: HashSet<String> = items.iter().map(|item| item.hash.to_string()).collect();
        let keys = Entity::find()
            .filter(Column::Hash.is_in(hashes))
            // All transactions lock keys in this order.
            .order_by_asc(Column::Id);
        let (found, now) = lock_all_with_time(txn, time, keys, skips_locked).await?;
        let mut accounts = Self {
            txn,
            ids: HashMap::new(),
            keys: BTreeMap::new(),
            accounts: HashMap::new(),
            accounts_at: None,
            charges: HashMap::new(),
            reservations: HashMap::new(),
            reserved: HashMap::new(),
            unwritten: Unwritten::default(),
        };
        for key in found {
            let hash = crate::key_hash::parse(&key.hash)?;
            accounts.ids.insert(*hash.as_bytes(), key.id);
            accounts.keys.insert(key.id, key);
        }
        accounts.read(items, now).await?;
        Ok((accounts, now))
    }

    /// Returns the locked key with this hash.
    pub(super) fn key(&self, hash: &KeyHash) -> Option<&Model> {
        self.keys.get(self.ids.get(hash.as_bytes())?)
    }

    /// Reads the charges and reservations that the changes name.
    async fn read(&mut self, items: &[PendingChange], now: Timestamp) -> Result<(), Failure> {
        let (mut named, mut reserved) = (Requests::new(), Requests::new());
        let mut ids = BTreeSet::new();
        for item in items {
            let Some(key) = self.key(&item.hash).map(|key| key.id) else {
                continue;
            };
            match &item.change {
                // A charge that cannot be made is rejected later.
                Change::Record(charge) => {
                    if let Ok(charge) = charge(now) {
                        named
                            .entry(key)
                            .or_default()
                            .insert(charge.request_id.to_string());
                    }
                }
                Change::Reserve(reservation, _) => {
                    let request = reservation(now).request_id.to_string();
                    named.entry(key).or_default().insert(request.clone());
                    reserved.entry(key).or_default().insert(request);
                }
                Change::Settle(id, _) | Change::Release(id, _) => {
                    ids.insert(id.as_uuid());
                }
            }
        }
        for row in reservation::find_all(self.txn, &ids, &reserved).await? {
            if self.keys.contains_key(&row.key_id) {
                named
                    .entry(row.key_id)
                    .or_default()
                    .insert(row.request_id.clone());
                self.add_reservation(row);
            }
        }
        for row in charge::find_all(self.txn, &named).await? {
            self.charges
                .insert((row.key_id, row.request_id.clone()), row);
        }
        Ok(())
    }

    /// Applies a change to a locked key. A change that is rejected has no effect.
    pub(super) async fn apply(
        &mut self,
        key: Uuid,
        change: &Change,
        now: Timestamp,
    ) -> Result<Outcome, Failure> {
        match change {
            Change::Record(charge) => {
                let charge = charge(now)?;
                let recorded = self.record(key, &charge).await?;
                Ok(Outcome::Recorded(recorded))
            }
            Change::Reserve(reservation, admit) => {
                let reserved = self.reserve(key, reservation(now), admit).await?;
                Ok(Outcome::Reserved(reserved))
            }
            Change::Settle(id, charge) => {
                let found = self.reservation_of(key, *id)?;
                let charge = charge(&found.reservation, now);
                let recorded = self.settle(key, *id, found, &charge).await?;
                Ok(Outcome::Recorded(recorded))
            }
            Change::Release(id, by) => {
                let found = self.reservation_of(key, *id)?;
                match found.state {
                    State::Held => self.end(*id, reservation::RELEASED, now, by, None),
                    State::Released => {}
                    State::Settled(_) => {
                        return Err(Error::ReservationEnded(Ending::Settled).into());
                    }
                }
                Ok(Outcome::Released)
            }
        }
    }

    async fn record(&mut self, key: Uuid, charge: &Charge) -> Result<Recorded, Failure> {
        self.read_accounts(charge.recorded_at).await?;
        let duplicate = self.append_once(key, charge)?;
        let metered = self.metered(key)?;
        Ok(Recorded { duplicate, metered })
    }

    /// Makes a reservation, or returns the same one under its request id.
    async fn reserve(
        &mut self,
        key: Uuid,
        reservation: Reservation,
        admit: impl Fn(&MeteredKey, &Reservation) -> Result<(), Error>,
    ) -> Result<Reserved, Failure> {
        self.read_accounts(reservation.created_at).await?;
        let request = (key, reservation.request_id.to_string());
        if let Some(id) = self.reserved.get(&request) {
            let earlier = self.reservation_of(key, ReservationId::from_uuid(*id))?;
            let reservation = earlier.again(&reservation)?;
            let metered = self.metered(key)?;
            return Ok(Reserved {
                reservation,
                metered,
            });
        }
        if self.charges.contains_key(&request) {
            let earlier = "a charge";
            return Err(Error::RequestIdConflict { earlier }.into());
        }
        let mut metered = self.metered(key)?;
        admit(&metered, &reservation)?;
        let row = reservation::row(key, &reservation);
        self.unwritten.reservations.push(row.id);
        self.add_reservation(row);
        if reservation.expires_at > reservation.created_at {
            metered.account.hold(reservation.amount, reservation.byok);
            self.accounts.insert(key, metered.clone());
        }
        Ok(Reserved {
            reservation,
            metered,
        })
    }

    async fn settle(
        &mut self,
        key: Uuid,
        id: ReservationId,
        found: Stored,
        charge: &Charge,
    ) -> Result<Recorded, Failure> {
        check_settlement(&found.reservation, charge)?;
        self.read_accounts(charge.recorded_at).await?;
        let duplicate = match found.state {
            State::Released => return Err(Error::ReservationEnded(Ending::Released).into()),
            State::Settled(cost) if cost == charge.amount => true,
            State::Settled(_) => return Err(charge::of_another_cost().into()),
            State::Held => {
                let duplicate = self.append_once(key, charge)?;
                let cost = Some(charge.amount.get());
                let (at, by) = (charge.recorded_at, &charge.recorded_by);
                self.end(id, reservation::SETTLED, at, by, cost);
                duplicate
            }
        };
        let metered = self.metered(key)?;
        Ok(Recorded { duplicate, metered })
    }

    /// Appends a charge, unless the same charge exists. Returns true if it existed.
    fn append_once(&mut self, key: Uuid, charge: &Charge) -> Result<bool, Failure> {
        let request = (key, charge.request_id.to_string());
        if let Some(earlier) = self.charges.get(&request) {
            charge::check_same(earlier, charge)?;
            return Ok(true);
        }
        let row = self.keys.get_mut(&key).ok_or_else(unknown_key)?;
        // First, because it rejects a sum that would overflow; no sum per day is greater.
        charge::add_to_key(row, charge)?;
        if let Some(metered) = self.accounts.get_mut(&key) {
            metered.key.last_used_at = row.last_used_at.map(Timestamp::from_unix_millis);
            let at = self.accounts_at.unwrap_or(charge.recorded_at);
            let account = &mut metered.account;
            account.spend(charge.amount, charge.byok, charge.occurred_at, at);
        }
        let amount = charge.amount.get();
        let day = Day::of(charge.occurred_at).number();
        let sums = self.unwritten.days.entry((key, day)).or_default();
        let sum = if charge.byok {
            &mut sums.1
        } else {
            &mut sums.0
        };
        *sum = sum.saturating_add(amount);
        self.unwritten.keys.insert(key);
        let row = charge::row(key, charge);
        self.unwritten.charges.push(row.clone());
        self.charges.insert(request, row);
        Ok(false)
    }

    /// Ends an open reservation.
    fn end(
        &mut self,
        id: ReservationId,
        state: &str,
        at: Timestamp,
        by: &str,
        settled_nanos: Option<i64>,
    ) {
        let id = id.as_uuid();
        let Some(row) = self.reservations.get_mut(&id) else {
            return;
        };
        let is_counted = self
            .accounts_at
            .is_some_and(|moment| row.expires_at > moment.unix_millis());
        if is_counted
            && let Some(metered) = self.accounts.get_mut(&row.key_id)
            && let Some(amount) = Nanos::new(row.amount_nanos)
        {
            metered.account.end_hold(amount, row.byok);
        }
        row.state = state.to_owned();
        row.ended_at = Some(at.unix_millis());
        row.ended_by = Some(by.to_owned());
        row.settled_nanos = settled_nanos;
        self.unwritten.ended.insert(id);
    }

    fn add_reservation(&mut self, row: entity::reservation::Model) {
        self.reserved
            .insert((row.key_id, row.request_id.clone()), row.id);
        self.reservations.insert(row.id, row);
    }

    /// Returns a reservation of this key. It may have been rolled up since it was located.
    fn reservation_of(&self, key: Uuid, id: ReservationId) -> Result<Stored, Failure> {
        let found = self.reservations.get(&id.as_uuid());
        let found = found.filter(|row| row.key_id == key);
        let found = found.ok_or(Error::NotFound(Noun::Reservation))?;
        reservation::from_row(found.clone())
    }

    /// Returns a key with its account at the time of the last decision.
    fn metered(&self, key: Uuid) -> Result<MeteredKey, Error> {
        self.accounts.get(&key).cloned().ok_or_else(unknown_key)
    }

    /// Reads the accounts at a time, which is the same for all changes of a batch, unless the caller of the store chose
    /// another one. The rows of the changes before it are written first.
    async fn read_accounts(&mut self, at: Timestamp) -> Result<(), Failure> {
        if self.accounts_at == Some(at) {
            return Ok(());
        }
        self.write().await?;
        let ids: Vec<Uuid> = self.keys.keys().copied().collect();
        let found = metered_by_id(self.txn, ids, at).await?;
        self.accounts = found
            .into_iter()
            .map(|metered| (metered.key.id.as_uuid(), metered))
            .collect();
        self.accounts_at = Some(at);
        Ok(())
    }

    /// Writes the rows of the changes that were applied.
    pub(super) async fn write(&mut self) -> Result<(), Failure> {
        let unwritten = std::mem::take(&mut self.unwritten);
        rows::insert(self.txn, unwritten.charges).await?;
        charge::add_to_days(self.txn, unwritten.days).await?;
        let keys = unwritten.keys.iter().filter_map(|id| self.keys.get(id));
        charge::write_sums(self.txn, &keys.collect::<Vec<_>>()).await?;
        let row = |id: &Uuid| self.reservations.get(id).cloned();
        let new: BTreeSet<Uuid> = unwritten.reservations.iter().copied().collect();
        let reserved = unwritten.reservations.iter().filter_map(row).collect();
        rows::insert(self.txn, reserved).await?;
        let ended = unwritten.ended.difference(&new).filter_map(row);
        reservation::write_ends(self.txn, &ended.collect::<Vec<_>>()).await
    }
}

fn unknown_key() -> Error {
    Error::internal("a key that was locked is gone")
}

/// Checks that the charge has the reservation's request id and its side of the account.
fn check_settlement(reservation: &Reservation, charge: &Charge) -> Result<(), Error> {
    let named: (&RequestId, bool) = (&reservation.request_id, reservation.byok);
    if named == (&charge.request_id, charge.byok) {
        Ok(())
    } else {
        Err(Error::internal(
            "a reservation was to become another one's charge",
        ))
    }
}
