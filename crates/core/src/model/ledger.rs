//! The ledger: charges of issued keys, and reservations for spending that is about to happen.
//!
//! One transaction appends a charge and updates the key's counters. The counters are one sum per day and one
//! sum over all days. The cost of reading a window therefore does not depend on the number of charges, and a
//! late charge counts in the windows of its own time.

use std::time::Duration;

use crate::model::account::MeteredKey;
use crate::model::clock::Timestamp;
use crate::model::id::{RequestId, ReservationId};
use crate::model::money::Nanos;

/// A charge against a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Identifies the charge within its key.
    pub request_id: RequestId,
    /// The cost.
    pub amount: Nanos,
    /// True if it was spent through the customer's own provider key.
    pub byok: bool,
    /// Time of the spending; determines the windows in which it counts.
    pub occurred_at: Timestamp,
    /// Time at which it was recorded.
    pub recorded_at: Timestamp,
    /// Service that recorded it.
    pub recorded_by: String,
}

/// Result of recording a charge.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// True if the charge had been recorded before.
    pub duplicate: bool,
    /// The key after the charge.
    pub metered: MeteredKey,
}

/// A reservation against a key's limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Identifies the reservation.
    pub id: ReservationId,
    /// Identifies the reservation, and the charge that it becomes, within its key.
    pub request_id: RequestId,
    /// Reserved amount.
    pub amount: Nanos,
    /// True if it will be spent through the customer's own provider key.
    pub byok: bool,
    /// Creation time.
    pub created_at: Timestamp,
    /// Time at which it expires.
    pub expires_at: Timestamp,
    /// Service that made it.
    pub reserved_by: String,
}

/// A reservation to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReservation {
    /// Identifies the reservation, and the charge that it becomes, within its key.
    pub request_id: RequestId,
    /// Amount to reserve.
    pub amount: Nanos,
    /// True if it will be spent through the customer's own provider key.
    pub byok: bool,
    /// Maximum lifetime of the reservation.
    pub ttl: Option<Duration>,
}

/// A reservation that was made or already existed.
#[derive(Debug, Clone)]
pub struct Reserved {
    /// The reservation.
    pub reservation: Reservation,
    /// The key after the reservation.
    pub metered: MeteredKey,
}

/// Rows that a roll-up deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RolledUp {
    /// Number of charges; their sums remain.
    pub charges: u64,
    /// Number of reservations.
    pub reservations: u64,
}
