//! Checks and conversions of single values, which sections share.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::ConfigError;

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// Returns a number that must be greater than 0.
pub(super) fn positive<T: Default + PartialEq>(field: &str, number: T) -> Result<T, ConfigError> {
    match number == T::default() {
        true => Err(ConfigError::field(field, "must be greater than 0")),
        false => Ok(number),
    }
}

/// Returns a number that must be in a range.
pub(super) fn in_range(
    field: &str,
    number: u32,
    range: RangeInclusive<u32>,
) -> Result<u32, ConfigError> {
    if range.contains(&number) {
        return Ok(number);
    }
    let problem = format!("must be from {} to {}", range.start(), range.end());
    Err(ConfigError::field(field, problem))
}

/// Returns a time in milliseconds that must be greater than 0.
pub(super) fn positive_millis(field: &str, number: u64) -> Result<Duration, ConfigError> {
    positive(field, number).map(Duration::from_millis)
}

/// Returns the number as a size in memory; a greater one than memory can have means as much.
pub(super) fn size<T: TryInto<usize>>(number: T) -> usize {
    number.try_into().unwrap_or(usize::MAX)
}

/// Returns a time in days, of which 0 means no limit.
pub(super) fn days(number: u32) -> Option<Duration> {
    (number > 0).then(|| Duration::from_secs(u64::from(number) * SECONDS_PER_DAY))
}
