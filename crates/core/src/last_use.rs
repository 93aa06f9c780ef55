//! When a key was last used, which is written down seldom.

use std::time::Duration;

use crate::clock::Timestamp;

/// How far a key's `last_used_at` may be off, and so how long passes at least between two writes of
/// it.
pub const LAG: Duration = Duration::from_secs(60);

/// The moments at which a noted use is as good as this one: from so long before it that the note still
/// is right to within [`LAG`], to as long after it, since replicas' clocks differ.
#[must_use]
pub fn window(used_at: Timestamp) -> (Timestamp, Timestamp) {
    let within = LAG.saturating_sub(Duration::from_millis(1));
    (used_at.minus(within), used_at.plus(within))
}

/// Whether a use is to be noted beside what is noted: it is later, or the note lies in the future,
/// from a clock that was ahead.
#[must_use]
pub fn notes(noted: Option<Timestamp>, used_at: Timestamp) -> bool {
    let (from, to) = window(used_at);
    noted.is_none_or(|noted| !(from..=to).contains(&noted))
}
