//! Windows of usage: the day, the week from Monday and the calendar month, all in UTC.

use std::ops::Range;
use std::time::Duration;

use time::Date;

use crate::model::clock::Timestamp;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
const WEEK_DAYS: i64 = 7;
/// The Julian day of 1970-01-01.
const EPOCH_JULIAN_DAY: i64 = 2_440_588;

/// Reset period of a limit; resets happen at midnight UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitReset {
    /// Every day.
    Daily,
    /// Every Monday.
    Weekly,
    /// On the first day of every month.
    Monthly,
}

impl LimitReset {
    /// All resets.
    pub const ALL: [Self; 3] = [Self::Daily, Self::Weekly, Self::Monthly];

    /// Returns the name that is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// Returns the reset with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reset| reset.name() == name)
    }
}

/// A day in UTC, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// Returns the day that contains a time.
    #[must_use]
    pub const fn of(moment: Timestamp) -> Self {
        Self(moment.unix_millis().div_euclid(DAY_MILLIS))
    }

    /// Returns the day this number of days after 1970-01-01.
    #[must_use]
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// Returns the number of days since 1970-01-01.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }

    /// Returns the midnight at which the day starts.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.saturating_mul(DAY_MILLIS))
    }

    const fn plus(self, days: i64) -> Self {
        Self(self.0 + days)
    }
}

/// The windows that contain a given time, as half-open ranges of days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// The day.
    pub daily: Range<Day>,
    /// Monday to Sunday.
    pub weekly: Range<Day>,
    /// The calendar month.
    pub monthly: Range<Day>,
}

impl Windows {
    /// Returns the windows that contain a time.
    #[must_use]
    pub fn at(moment: Timestamp) -> Self {
        let today = Day::of(moment);
        let date = date(today);
        let monday = today.plus(-i64::from(date.weekday().number_days_from_monday()));
        let first = today.plus(1 - i64::from(date.day()));
        let month_days = date.month().length(date.year());
        Self {
            daily: today..today.plus(1),
            weekly: monday..monday.plus(WEEK_DAYS),
            monthly: first..first.plus(i64::from(month_days)),
        }
    }

    /// Returns the window at whose end a limit with this reset resets.
    #[must_use]
    pub fn of(&self, reset: LimitReset) -> &Range<Day> {
        match reset {
            LimitReset::Daily => &self.daily,
            LimitReset::Weekly => &self.weekly,
            LimitReset::Monthly => &self.monthly,
        }
    }

    /// Returns the time until a limit with this reset resets next.
    #[must_use]
    pub fn until_reset(moment: Timestamp, reset: LimitReset) -> Duration {
        let end = Self::at(moment).of(reset).end.start();
        let millis = end.unix_millis().saturating_sub(moment.unix_millis());
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

/// Returns the date of a day; saturates at the ends of the calendar.
fn date(day: Day) -> Date {
    let (first, last) = (Date::MIN.to_julian_day(), Date::MAX.to_julian_day());
    let julian = (day.0.saturating_add(EPOCH_JULIAN_DAY)).clamp(first.into(), last.into());
    let date = i32::try_from(julian).map(Date::from_julian_day);
    date.ok().and_then(Result::ok).unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]

    use time::format_description::well_known::Rfc3339;
    use time::{Month, OffsetDateTime};

    use super::*;

    fn moment(text: &str) -> Timestamp {
        let moment = OffsetDateTime::parse(text, &Rfc3339).unwrap();
        let millis = moment.unix_timestamp_nanos() / 1_000_000;
        Timestamp::from_unix_millis(i64::try_from(millis).unwrap())
    }

    fn window(at: &str, reset: LimitReset) -> (String, String) {
        let windows = Windows::at(moment(at));
        let range = windows.of(reset);
        let text = |day: Day| date(day).to_string();
        (text(range.start), text(range.end))
    }

    #[test]
    fn windows_begin_at_midnight_utc() {
        use LimitReset::{Daily, Monthly, Weekly};
        for (at, reset, start, end) in [
            ("2026-11-21T00:00:00Z", Daily, "2026-11-21", "2026-11-22"),
            (
                "2026-11-21T23:59:59.999Z",
                Daily,
                "2026-11-21",
                "2026-11-22",
            ),
            (
                "2026-11-22T00:30:00+01:00",
                Daily,
                "2026-11-21",
                "2026-11-22",
            ),
            // A Sunday and the Monday after it.
            (
                "2026-11-22T23:59:59.999Z",
                Weekly,
                "2026-11-16",
                "2026-11-23",
            ),
            ("2026-11-23T00:00:00Z", Weekly, "2026-11-23", "2026-11-30"),
            // A week across a year's end.
            ("2027-01-01T12:00:00Z", Weekly, "2026-12-28", "2027-01-04"),
            (
                "2026-11-30T23:59:59.999Z",
                Monthly,
                "2026-11-01",
                "2026-12-01",
            ),
            (
                "2026-12-31T23:59:59.999Z",
                Monthly,
                "2026-12-01",
                "2027-01-01",
            ),
            // February, without and with a leap day; 1900 and 2000 differ.
            ("2027-02-28T12:00:00Z", Monthly, "2027-02-01", "2027-03-01"),
            ("2028-02-29T12:00:00Z", Monthly, "2028-02-01", "2028-03-01"),
            ("1900-02-28T12:00:00Z", Monthly, "1900-02-01", "1900-03-01"),
            ("2000-02-29T12:00:00Z", Monthly, "2000-02-01", "2000-03-01"),
            (
                "1969-12-31T23:59:59.999Z",
                Daily,
                "1969-12-31",
                "1970-01-01",
            ),
        ] {
            assert_eq!(
                window(at, reset),
                (start.to_owned(), end.to_owned()),
                "{at} {reset:?}"
            );
        }
    }

    #[test]
    fn the_epoch_is_where_it_is() {
        let epoch = Date::from_calendar_date(1970, Month::January, 1).unwrap();
        assert_eq!(date(Day::from_number(0)), epoch);
    }

    #[test]
    fn a_reset_is_never_further_than_its_window() {
        let at = moment("2028-02-28T23:59:59.999Z");
        let until = |reset| Windows::until_reset(at, reset).as_millis();
        assert_eq!(until(LimitReset::Daily), 1);
        assert_eq!(until(LimitReset::Weekly), 6 * DAY_MILLIS as u128 + 1);
        assert_eq!(until(LimitReset::Monthly), DAY_MILLIS as u128 + 1);
    }

    #[test]
    fn moments_beyond_the_calendar_have_windows() {
        for millis in [i64::MIN, i64::MAX] {
            let windows = Windows::at(Timestamp::from_unix_millis(millis));
            assert!(windows.weekly.contains(&windows.daily.start));
        }
    }
}
