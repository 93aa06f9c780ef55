//! Paces the reading of connections.
//!
//! A call that is rejected, or that needs no token, costs the server about as much as a call that is served,
//! and its client can send the next at once. Each owner therefore has a rate of such calls, and so have all
//! addresses together. Beyond it, the server pauses before it reads more from the connection, so that further
//! calls stay with the client and cost the server nothing. Rejecting them would not help: the rejection is
//! the cost.
//!
//! A pause is short compared to every timeout of a connection, and the debt of an owner is bounded: a client
//! that shares an address with others waits for a moment, and not beyond the end of their calls. An address from which
//! a valid token was shown lately waits for its own debt only, and not for that of all addresses together.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyward_throttle::{Owner, Rate};
use tokio::time::Instant;

/// Maximum pause before a connection is read. Owners that owe more are read no later.
pub(crate) const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Rate of all addresses together, as a multiple of the rate of one.
const ADDRESSES: u32 = 10;
/// Maximum number of owners with their own account; further owners share one.
const MAX_OWNERS: usize = 10_000;
/// Maximum number of addresses remembered as known; while all are in use, no further one is.
const MAX_KNOWN: usize = 10_000;
/// Time for which an address is known after a valid token was shown from it.
const KNOWN_TIME: Duration = Duration::from_secs(10 * 60);
/// Minimum time between two removals of paid accounts, or of addresses that are no longer known.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(1);

/// Accounts of all owners.
pub(crate) struct ReadPacer {
    /// Mean time between two calls of one owner.
    interval: Duration,
    /// Time that an owner may owe without a pause.
    credit: Duration,
    accounts: Mutex<Accounts>,
}

/// Addresses from which a valid token was shown lately.
struct KnownAddresses {
    /// Time at which an address is no longer known.
    until: HashMap<IpAddr, Instant>,
    removed: Instant,
}

struct Accounts {
    /// Time at which the calls of an owner are paid for.
    paid: HashMap<Owner, Instant>,
    /// The same for all owners that have no account.
    others: Instant,
    /// The same for all addresses together.
    addresses: Instant,
    known: KnownAddresses,
    removed: Instant,
}

impl ReadPacer {
    /// Limits each owner to a rate.
    pub(crate) fn new(rate: Rate) -> Self {
        let now = Instant::now();
        Self {
            interval: rate.interval,
            credit: rate.interval * rate.burst.get(),
            accounts: Mutex::new(Accounts {
                paid: HashMap::new(),
                others: now,
                addresses: now,
                known: KnownAddresses {
                    until: HashMap::new(),
                    removed: now,
                },
                removed: now,
            }),
        }
    }

    /// Charges calls to an owner, or refunds them if the number is negative. Returns the pause before more is
    /// read from the owner, `None` while it has credit.
    pub(crate) fn charge(&self, owner: Owner, calls: i32) -> Option<Duration> {
        let now = Instant::now();
        let cost = self.interval * calls.unsigned_abs();
        let address = match &owner {
            Owner::Address(address) => Some(*address),
            Owner::Organization(_) | Owner::Service(_) => None,
        };
        let mut accounts = self.accounts();
        let own = accounts.account(owner, now);
        let mut owed = self.add(own, now, cost, calls < 0);
        if let Some(address) = address {
            let all = self.add(&mut accounts.addresses, now, cost / ADDRESSES, calls < 0);
            if !accounts.known.contains(&address, now) {
                owed = owed.max(all);
            }
        }
        drop(accounts);
        let pause = owed.checked_sub(self.credit).filter(|it| !it.is_zero())?;
        // Connections that have all reached the maximum do not continue together.
        Some(match pause < MAX_PAUSE {
            true => pause,
            false => jittered(MAX_PAUSE),
        })
    }

    /// Records that a valid token was shown from an address.
    pub(crate) fn set_known(&self, address: IpAddr) {
        self.accounts().known.insert(address, Instant::now());
    }

    /// Charges the calls of several owners; returns the longest pause.
    pub(crate) fn charge_all(&self, calls: Vec<(Owner, i32)>) -> Option<Duration> {
        let calls = calls.into_iter();
        calls
            .filter_map(|(owner, calls)| self.charge(owner, calls))
            .max()
    }

    /// Changes an account; returns the new debt.
    fn add(&self, paid: &mut Instant, now: Instant, cost: Duration, is_refund: bool) -> Duration {
        let before = (*paid).max(now);
        *paid = match is_refund {
            true => before.checked_sub(cost).unwrap_or(now),
            false => (before + cost).min(now + self.credit + MAX_PAUSE),
        };
        paid.saturating_duration_since(now)
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    fn account(&mut self, owner: Owner, now: Instant) -> &mut Instant {
        if self.paid.len() >= MAX_OWNERS / 8 && self.removed + REMOVAL_INTERVAL <= now {
            self.paid.retain(|_, paid| *paid > now);
            self.removed = now;
        }
        if self.paid.len() >= MAX_OWNERS && !self.paid.contains_key(&owner) {
            return &mut self.others;
        }
        self.paid.entry(owner).or_insert(now)
    }
}

impl KnownAddresses {
    fn contains(&self, address: &IpAddr, now: Instant) -> bool {
        self.until.get(address).is_some_and(|until| *until > now)
    }

    fn insert(&mut self, address: IpAddr, now: Instant) {
        if self.until.len() >= MAX_KNOWN && !self.until.contains_key(&address) {
            if self.removed + REMOVAL_INTERVAL <= now {
                self.until.retain(|_, until| *until > now);
                self.removed = now;
            }
            if self.until.len() >= MAX_KNOWN {
                return;
            }
        }
        self.until.insert(address, now + KNOWN_TIME);
    }
}

/// Returns a random time between half of the time and all of it.
fn jittered(time: Duration) -> Duration {
    // Each state has keys of its own, from the system's random source.
    let random = RandomState::new().hash_one(0) % 1001;
    time.mul_f64(0.5 + random as f64 / 2000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn organization(number: u32) -> Owner {
        Owner::Organization(number.to_string())
    }

    fn address(number: u32) -> Owner {
        Owner::Address(std::net::Ipv4Addr::from(number).into())
    }

    fn pacer() -> ReadPacer {
        ReadPacer::new(Rate::per_second(100, 100).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn owner_within_its_rate_is_read_at_once() {
        let pacer = pacer();
        for _ in 0..10 {
            assert_eq!(pacer.charge(organization(1), 100), None);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_of_an_owner_beyond_its_rate_take_turns() {
        let pacer = pacer();
        assert_eq!(pacer.charge(organization(1), 100), None);
        for turn in 1..=3 {
            let pause = Duration::from_millis(500) * turn;
            assert_eq!(pacer.charge(organization(1), 50), Some(pause));
        }
        assert_eq!(pacer.charge(organization(2), 100), None);
        // A refund takes effect at the next turn.
        pacer.charge(organization(1), -100);
        let pause = Duration::from_secs(1);
        assert_eq!(pacer.charge(organization(1), 50), Some(pause));
    }

    #[tokio::test(start_paused = true)]
    async fn debt_of_an_owner_is_bounded() {
        let pacer = pacer();
        for _ in 0..1000 {
            let pause = pacer.charge(organization(1), 1000).unwrap();
            assert!(pause >= MAX_PAUSE / 2 && pause <= MAX_PAUSE, "{pause:?}");
        }
        tokio::time::advance(MAX_PAUSE + Duration::from_secs(1)).await;
        assert_eq!(pacer.charge(organization(1), 100), None);
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_together_have_a_rate() {
        let pacer = pacer();
        for number in 0..20 {
            assert_eq!(pacer.charge(address(number), 50), None);
        }
        let pause = pacer.charge(address(20), 50);
        assert_eq!(pause, Some(Duration::from_millis(50)));
        assert_eq!(pacer.charge(organization(1), 100), None);
    }

    #[tokio::test(start_paused = true)]
    async fn known_address_waits_for_its_own_debt_only() {
        let pacer = pacer();
        let ip = |number: u32| IpAddr::V4(std::net::Ipv4Addr::from(number));
        pacer.set_known(ip(1));
        for number in 100..140 {
            pacer.charge(address(number), 100);
        }
        assert!(pacer.charge(address(2), 1).is_some());
        assert_eq!(pacer.charge(address(1), 100), None);
        let pause = pacer.charge(address(1), 50);
        assert_eq!(pause, Some(Duration::from_millis(500)));
        tokio::time::advance(KNOWN_TIME).await;
        for number in 100..140 {
            pacer.charge(address(number), 100);
        }
        assert!(pacer.charge(address(1), 1).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn known_addresses_are_bounded_and_expired_ones_go_first() {
        let pacer = pacer();
        let ip = |number: u32| IpAddr::V4(std::net::Ipv4Addr::from(number));
        let is_known = |number| {
            let accounts = pacer.accounts();
            assert!(accounts.known.until.len() <= MAX_KNOWN);
            accounts.known.contains(&ip(number), Instant::now())
        };
        let all = MAX_KNOWN as u32;
        (0..=all).for_each(|number| pacer.set_known(ip(number)));
        assert!(is_known(0) && is_known(all - 1) && !is_known(all));
        tokio::time::advance(KNOWN_TIME - REMOVAL_INTERVAL).await;
        pacer.set_known(ip(0));
        pacer.set_known(ip(all));
        assert!(is_known(0) && !is_known(all));
        tokio::time::advance(REMOVAL_INTERVAL).await;
        pacer.set_known(ip(all));
        assert!(is_known(0) && is_known(all) && !is_known(1));
        assert_eq!(pacer.accounts().known.until.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_are_bounded_and_further_owners_share_one() {
        let pacer = pacer();
        for number in 0..2 * MAX_OWNERS as u32 {
            pacer.charge(organization(number), 100);
        }
        assert_eq!(pacer.accounts().paid.len(), MAX_OWNERS);
        assert!(pacer.charge(organization(u32::MAX), 1).is_some());
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(pacer.charge(organization(1), 1), None);
        assert!(pacer.accounts().paid.len() <= 1);
    }
}
