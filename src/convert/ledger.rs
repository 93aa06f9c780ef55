//! Charges and reservations.

use std::time::Duration;

use keyward_core::Error;
use keyward_core::account;
use keyward_core::id::RequestId;
use keyward_core::ledger::{NewReservation, Recorded, Reserved};
use keyward_core::money::Nanos;

use super::issued_key::remaining;
use super::{id, timestamp};
use crate::proto::v1::{
    RecordUsageResponse, ReserveSpendRequest, ReserveSpendResponse, SettleSpendResponse,
};

pub(crate) fn request_id(text: String) -> Result<RequestId, Error> {
    id(RequestId::parse, "requestId", "Request ID", text)
}

pub(crate) fn cost(nanos: i64) -> Result<Nanos, Error> {
    Nanos::parse_amount("costNanos", "Cost", nanos)
}

pub(crate) fn new_reservation(message: ReserveSpendRequest) -> Result<NewReservation, Error> {
    Ok(NewReservation {
        amount: Nanos::parse_amount("amountNanos", "Amount", message.amount_nanos)?,
        byok: message.byok,
        request_id: request_id(message.request_id)?,
        ttl: message.ttl.map(ttl).transpose()?,
    })
}

/// Parses the TTL of a reservation. Prost's own conversion overflows on extreme seconds.
fn ttl(ttl: prost_types::Duration) -> Result<Duration, Error> {
    let negative = |_| Error::invalid("ttl", "TTL must not be negative");
    let seconds = u64::try_from(ttl.seconds).map_err(negative)?;
    let nanos = u32::try_from(ttl.nanos).map_err(negative)?;
    Ok(Duration::new(seconds, nanos))
}

pub(crate) fn recorded(recorded: &Recorded) -> RecordUsageResponse {
    RecordUsageResponse {
        duplicate: recorded.duplicate,
        limit_remaining_nanos: remaining(&recorded.metered),
    }
}

pub(crate) fn settled(recorded: &Recorded) -> SettleSpendResponse {
    SettleSpendResponse {
        duplicate: recorded.duplicate,
        limit_remaining_nanos: remaining(&recorded.metered),
    }
}

pub(crate) fn reserved(reserved: &Reserved) -> ReserveSpendResponse {
    ReserveSpendResponse {
        reservation_id: reserved.reservation.id.to_string(),
        expires_at: Some(timestamp(reserved.reservation.expires_at)),
        limit_remaining_nanos: remaining(&reserved.metered),
        available_nanos: account::available(&reserved.metered).map(Nanos::get),
    }
}
