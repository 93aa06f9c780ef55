//! Reservations: creation, settlement and release.

use std::collections::{BTreeMap, BTreeSet};

use keyward_core::clock::Timestamp;
use keyward_core::id::{RequestId, ReservationId};
use keyward_core::ledger::Reservation;
use keyward_core::money::Nanos;
use keyward_core::{Ending, Error};
use sea_orm::sea_query::{Expr, IntoCondition, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};
use uuid::Uuid;

use super::rows::{self, CHUNK, Requests, by_id};
use crate::entity::issued_key;
use crate::entity::reservation::{Column, Entity, HELD, Model};
use crate::error::Failure;
use crate::instrumented::Txn;
use crate::issued_key::nanos;

pub(super) const SETTLED: &str = "settled";
pub(super) const RELEASED: &str = "released";

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

/// Returns the reservations with these ids and those under these request ids, and locks them. Their keys are locked, so
/// only a roll-up, which does not lock keys, may wait for this lock.
pub(super) async fn find_all(
    txn: &Txn,
    ids: &BTreeSet<Uuid>,
    requests: &Requests,
) -> Result<Vec<Model>, Failure> {
    let mut found = Vec::new();
    if !ids.is_empty() {
        let named = Column::Id.is_in(ids.iter().copied());
        found.extend(select(named.into_condition()).all(txn).await?);
    }
    for named in rows::named(requests, Column::KeyId, Column::RequestId) {
        found.extend(select(named).all(txn).await?);
    }
    Ok(found)
}

fn select(named: Condition) -> Select<Entity> {
    Entity::find()
        .filter(named)
        .order_by_asc(Column::Id)
        .lock_exclusive()
}

/// Returns the row of a new reservation.
pub(super) fn row(key: Uuid, reservation: &Reservation) -> Model {
    Model {
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
    }
}

/// Writes the ends of reservations. Those of one state, time and service are one statement.
pub(super) async fn write_ends(txn: &Txn, rows: &[Model]) -> Result<(), Failure> {
    let mut ends: BTreeMap<_, Vec<&Model>> = BTreeMap::new();
    for row in rows {
        let end = (row.state.as_str(), row.ended_at, row.ended_by.as_deref());
        ends.entry(end).or_default().push(row);
    }
    for ((state, at, by), rows) in ends {
        for rows in rows.chunks(CHUNK) {
            let cost = rows.iter().map(|row| (row.id, row.settled_nanos));
            Entity::update_many()
                .col_expr(Column::State, Expr::value(state))
                .col_expr(Column::EndedAt, Expr::value(at))
                .col_expr(Column::EndedBy, Expr::value(by))
                .col_expr(
                    Column::SettledNanos,
                    by_id(Column::Id, Column::SettledNanos, cost),
                )
                .filter(Column::Id.is_in(rows.iter().map(|row| row.id)))
                .exec(txn)
                .await?;
        }
    }
    Ok(())
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

pub(super) fn from_row(row: Model) -> Result<Stored, Failure> {
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
