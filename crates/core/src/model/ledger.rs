//! The ledger: charges of issued keys, and reservations for spending that is about to happen.
//!
//! One transaction appends a charge and updates the key's counters. The counters are one sum per day and one
//! sum over all days. The cost of reading a window therefore does not depend on the number of charges, and a
//! late charge counts in the windows of its own time.

pub use crate::services::ledger::Ledger;

use std::time::Duration;

use crate::model::clock::Timestamp;
use crate::model::id::{RequestId, ReservationId};
use crate::model::limit::MeteredKey;
use crate::model::money::Nanos;

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

/// End of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Settled: it became a charge.
    Settled,
    /// Released by a caller.
    Released,
    /// Expired.
    Expired,
}

impl Ending {
    /// Returns the name used in error messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}
