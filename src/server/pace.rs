//! The pace at which a connection is read. A call that is rejected, or that needs no token, costs the server
//! about as much as a call that is served, and a client can send the next at once. Each owner therefore has a
//! rate of such calls. Beyond it, the server stops reading the owner's connections until the calls are paid
//! for, so that the further ones stay with the client and cost nothing here. Rejecting them would not help: it
//! is the rejection that costs.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::budget::Owner;
use crate::rate::Rate;

/// Maximum number of owners with an account of their own; further ones share one.
const MAX_OWNERS: usize = 10_000;

/// The accounts of all owners.
pub(super) struct Pace {
    /// The mean time between two calls, and how much of it an owner may be in debt.
    interval: Duration,
    credit: Duration,
    accounts: Mutex<Accounts>,
}

struct Accounts {
    /// When the calls of an owner are paid for.
    paid: HashMap<Owner, Instant>,
    /// The same for all owners that have no account.
    others: Instant,
    /// Number of accounts above which those that are paid are removed.
    remove_above: usize,
}

impl Pace {
    /// Holds each owner to a rate.
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            interval: rate.interval,
            credit: rate.interval * rate.burst.get(),
            accounts: Mutex::new(Accounts {
                paid: HashMap::new(),
                others: Instant::now(),
                remove_above: MAX_OWNERS / 8,
            }),
        }
    }

    /// Charges calls to an owner, or gives some back where the number is negative. Returns the time before which
    /// the connection that made them is not read, `None` while the owner has credit.
    pub(super) fn pay(&self, owner: Owner, calls: i32) -> Option<Instant> {
        let now = Instant::now();
        let mut accounts = self.accounts();
        let paid = accounts.account(owner, now);
        let cost = self.interval * calls.unsigned_abs();
        *paid = match calls < 0 {
            true => paid.checked_sub(cost)?,
            false => (*paid).max(now) + cost,
        };
        let resumed = paid.checked_sub(self.credit)?;
        (resumed > now).then_some(resumed)
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    fn account(&mut self, owner: Owner, now: Instant) -> &mut Instant {
        if self.paid.len() >= self.remove_above {
            self.paid.retain(|_, paid| *paid > now);
            self.remove_above = (self.paid.len() * 2).clamp(MAX_OWNERS / 8, MAX_OWNERS);
        }
        if self.paid.len() >= MAX_OWNERS && !self.paid.contains_key(&owner) {
            return &mut self.others;
        }
        self.paid.entry(owner).or_insert(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(number: u32) -> Owner {
        Owner::Address(std::net::Ipv4Addr::from(number).into())
    }

    fn pace() -> Pace {
        Pace::new(Rate::per_second(100, 100).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn owner_within_its_rate_is_read_at_once() {
        let pace = pace();
        for _ in 0..10 {
            assert_eq!(pace.pay(owner(1), 100), None);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_of_an_owner_beyond_its_rate_take_turns() {
        let (pace, now) = (pace(), Instant::now());
        assert_eq!(pace.pay(owner(1), 100), None);
        for turn in 1..=20_u32 {
            let resumed = now + Duration::from_millis(500) * turn;
            assert_eq!(pace.pay(owner(1), 50), Some(resumed));
        }
        assert_eq!(pace.pay(owner(2), 100), None);
        // What is given back comes to the next turn.
        pace.pay(owner(1), -50);
        assert_eq!(pace.pay(owner(1), 50), Some(now + Duration::from_secs(10)));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(pace.pay(owner(1), 100), None);
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_are_bounded_and_further_owners_share_one() {
        let pace = pace();
        for number in 0..2 * MAX_OWNERS as u32 {
            pace.pay(owner(number), 100);
        }
        assert_eq!(pace.accounts().paid.len(), MAX_OWNERS);
        assert!(pace.pay(owner(u32::MAX), 1).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(pace.pay(owner(1), 1), None);
        assert!(pace.accounts().paid.len() <= 1);
    }
}
