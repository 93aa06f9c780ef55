//! Bounds of retention. Each run deletes the rows before a cutoff, which the store keeps between the runs. The cutoff
//! advances in proportion to the time that has passed since the last run, so that neither a wrong clock nor rows that
//! were written by it, neither restarts nor further replicas, delete much at once.

use std::time::Duration;

use crate::model::clock::Timestamp;

/// Span of stored time by which the cutoff advances in each unit of passed time: a day an hour.
const PACE: u32 = 24;
/// Maximum passed time that one run counts.
pub const MAX_PASSED: Duration = Duration::from_secs(60 * 60);

/// A run of retention over one kind of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Time for which rows are kept.
    pub kept_for: Duration,
    /// Time since the last run of this process, by a monotonic clock; zero in its first run.
    pub passed: Duration,
}

/// Times of the oldest and the newest row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Time of the oldest row.
    pub oldest: Timestamp,
    /// Time of the newest row.
    pub newest: Timestamp,
}

/// Last run of any process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRun {
    /// Time up to which rows may be deleted.
    pub cutoff: Timestamp,
    /// Time of the run.
    pub at: Timestamp,
}

impl Retention {
    /// Returns the time before which rows are deleted now, and the values to store for the next run.
    ///
    /// A row is deleted only if it is past its retention by the clock and also by the newest row. The cutoff
    /// advances by at most a day for each hour that has passed since the last run, by the clock and also by the
    /// process's monotonic clock. It thus stays where it is after a start, after a clock has gone back, and if
    /// another replica has just advanced it. It is never after the oldest row, which a wrong clock may have written,
    /// and never earlier than the retention before that row, so that a long time without rows is soon passed.
    #[must_use]
    pub fn advance(self, last: LastRun, rows: Extent, now: Timestamp) -> (Timestamp, LastRun) {
        let start = last
            .cutoff
            .min(rows.oldest)
            .max(rows.oldest.minus(self.kept_for));
        let passed = now.since(last.at).min(self.passed).min(MAX_PASSED);
        let before = now.min(rows.newest).minus(self.kept_for);
        let before = before.min(start.plus(passed * PACE));
        let run = LastRun {
            cutoff: before.max(start),
            at: now,
        };
        (before, run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn day(number: i64) -> Timestamp {
        Timestamp::from_unix_millis(number * 24 * 60 * 60 * 1000)
    }

    fn rows(oldest: i64, newest: i64) -> Extent {
        let (oldest, newest) = (day(oldest), day(newest));
        Extent { oldest, newest }
    }

    /// Returns the end of the rows that a run deletes, and the stored cutoff.
    fn run(
        (cutoff, hours_ago): (i64, u32),
        (oldest, newest): (i64, i64),
        now: i64,
        passed: Duration,
    ) -> (Timestamp, Timestamp) {
        let last = LastRun {
            cutoff: day(cutoff),
            at: day(now).minus(HOUR * hours_ago),
        };
        let kept_for = 90 * 24 * HOUR;
        let (before, run) =
            Retention { kept_for, passed }.advance(last, rows(oldest, newest), day(now));
        assert_eq!(run.at, day(now));
        (before, run.cutoff)
    }

    #[test]
    fn cutoff_follows_clock_and_newest_row() {
        // The day that is past its retention, and not a day more.
        let of_day = |newest, now| run((909, 24), (909, newest), now, HOUR);
        assert_eq!(of_day(1000, 1000), (day(910), day(910)));
        // A clock that is ahead of the newest row, and rows that are ahead of the clock.
        assert_eq!(of_day(999, 1000), (day(909), day(909)));
        assert_eq!(of_day(1400, 1000), (day(910), day(910)));
        // A clock that is behind: the cutoff stays.
        assert_eq!(of_day(1000, 500), (day(410), day(909)));
    }

    #[test]
    fn wrong_clock_advances_a_day_an_hour() {
        let hour_later = |passed| run((909, 1), (909, 1400), 1400, passed).0;
        assert_eq!(hour_later(HOUR), day(910));
        assert_eq!(hour_later(HOUR / 24), day(909).plus(HOUR));
        // Directly after a start.
        assert_eq!(hour_later(Duration::ZERO), day(909));
        // A process that was suspended, or whose runs failed.
        assert_eq!(run((909, 900), (909, 1400), 1400, 900 * HOUR).0, day(910));
        // Another replica has just run.
        assert_eq!(run((909, 0), (909, 1400), 1400, HOUR).0, day(909));
    }

    #[test]
    fn clock_that_has_gone_back_advances_nothing() {
        let last = LastRun {
            cutoff: day(910),
            at: day(1400),
        };
        let retention = Retention {
            kept_for: 90 * 24 * HOUR,
            passed: HOUR,
        };
        let (before, run) = retention.advance(last, rows(910, 1400), day(1001));
        assert_eq!((before, run.cutoff), (day(910), day(910)));
        // The next run counts from now.
        assert_eq!(run.at, day(1001));
    }

    #[test]
    fn cutoff_stays_near_the_oldest_row() {
        // A row of a clock that was far behind is deleted at once, and the rows after it are not.
        assert_eq!(run((909, 1), (0, 1000), 1000, HOUR), (day(1), day(1)));
        assert_eq!(run((1, 1), (909, 1000), 1000, HOUR).1, day(820));
        // A cutoff beyond every row protects them again.
        assert_eq!(run((1300, 1), (909, 1400), 1400, HOUR).0, day(910));
    }
}
