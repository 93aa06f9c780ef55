//! Time of a key's last use, which is written only rarely.

use std::time::Duration;

use crate::model::clock::Timestamp;

/// Maximum error of a key's `last_used_at`, and thus the minimum time between two writes of it.
pub const LAG: Duration = Duration::from_secs(60);

/// Returns the range of stored times that make storing this use unnecessary. It begins where the stored time
/// is still accurate to [`LAG`] and extends as far into the future, since the clocks of replicas differ.
#[must_use]
pub fn window(used_at: Timestamp) -> (Timestamp, Timestamp) {
    let within = LAG.saturating_sub(Duration::from_millis(1));
    (used_at.minus(within), used_at.plus(within))
}

/// Returns true if a use must be stored: it is later than the stored time, or the stored time is in the
/// future, from a clock that was ahead.
#[must_use]
pub fn must_record(recorded: Option<Timestamp>, used_at: Timestamp) -> bool {
    let (from, to) = window(used_at);
    recorded.is_none_or(|recorded| !(from..=to).contains(&recorded))
}
