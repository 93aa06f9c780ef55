//! Accounts of issued keys, and the rest of a key's limit. Only [`remaining`] computes the rest; verdicts,
//! reservations and every response that shows a limit use it, so that they always agree.
//!
//! ```text
//! spent     = usage since the last reset of the limit  (own; with include_byok_in_limit, BYOK too)
//! held      = open reservations that have not expired  (the same)
//! remaining = max(0, limit − spent)                    what keys, verdicts and answers show
//! available = max(0, remaining − held)                 what another reservation may take
//! ```
//!
//! A verdict ignores reservations: they may end at any moment, and one of them may belong to the same caller,
//! which lost the response.

use std::time::Duration;

use crate::error::Error;
use crate::model::clock::Timestamp;
use crate::model::issued_key::IssuedKey;
use crate::model::money::Nanos;
use crate::model::window::{Day, LimitReset, Windows};

/// Delay before a retry if only reservations are in the way, which may end at any moment.
const HELD_RETRY: Duration = Duration::from_secs(1);

/// Spending in total and in the windows of a given moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Total of all time.
    pub total: Nanos,
    /// Sum of the day.
    pub daily: Nanos,
    /// Sum of the week.
    pub weekly: Nanos,
    /// Sum of the month.
    pub monthly: Nanos,
}

impl Usage {
    /// Returns the spending since a limit with this reset last reset.
    #[must_use]
    pub fn since(&self, reset: Option<LimitReset>) -> Nanos {
        match reset {
            None => self.total,
            Some(LimitReset::Daily) => self.daily,
            Some(LimitReset::Weekly) => self.weekly,
            Some(LimitReset::Monthly) => self.monthly,
        }
    }
}

/// Spending and reservations of a key at a given moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Spent through the platform's provider keys.
    pub usage: Usage,
    /// Spent through the customer's own provider keys.
    pub byok_usage: Usage,
    /// Reserved for spending through the platform's provider keys.
    pub held: Nanos,
    /// Reserved for spending through the customer's own provider keys.
    pub byok_held: Nanos,
}

impl Account {
    /// Adds spending at a time to an account whose windows are those of `moment`.
    pub fn spend(&mut self, amount: Nanos, byok: bool, occurred_at: Timestamp, moment: Timestamp) {
        let usage = if byok {
            &mut self.byok_usage
        } else {
            &mut self.usage
        };
        usage.total = usage.total.saturating_add(amount);
        let (day, windows) = (Day::of(occurred_at), Windows::at(moment));
        for (sum, days) in [
            (&mut usage.daily, &windows.daily),
            (&mut usage.weekly, &windows.weekly),
            (&mut usage.monthly, &windows.monthly),
        ] {
            if days.contains(&day) {
                *sum = sum.saturating_add(amount);
            }
        }
    }

    /// Adds an open reservation.
    pub fn hold(&mut self, amount: Nanos, byok: bool) {
        let held = self.held_mut(byok);
        *held = held.saturating_add(amount);
    }

    /// Subtracts a reservation that ended and had not expired.
    pub fn end_hold(&mut self, amount: Nanos, byok: bool) {
        let held = self.held_mut(byok);
        *held = held.saturating_sub(amount);
    }

    fn held_mut(&mut self, byok: bool) -> &mut Nanos {
        if byok {
            &mut self.byok_held
        } else {
            &mut self.held
        }
    }
}

/// An issued key and its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeteredKey {
    /// The key.
    pub key: IssuedKey,
    /// Its account.
    pub account: Account,
}

/// Result of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The key may spend.
    Valid,
    /// The key is disabled.
    Disabled,
    /// The key has expired.
    Expired,
    /// The key's limit is used up.
    LimitExceeded,
}

/// Returns the rest of the key's limit; `None` without a limit.
#[must_use]
pub fn remaining(metered: &MeteredKey) -> Option<Nanos> {
    let limit = metered.key.limit?;
    Some(limit.saturating_sub(spent(metered)))
}

/// Returns the part of the key's limit that another reservation may take; `None` without a limit.
#[must_use]
pub fn available(metered: &MeteredKey) -> Option<Nanos> {
    remaining(metered).map(|left| left.saturating_sub(held(metered)))
}

/// Returns the verdict on spending with the key, through the customer's own provider key if `byok`. If
/// several reasons apply, returns the first in the order of the contract.
#[must_use]
pub fn verdict(metered: &MeteredKey, byok: bool, now: Timestamp) -> Verdict {
    if metered.key.disabled {
        Verdict::Disabled
    } else if metered.key.is_expired(now) {
        Verdict::Expired
    } else if is_limited(metered, byok) && remaining(metered) == Some(Nanos::ZERO) {
        Verdict::LimitExceeded
    } else {
        Verdict::Valid
    }
}

/// Checks that a key can hold an amount for a reservation.
///
/// # Errors
/// The key is disabled or expired, the available amount is too small, or the sum of the held amounts would
/// overflow: a key without a limit may have any number of reservations.
pub fn check_hold(
    metered: &MeteredKey,
    amount: Nanos,
    byok: bool,
    now: Timestamp,
) -> Result<(), Error> {
    if metered.key.disabled {
        return Err(Error::KeyDisabled);
    }
    if metered.key.is_expired(now) {
        return Err(Error::KeyExpired);
    }
    if is_limited(metered, byok) && available(metered).is_some_and(|available| amount > available) {
        return Err(Error::LimitExceeded {
            retry_after: retry_after(metered, amount, now),
        });
    }
    let account = &metered.account;
    let held = if byok {
        account.byok_held
    } else {
        account.held
    };
    match held.checked_add(amount) {
        Some(_) => Ok(()),
        None => Err(Error::invalid(
            "amountNanos",
            "Amount is more than can be held beside what is held already",
        )),
    }
}

/// Returns true if such spending counts against the limit.
fn is_limited(metered: &MeteredKey, byok: bool) -> bool {
    !byok || metered.key.include_byok_in_limit
}

/// Returns the time after which the same reservation may fit; `None` if waiting does not help.
fn retry_after(metered: &MeteredKey, amount: Nanos, now: Timestamp) -> Option<Duration> {
    let limit = metered.key.limit.filter(|limit| amount <= *limit)?;
    if spent(metered).saturating_add(amount) <= limit {
        return Some(HELD_RETRY);
    }
    let reset = metered.key.limit_reset?;
    Some(Windows::until_reset(now, reset))
}

fn spent(metered: &MeteredKey) -> Nanos {
    let MeteredKey { key, account } = metered;
    counted(
        key,
        account.usage.since(key.limit_reset),
        account.byok_usage.since(key.limit_reset),
    )
}

fn held(metered: &MeteredKey) -> Nanos {
    let MeteredKey { key, account } = metered;
    counted(key, account.held, account.byok_held)
}

fn counted(key: &IssuedKey, own: Nanos, byok: Nanos) -> Nanos {
    if key.include_byok_in_limit {
        own.saturating_add(byok)
    } else {
        own
    }
}

#[cfg(test)]
mod tests;
