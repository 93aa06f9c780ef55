//! Amounts of money in whole nano-dollars, so that sums are exact.

use std::fmt;

use crate::error::Error;

const NANOS_PER_DOLLAR: i64 = 1_000_000_000;

/// Maximum amount of a charge or reservation: a million dollars. A mistaken unit is rejected, and the sums
/// stay far below the maximum of 64 bits.
pub const MAX_AMOUNT: Nanos = Nanos(1_000_000_000_000_000);

/// Maximum limit of a key: nine billion dollars, which 64 bits can represent in nano-dollars.
pub const MAX_LIMIT: Nanos = Nanos(9_000_000_000_000_000_000);

/// An amount of nano-dollars (US dollars / 10^9), never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(i64);

impl Nanos {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// Returns an amount, or `None` if it is negative.
    #[must_use]
    pub const fn new(nanos: i64) -> Option<Self> {
        if nanos < 0 { None } else { Some(Self(nanos)) }
    }

    /// Reads an amount from a request; `label` names it in the error message and `field` in the details.
    ///
    /// # Errors
    /// The amount is negative.
    pub fn parse(field: &'static str, label: &str, nanos: i64) -> Result<Self, Error> {
        Self::new(nanos)
            .ok_or_else(|| Error::invalid(field, format!("{label} must not be negative")))
    }

    /// Reads the limit of a key; `field` names it in the error details.
    ///
    /// # Errors
    /// The limit is negative, or greater than [`MAX_LIMIT`].
    pub fn parse_limit(field: &'static str, nanos: i64) -> Result<Self, Error> {
        let limit = Self::new(nanos).filter(|limit| *limit <= MAX_LIMIT);
        let message =
            "Limit must be from 0 to 9000000000 US dollars, with at most 9 decimal places";
        limit.ok_or_else(|| Error::invalid(field, message))
    }

    /// Reads the amount of a charge or reservation.
    ///
    /// # Errors
    /// The amount is negative, or greater than [`MAX_AMOUNT`].
    pub fn parse_amount(field: &'static str, label: &str, nanos: i64) -> Result<Self, Error> {
        let amount = Self::parse(field, label, nanos)?;
        if amount > MAX_AMOUNT {
            let message = format!("{label} must be at most {} nano-dollars", MAX_AMOUNT.0);
            return Err(Error::invalid(field, message));
        }
        Ok(amount)
    }

    /// Returns the amount in nano-dollars.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Returns the sum; `None` if 64 bits cannot represent it.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Returns the sum; saturates at the maximum amount.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Returns the difference; saturates at zero.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }
}

/// Formats the amount in dollars, with as many decimals as needed.
impl fmt::Display for Nanos {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, nanos) = (self.0 / NANOS_PER_DOLLAR, self.0 % NANOS_PER_DOLLAR);
        if nanos == 0 {
            return write!(formatter, "{dollars}");
        }
        let decimals = format!("{nanos:09}");
        write!(formatter, "{dollars}.{}", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amount_is_shown_in_dollars() {
        for (nanos, shown) in [
            (0, "0"),
            (1, "0.000000001"),
            (1_000_000_000, "1"),
            (10_500_000_000, "10.5"),
            (i64::MAX, "9223372036.854775807"),
        ] {
            assert_eq!(Nanos(nanos).to_string(), shown);
        }
    }
}
