//! The ledger: what issued keys have spent, and what is held for what they are about to spend.
//!
//! A charge is appended and moves the key's counters in one transaction. Counters are sums by day
//! and one sum of all days, so that reading a window costs the same whatever the number of charges,
//! and a late charge counts in the windows of its own time.

mod use_cases;

pub use use_cases::Ledger;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{RequestId, ReservationId};
use crate::limit::MeteredKey;
use crate::money::Nanos;

/// How far the caller's clock may be ahead of ours where it says when it spent.
pub const MAX_AHEAD: Duration = Duration::from_secs(5 * 60);

/// How the ledger is run.
#[derive(Debug, Clone, Copy)]
pub struct LedgerSettings {
    /// How long a reservation lasts when its caller does not say.
    pub default_reservation_ttl: Duration,
    /// How long a reservation lasts at most.
    pub max_reservation_ttl: Duration,
    /// How long single charges are kept before only their sums are; `None` keeps them for good.
    pub charge_retention: Option<Duration>,
}

/// One cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Names the charge among those of its key.
    pub request_id: RequestId,
    /// The cost.
    pub amount: Nanos,
    /// Whether it was spent through the customer's own provider key.
    pub byok: bool,
    /// When it was spent, which says in which windows it counts.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Which service recorded it.
    pub recorded_by: String,
}

/// What became of a charge.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Whether it had been recorded before.
    pub duplicate: bool,
    /// The key afterwards.
    pub metered: MeteredKey,
}

/// A hold against a key's limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Names the reservation.
    pub id: ReservationId,
    /// Names it among those of its key, and the charge that it becomes.
    pub request_id: RequestId,
    /// How much is held.
    pub amount: Nanos,
    /// Whether it will be spent through the customer's own provider key.
    pub byok: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Which service made it.
    pub reserved_by: String,
}

/// A hold to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReservation {
    /// Names it among those of its key, and the charge that it becomes.
    pub request_id: RequestId,
    /// How much to hold.
    pub amount: Nanos,
    /// Whether it will be spent through the customer's own provider key.
    pub byok: bool,
    /// How long to hold it at most.
    pub ttl: Option<Duration>,
}

/// A reservation that was made, or was there already.
#[derive(Debug, Clone)]
pub struct Reserved {
    /// The reservation.
    pub reservation: Reservation,
    /// The key afterwards.
    pub metered: MeteredKey,
}

/// What a roll-up dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RolledUp {
    /// How many charges, whose sums stay.
    pub charges: u64,
    /// How many reservations.
    pub reservations: u64,
}

/// How a reservation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It became a charge.
    Settled,
    /// It was given back.
    Released,
    /// Its time was up.
    Expired,
}

impl Ending {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}
