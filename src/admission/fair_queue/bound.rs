//! Maxima of owners and of their flows.

use keyward_throttle::{Owner, principal_share};

/// Seats that one flow of a service leaves to others, as a divisor of all seats.
const WHOLE_PER_REST: usize = 2;
/// Seats that one owner leaves to others, as a divisor of all seats.
const WHOLE_PER_OWNERS_REST: usize = 4;
/// Maximum number of begun calls of an organization, or of one flow of a service, as a multiple of the seats. Includes
/// calls that wait for others without a seat.
pub(super) const BEGUN_PER_SEAT: usize = 2;
/// Maximum number of waiting calls of an organization, or of one flow of a service; further ones are rejected.
pub(super) const MAX_WAITING: usize = 1000;

/// Hash of what distinguishes the flows of an owner, if anything does: the subject of a service's call, or the
/// principal of an organization.
pub(super) type Subject = Option<u64>;

/// Maxima of an owner, or of a flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) seats: usize,
    /// Calls that have begun.
    pub(super) begun: usize,
    /// Calls that wait.
    pub(super) waiting: usize,
}

impl Bound {
    /// Returns the maxima of all flows of an owner together.
    pub(super) fn of_owner(owner: &Owner, all: usize) -> Self {
        let (begun, waiting) = match owner {
            Owner::Service(_) => (usize::MAX, usize::MAX),
            Owner::Address(_) | Owner::Organization(_) => (all * BEGUN_PER_SEAT, MAX_WAITING),
        };
        let seats = rest(all, WHOLE_PER_OWNERS_REST);
        Self {
            seats,
            begun,
            waiting,
        }
    }

    /// Returns the maxima of one flow of an owner.
    pub(super) fn of_flow(owner: &Owner, subject: Subject, all: usize) -> Self {
        if subject.is_some() && !owner.is_service() {
            let whole = Self::of_owner(owner, all);
            return Self {
                seats: principal_share(whole.seats),
                begun: principal_share(whole.begun),
                waiting: principal_share(whole.waiting),
            };
        }
        Self {
            seats: rest(all, WHOLE_PER_REST),
            begun: all * BEGUN_PER_SEAT,
            waiting: MAX_WAITING,
        }
    }
}

/// Returns the seats without the part that is left to others. With a single seat, nothing is left.
fn rest(all: usize, whole_per_part: usize) -> usize {
    all.saturating_sub((all / whole_per_part).max(1)).max(1)
}
