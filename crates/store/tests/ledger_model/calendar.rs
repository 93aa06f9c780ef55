//! Days and windows, computed by another method than in the code under test.

use keyward_core::window::LimitReset;
use time::{Date, Month, UtcDateTime, Weekday};

/// Midnights at which windows begin or end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Midnight {
    Any,
    Monday,
    FirstOfMonth,
    NewYear,
    /// End of February 28th, in leap years and others.
    After28February,
    /// End of a leap day.
    After29February,
}

impl Midnight {
    /// Returns true if the day begins with such a midnight.
    pub(crate) fn begins(self, day: Date) -> bool {
        let before = day.previous_day().unwrap();
        let february = before.month() == Month::February;
        match self {
            Self::Any => true,
            Self::Monday => day.weekday() == Weekday::Monday,
            Self::FirstOfMonth => day.day() == 1,
            Self::NewYear => day.ordinal() == 1,
            Self::After28February => february && before.day() == 28,
            Self::After29February => february && before.day() == 29,
        }
    }
}

/// Returns the date of a time in milliseconds since 1970.
pub(crate) fn date(millis: i64) -> Date {
    let nanos = i128::from(millis) * 1_000_000;
    UtcDateTime::from_unix_timestamp_nanos(nanos)
        .unwrap()
        .date()
}

/// Returns the time at which a day begins.
pub(crate) fn midnight(date: Date) -> i64 {
    let start = date.midnight().assume_utc().unix_timestamp();
    start * 1000
}

/// Returns the number of days since 1970.
pub(crate) fn day_number(millis: i64) -> i64 {
    let epoch = Date::from_calendar_date(1970, Month::January, 1).unwrap();
    (date(millis) - epoch).whole_days()
}

/// Returns true if two days are in the same window.
pub(crate) fn same(reset: LimitReset, one: Date, other: Date) -> bool {
    match reset {
        LimitReset::Daily => one == other,
        LimitReset::Weekly => {
            let week = |date: Date| {
                let (year, week, _) = date.to_iso_week_date();
                (year, week)
            };
            week(one) == week(other)
        }
        LimitReset::Monthly => (one.year(), one.month()) == (other.year(), other.month()),
    }
}

pub(crate) fn days_after(day: Date) -> impl Iterator<Item = Date> {
    std::iter::successors(day.next_day(), |day| day.next_day())
}

/// Returns the first midnight of a kind after a time.
pub(crate) fn next_midnight(now: i64, kind: Midnight) -> i64 {
    let mut days = days_after(date(now));
    midnight(days.find(|day| kind.begins(*day)).unwrap())
}
