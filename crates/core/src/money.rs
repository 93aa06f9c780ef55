//! Money: whole nano-dollars, so that sums are exact.

use std::fmt;

use crate::error::Error;

const NANOS_PER_DOLLAR: i64 = 1_000_000_000;

/// The most that one charge or hold can be: a million dollars. A slip of a unit is refused, and the
/// sums stay far from what 64 bits hold.
pub const MAX_AMOUNT: Nanos = Nanos(1_000_000_000_000_000);

/// Greatest limit of a key: nine billion dollars, which 64 bits hold in nano-dollars.
pub const MAX_LIMIT: Nanos = Nanos(9_000_000_000_000_000_000);

/// An amount of nano-dollars (US dollars / 10^9), never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(i64);

impl Nanos {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Takes an amount that is not negative.
    #[must_use]
    pub const fn new(nanos: i64) -> Option<Self> {
        if nanos < 0 { None } else { Some(Self(nanos)) }
    }

    /// Takes an amount that a caller sent; `label` names it in the error's text and `field` in its
    /// details.
    ///
    /// # Errors
    /// The amount is negative.
    pub fn parse(field: &'static str, label: &str, nanos: i64) -> Result<Self, Error> {
        Self::new(nanos)
            .ok_or_else(|| Error::invalid(field, format!("{label} must not be negative")))
    }

    /// Takes the limit of a key; `field` names it in the error's details.
    ///
    /// # Errors
    /// The limit is negative, or greater than [`MAX_LIMIT`].
    pub fn parse_limit(field: &'static str, nanos: i64) -> Result<Self, Error> {
        let limit = Self::new(nanos).filter(|limit| *limit <= MAX_LIMIT);
        let message =
            "Limit must be from 0 to 9000000000 US dollars, with at most 9 decimal places";
        limit.ok_or_else(|| Error::invalid(field, message))
    }

    /// Takes an amount of one charge or hold.
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

    /// The amount in nano-dollars.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The sum, if 64 bits hold it.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The sum, or the greatest amount there is.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left, never below nothing.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }
}

/// The amount in dollars, with as many decimals as it has.
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
