//! Bounds of retention. The clock alone never causes a deletion: a newer row must confirm the time.

use std::time::Duration;

use crate::model::clock::Timestamp;

/// Maximum span of stored time that one run deletes. A wrong clock, and rows that were written by it, thus
/// cost a day of the oldest rows each hour and not all rows at once.
pub const MAX_STEP: Duration = Duration::from_secs(24 * 60 * 60);

/// Times of the oldest and the newest row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Time of the oldest row.
    pub oldest: Timestamp,
    /// Time of the newest row.
    pub newest: Timestamp,
}

impl Extent {
    /// Returns the time before which rows are past their retention in this run: according to the clock and
    /// also to the newest row, and at most [`MAX_STEP`] after the oldest row.
    #[must_use]
    pub fn cutoff(self, now: Timestamp, retention: Duration) -> Timestamp {
        let by_rows = now.min(self.newest).minus(retention);
        by_rows.min(self.oldest.plus(MAX_STEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60 * 1000;

    fn day(number: i64) -> Timestamp {
        Timestamp::from_unix_millis(number * DAY)
    }

    fn cutoff(now: i64, oldest: i64, newest: i64) -> Timestamp {
        let (oldest, newest) = (day(oldest), day(newest));
        let retention = Duration::from_secs(90 * 24 * 60 * 60);
        Extent { oldest, newest }.cutoff(day(now), retention)
    }

    #[test]
    fn cutoff_is_bounded_by_clock_rows_and_step() {
        // A correct clock, and a clock that is 400 days ahead of every row.
        assert_eq!(cutoff(1000, 909, 1000), day(910));
        assert_eq!(cutoff(1400, 909, 1000), day(910));
        // A row that was written with such a clock, read with a correct clock and with a wrong one.
        assert_eq!(cutoff(1000, 909, 1400), day(910));
        assert_eq!(cutoff(1400, 911, 1400), day(912));
        // A clock that is behind.
        assert_eq!(cutoff(500, 909, 1000), day(410));
        // A backlog is deleted day by day.
        assert_eq!(cutoff(1000, 100, 1000), day(101));
    }
}
