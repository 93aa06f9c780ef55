//! Charges and reservations.

use std::time::Duration;

use keyward_core::Error;
use keyward_core::account;
use keyward_core::id::RequestId;
use keyward_core::ledger::{NewReservation, Recorded, Reserved};
use keyward_core::money::Nanos;

use super::issued_key::remaining_to_proto;
use super::{id_from_proto, timestamp_to_proto};
use crate::api::proto::v1;

pub(crate) fn request_id_from_proto(text: String) -> Result<RequestId, Error> {
    id_from_proto(RequestId::parse, "requestId", "Request ID", text)
}

pub(crate) fn cost_from_proto(nanos: i64) -> Result<Nanos, Error> {
    Nanos::parse_amount("costNanos", "Cost", nanos)
}

pub(crate) fn reservation_from_proto(
    message: v1::ReserveSpendRequest,
) -> Result<NewReservation, Error> {
    Ok(NewReservation {
        amount: Nanos::parse_amount("amountNanos", "Amount", message.amount_nanos)?,
        byok: message.byok,
        request_id: request_id_from_proto(message.request_id)?,
        ttl: message.ttl.map(ttl_from_proto).transpose()?,
    })
}

/// Parses the TTL of a reservation. Prost's own conversion overflows on extreme seconds.
fn ttl_from_proto(ttl: prost_types::Duration) -> Result<Duration, Error> {
    let negative = |_| Error::invalid("ttl", "TTL must not be negative");
    let seconds = u64::try_from(ttl.seconds).map_err(negative)?;
    let nanos = u32::try_from(ttl.nanos).map_err(negative)?;
    Ok(Duration::new(seconds, nanos))
}

pub(crate) fn recorded_to_proto(recorded: &Recorded) -> v1::RecordUsageResponse {
    v1::RecordUsageResponse {
        duplicate: recorded.duplicate,
        limit_remaining_nanos: remaining_to_proto(&recorded.metered),
    }
}

pub(crate) fn settled_to_proto(recorded: &Recorded) -> v1::SettleSpendResponse {
    v1::SettleSpendResponse {
        duplicate: recorded.duplicate,
        limit_remaining_nanos: remaining_to_proto(&recorded.metered),
    }
}

pub(crate) fn reserved_to_proto(reserved: &Reserved) -> v1::ReserveSpendResponse {
    v1::ReserveSpendResponse {
        reservation_id: reserved.reservation.id.to_string(),
        expires_at: Some(timestamp_to_proto(reserved.reservation.expires_at)),
        limit_remaining_nanos: remaining_to_proto(&reserved.metered),
        available_nanos: account::available(&reserved.metered).map(Nanos::get),
    }
}
