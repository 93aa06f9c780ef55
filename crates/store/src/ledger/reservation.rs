//! Reservations: creation, settlement and release.

use keyward_core::clock::Timestamp;
use keyward_core::id::{RequestId, ReservationId};
use keyward_core::ledger::{Charge, Reservation};
use keyward_core::money::Nanos;
use keyward_core::{Ending, Error};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::sea_query::Query;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait,
    QueryFilter, QuerySelect, Select,
};
use uuid::Uuid;

use super::charge::conflict;
use crate::entity::issued_key;
use crate::entity::reservation::{ActiveModel, Column, Entity, HELD, Model};
use crate::error::Failure;
use crate::instrumented::Txn;
use crate::issued_key::nanos;

const SETTLED: &str = "settled";
const RELEASED: &str = "released";

/// A reservation as it is stored.
pub(super) struct Stored {
    pub(super) reservation: Reservation,
    pub(super) state: State,
}

/// State of a reservation. Expiry is not stored; it follows from the expiry time.
pub(super) enum State {
    Held,
    /// Settled with this cost.
    Settled(Nanos),
    Released,
}

impl Stored {
    /// Returns the reservation if the new one under its request id is the same and the stored one is still open.
    pub(super) fn again(self, new: &Reservation) -> Result<Reservation, Error> {
        let Self { reservation, state } = self;
        if reservation.amount != new.amount {
            let earlier = "a reservation of another amount";
            return Err(Error::RequestIdConflict { earlier });
        }
        if reservation.byok != new.byok {
            let earlier = if reservation.byok {
                "a BYOK reservation"
            } else {
                "a reservation that was not BYOK"
            };
            return Err(Error::RequestIdConflict { earlier });
        }
        match state {
            State::Held if reservation.expires_at > new.created_at => Ok(reservation),
            State::Held => Err(Error::ReservationEnded(Ending::Expired)),
            State::Settled(_) => Err(Error::ReservationEnded(Ending::Settled)),
            State::Released => Err(Error::ReservationEnded(Ending::Released)),
        }
    }
}

/// Selects the key of a reservation.
pub(super) fn key_of(id: ReservationId) -> Select<issued_key::Entity> {
    let key = Query::select()
        .column(Column::KeyId)
        .from(Entity)
        .and_where(Column::Id.eq(id.as_uuid()))
        .to_owned();
    issued_key::Entity::find().filter(issued_key::Column::Id.in_subquery(key))
}

pub(super) async fn find(
    txn: &Txn,
    key: Uuid,
    request_id: &RequestId,
) -> Result<Option<Stored>, Failure> {
    let found = Entity::find()
        .filter(Column::KeyId.eq(key))
        .filter(Column::RequestId.eq(request_id.as_str()))
        .one(txn)
        .await?;
    found.map(from_row).transpose()
}

/// Locks a reservation whose key is locked. Only a roll-up does not lock the key, and waits for this lock.
pub(super) async fn lock(txn: &Txn, id: ReservationId) -> Result<Option<Stored>, Failure> {
    let found = Entity::find_by_id(id.as_uuid())
        .lock_exclusive()
        .one(txn)
        .await?;
    found.map(from_row).transpose()
}

pub(super) async fn insert(txn: &Txn, key: Uuid, reservation: &Reservation) -> Result<(), Failure> {
    let row = Model {
        id: reservation.id.as_uuid(),
        key_id: key,
        request_id: reservation.request_id.to_string(),
        amount_nanos: reservation.amount.get(),
        byok: reservation.byok,
        created_at: reservation.created_at.unix_millis(),
        expires_at: reservation.expires_at.unix_millis(),
        reserved_by: reservation.reserved_by.clone(),
        state: HELD.to_owned(),
        ended_at: None,
        ended_by: None,
        settled_nanos: None,
    };
    Entity::insert(row.into_active_model().reset_all())
        .exec_without_returning(txn)
        .await
        .map_err(conflict)?;
    Ok(())
}

pub(super) async fn settle(txn: &Txn, id: ReservationId, charge: &Charge) -> Result<(), Failure> {
    let settled = ActiveModel {
        settled_nanos: Set(Some(charge.amount.get())),
        ..ended(id, SETTLED, charge.recorded_at, &charge.recorded_by)
    };
    Entity::update(settled).exec_without_returning(txn).await?;
    Ok(())
}

pub(super) async fn release(
    txn: &Txn,
    id: ReservationId,
    now: Timestamp,
    by: &str,
) -> Result<(), Failure> {
    let released = ended(id, RELEASED, now, by);
    Entity::update(released).exec_without_returning(txn).await?;
    Ok(())
}

fn ended(id: ReservationId, state: &str, at: Timestamp, by: &str) -> ActiveModel {
    ActiveModel {
        id: Unchanged(id.as_uuid()),
        state: Set(state.to_owned()),
        ended_at: Set(Some(at.unix_millis())),
        ended_by: Set(Some(by.to_owned())),
        ..Default::default()
    }
}

/// Returns the number of open reservations. The index on the expiry skips expired reservations.
pub(super) async fn count_held<C: ConnectionTrait>(db: &C, now: Timestamp) -> Result<u64, Failure> {
    let held = Entity::find()
        .filter(Column::State.eq(HELD))
        .filter(Column::ExpiresAt.gt(now.unix_millis()))
        .count(db)
        .await?;
    Ok(held)
}

fn from_row(row: Model) -> Result<Stored, Failure> {
    let state = match (row.state.as_str(), row.settled_nanos) {
        (HELD, None) => State::Held,
        (RELEASED, None) => State::Released,
        (SETTLED, Some(cost)) => State::Settled(nanos(cost)?),
        _ => return Err(Error::internal("a stored reservation is in no state").into()),
    };
    let reservation = Reservation {
        id: ReservationId::from_uuid(row.id),
        request_id: RequestId::parse(row.request_id).map_err(Error::internal)?,
        amount: nanos(row.amount_nanos)?,
        byok: row.byok,
        created_at: Timestamp::from_unix_millis(row.created_at),
        expires_at: Timestamp::from_unix_millis(row.expires_at),
        reserved_by: row.reserved_by,
    };
    Ok(Stored { reservation, state })
}
